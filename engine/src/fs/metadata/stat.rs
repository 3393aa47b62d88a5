//! Operations on open files and folders, and conversions of the system's types.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use filetime::FileTime;
use rustix::fs::{FileType, Gid, Mode, RawMode, Stat, Timespec, Timestamps, Uid};

use crate::entry::{FileId, Kind, Meta, Time};

pub(crate) fn bits(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
}

/// The times of a name, for utimensat(2). Open files have [`set_mtime`].
pub(crate) fn stamps(mtime: Time) -> Timestamps {
    // Not UTIME_OMIT: libfuse file systems set both times or, without an error, none (measured).
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let mtime = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: now, last_modification: mtime }
}

/// Sets owner and group of an open file or folder.
///
/// # Errors
/// `EPERM` if not permitted; `EINVAL` for the number that no user and no group has.
pub fn set_owner(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let (uid, gid) = owner(uid, gid)?;
    Ok(rustix::fs::fchown(fd, uid, gid)?)
}

/// The system's types of an owner and a group. For chown(2) the highest number means that nothing changes, so the owner
/// would silently be another one.
pub(crate) fn owner(uid: Option<u32>, gid: Option<u32>) -> io::Result<(Option<Uid>, Option<Gid>)> {
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(rustix::io::Errno::INVAL.into());
    }
    Ok((uid.map(Uid::from_raw), gid.map(Gid::from_raw)))
}

/// Sets the mode of an open file or folder.
///
/// # Errors
/// `EPERM` if not permitted.
pub fn set_mode(fd: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(fd, bits(mode))?)
}

/// An open file or folder, as filetime takes it.
pub trait OpenFile: AsFd {
    /// The handle.
    fn file(&self) -> &File;
}

impl OpenFile for File {
    fn file(&self) -> &File {
        self
    }
}

impl<T: OpenFile> OpenFile for &T {
    fn file(&self) -> &File {
        (*self).file()
    }
}

/// Sets the modification time of an open file or folder, with its nanoseconds; the access time becomes now.
///
/// # Errors
/// `EPERM` if not permitted.
pub fn set_mtime(file: impl OpenFile, mtime: Time) -> io::Result<()> {
    // filetime negates the seconds.
    if mtime.secs == i64::MIN {
        return Ok(rustix::fs::futimens(file.file(), &stamps(mtime))?);
    }
    // Both times: file systems over libfuse take both or, without an error, none (measured).
    let mtime = FileTime::from_unix_time(mtime.secs, mtime.nanos);
    filetime::set_file_handle_times(file.file(), Some(FileTime::now()), Some(mtime))
}

/// The metadata of an open file or folder.
///
/// # Errors
/// Those of `fstat(2)`.
pub fn meta(fd: impl AsFd) -> io::Result<Meta> {
    Ok(meta_of(&rustix::fs::fstat(fd)?))
}

/// The metadata of `path`, following symlinks. Only for paths that the user gave.
///
/// # Errors
/// Those of `stat(2)`.
pub fn meta_at(path: &Path) -> io::Result<Meta> {
    Ok(meta_of(&rustix::fs::stat(path)?))
}

#[expect(clippy::unnecessary_cast, reason = "the widths of stat's fields differ between machines")]
pub(crate) fn meta_of(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode as RawMode) {
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    };
    let time = |secs, nanos| Time { secs: secs as i64, nanos: nanos as u32 };
    Meta {
        kind,
        mode: stat.st_mode as u32 & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size as u64,
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        id: Some(FileId { dev: stat.st_dev as u64, ino: stat.st_ino as u64 }),
        links: stat.st_nlink as u64,
        rdev: stat.st_rdev as u64,
        // st_blocks counts units of 512 bytes, whatever the block size (stat(3type)).
        allocated: stat.st_blocks as u64 * 512,
        is_shared: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_open_file_and_folder_keeps_its_nanoseconds() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("f")).unwrap();
        let folder = File::open(dir.path()).unwrap();
        for (secs, nanos) in [(1_700_000_000, 123_456_789), (-1, 999_999_999), (4_294_967_296, 1)] {
            for open in [&file, &folder] {
                set_mtime(open, Time { secs, nanos }).unwrap();
                assert_eq!(meta(open).unwrap().mtime, Time { secs, nanos });
            }
        }
    }
}

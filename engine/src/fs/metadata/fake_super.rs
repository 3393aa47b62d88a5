//! The attribute in which rsync's `--fake-super` stores an owner and mode that the user may not
//! set.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, RawMode, makedev};

use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, Meta};
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;

/// The name of the attribute (rsync(1), `--fake-super`).
pub(crate) const STAT: &str = "user.rsync.%stat";

/// Type and permissions in octal, device numbers, owner: `100644 0,0 1000:1000`.
fn written(meta: &Meta) -> String {
    let kind = match meta.kind {
        Kind::File => 0o100_000,
        Kind::Folder => 0o040_000,
        Kind::Symlink => 0o120_000,
        Kind::Fifo => 0o010_000,
        Kind::Socket => 0o140_000,
        Kind::BlockDevice => 0o060_000,
        Kind::CharDevice => 0o020_000,
    };
    let (major, minor) = (rustix::fs::major(meta.rdev), rustix::fs::minor(meta.rdev));
    let (major, minor) = if meta.kind.is_device() { (major, minor) } else { (0, 0) };
    format!("{:o} {major},{minor} {}:{}", kind | meta.mode, meta.uid, meta.gid)
}

/// Parses the value of the attribute into `meta`; `None` if it is not valid.
fn read(value: &[u8], meta: &mut Meta) -> Option<()> {
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.split(' ');
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let (major, minor) = fields.next()?.split_once(',')?;
    let (uid, gid) = fields.next()?.split_once(':')?;
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    let rdev = makedev(major.parse().ok()?, minor.parse().ok()?);
    meta.kind = match FileType::from_raw_mode(mode as RawMode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::Symlink | FileType::Unknown => return None,
    };
    (meta.mode, meta.uid, meta.gid) = (mode & 0o7777, uid, gid);
    if meta.kind.is_device() {
        meta.rdev = rdev;
    }
    Some(())
}

/// Stores `meta` in the attribute of an open file or folder. Returns `false` if the entry cannot
/// have the attribute.
///
/// # Errors
/// The destination is full or fails.
pub(crate) fn keep(fd: impl AsFd, meta: &Meta) -> io::Result<bool> {
    match crate::fs::metadata::xattrs::set(&fd, OsStr::new(STAT), written(meta).as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if crate::fs::metadata::xattrs::may_be_refused(&error, fd) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives an open file or folder the `value` that another one has, if it can have the attribute.
///
/// # Errors
/// The destination is full or fails.
pub(crate) fn give(fd: impl AsFd, value: &[u8]) -> io::Result<()> {
    match xattrs::set(&fd, OsStr::new(STAT), value) {
        Err(error) if !xattrs::may_be_refused(&error, fd) => Err(error),
        _ => Ok(()),
    }
}

/// Removes the attribute from an entry that has its real owner and mode.
pub(crate) fn forget(fd: impl AsFd) {
    // Usually there is none.
    let _ = crate::fs::metadata::xattrs::remove(fd, OsStr::new(STAT));
}

/// Like [`complete`], but removes the attribute itself from the result, for restore.
pub(crate) fn plain(dir: &Dir, name: &CStr, held: Option<StoredEntry>) -> Option<StoredEntry> {
    let mut held = complete(dir, name, held)?;
    held.xattrs.retain(|(name, _)| name != STAT.as_bytes());
    Some(held)
}

/// Replaces the metadata of `held` with the values in the attribute, if it has one.
pub(crate) fn complete(dir: &Dir, name: &CStr, held: Option<StoredEntry>) -> Option<StoredEntry> {
    let mut held = held?;
    if held.on_disk
        && matches!(held.meta.kind, Kind::File | Kind::Folder)
        && let Ok(Some(value)) = xattrs::value(dir, name, OsStr::from_bytes(STAT.as_bytes()))
    {
        let mut meta = held.meta.clone();
        // A folder stays a folder, because the walk enters it.
        if read(&value, &mut meta).is_some()
            && (meta.kind == Kind::Folder) == (held.meta.kind == Kind::Folder)
        {
            held.meta = meta;
        }
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_attribute_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "").unwrap();
        let mut meta = Dir::at(folder.path()).unwrap().stat(c"x").unwrap();
        (meta.mode, meta.uid, meta.gid) = (0o4755, 7, 8);
        assert_eq!(written(&meta), "104755 0,0 7:8");
        let mut other = Meta { mode: 0, uid: 0, gid: 0, ..meta.clone() };
        assert_eq!(read(b"104755 0,0 7:8", &mut other), Some(()));
        assert_eq!(other, meta);
        (meta.kind, meta.rdev) = (Kind::CharDevice, makedev(1, 3));
        assert_eq!(written(&meta), "24755 1,3 7:8");
        for text in
            ["", "x 0,0 1:1", "100644 0 1:1", "100644 0,0", "120777 0,0 1:1", "100644 0,0 -1:0"]
        {
            assert_eq!(read(text.as_bytes(), &mut other), None, "{text}");
        }
    }
}

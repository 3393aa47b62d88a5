//! A folder held open, and what can be done to the single names in it. Never follows a symlink, but for
//! the methods that say so by their names. Owner, mode, times and attributes are set through handles only:
//! between two calls another entry may take a name.

pub mod node;
pub mod resolve;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatVfs};
use rustix::io::Errno;

use crate::entry::{Kind, Meta};
use crate::fs::stat::{bits, meta_of};

/// Bytes that one `getdents64` call may fill: some 1,000 names.
const LISTING_BUFFER: usize = 32 * 1024;

/// A folder held open for reading.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// A name in a listing.
#[derive(Debug, Clone, Copy)]
pub struct Dirent<'a> {
    /// The name; never `.` or `..`.
    pub name: &'a CStr,
    /// Its inode number.
    pub ino: u64,
    /// Whether it is known to be a folder.
    pub folder: bool,
    /// Whether it is known to be a regular file.
    pub file: bool,
}

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Dir {
    /// Opens the folder at `path`, symlinks in it followed: for paths that the user gave.
    ///
    /// # Errors
    /// The system's, of `open(2)`.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, FOLDER, Mode::empty())?))
    }

    /// As [`Dir::at`], for a folder that may not be read: to look at it and to pass through.
    ///
    /// # Errors
    /// The system's, of `open(2)`.
    pub fn on(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens the child folder `name`.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` when it is no folder.
    pub fn child(&self, name: &CStr) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(
            &self.0,
            single(name)?,
            FOLDER | OFlags::NOFOLLOW,
            Mode::empty(),
        )?))
    }

    /// As [`Dir::child`], unless something is mounted there, be it a part of the same file system.
    ///
    /// # Errors
    /// `EXDEV` when something is mounted there.
    pub fn child_here(&self, name: &CStr) -> io::Result<Self> {
        let flags = FOLDER | OFlags::NOFOLLOW;
        let within = rustix::fs::ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&self.0, single(name)?, flags, Mode::empty(), within) {
            // Kernels before 5.6 do not have it, and some sandboxes do not let it through.
            Err(Errno::NOSYS | Errno::PERM) => {
                let child = self.child(name)?;
                let dev = |dir: &Self| dir.meta().map(|meta| meta.id.map(|id| id.dev));
                if dev(&child)? == dev(self)? { Ok(child) } else { Err(Errno::XDEV.into()) }
            }
            opened => Ok(Self(opened?)),
        }
    }

    /// As [`Dir::child`], for a folder that may not be read: to look at it and to pass through.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` when it is no folder.
    pub fn pass(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// As [`Dir::child`], and without touching the folder's access time where that is allowed.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` when it is no folder.
    pub fn child_unseen(&self, name: &CStr) -> io::Result<Self> {
        unseen(FOLDER | OFlags::NOFOLLOW, |flags| {
            rustix::fs::openat(&self.0, single(name)?, flags, Mode::empty())
        })
        .map(Self)
    }

    /// Opens the file `name` for reading. A fifo does not block, a symlink is refused.
    ///
    /// # Errors
    /// The system's, of `openat(2)`.
    pub fn open_file(&self, name: &CStr) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        unseen(flags, |flags| rustix::fs::openat(&self.0, single(name)?, flags, Mode::empty()))
            .map(File::from)
    }

    /// As [`Dir::child_unseen`], through a symlink too: for sources whose user asked for it. Whether it
    /// is what was meant has to be seen from its inode.
    ///
    /// # Errors
    /// `ENOTDIR` when it leads to no folder.
    pub fn child_followed(&self, name: &CStr) -> io::Result<Self> {
        unseen(FOLDER, |flags| rustix::fs::openat(&self.0, name, flags, Mode::empty())).map(Self)
    }

    /// As [`Dir::open_file`], through a symlink too: for sources whose user asked for it.
    ///
    /// # Errors
    /// The system's, of `openat(2)`.
    pub fn open_followed(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        unseen(flags, |flags| rustix::fs::openat(&self.0, name, flags, Mode::empty()))
            .map(File::from)
    }

    /// What `name` leads to.
    ///
    /// # Errors
    /// `ENOENT` when it leads nowhere, `ELOOP` when it leads in a circle.
    pub fn stat_followed(&self, name: &CStr) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::statat(&self.0, name, AtFlags::empty())?))
    }

    /// Opens the file `name` for reading and writing.
    ///
    /// # Errors
    /// The system's, of `openat(2)`.
    pub fn open_to_write(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, single(name)?, flags, Mode::empty())?.into())
    }

    /// Creates the file `name`, which must not exist, for writing.
    ///
    /// # Errors
    /// `EEXIST` when something of that name is there.
    pub fn create_file(&self, name: &CStr, mode: u32) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, single(name)?, flags, bits(mode))?.into())
    }

    /// What `name` is.
    ///
    /// # Errors
    /// `ENOENT` when there is nothing of that name.
    pub fn stat(&self, name: &CStr) -> io::Result<Meta> {
        let stat = rustix::fs::statat(&self.0, single(name)?, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(meta_of(&stat))
    }

    /// What `name` is; `None` when there is nothing of that name.
    ///
    /// # Errors
    /// The system's, of `fstatat(2)`.
    pub fn find(&self, name: &CStr) -> io::Result<Option<Meta>> {
        match self.stat(name) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the folder itself is.
    ///
    /// # Errors
    /// The system's, of `fstat(2)`.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::fstat(&self.0)?))
    }

    /// Gives the folder itself to another owner and group; also one that was opened to pass through.
    ///
    /// # Errors
    /// `EPERM` when not allowed.
    pub fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        Ok(rustix::fs::chownat(&self.0, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
    }

    /// The file system it lies on.
    ///
    /// # Errors
    /// The system's, of `fstatvfs(3)`.
    pub fn space(&self) -> io::Result<StatVfs> {
        Ok(rustix::fs::fstatvfs(&self.0)?)
    }

    /// The number of the file system's type, of `statfs(2)`.
    ///
    /// # Errors
    /// The system's.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers have 32 bits, the field's type differs between machines"
    )]
    pub fn file_system_type(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstatfs(&self.0)?.f_type as u32)
    }

    /// Calls `each` for every name in the folder, from its start, in the file system's order.
    ///
    /// # Errors
    /// The system's, of `getdents64(2)`.
    pub fn names(&self, mut each: impl FnMut(Dirent<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER];
        rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0))?;
        let mut listing = RawDir::new(&self.0, &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let folder = entry.file_type() == FileType::Directory;
            let file = entry.file_type() == FileType::RegularFile;
            if each(Dirent { name, ino: entry.ino(), folder, file }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The target of the symlink `name`, as bytes.
    ///
    /// # Errors
    /// `EINVAL` when it is no symlink.
    pub fn read_link(&self, name: &CStr) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, single(name)?, Vec::with_capacity(256))?.into_bytes())
    }

    /// Makes the folder `name`.
    ///
    /// # Errors
    /// `EEXIST` when something of that name is there.
    pub fn make_folder(&self, name: &CStr, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, single(name)?, bits(mode))?)
    }

    /// Makes `name` a hard link of `from_name` in `from`; of a symlink itself, not of what it points to.
    ///
    /// # Errors
    /// `EEXIST`, `EMLINK`, `EPERM` and others, of `linkat(2)`.
    pub fn link(&self, name: &CStr, from: &Dir, from_name: &CStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            &from.0,
            single(from_name)?,
            &self.0,
            single(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Makes the symlink `name`.
    ///
    /// # Errors
    /// `EEXIST` when something of that name is there.
    pub fn make_symlink(&self, name: &CStr, target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.0, single(name)?)?)
    }

    /// Makes the fifo, socket or device `name`.
    ///
    /// # Errors
    /// `EPERM` for devices when not root.
    pub fn make_node(&self, name: &CStr, kind: Kind, mode: u32, rdev: u64) -> io::Result<()> {
        let kind = match kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::File | Kind::Folder | Kind::Symlink => return Err(Errno::INVAL.into()),
        };
        Ok(rustix::fs::mknodat(&self.0, single(name)?, kind, bits(mode), rdev)?)
    }

    /// Removes the name of anything but a folder.
    ///
    /// # Errors
    /// `EISDIR` for folders.
    pub fn unlink(&self, name: &CStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, single(name)?, AtFlags::empty())?)
    }

    /// Removes the empty folder `name`.
    ///
    /// # Errors
    /// `ENOTEMPTY` when it is not empty.
    pub fn remove_folder(&self, name: &CStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, single(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Renames `from` to `to` within the folder; `to` must not exist.
    ///
    /// # Errors
    /// `EEXIST` when it does.
    pub fn rename_new(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        self.move_new(from, self, to)
    }

    /// Moves `name` into the folder `to` under the name `new`, which must not exist.
    ///
    /// # Errors
    /// `EEXIST` when it does.
    pub(crate) fn move_new(&self, name: &CStr, to: &Dir, new: &CStr) -> io::Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.0, single(name)?, &to.0, single(new)?, flags) {
            // Kernels before 3.15 and some network file systems know no flags (renameat2(2)).
            Err(Errno::INVAL | Errno::NOSYS) => {
                if to.find(new)?.is_some() {
                    return Err(Errno::EXIST.into());
                }
                Ok(rustix::fs::renameat(&self.0, name, &to.0, new)?)
            }
            result => Ok(result?),
        }
    }

    /// Renames `from` to `to` within the folder, in the place of what was there.
    ///
    /// # Errors
    /// The system's, of `renameat(2)`.
    pub fn rename_over(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, single(from)?, &self.0, single(to)?)?)
    }

    /// Moves `name` into the folder `to` under the name `new`.
    ///
    /// # Errors
    /// The system's, of `renameat(2)`.
    pub fn move_to(&self, name: &CStr, to: &Dir, new: &CStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, single(name)?, &to.0, single(new)?)?)
    }

    /// Makes its names durable.
    ///
    /// # Errors
    /// The system's, of `fsync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// A second handle of the same folder.
    ///
    /// # Errors
    /// `EMFILE` when too many are open.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Calls `open` with `O_NOATIME`, and without it where only the owner may use it (open(2)).
fn unseen<T>(flags: OFlags, open: impl Fn(OFlags) -> Result<T, Errno>) -> io::Result<T> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(open(flags)?),
        result => Ok(result?),
    }
}

/// `name`, unless it leads out of its folder. Names are checked where they come from; this is for the one
/// that is not.
fn single(name: &CStr) -> Result<&CStr, Errno> {
    let bytes = name.to_bytes();
    if bytes == b".." || bytes.contains(&b'/') { Err(Errno::INVAL) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::c_name;

    #[test]
    fn no_name_leads_out_of_a_held_folder() {
        let top = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (top.path().join("inside"), top.path().join("outside"));
        std::fs::create_dir(&inside).expect("a folder");
        std::fs::write(&outside, "kept").expect("a file");
        let dir = Dir::at(&inside).expect("it is there");
        dir.create_file(c"own", 0o644).expect("a single name");
        let absolute = c_name(outside.as_os_str().as_encoded_bytes()).expect("no NUL");
        for name in [c"..", c"../outside", c"./own", c"own/", &absolute] {
            assert!(dir.stat(name).is_err(), "{name:?}");
            assert!(dir.child(name).is_err(), "{name:?}");
            assert!(dir.open_file(name).is_err(), "{name:?}");
            assert!(dir.unlink(name).is_err(), "{name:?}");
            assert!(dir.make_folder(name, 0o755).is_err(), "{name:?}");
            assert!(dir.link(name, &dir, c"own").is_err(), "{name:?}");
            assert!(dir.link(c"other", &dir, name).is_err(), "{name:?}");
            assert!(dir.rename_over(c"own", name).is_err(), "{name:?}");
            assert!(dir.rename_over(name, c"own").is_err(), "{name:?}");
        }
        assert_eq!(std::fs::read_to_string(&outside).expect("it is there"), "kept");
    }
}

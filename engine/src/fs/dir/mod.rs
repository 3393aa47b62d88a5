//! An open folder and operations on single names in it. No method follows a symlink, except those
//! whose name says so. Owner, mode, times and attributes are set through handles only, because
//! another process may give a name to another entry between two calls.

pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod resolve;
pub(crate) mod stored;

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::entry::{Kind, Meta};
use crate::fs::dir::names::FolderNames;
use crate::fs::file_system::lists_acls;
use crate::fs::file_system::space::Space;
use crate::fs::metadata::stat::{OpenFile, bits, meta_of, owner};
use crate::fs::mount::point::{MountPoint, is_same_mount};

/// Size of the buffer for one `getdents64` call, bytes: about 1,000 names.
const LISTING_BUFFER: usize = 32 * 1024;

/// An open folder.
///
/// In a folder of a snapshot, names are the entries' own names, also where an entry is stored under another name because
/// the destination refuses or changes its own.
#[derive(Debug)]
pub struct Dir {
    handle: File,
    /// The stored names of a snapshot's folder. `None` for any other folder, and when the snapshot has no stored names.
    names: Option<Arc<FolderNames>>,
    /// Whether its file system lists ACLs, once that was asked.
    lists_acls: OnceLock<bool>,
}

/// An entry of a listing.
#[derive(Debug, Clone, Copy)]
pub struct Dirent<'a> {
    /// The name; never `.` or `..`.
    pub name: &'a CStr,
    /// The inode number.
    pub ino: u64,
    /// Whether it is known to be a folder.
    pub folder: bool,
    /// Whether it is known to be a regular file.
    pub file: bool,
}

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Dir {
    /// Opens the folder at `path` and follows symlinks. Only for paths that the user gave.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(rustix::fs::open(path, FOLDER, Mode::empty())?.into())
    }

    /// Like [`Dir::at`], but needs no read permission. The handle can be used for fstat and as a
    /// parent.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn on(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
    }

    /// Opens the child folder `name`.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` if it is not a folder.
    pub fn child(&self, name: &CStr) -> io::Result<Self> {
        let flags = FOLDER | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat(&self.handle, &*self.on_disk(name)?, flags, Mode::empty())?;
        Ok(self.subfolder(name, opened))
    }

    /// Like [`Dir::child`], but refuses mount points, even of a part of the same file system. For
    /// folders whose content is changed.
    ///
    /// # Errors
    /// [`MountPoint`] if `name` is a mount point.
    pub fn child_here(&self, name: &CStr) -> io::Result<Self> {
        match self.open_here(name, FOLDER | OFlags::NOFOLLOW)? {
            Some(child) => Ok(self.subfolder(name, child)),
            None => {
                let child = self.child(name)?;
                if is_same_mount(self, &child)? { Ok(child) } else { Err(MountPoint.into()) }
            }
        }
    }

    /// Like [`Dir::child_here`], for folders that are only read: where openat2(2) is missing, it
    /// opens mount points too.
    ///
    /// # Errors
    /// [`MountPoint`] if `name` is a mount point.
    pub fn child_if_here(&self, name: &CStr) -> io::Result<Self> {
        match self.open_here(name, FOLDER | OFlags::NOFOLLOW)? {
            Some(child) => Ok(self.subfolder(name, child)),
            None => self.child(name),
        }
    }

    /// Opens `name` unless it is a mount point. `None` where openat2(2) is missing: kernels before
    /// 5.6 lack it, and some sandboxes block it.
    fn open_here(&self, name: &CStr, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let within = rustix::fs::ResolveFlags::NO_XDEV;
        let on_disk = self.on_disk(name)?;
        match rustix::fs::openat2(&self.handle, &*on_disk, flags, Mode::empty(), within) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOSYS | Errno::PERM) => Ok(None),
            Err(Errno::XDEV) => Err(MountPoint.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Like [`Dir::child`], but needs no read permission. The handle can be used for fstat and as a
    /// parent. `name` may be `..`. Not for folders of a snapshot.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` if it is not a folder.
    pub fn pass(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?.into())
    }

    /// Like [`Dir::child`], but leaves the access time of the folder unchanged where permitted.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` if it is not a folder.
    pub fn child_unseen(&self, name: &CStr) -> io::Result<Self> {
        let on_disk = self.on_disk(name)?;
        unseen(FOLDER | OFlags::NOFOLLOW, |flags| {
            rustix::fs::openat(&self.handle, &*on_disk, flags, Mode::empty())
        })
        .map(|opened| self.subfolder(name, opened))
    }

    /// Like [`Dir::child_unseen`], but refuses mount points as [`Dir::child_if_here`].
    ///
    /// # Errors
    /// [`MountPoint`] if `name` is a mount point.
    pub fn child_unseen_here(&self, name: &CStr) -> io::Result<Self> {
        match self.open_here(name, FOLDER | OFlags::NOFOLLOW | OFlags::NOATIME)? {
            Some(child) => Ok(self.subfolder(name, child)),
            // Only the owner may use O_NOATIME (open(2)), or openat2(2) is missing.
            None => self.child_if_here(name),
        }
    }

    /// Opens the file `name` for reading. It does not block on a fifo and refuses a symlink.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub fn open_file(&self, name: &CStr) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let on_disk = self.on_disk(name)?;
        unseen(flags, |flags| rustix::fs::openat(&self.handle, &*on_disk, flags, Mode::empty()))
            .map(File::from)
    }

    /// Like [`Dir::child_unseen`], but follows a symlink, for sources whose user requested that.
    /// The caller checks the inode.
    ///
    /// # Errors
    /// `ENOTDIR` if the target is not a folder.
    pub fn child_followed(&self, name: &CStr) -> io::Result<Self> {
        unseen(FOLDER, |flags| rustix::fs::openat(&self.handle, name, flags, Mode::empty()))
            .map(Self::from)
    }

    /// Like [`Dir::open_file`], but follows a symlink, for sources whose user requested that.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub fn open_followed(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        unseen(flags, |flags| rustix::fs::openat(&self.handle, name, flags, Mode::empty()))
            .map(File::from)
    }

    /// The metadata of the target of `name`.
    ///
    /// # Errors
    /// `ENOENT` if the target does not exist, `ELOOP` if the symlinks form a cycle.
    pub fn stat_followed(&self, name: &CStr) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::statat(&self.handle, name, AtFlags::empty())?))
    }

    /// Opens the file `name` for reading and writing.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub fn open_to_write(&self, name: &CStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, &*self.on_disk(name)?, flags, Mode::empty())?.into())
    }

    /// Creates the file `name` for reading and writing.
    ///
    /// # Errors
    /// `EEXIST` if the name exists.
    pub fn create_file(&self, name: &CStr, mode: u32) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, &*self.to_create(name)?, flags, bits(mode))?.into())
    }

    /// The metadata of `name`.
    ///
    /// # Errors
    /// `ENOENT` if the name does not exist.
    pub fn stat(&self, name: &CStr) -> io::Result<Meta> {
        let on_disk = self.on_disk(name)?;
        let stat = rustix::fs::statat(&self.handle, &*on_disk, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(meta_of(&stat))
    }

    /// The metadata of `name`; `None` if the name does not exist.
    ///
    /// # Errors
    /// Those of `fstatat(2)`.
    pub fn find(&self, name: &CStr) -> io::Result<Option<Meta>> {
        match self.stat(name) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The metadata of the folder itself.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::fstat(&self.handle)?))
    }

    /// Sets owner and group of the folder itself. A handle without read permission is enough.
    ///
    /// # Errors
    /// `EPERM` if not permitted; `EINVAL` for the number that no user and no group has.
    pub fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = owner(Some(uid), Some(gid))?;
        Ok(rustix::fs::chownat(&self.handle, c"", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Size and free space of its file system.
    ///
    /// # Errors
    /// Those of `fstatvfs(3)`.
    pub fn space(&self) -> io::Result<Space> {
        Space::of(&self.handle)
    }

    /// Calls `each` for every name in the folder, from the start, in the order of the file system.
    ///
    /// # Errors
    /// Those of `getdents64(2)`.
    pub fn names(&self, mut each: impl FnMut(Dirent<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER];
        rustix::fs::seek(&self.handle, rustix::fs::SeekFrom::Start(0))?;
        let mut listing = RawDir::new(&self.handle, &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let own = match &self.names {
                Some(names) => names.own(name)?,
                None => Some(Cow::Borrowed(name)),
            };
            let Some(name) = own else { continue };
            let folder = entry.file_type() == FileType::Directory;
            let file = entry.file_type() == FileType::RegularFile;
            if each(Dirent { name: &name, ino: entry.ino(), folder, file }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The target of the symlink `name`, as bytes.
    ///
    /// # Errors
    /// `EINVAL` if it is not a symlink.
    pub fn read_link(&self, name: &CStr) -> io::Result<Vec<u8>> {
        let on_disk = self.on_disk(name)?;
        let target = rustix::fs::readlinkat(&self.handle, &*on_disk, Vec::with_capacity(256))?;
        Ok(target.into_bytes())
    }

    /// Creates the folder `name`.
    ///
    /// # Errors
    /// `EEXIST` if the name exists.
    pub fn make_folder(&self, name: &CStr, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.handle, &*self.to_create(name)?, bits(mode))?)
    }

    /// Creates `name` as a hard link to `from_name` in `from`; a symlink is linked itself, not its
    /// target.
    ///
    /// # Errors
    /// Those of `linkat(2)`, among them `EEXIST`, `EMLINK` and `EPERM`.
    pub fn link(&self, name: &CStr, from: &Dir, from_name: &CStr) -> io::Result<()> {
        let (from_name, name) = (from.on_disk(from_name)?, self.to_create(name)?);
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(&from.handle, &*from_name, &self.handle, &*name, flags)?)
    }

    /// Creates the symlink `name`.
    ///
    /// # Errors
    /// `EEXIST` if the name exists.
    pub fn make_symlink(&self, name: &CStr, target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.handle, &*self.to_create(name)?)?)
    }

    /// Creates the fifo, socket or device `name`.
    ///
    /// # Errors
    /// `EPERM` for devices unless root.
    pub fn make_node(&self, name: &CStr, kind: Kind, mode: u32, rdev: u64) -> io::Result<()> {
        let kind = match kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::File | Kind::Folder | Kind::Symlink => return Err(Errno::INVAL.into()),
        };
        Ok(rustix::fs::mknodat(&self.handle, &*self.to_create(name)?, kind, bits(mode), rdev)?)
    }

    /// Removes the name of an entry that is not a folder.
    ///
    /// # Errors
    /// `EISDIR` for a folder.
    pub fn unlink(&self, name: &CStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, &*self.on_disk(name)?, AtFlags::empty())?)
    }

    /// Removes the empty folder `name`.
    ///
    /// # Errors
    /// `ENOTEMPTY` if it is not empty.
    pub fn remove_folder(&self, name: &CStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, &*self.on_disk(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Renames `from` to `to` within the folder; never replaces an entry.
    ///
    /// # Errors
    /// `EEXIST` if `to` exists.
    pub fn rename_new(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        self.move_new(from, self, to)
    }

    /// Moves `name` into the folder `to` under the name `new`; never replaces an entry.
    ///
    /// # Errors
    /// `EEXIST` if `new` exists.
    pub(crate) fn move_new(&self, name: &CStr, to: &Dir, new: &CStr) -> io::Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let (from, into) = (self.on_disk(name)?, to.to_create(new)?);
        match rustix::fs::renameat_with(&self.handle, &*from, &to.handle, &*into, flags) {
            // Kernels before 3.15 and some network file systems support no flags (renameat2(2)).
            Err(Errno::INVAL | Errno::NOSYS) => {
                if to.find(new)?.is_some() {
                    return Err(Errno::EXIST.into());
                }
                Ok(rustix::fs::renameat(&self.handle, &*from, &to.handle, &*into)?)
            }
            result => Ok(result?),
        }
    }

    /// Renames `from` to `to` within the folder and replaces an existing `to`.
    ///
    /// # Errors
    /// Those of `renameat(2)`.
    pub fn rename_over(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        self.move_to(from, self, to)
    }

    /// Moves `name` into the folder `to` under the name `new` and replaces an existing entry.
    ///
    /// # Errors
    /// Those of `renameat(2)`.
    pub fn move_to(&self, name: &CStr, to: &Dir, new: &CStr) -> io::Result<()> {
        let (from, into) = (self.on_disk(name)?, to.to_create(new)?);
        Ok(rustix::fs::renameat(&self.handle, &*from, &to.handle, &*into)?)
    }

    /// Syncs the names in the folder to disk.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    /// Duplicates the handle.
    ///
    /// # Errors
    /// `EMFILE` if too many are open.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (handle, names) = (self.handle.try_clone()?, self.names.clone());
        Ok(Self { handle, names, lists_acls: self.lists_acls.clone() })
    }

    /// Whether ACLs are among the attributes that the file system lists for entries of this folder.
    pub(crate) fn lists_acls(&self) -> bool {
        *self.lists_acls.get_or_init(|| lists_acls(&self.handle))
    }

    /// The subfolder `name`, which is open as `opened`.
    fn subfolder(&self, name: &CStr, opened: OwnedFd) -> Self {
        let names = self.names.as_ref().map(|names| names.child(name));
        Self { handle: opened.into(), names, lists_acls: OnceLock::new() }
    }

    /// The name on the disk of the entry `name`, to look it up.
    pub(crate) fn on_disk<'a>(&self, name: &'a CStr) -> io::Result<Cow<'a, CStr>> {
        let name = single(name)?;
        self.names.as_ref().map_or(Ok(Cow::Borrowed(name)), |names| names.on_disk(name))
    }

    /// The name on the disk under which to create the entry `name`.
    fn to_create<'a>(&self, name: &'a CStr) -> io::Result<Cow<'a, CStr>> {
        let name = single(name)?;
        self.names.as_ref().map_or(Ok(Cow::Borrowed(name)), |names| names.to_create(name))
    }
}

impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Self {
        Self { handle: fd.into(), names: None, lists_acls: OnceLock::new() }
    }
}

impl OpenFile for Dir {
    fn file(&self) -> &File {
        &self.handle
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Calls `open` with `O_NOATIME`; if that is refused because only the owner may use it (open(2)),
/// without it.
fn unseen<T>(flags: OFlags, open: impl Fn(OFlags) -> Result<T, Errno>) -> io::Result<T> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(open(flags)?),
        result => Ok(result?),
    }
}

/// Checks that `name` stays in its folder. Names are checked where they enter the program; this is
/// a second line of defence.
fn single(name: &CStr) -> Result<&CStr, Errno> {
    let bytes = name.to_bytes();
    if bytes == b".." || bytes.contains(&b'/') { Err(Errno::INVAL) } else { Ok(name) }
}

#[cfg(test)]
mod tests;

//! A handle of an entry of any type. Changes through it reach that inode, even if its name now
//! belongs to another entry.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::entry::{Kind, Meta, Time};
use crate::fs::dir::Dir;
use crate::fs::file_system::PROC;
use crate::fs::metadata::stat::{bits, meta_of, stamps};
use crate::fs::mount::point::{MountPoint, is_same_mount};

/// An entry held with `O_PATH`, without opening it for reading.
#[derive(Debug)]
pub struct Node(OwnedFd);

impl Dir {
    /// A handle of `name` itself; of a symlink, not of its target.
    ///
    /// # Errors
    /// `ENOENT` if the name does not exist.
    pub fn node(&self, name: &CStr) -> io::Result<Node> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let on_disk = self.on_disk(name)?;
        Ok(Node(rustix::fs::openat(&self.handle, &*on_disk, flags, Mode::empty())?))
    }

    /// A path of `name` itself that leads through the handle of the folder.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub(crate) fn by_proc(&self, name: &CStr) -> io::Result<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let name = self.on_disk(name)?;
        let folder = by_proc(self.handle.as_fd())?;
        Ok(Path::new(&folder).join(OsStr::from_bytes(name.to_bytes())))
    }

    /// A handle of the target of `name`, for sources whose user requested to follow symlinks.
    ///
    /// # Errors
    /// `ENOENT` if the target does not exist.
    pub fn node_followed(&self, name: &CStr) -> io::Result<Node> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let on_disk = self.on_disk(name)?;
        Ok(Node(rustix::fs::openat(&self.handle, &*on_disk, flags, Mode::empty())?))
    }

    /// Opens the child folder `name` as [`Dir::child_here`]. If its mode denies access to the owner,
    /// sets `mode` first.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` if it is not a folder, [`MountPoint`] if it is a mount point.
    pub(crate) fn child_opened_up(&self, name: &CStr, mode: u32) -> io::Result<Self> {
        match self.child_here(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let node = self.node(name)?;
                if node.meta()?.kind != Kind::Folder {
                    return Err(Errno::NOTDIR.into());
                }
                if !is_same_mount(self, &node)? {
                    return Err(MountPoint.into());
                }
                node.set_mode(mode)?;
                let opened = node.open_folder()?;
                Ok(Self { names: self.names.as_ref().map(|names| names.child(name)), ..opened })
            }
            opened => opened,
        }
    }

    /// Sets `mode` on the folder and opens it again for reading, even if this handle has no read
    /// permission.
    ///
    /// # Errors
    /// `EPERM` if not permitted.
    pub(crate) fn with_mode(&self, mode: u32) -> io::Result<Self> {
        let node = Node(self.handle.try_clone()?.into());
        match crate::fs::metadata::stat::set_mode(&self.handle, mode) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => {
                node.set_mode(mode)?;
            }
            set => set?,
        }
        Ok(Self { names: self.names.clone(), ..node.open_folder()? })
    }

    /// Creates `name` as a hard link to the inode of `node`.
    ///
    /// # Errors
    /// As for [`Dir::link`].
    pub fn link_node(&self, name: &CStr, node: &Node) -> io::Result<()> {
        let name = self.to_create(name)?;
        match rustix::fs::linkat(&node.0, c"", &self.handle, &*name, AtFlags::EMPTY_PATH) {
            // Without CAP_DAC_READ_SEARCH (linkat(2)).
            Err(Errno::NOENT) => {
                let path = by_proc(node.as_fd())?;
                Ok(rustix::fs::linkat(CWD, &path, &self.handle, &*name, AtFlags::SYMLINK_FOLLOW)?)
            }
            result => Ok(result?),
        }
    }
}

impl Node {
    /// The metadata.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::fstat(&self.0)?))
    }

    /// Type and identity of its file system (statfs(2), `f_type` and `f_fsid`).
    #[must_use]
    pub fn file_system(&self) -> Option<String> {
        file_system(&self.0)
    }

    /// Whether it is on procfs.
    pub(crate) fn is_on_proc(&self) -> bool {
        is_proc(rustix::fs::fstatfs(&self.0))
    }

    /// Sets owner and group.
    ///
    /// # Errors
    /// `EPERM` if not permitted.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(rustix::fs::chownat(&self.0, c"", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Sets the mode. Not for symlinks.
    ///
    /// # Errors
    /// `EPERM` if not permitted. An error if `/proc` is not mounted, because no library provides
    /// fchmodat2(2) yet.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let path = by_proc(self.as_fd())?;
        Ok(rustix::fs::chmodat(CWD, &path, bits(mode), AtFlags::empty())?)
    }

    /// Sets the modification time.
    ///
    /// # Errors
    /// `EPERM` if not permitted.
    pub fn set_mtime(&self, mtime: Time) -> io::Result<()> {
        match rustix::fs::utimensat(&self.0, c"", &stamps(mtime), AtFlags::EMPTY_PATH) {
            // Kernels before 5.8.
            Err(Errno::INVAL) => {
                let path = by_proc(self.as_fd())?;
                Ok(rustix::fs::utimensat(CWD, &path, &stamps(mtime), AtFlags::empty())?)
            }
            result => Ok(result?),
        }
    }

    /// A handle of the folder `name` in this folder. Fails for a symlink.
    pub(crate) fn enter(&self, name: &CStr) -> io::Result<Self> {
        // O_DIRECTORY triggers an automounter (open(2), O_PATH).
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Like [`Dir::node`], for an entry of this folder.
    pub(crate) fn child(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The target of a symlink.
    ///
    /// # Errors
    /// `ENOENT` if it is not a symlink (readlink(2)).
    pub fn read_link(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, c"", Vec::with_capacity(256))?.into_bytes())
    }

    /// Duplicates the handle.
    ///
    /// # Errors
    /// `EMFILE` if too many are open.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Converts it to a folder handle without read permission, for fstat and as a parent.
    #[must_use]
    pub fn pass(self) -> Dir {
        self.0.into()
    }

    /// Opens it as a folder for reading.
    ///
    /// # Errors
    /// `ENOTDIR` if it is not a folder.
    pub fn open_folder(&self) -> io::Result<Dir> {
        Ok(rustix::fs::openat(&self.0, c".", crate::fs::dir::FOLDER, Mode::empty())?.into())
    }
}

impl From<OwnedFd> for Node {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Type and identity of the file system of an open entry (statfs(2), `f_type` and `f_fsid`).
#[must_use]
pub fn file_system(fd: impl AsFd) -> Option<String> {
    let kind = rustix::fs::fstatfs(&fd).ok()?.f_type;
    let id = rustix::fs::fstatvfs(&fd).ok()?.f_fsid;
    Some(format!("{kind:x}:{id:016x}"))
}

/// Whether `/proc` is mounted. Without it, attributes and modes cannot be set through every kind of
/// handle.
#[must_use]
pub fn proc_is_mounted() -> bool {
    static IS_PROC: OnceLock<bool> = OnceLock::new();
    *IS_PROC.get_or_init(|| is_proc(rustix::fs::statfs("/proc")))
}

#[expect(clippy::cast_sign_loss, reason = "the field's type differs between machines")]
fn is_proc(file_system: Result<rustix::fs::StatFs, Errno>) -> bool {
    file_system.is_ok_and(|it| it.f_type as u64 == PROC)
}

/// The procfs path of the inode of `fd` (proc_pid_fd(5)), for system calls that do not accept a
/// handle of `O_PATH`.
///
/// # Errors
/// `/proc` is not mounted. The name of the entry is no substitute.
pub(crate) fn by_proc(fd: BorrowedFd<'_>) -> io::Result<String> {
    if !proc_is_mounted() {
        return Err(io::Error::other(
            "/proc is not mounted, and without it the change could reach another file of the same name; mount /proc",
        ));
    }
    Ok(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_set_on_the_open_inode_and_not_on_the_one_that_has_its_name_now() {
        let top = tempfile::tempdir().unwrap();
        let dir = Dir::at(top.path()).unwrap();
        dir.create_file(c"victim", 0o644).unwrap();
        dir.make_node(c"fifo", Kind::Fifo, 0o600, 0).unwrap();
        let victim = dir.stat(c"victim").unwrap();
        let node = dir.node(c"fifo").unwrap();
        dir.rename_over(c"fifo", c"moved").unwrap();
        dir.make_symlink(c"fifo", b"victim").unwrap();
        node.set_mode(0o4711).unwrap();
        node.set_mtime(Time { secs: 1_000_000_007, nanos: 5 }).unwrap();
        assert_eq!(dir.stat(c"victim").unwrap().mode, victim.mode);
        assert_eq!(dir.stat(c"victim").unwrap().mtime, victim.mtime);
        let moved = dir.stat(c"moved").unwrap();
        assert_eq!((moved.mode, moved.mtime.secs, moved.mtime.nanos), (0o4711, 1_000_000_007, 5));
        dir.link_node(c"again", &node).unwrap();
        assert_eq!(dir.stat(c"again").unwrap().id, moved.id);
        // A symlink has its own time.
        let link = dir.node(c"fifo").unwrap();
        link.set_mtime(Time { secs: 1_000_000_009, nanos: 0 }).unwrap();
        assert_eq!(dir.stat(c"fifo").unwrap().mtime.secs, 1_000_000_009);
        assert_eq!(dir.stat(c"victim").unwrap().mtime, victim.mtime);
    }
}

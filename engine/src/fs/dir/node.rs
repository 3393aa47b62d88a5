//! A handle of an entry of any kind: what is set through it reaches that inode, whatever has its name now.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::entry::{Kind, Meta, Time};
use crate::fs::dir::{Dir, single};
use crate::fs::stat::{bits, meta_of, stamps};

/// The number of procfs, of `statfs(2)`.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// An entry, held without being opened for reading (`O_PATH`).
#[derive(Debug)]
pub struct Node(OwnedFd);

impl Dir {
    /// A handle of `name` itself; of a symlink, not of what it points to.
    ///
    /// # Errors
    /// `ENOENT` when there is nothing of that name.
    pub fn node(&self, name: &CStr) -> io::Result<Node> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Node(rustix::fs::openat(&self.0, single(name)?, flags, Mode::empty())?))
    }

    /// A handle of what `name` leads to, through symlinks too: for sources whose user asked for it.
    ///
    /// # Errors
    /// `ENOENT` when it leads nowhere.
    pub fn node_followed(&self, name: &CStr) -> io::Result<Node> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(Node(rustix::fs::openat(&self.0, single(name)?, flags, Mode::empty())?))
    }

    /// Opens the child folder `name`, also one whose mode keeps its owner out: that it gets `mode` first.
    ///
    /// # Errors
    /// `ENOTDIR` or `ELOOP` when it is no folder.
    pub(crate) fn child_opened_up(&self, name: &CStr, mode: u32) -> io::Result<Self> {
        match self.child(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let node = self.node(name)?;
                if node.meta()?.kind != Kind::Folder {
                    return Err(Errno::NOTDIR.into());
                }
                node.set_mode(mode)?;
                node.open_folder()
            }
            opened => opened,
        }
    }

    /// Gives the folder `mode`, and opens it once more, for reading also when it was opened to pass through only.
    ///
    /// # Errors
    /// `EPERM` when not allowed.
    pub(crate) fn with_mode(&self, mode: u32) -> io::Result<Self> {
        let node = Node(self.0.try_clone()?);
        match crate::fs::stat::set_mode(&self.0, mode) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => {
                node.set_mode(mode)?;
            }
            set => set?,
        }
        node.open_folder()
    }

    /// Makes `name` another name of the inode that `node` holds.
    ///
    /// # Errors
    /// As [`Dir::link`].
    pub fn link_node(&self, name: &CStr, node: &Node) -> io::Result<()> {
        let name = single(name)?;
        match rustix::fs::linkat(&node.0, c"", &self.0, name, AtFlags::EMPTY_PATH) {
            // Without CAP_DAC_READ_SEARCH (linkat(2)).
            Err(Errno::NOENT) => {
                let path = by_proc(node.as_fd())?;
                Ok(rustix::fs::linkat(CWD, &path, &self.0, name, AtFlags::SYMLINK_FOLLOW)?)
            }
            result => Ok(result?),
        }
    }
}

impl Node {
    /// What it is.
    ///
    /// # Errors
    /// The system's, of `fstat(2)`.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::fstat(&self.0)?))
    }

    /// Type and identity of the file system that it lies on (statfs(2), `f_type` and `f_fsid`).
    #[must_use]
    pub fn file_system(&self) -> Option<String> {
        file_system(&self.0)
    }

    /// Whether it lies on procfs.
    pub(crate) fn is_on_proc(&self) -> bool {
        is_proc(rustix::fs::fstatfs(&self.0))
    }

    /// Sets owner and group.
    ///
    /// # Errors
    /// `EPERM` when not allowed.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(rustix::fs::chownat(&self.0, c"", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Sets the mode of anything but a symlink.
    ///
    /// # Errors
    /// `EPERM` when not allowed; when `/proc` is not mounted, as fchmodat2(2) is in no library yet.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let path = by_proc(self.as_fd())?;
        Ok(rustix::fs::chmodat(CWD, &path, bits(mode), AtFlags::empty())?)
    }

    /// Sets the modification time.
    ///
    /// # Errors
    /// `EPERM` when not allowed.
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

    /// A handle of the folder `name` in this folder; of a symlink none.
    pub(crate) fn enter(&self, name: &CStr) -> io::Result<Self> {
        // With O_DIRECTORY an automounter mounts what belongs there (open(2), O_PATH).
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// As [`Dir::node`], of an entry of this folder.
    pub(crate) fn child(&self, name: &CStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The target of a symlink.
    ///
    /// # Errors
    /// `ENOENT` when it is none (readlink(2)).
    pub fn read_link(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, c"", Vec::with_capacity(256))?.into_bytes())
    }

    /// A second handle of the same.
    ///
    /// # Errors
    /// `EMFILE` when too many are open.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// The folder as it is, to pass through and to look at where it may not be read.
    #[must_use]
    pub fn pass(self) -> Dir {
        Dir(self.0)
    }

    /// Opens it as a folder for reading.
    ///
    /// # Errors
    /// `ENOTDIR` when it is none.
    pub fn open_folder(&self) -> io::Result<Dir> {
        Ok(Dir(rustix::fs::openat(&self.0, c".", crate::fs::dir::FOLDER, Mode::empty())?))
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

/// Whether `/proc` is mounted, without which attributes and modes cannot be set through every kind of handle.
#[must_use]
pub fn proc_is_mounted() -> bool {
    static IS_PROC: OnceLock<bool> = OnceLock::new();
    *IS_PROC.get_or_init(|| is_proc(rustix::fs::statfs("/proc")))
}

#[expect(clippy::cast_sign_loss, reason = "the field's type differs between machines")]
fn is_proc(file_system: Result<rustix::fs::StatFs, Errno>) -> bool {
    file_system.is_ok_and(|it| it.f_type as u64 == PROC_SUPER_MAGIC)
}

/// The path by which procfs leads to the inode of `fd` and to no other (proc_pid_fd(5)), for calls that take
/// no handle opened with `O_PATH`.
///
/// # Errors
/// When `/proc` is not mounted: no name may be used instead.
pub(crate) fn by_proc(fd: BorrowedFd<'_>) -> io::Result<String> {
    if !proc_is_mounted() {
        return Err(io::Error::other(
            "/proc is not mounted, and without it this could reach another file of that name; mount it",
        ));
    }
    Ok(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_reaches_the_held_inode_and_not_what_has_its_name_now() {
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
        // Of a symlink its own time.
        let link = dir.node(c"fifo").unwrap();
        link.set_mtime(Time { secs: 1_000_000_009, nanos: 0 }).unwrap();
        assert_eq!(dir.stat(c"fifo").unwrap().mtime.secs, 1_000_000_009);
        assert_eq!(dir.stat(c"victim").unwrap().mtime, victim.mtime);
    }
}

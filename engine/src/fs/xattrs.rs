//! Extended attributes and POSIX ACLs of entries, and the attribute that holds a file's hash.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use xattr::FileExt;

use crate::entry::Xattrs;
use crate::entry::digest::Method;
use crate::entry::overlay::Refused;
use crate::fs::dir::Dir;
use crate::fs::dir::node::Node;
use crate::fs::refusal::has_no_room;

/// Where a copied file's BLAKE3 stands: 32 raw bytes, which fit into a 256-byte ext4 inode.
pub const HASH: &str = "user.backup_manager.blake3";
/// The same, of a file with large holes ([`Method::Runs`]).
const HASH_OF_RUNS: &str = "user.backup_manager.blake3-runs-1";
/// Where it is told how far a file was written that is not whole yet.
const MARKS: &str = "user.backup_manager.partial";
/// Attributes of ours, which are never copied from a source.
const OURS: &[u8] = b"user.backup_manager.";
/// Attributes of rsync's, of which it does not copy any either (rsync(1), `--xattrs`).
const RSYNCS: &[u8] = b"user.rsync.%";
/// ACLs (acl(5)) are attributes of these names in the kernel's own format.
pub(crate) const ACL: &[u8] = b"system.posix_acl_";

/// How xfs shows to root, a second time, what the ACLs already tell (fs/xfs/xfs_xattr.c).
const SGI_ACL: &[u8] = b"trusted.SGI_ACL_";

/// Which attributes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// `-X`.
    pub xattrs: bool,
    /// `-A`.
    pub acls: bool,
}

impl Asked {
    /// Whether there is anything to read.
    #[must_use]
    pub fn any(self) -> bool {
        self.xattrs || self.acls
    }

    fn takes(self, name: &[u8]) -> bool {
        if name.starts_with(ACL) {
            self.acls
        } else {
            self.xattrs
                && ![b"system.", SGI_ACL, OURS, RSYNCS].iter().any(|not| name.starts_with(not))
        }
    }
}

/// Reads the attributes of `name` in `dir` that are asked for, sorted; none where the file system has none.
///
/// # Errors
/// The system's, of `openat(2)`, `listxattr(2)` and `getxattr(2)`; when `/proc` is not mounted.
pub fn read(dir: &Dir, name: &CStr, asked: Asked) -> io::Result<Xattrs> {
    if asked.any() { read_node(&dir.node(name)?, asked) } else { Ok(Xattrs::new()) }
}

/// As [`read`], for the folder itself.
///
/// # Errors
/// As [`read`].
pub fn read_own(dir: &Dir, asked: Asked) -> io::Result<Xattrs> {
    read_held(dir, asked)
}

/// As [`read`], of a held entry of any kind.
///
/// # Errors
/// As [`read`]; when `/proc` is not mounted.
pub fn read_node(node: &Node, asked: Asked) -> io::Result<Xattrs> {
    if !asked.any() {
        return Ok(Xattrs::new());
    }
    // The path leads to the held inode; a handle of O_PATH is taken by none of these calls (open(2)).
    let path = crate::fs::dir::node::by_proc(node.as_fd())?;
    chosen(xattr::list_deref(&path), asked, |name| xattr::get_deref(&path, name))
}

/// The attribute `key` of `name` in `dir`.
///
/// # Errors
/// As [`read`].
pub(crate) fn value(dir: &Dir, name: &CStr, key: &OsStr) -> io::Result<Option<Vec<u8>>> {
    xattr::get_deref(crate::fs::dir::node::by_proc(dir.node(name)?.as_fd())?, key)
}

/// The attributes of those names that are asked for, sorted.
fn chosen(
    names: io::Result<xattr::XAttrs>,
    asked: Asked,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Xattrs> {
    let names = match names {
        Ok(names) => names,
        Err(error) if unsupported(&error) => return Ok(Xattrs::new()),
        Err(error) => return Err(error),
    };
    let mut found = Xattrs::new();
    for name in names.filter(|name| asked.takes(name.as_bytes())) {
        if let Some(value) = get(&name)? {
            found.push((name.as_bytes().to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the attributes of a held entry that are asked for, as [`read`] does.
///
/// # Errors
/// As [`read`]; for a handle of `O_PATH` also when `/proc` is not mounted.
pub(crate) fn read_held(fd: impl AsFd, asked: Asked) -> io::Result<Xattrs> {
    if !asked.any() {
        return Ok(Xattrs::new());
    }
    let held = Held(fd.as_fd());
    let names = held.either(|held| held.list_xattr(), |path| xattr::list_deref(path));
    chosen(names, asked, |name| {
        held.either(|held| held.get_xattr(name), |path| xattr::get_deref(path, name))
    })
}

/// Makes the attributes of a held entry those of `wanted`, among the ones asked for. Returns what could
/// not be set.
///
/// # Errors
/// When the destination is full or fails; for a handle of `O_PATH` also when `/proc` is not mounted.
pub(crate) fn write(
    fd: impl AsFd,
    wanted: &[(Vec<u8>, Vec<u8>)],
    asked: Asked,
) -> io::Result<Refused> {
    let mut refused = Refused::default();
    for (name, _) in read_held(&fd, asked)? {
        if !wanted.iter().any(|(kept, _)| *kept == name) {
            // One that cannot be removed was put there by the system (a security module's label).
            let _ = remove(&fd, OsStr::from_bytes(&name));
        }
    }
    for (name, value) in wanted {
        match set(&fd, OsStr::from_bytes(name), value) {
            Ok(()) => {}
            Err(error) if may_be_refused(&error, &fd) => {
                refused.no_room |= is_too_large(&error);
                refused.attributes.push((name.clone(), value.clone()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

/// Sets an attribute of a held entry.
///
/// # Errors
/// The system's, of `fsetxattr(2)`.
pub(crate) fn set(fd: impl AsFd, name: &OsStr, value: &[u8]) -> io::Result<()> {
    Held(fd.as_fd())
        .either(|held| held.set_xattr(name, value), |path| xattr::set_deref(path, name, value))
}

/// Removes an attribute of a held entry.
///
/// # Errors
/// The system's, of `fremovexattr(2)`.
pub(crate) fn remove(fd: impl AsFd, name: &OsStr) -> io::Result<()> {
    Held(fd.as_fd()).either(|held| held.remove_xattr(name), |path| xattr::remove_deref(path, name))
}

/// Removes the ACLs of a held folder, which it may have from its parent (acl(5)).
pub(crate) fn remove_acls(fd: impl AsFd) {
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        // Where there is none, or none can be, there is nothing to remove.
        let _ = remove(&fd, OsStr::new(acl));
    }
}

/// A held entry. The calls of fsetxattr(2) and its like take no handle of `O_PATH`, which is the only one of
/// a symlink, fifo, socket or device: those are reached by the path of procfs that leads to that inode.
struct Held<'a>(BorrowedFd<'a>);

impl AsRawFd for Held<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl FileExt for Held<'_> {}

impl Held<'_> {
    fn either<T>(
        &self,
        by_handle: impl FnOnce(&Self) -> io::Result<T>,
        by_path: impl FnOnce(&str) -> io::Result<T>,
    ) -> io::Result<T> {
        match by_handle(self) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => {
                by_path(&crate::fs::dir::node::by_proc(self.0)?)
            }
            result => result,
        }
    }
}

/// Records `hash` as that of the content of `file`; `false` where the file system has no attributes, or the file no room for
/// one more.
///
/// # Errors
/// When the destination is full or fails.
pub fn set_hash(file: &File, hash: &blake3::Hash) -> io::Result<bool> {
    set_hash_by(file, Method::Plain, hash)
}

/// As [`set_hash`], of a hash that was taken by `method`.
///
/// # Errors
/// As [`set_hash`].
pub(crate) fn set_hash_by(file: &File, method: Method, hash: &blake3::Hash) -> io::Result<bool> {
    let name = match method {
        Method::Plain => HASH,
        Method::Runs => HASH_OF_RUNS,
    };
    match file.set_xattr(name, hash.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if may_be_refused(&error, file) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The hash that was recorded for the content of `file`, if any.
///
/// # Errors
/// The system's, of `fgetxattr(2)`.
pub fn hash(file: &File) -> io::Result<Option<blake3::Hash>> {
    match file.get_xattr(HASH) {
        Ok(value) => Ok(value.and_then(|bytes| blake3::Hash::from_slice(&bytes).ok())),
        Err(error) if unsupported(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What stands where a hash is recorded, whether it is one or not, and how it was taken.
///
/// # Errors
/// The system's, of `fgetxattr(2)`.
pub(crate) fn recorded(file: &File) -> io::Result<Option<(Method, Vec<u8>)>> {
    for (method, name) in [(Method::Plain, HASH), (Method::Runs, HASH_OF_RUNS)] {
        match file.get_xattr(name) {
            Ok(None) => {}
            Ok(Some(value)) => return Ok(Some((method, value))),
            Err(error) if unsupported(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The hash that was recorded for the content of `file`, if any, and how it was taken.
///
/// # Errors
/// As [`recorded`].
pub(crate) fn hash_and_method(file: &File) -> io::Result<Option<(Method, blake3::Hash)>> {
    let hash = |(method, value): (Method, Vec<u8>)| {
        blake3::Hash::from_slice(&value).ok().map(|hash| (method, hash))
    };
    Ok(recorded(file)?.and_then(hash))
}

/// How far `file` was written, if that was told.
///
/// # Errors
/// The system's, of `fgetxattr(2)`.
pub fn marks(file: &File) -> io::Result<Option<Vec<u8>>> {
    match file.get_xattr(MARKS) {
        Err(error) if unsupported(&error) => Ok(None),
        found => found,
    }
}

/// Tells how far `file` was written.
///
/// # Errors
/// The system's, of `fsetxattr(2)`.
pub fn set_marks(file: &File, marks: &[u8]) -> io::Result<()> {
    file.set_xattr(MARKS, marks)
}

/// Forgets how far `file` was written.
///
/// # Errors
/// The system's, of `fremovexattr(2)`.
pub fn remove_marks(file: &File) -> io::Result<()> {
    file.remove_xattr(MARKS)
}

/// Whether an entry has attributes whose names the system cannot list: more than 64 KiB of them (listxattr(2)).
#[must_use]
pub fn cannot_be_listed(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::TOOBIG | Errno::RANGE | Errno::OVERFLOW))
}

fn unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTSUP | Errno::NOSYS))
}

/// Whether an attribute that is refused is one too large or one too many.
fn is_too_large(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::TOOBIG | Errno::FBIG | Errno::RANGE)
    )
}

/// Whether the destination will never take a value of the entry `fd`: no attributes, not allowed, too large for the file
/// system, or an owner that it cannot map. ext4 says `ENOSPC` when all attributes of an inode do not fit into its one block
/// (xattr(7)), a full disk says so too: of a disk with room it is a refusal. `EDQUOT` may be about another user's quota.
/// What is refused is written to the sidecar: where the disk is full after all, that fails.
pub(crate) fn may_be_refused(error: &io::Error, fd: impl AsFd) -> bool {
    match Errno::from_io_error(error) {
        Some(
            Errno::NOTSUP
            | Errno::NOSYS
            | Errno::PERM
            | Errno::ACCESS
            | Errno::TOOBIG
            | Errno::FBIG
            | Errno::OVERFLOW
            | Errno::RANGE
            | Errno::INVAL,
        ) => true,
        Some(Errno::NOSPC | Errno::DQUOT) => !has_no_room(fd),
        _ => false,
    }
}

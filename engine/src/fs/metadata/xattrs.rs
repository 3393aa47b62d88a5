//! Extended attributes and POSIX ACLs of entries, and the attribute that holds the hash of a file.

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
use crate::fs::file_system::lists_acls;
use crate::fs::metadata::listed_at;
use crate::fs::refusal::has_no_room;

/// The attribute with the BLAKE3 of a copied file: 32 raw bytes, which fit into an ext4 inode of
/// 256 bytes.
pub const HASH: &str = "user.backup_manager.blake3";
/// The attribute for a file with large holes ([`Method::Runs`]).
const HASH_OF_RUNS: &str = "user.backup_manager.blake3-runs-1";
/// The attribute that records how much of an unfinished file was written.
const MARKS: &str = "user.backup_manager.partial";
/// The prefix of this program's attributes, which are never copied from a source.
const OURS: &[u8] = b"user.backup_manager.";
/// The prefix of rsync's attributes, which rsync does not copy either (rsync(1), `--xattrs`).
const RSYNCS: &[u8] = b"user.rsync.%";
/// The prefix of ACLs (acl(5)), which are attributes in the kernel's own format.
pub(crate) const ACL: &[u8] = b"system.posix_acl_";

/// The two ACLs. Only a folder has the second one.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// The prefix under which xfs shows the ACLs to root a second time (fs/xfs/xfs_xattr.c).
const SGI_ACL: &[u8] = b"trusted.SGI_ACL_";

/// The attributes to read and write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XattrSelection {
    /// `-X`.
    pub xattrs: bool,
    /// `-A`.
    pub acls: bool,
}

impl XattrSelection {
    /// Whether any attributes are requested.
    #[must_use]
    pub fn any(self) -> bool {
        self.xattrs || self.acls
    }

    /// Whether an attribute with this name is one of them. Those of this program and of rsync never are.
    #[must_use]
    pub fn takes(self, name: &[u8]) -> bool {
        if name.starts_with(ACL) {
            self.acls
        } else {
            self.xattrs
                && ![b"system.", SGI_ACL, OURS, RSYNCS].iter().any(|not| name.starts_with(not))
        }
    }
}

/// Reads the requested attributes of `name` in `dir`, a folder of a snapshot, sorted by name. Empty if the file
/// system has none.
///
/// # Errors
/// Those of `openat(2)`, `listxattr(2)` and `getxattr(2)`; an error if `/proc` is not mounted.
pub fn read(dir: &Dir, name: &CStr, asked: XattrSelection) -> io::Result<Xattrs> {
    if !asked.any() {
        return Ok(Xattrs::new());
    }
    if asked.acls && !dir.lists_acls() {
        return read_node(&dir.node(name)?, asked);
    }
    if listed_at::has_none(dir.as_fd(), &dir.on_disk(name)?, |name| asked.takes(name)) {
        return Ok(Xattrs::new());
    }
    // Most entries have only attributes of this program. For those no handle is needed: no value is read.
    let mut names = match xattr::list(dir.by_proc(name)?) {
        Err(error) if unsupported(&error) => return Ok(Xattrs::new()),
        names => names?,
    };
    let any = names.any(|name| asked.takes(name.as_bytes()));
    if any { read_node(&dir.node(name)?, asked) } else { Ok(Xattrs::new()) }
}

/// Like [`read`], for the folder itself.
///
/// # Errors
/// As for [`read`].
pub fn read_own(dir: &Dir, asked: XattrSelection) -> io::Result<Xattrs> {
    read_held(dir, asked)
}

/// Like [`read`], for a handle of any type.
///
/// # Errors
/// As for [`read`].
pub fn read_node(node: &Node, asked: XattrSelection) -> io::Result<Xattrs> {
    if !asked.any() {
        return Ok(Xattrs::new());
    }
    // The path leads to the inode of the handle. These calls accept no handle of O_PATH (open(2)).
    let path = crate::fs::dir::node::by_proc(node.as_fd())?;
    let unlisted = asked.acls && !lists_acls(node);
    chosen(xattr::list_deref(&path), asked, unlisted, |name| xattr::get_deref(&path, name))
}

/// The attribute `key` of `name` in `dir`.
///
/// # Errors
/// As for [`read`].
pub(crate) fn value(dir: &Dir, name: &CStr, key: &OsStr) -> io::Result<Option<Vec<u8>>> {
    xattr::get_deref(crate::fs::dir::node::by_proc(dir.node(name)?.as_fd())?, key)
}

/// The attribute `key` of a folder itself; `None` also where the file system has none.
///
/// # Errors
/// As for [`read`].
pub(crate) fn own_value(dir: &Dir, key: &OsStr) -> io::Result<Option<Vec<u8>>> {
    match xattr::get_deref(crate::fs::dir::node::by_proc(dir.as_fd())?, key) {
        Err(error) if unsupported(&error) => Ok(None),
        value => value,
    }
}

/// Reads the requested ones of the attributes `names`, sorted. With `unlisted`, it also asks for ACLs that are not among them.
fn chosen(
    names: io::Result<xattr::XAttrs>,
    asked: XattrSelection,
    unlisted: bool,
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
    for acl in if unlisted { &ACLS[..] } else { &[] } {
        if found.iter().any(|(name, _)| name == acl.as_bytes()) {
            continue;
        }
        match get(OsStr::new(acl)) {
            Ok(value) => found.extend(value.map(|value| (acl.as_bytes().to_vec(), value))),
            Err(error) if is_no_acl(&error) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Like [`read`], for an open entry.
///
/// # Errors
/// As for [`read`]; for a handle of `O_PATH` also if `/proc` is not mounted.
pub(crate) fn read_held(fd: impl AsFd, asked: XattrSelection) -> io::Result<Xattrs> {
    if !asked.any() {
        return Ok(Xattrs::new());
    }
    let held = Handle(fd.as_fd());
    let names = held.either(|held| held.list_xattr(), |path| xattr::list_deref(path));
    let unlisted = asked.acls && !lists_acls(&fd);
    chosen(names, asked, unlisted, |name| {
        held.either(|held| held.get_xattr(name), |path| xattr::get_deref(path, name))
    })
}

/// Replaces the requested attributes of an open entry by `wanted`. Returns those that could not be
/// set.
///
/// # Errors
/// The destination is full or fails; for a handle of `O_PATH` also if `/proc` is not mounted.
pub(crate) fn write(
    fd: impl AsFd,
    wanted: &[(Vec<u8>, Vec<u8>)],
    asked: XattrSelection,
) -> io::Result<Refused> {
    let mut refused = Refused::default();
    for (name, _) in read_held(&fd, asked)? {
        if !wanted.iter().any(|(kept, _)| *kept == name) {
            // An attribute that cannot be removed belongs to the system (the label of a security
            // module).
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

/// Sets an attribute of an open entry.
///
/// # Errors
/// Those of `fsetxattr(2)`.
pub(crate) fn set(fd: impl AsFd, name: &OsStr, value: &[u8]) -> io::Result<()> {
    Handle(fd.as_fd())
        .either(|held| held.set_xattr(name, value), |path| xattr::set_deref(path, name, value))
}

/// Removes an attribute of an open entry.
///
/// # Errors
/// Those of `fremovexattr(2)`.
pub(crate) fn remove(fd: impl AsFd, name: &OsStr) -> io::Result<()> {
    Handle(fd.as_fd())
        .either(|held| held.remove_xattr(name), |path| xattr::remove_deref(path, name))
}

/// Removes the ACLs of an open folder, which it may have inherited from its parent (acl(5)).
pub(crate) fn remove_acls(fd: impl AsFd) {
    for acl in ACLS {
        // A missing ACL is not an error.
        let _ = remove(&fd, OsStr::new(acl));
    }
}

/// An open entry. fsetxattr(2) and related calls accept no handle of `O_PATH`, the only kind for a
/// symlink, fifo, socket or device. Those are reached through the procfs path of the inode.
struct Handle<'a>(BorrowedFd<'a>);

impl AsRawFd for Handle<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl FileExt for Handle<'_> {}

impl Handle<'_> {
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

/// Stores `hash` in the attribute of `file`. Returns `false` if the file system has no attributes
/// or the file has no room for another one.
///
/// # Errors
/// The destination is full or fails.
pub fn set_hash(file: &File, hash: &blake3::Hash) -> io::Result<bool> {
    set_hash_by(file, Method::Plain, hash)
}

/// Like [`set_hash`], for a hash of the given method.
///
/// # Errors
/// As for [`set_hash`].
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

/// The recorded hash of `file`, if any.
///
/// # Errors
/// Those of `fgetxattr(2)`.
pub fn hash(file: &File) -> io::Result<Option<blake3::Hash>> {
    match file.get_xattr(HASH) {
        Ok(value) => Ok(value.and_then(|bytes| blake3::Hash::from_slice(&bytes).ok())),
        Err(error) if unsupported(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The raw value of the hash attribute, which may be invalid, and its method.
///
/// # Errors
/// Those of `fgetxattr(2)`.
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

/// The recorded hash of `file` and its method, if any.
///
/// # Errors
/// As for [`recorded`].
pub(crate) fn hash_and_method(file: &File) -> io::Result<Option<(Method, blake3::Hash)>> {
    let hash = |(method, value): (Method, Vec<u8>)| {
        blake3::Hash::from_slice(&value).ok().map(|hash| (method, hash))
    };
    Ok(recorded(file)?.and_then(hash))
}

/// The recorded progress of the unfinished `file`, if any.
///
/// # Errors
/// Those of `fgetxattr(2)`.
pub fn marks(file: &File) -> io::Result<Option<Vec<u8>>> {
    match file.get_xattr(MARKS) {
        Err(error) if unsupported(&error) => Ok(None),
        found => found,
    }
}

/// Records the progress of the unfinished `file`.
///
/// # Errors
/// Those of `fsetxattr(2)`.
pub fn set_marks(file: &File, marks: &[u8]) -> io::Result<()> {
    file.set_xattr(MARKS, marks)
}

/// Removes the recorded progress.
///
/// # Errors
/// Those of `fremovexattr(2)`.
pub fn remove_marks(file: &File) -> io::Result<()> {
    file.remove_xattr(MARKS)
}

/// Whether the error means that the attributes of an entry cannot be listed, because their names
/// exceed 64 KiB (listxattr(2)).
#[must_use]
pub fn cannot_be_listed(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::TOOBIG | Errno::RANGE | Errno::OVERFLOW))
}

/// Whether the answer to a question about an ACL by name means that there is none. A FUSE file system may refuse the name.
fn is_no_acl(error: &io::Error) -> bool {
    unsupported(error)
        || matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::PERM | Errno::ACCESS))
}

fn unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTSUP | Errno::NOSYS))
}

/// Whether a refused attribute is too large, or one too many.
fn is_too_large(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::TOOBIG | Errno::FBIG | Errno::RANGE)
    )
}

/// Whether the destination will never accept a value of the entry `fd`: no attributes, no
/// permission, too large, or an owner that it cannot map. ext4 returns `ENOSPC` when the attributes
/// of an inode do not fit into its one block (xattr(7)), and so does a full disk, so `ENOSPC` with
/// free space is a refusal. `EDQUOT` may concern another user's quota. The refused value is then
/// written to the sidecar, which fails if the disk really is full.
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

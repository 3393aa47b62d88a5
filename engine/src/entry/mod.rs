//! Entries of a tree as values: what a source lists, and what a snapshot holds.

pub(crate) mod digest;
pub mod escape;
pub mod folder_digest;
pub(crate) mod hard_links;
pub mod human;
pub(crate) mod overlay;
pub(crate) mod preserve;
pub(crate) mod racy;
pub(crate) mod stored;
pub(crate) mod stored_name;
pub(crate) mod tree_path;

use std::ffi::{CStr, CString};
use std::io;

use rustix::io::Errno;

/// The longest name of an entry, bytes (`NAME_MAX`, limits.h).
pub const NAME_MAX: usize = 255;

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
}

impl Kind {
    /// Whether it is a device node.
    #[must_use]
    pub fn is_device(self) -> bool {
        matches!(self, Self::BlockDevice | Self::CharDevice)
    }

    /// Whether it is a named pipe or a socket.
    #[must_use]
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket)
    }
}

/// A time stamp of a file system.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Time {
    /// Seconds since 1970; negative before 1970.
    pub secs: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub nanos: u32,
}

/// Identifies an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// The metadata of an entry: what stat(2) returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Owner, numeric.
    pub uid: u32,
    /// Group, numeric.
    pub gid: u32,
    /// Bytes of content (files) or of the target (symlinks).
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Change time; zero if the source does not provide it.
    pub ctime: Time,
    /// Inode; `None` if the source does not provide it.
    pub id: Option<FileId>,
    /// The number of names of the inode; 1 if the source does not provide it.
    pub links: u64,
    /// The device that a device node refers to.
    pub rdev: u64,
    /// Bytes allocated on disk. Less than `size` for a file with holes.
    pub allocated: u64,
    /// Whether the source knows that the base has this inode under this name, too. Only a snapshot that is copied knows it,
    /// from the snapshot before it.
    pub is_shared: bool,
}

impl Meta {
    /// Metadata of which only the type is known: mode 0, owner 0, no time, no inode.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            ctime: Time::default(),
            id: None,
            links: 1,
            rdev: 0,
            allocated: 0,
            is_shared: false,
        }
    }
}

/// Extended attributes (name, value), sorted by name. ACLs are the attributes `system.posix_acl_*`.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Properties of an entry that its inode number and [`Meta`] do not contain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    /// The target of a symlink.
    pub target: Option<Vec<u8>>,
    /// Extended attributes and ACLs, if requested.
    pub xattrs: Xattrs,
    /// Attributes were requested, but the system cannot list them.
    pub xattrs_unread: bool,
}

impl Extra {
    /// Builds an [`Extra`] with attributes only. The flag says that they could not be listed.
    /// `None` if there are none.
    #[must_use]
    pub fn of_attributes((xattrs, xattrs_unread): (Xattrs, bool)) -> Option<Box<Self>> {
        let any = xattrs_unread || !xattrs.is_empty();
        any.then(|| Box::new(Self { target: None, xattrs, xattrs_unread }))
    }

    /// Approximate memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let xattrs = self.xattrs.iter().map(|(name, value)| name.len() + value.len());
        size_of::<Self>() + self.target.as_ref().map_or(0, Vec::len) + xattrs.sum::<usize>()
    }
}

/// An entry with its own copy of the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A single path component: 1 to 255 bytes, without `/`, never `.` or `..`.
    pub name: CString,
    /// The metadata.
    pub meta: Meta,
    /// Target and attributes, if any.
    pub extra: Option<Box<Extra>>,
}

impl Entry {
    /// The target of a symlink.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.extra.as_ref()?.target.as_deref()
    }

    /// Extended attributes, if requested.
    #[must_use]
    pub fn xattrs(&self) -> &[(Vec<u8>, Vec<u8>)] {
        self.extra.as_ref().map_or(&[], |extra| &extra.xattrs)
    }
}

/// A name that no entry can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source sent a name that no entry can have")]
pub struct BadName;

/// Checks that `name` is a valid path component.
///
/// # Errors
/// The empty name, `.`, `..`, a name that contains `/` or NUL, and a name of more than 255 bytes.
pub fn check_name(name: &[u8]) -> Result<(), BadName> {
    let forbidden = matches!(name, b"" | b"." | b"..")
        || name.len() > NAME_MAX
        || name.iter().any(|byte| matches!(byte, b'/' | 0));
    if forbidden { Err(BadName) } else { Ok(()) }
}

/// Entries of one folder. The names are packed together, so a batch needs only a few allocations.
#[derive(Debug, Default)]
pub struct Batch {
    names: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    name_at: usize,
    meta: Meta,
    extra: Option<Box<Extra>>,
}

impl Batch {
    /// An empty batch with room for `entries` whose names have `bytes` in all.
    #[must_use]
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { names: Vec::with_capacity(bytes + entries), slots: Vec::with_capacity(entries) }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// `name` is not a valid path component.
    pub fn push(
        &mut self,
        name: &[u8],
        meta: Meta,
        extra: Option<Box<Extra>>,
    ) -> Result<(), BadName> {
        check_name(name)?;
        self.slots.push(Slot { name_at: self.names.len(), meta, extra });
        self.names.extend_from_slice(name);
        self.names.push(0);
        Ok(())
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Approximate memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let extra = |slot: &Slot| slot.extra.as_ref().map_or(0, |extra| extra.bytes());
        let slots = self.slots.iter().map(|slot| size_of::<Slot>() + extra(slot));
        self.names.len() + slots.sum::<usize>()
    }

    /// Whether it contains no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The metadata of all entries, for changes.
    pub fn metas(&mut self) -> impl Iterator<Item = &mut Meta> {
        self.slots.iter_mut().map(|slot| &mut slot.meta)
    }

    /// The entries in insertion order.
    pub fn iter(&self) -> impl Iterator<Item = ListedEntry<'_>> {
        self.slots.iter().map(|slot| ListedEntry {
            name: CStr::from_bytes_until_nul(&self.names[slot.name_at..]).unwrap_or(c"?"),
            meta: &slot.meta,
            extra: slot.extra.as_deref(),
        })
    }
}

/// An entry of a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct ListedEntry<'a> {
    /// A single path component, checked.
    pub name: &'a CStr,
    /// The metadata.
    pub meta: &'a Meta,
    /// Target and attributes, if any.
    pub extra: Option<&'a Extra>,
}

impl ListedEntry<'_> {
    /// Copies the entry, for use after the batch is gone.
    #[must_use]
    pub fn to_entry(self) -> Entry {
        Entry {
            name: self.name.to_owned(),
            meta: self.meta.clone(),
            extra: self.extra.map(|extra| Box::new(extra.clone())),
        }
    }

    /// The size of a regular file, bytes; 0 for all other entries.
    #[must_use]
    pub fn file_size(self) -> u64 {
        if self.meta.kind == Kind::File { self.meta.size } else { 0 }
    }

    /// The target of a symlink.
    #[must_use]
    pub fn target(self) -> Option<Vec<u8>> {
        self.extra?.target.clone()
    }
}

impl<'a> From<&'a Entry> for ListedEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self { name: &entry.name, meta: &entry.meta, extra: entry.extra.as_deref() }
    }
}

/// Converts a name for a system call.
///
/// # Errors
/// `EINVAL` when it contains a NUL.
pub fn c_name(name: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(name).map_err(|_| Errno::INVAL.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
            assert_eq!(check_name(name), Err(BadName));
        }
        for name in [&b"a"[..], b"...", b"\xff\n", &[b'x'; 255]] {
            assert_eq!(check_name(name), Ok(()));
        }
    }
}

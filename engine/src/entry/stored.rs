//! An entry as a snapshot stores it.

use crate::entry::{Meta, Xattrs};

/// An entry of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The metadata of the inode, with the owner and mode of the source (from the sidecar if the
    /// file system cannot hold them).
    pub meta: Meta,
    /// The target of a symlink.
    pub target: Option<Vec<u8>>,
    /// Attributes, if requested.
    pub xattrs: Xattrs,
    /// Whether the snapshot has an inode for it. Otherwise only the sidecar has a record.
    pub on_disk: bool,
}

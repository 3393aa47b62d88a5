//! An entry as a snapshot stores it.

use crate::entry::{Meta, Xattrs};

/// What a snapshot holds under some name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The inode, with owner and mode as they are meant (what the file system could not hold put back).
    pub meta: Meta,
    /// The target of a symlink.
    pub target: Option<Vec<u8>>,
    /// Attributes that were asked for.
    pub xattrs: Xattrs,
    /// Whether there is an inode; otherwise only a record is kept beside the snapshot.
    pub on_disk: bool,
}

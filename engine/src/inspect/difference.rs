//! A difference between two snapshots, and the totals of a comparison.

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Exists only in the second snapshot.
    Added,
    /// Exists only in the first snapshot.
    Removed,
    /// Has other content or another type.
    Changed,
    /// Has the same content, but another owner, mode, time or attribute.
    Metadata,
    /// Has the same inode, or the same hash and size, under another path.
    Renamed,
}

/// One difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How the entry differs.
    pub kind: DifferenceKind,
    /// The path inside the second snapshot; for a removed entry, inside the first.
    pub path: Vec<u8>,
    /// For a renamed entry: its path inside the first snapshot.
    pub from: Option<Vec<u8>>,
    /// Whether the entry is a folder.
    pub folder: bool,
    /// Bytes of content in the second snapshot; for a removed entry, in the first.
    pub bytes: u64,
}

/// The totals of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Differences {
    /// Entries only in the second snapshot.
    pub added: u64,
    /// Entries only in the first snapshot.
    pub removed: u64,
    /// Entries with other content or another type.
    pub changed: u64,
    /// Entries with the same content and other metadata.
    pub metadata: u64,
    /// Entries under another path.
    pub renamed: u64,
    /// Entries that are equal in both.
    pub unchanged: u64,
    /// Bytes of added and changed files.
    pub bytes_added: u64,
    /// Bytes of removed files.
    pub bytes_removed: u64,
    /// Whether more than 200,000 entries differ, so that some renames may
    /// be counted as added and removed.
    pub renames_unsure: bool,
    /// Folders that could not be read: escaped path and reason.
    pub unread: Vec<(String, String)>,
    /// Entries of the source that could not be read. Each was reported as an event.
    pub unread_entries: u64,
}

impl Differences {
    /// Whether there are no differences.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.added + self.removed + self.changed + self.metadata + self.renamed == 0
    }
}

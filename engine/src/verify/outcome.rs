//! What a verification found.

use std::fmt;

use crate::entry::escape::shown;
use crate::entry::{Meta, Time};
use crate::snapshot::name::SnapshotName;

/// Something that is wrong with a snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Entries are gone that its run had stored.
    Missing {
        /// How many at least.
        missing: u64,
        /// How many its report tells.
        expected: u64,
    },
    /// Entries were added, removed or renamed in a folder after the snapshot was complete.
    Changed(Vec<u8>),
    /// An entry of another name than all that the manifest records.
    Added(Vec<u8>),
    /// Entries of a folder that the manifest records, and that are gone or have other names.
    Gone {
        /// The folder.
        folder: Vec<u8>,
        /// How many.
        count: usize,
    },
    /// An entry that is not what the manifest records under its name.
    Altered(Vec<u8>, &'static str),
    /// The manifest, or a part of it, cannot be read.
    ManifestUnreadable,
    /// A folder cannot be read.
    Unread(Vec<u8>, String),
    /// A file or folder cannot be read by the user who asks.
    Forbidden(Vec<u8>),
    /// Its report cannot be read.
    ReportUnreadable,
    /// Its report is that of another one.
    ReportOfAnother(String),
    /// Its report is gone; older ones have theirs.
    ReportGone,
}

impl Flaw {
    /// Whether something is certainly damaged, not only unproved.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::ReportGone | Self::Forbidden(_) | Self::ManifestUnreadable)
    }

    /// The path inside the snapshot that it concerns; none for all of it.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Changed(path)
            | Self::Unread(path, _)
            | Self::Forbidden(path)
            | Self::Added(path)
            | Self::Altered(path, _)
            | Self::Gone { folder: path, .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { missing, expected } => {
                write!(f, "{missing} of its {expected} entries are missing")
            }
            Self::Changed(path) => write!(
                f,
                "entries were added, removed or renamed in {} after it was complete",
                folder_of(path)
            ),
            Self::Added(path) => {
                write!(f, "{} was not backed up: it was added or renamed later", shown(path))
            }
            Self::Gone { folder, count: 1 } => {
                write!(f, "1 entry of {} is gone or was renamed", folder_of(folder))
            }
            Self::Gone { folder, count } => {
                write!(f, "{count} entries of {} are gone or were renamed", folder_of(folder))
            }
            Self::Altered(path, what) => write!(f, "{}: {what}", folder_of(path)),
            Self::ManifestUnreadable => f.write_str(
                "its manifest cannot be read: files are proved by the hashes that they bear, which their owners can write",
            ),
            Self::Unread(path, why) => write!(f, "{} cannot be read: {why}", shown(path)),
            Self::Forbidden(path) => {
                write!(f, "{} may not be read by this user, and was not checked", shown(path))
            }
            Self::ReportUnreadable => f.write_str("its report cannot be read"),
            Self::ReportOfAnother(name) => write!(f, "its report is that of {name}"),
            Self::ReportGone => {
                f.write_str("its report is gone: nothing tells how many entries it should hold")
            }
        }
    }
}

pub(crate) fn folder_of(path: &[u8]) -> String {
    if path.is_empty() { "its top".to_owned() } else { shown(path) }
}

/// The time at which entries of a folder changed, if that was after it got the time of its source: then
/// both its times are that of the change.
pub(crate) fn changed_at(meta: &Meta) -> Option<Time> {
    (meta.mtime == meta.ctime).then_some(meta.mtime)
}

/// A damaged file, with all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong with it.
    pub what: String,
    /// Its size now, bytes.
    pub bytes: u64,
    /// Each snapshot that has it, and its path inside, sorted.
    pub names: Vec<(SnapshotName, Vec<u8>)>,
}

/// What a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Snapshots that were looked at.
    pub snapshots: usize,
    /// Names of files in them.
    pub names: u64,
    /// Files (inodes) that were read, and are as they were recorded.
    pub good: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Files that bear no hash.
    pub unproved: u64,
    /// Files that bore none and do now.
    pub recorded: u64,
    /// Files that are damaged.
    pub damaged: Vec<Damage>,
    /// What is wrong with snapshots as a whole.
    pub flaws: Vec<(SnapshotName, Flaw)>,
    /// What could not be noted for later runs, and why; what was removed meanwhile.
    pub aside: Vec<String>,
}

impl Verified {
    /// Whether damage was found.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty() || self.flaws.iter().any(|(_, flaw)| flaw.is_damage())
    }

    /// Whether everything that was looked at is proved.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        !self.is_damaged() && self.unproved == 0 && self.flaws.is_empty()
    }
}

/// What was seen of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Entries, folders among them, and those that are only kept beside it.
    pub(crate) entries: u64,
    /// Folders whose entries changed at a time, with that.
    pub(crate) late: Vec<(Vec<u8>, Time)>,
    /// Folders that cannot be read, each with the reason.
    pub(crate) unread: Vec<(Vec<u8>, String)>,
    /// Files and folders that this user may not read.
    pub(crate) forbidden: Vec<Vec<u8>>,
    /// What is not as the manifest records it.
    pub(crate) differing: Vec<Flaw>,
    /// Whether a part of the manifest could not be read.
    pub(crate) no_manifest: bool,
}

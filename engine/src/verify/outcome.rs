//! The results of a verification.

use std::fmt;

use crate::entry::escape::shown;
use crate::entry::{Meta, Time};
use crate::snapshot::name::SnapshotName;

/// A defect of a snapshot that is not a damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// The snapshot has fewer entries than its run stored.
    Missing {
        /// The minimum number of missing entries.
        missing: u64,
        /// The number of entries in the report.
        expected: u64,
    },
    /// Entries of a folder were added, removed or renamed after the snapshot was sealed.
    Changed(Vec<u8>),
    /// An entry whose name the manifest does not contain.
    Added(Vec<u8>),
    /// Entries in the manifest that are missing from their folder or were renamed.
    Gone {
        /// The folder.
        folder: Vec<u8>,
        /// The number of entries.
        count: usize,
    },
    /// An entry that differs from its record in the manifest.
    Altered(Vec<u8>, &'static str),
    /// The manifest, or a part of it, cannot be read.
    ManifestUnreadable,
    /// A folder cannot be read.
    Unread(Vec<u8>, String),
    /// The current user has no permission to read a file or folder.
    Forbidden(Vec<u8>),
    /// The report cannot be read.
    ReportUnreadable,
    /// The report belongs to another snapshot.
    ReportOfAnother(String),
    /// The report is missing, although older snapshots have theirs.
    ReportGone,
}

impl Flaw {
    /// Whether this proves damage, rather than a missing proof.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::ReportGone | Self::Forbidden(_) | Self::ManifestUnreadable)
    }

    /// The path inside the snapshot; `None` when the whole snapshot is concerned.
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
                "entries were added, removed or renamed in {} after the snapshot was sealed",
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
                "its manifest cannot be read: files are checked against their hash attributes only, which their owners can change",
            ),
            Self::Unread(path, why) => write!(f, "{} cannot be read: {why}", shown(path)),
            Self::Forbidden(path) => {
                write!(f, "this user may not read {}; it was not checked", shown(path))
            }
            Self::ReportUnreadable => f.write_str("its report cannot be read"),
            Self::ReportOfAnother(name) => write!(f, "its report belongs to {name}"),
            Self::ReportGone => {
                f.write_str("its report is missing: the expected number of entries is unknown")
            }
        }
    }
}

pub(crate) fn folder_of(path: &[u8]) -> String {
    if path.is_empty() { "its top folder".to_owned() } else { shown(path) }
}

/// The time at which entries of a folder changed after the folder got the mtime of the source. Such
/// a change sets mtime and ctime to the same time.
pub(crate) fn changed_at(meta: &Meta) -> Option<Time> {
    (meta.mtime == meta.ctime).then_some(meta.mtime)
}

/// A damaged file with all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// The current size, bytes.
    pub bytes: u64,
    /// The snapshots that contain it, each with the path inside, sorted.
    pub names: Vec<(SnapshotName, Vec<u8>)>,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Snapshots that were checked.
    pub snapshots: usize,
    /// Names of files in them.
    pub names: u64,
    /// Files (inodes) that were read and equal their record.
    pub good: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Files without a recorded hash.
    pub unproved: u64,
    /// Files that had no hash and got one (`--record`).
    pub recorded: u64,
    /// Manifests that were written.
    pub manifests: u64,
    /// Why hashes that files cannot bear were not recorded elsewhere.
    pub unrecordable: Option<String>,
    /// Damaged files.
    pub damaged: Vec<Damage>,
    /// Other defects of snapshots.
    pub flaws: Vec<(SnapshotName, Flaw)>,
    /// Side effects to report: marks that could not be stored, and snapshots that were removed
    /// during the check.
    pub aside: Vec<String>,
}

impl Verified {
    /// Whether the check found damage.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty() || self.flaws.iter().any(|(_, flaw)| flaw.is_damage())
    }

    /// Whether everything that was checked is proved intact.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        !self.is_damaged() && self.unproved == 0 && self.flaws.is_empty()
    }
}

/// What the check saw of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct SnapshotFindings {
    /// The number of entries, including folders and entries that only the sidecar holds.
    pub(crate) entries: u64,
    /// Folders whose entries changed after the snapshot was sealed, each with the time.
    pub(crate) late: Vec<(Vec<u8>, Time)>,
    /// Folders that cannot be read: path and reason.
    pub(crate) unread: Vec<(Vec<u8>, String)>,
    /// Files and folders that this user may not read.
    pub(crate) forbidden: Vec<Vec<u8>>,
    /// Differences from the manifest.
    pub(crate) differing: Vec<Flaw>,
    /// Whether a part of the manifest could not be read.
    pub(crate) no_manifest: bool,
}

//! The result of a restore drill, and why one could not be done.

use std::path::PathBuf;

use crate::entry::human::bytes;
use crate::error::LookError;
use crate::restore::{PlaceError, RestoreError};
use crate::snapshot::name::SnapshotName;

/// What is wrong with an entry of the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not come back as it was backed up.
    Damaged,
    /// It could not be restored or read.
    Failed,
    /// It came back as it was backed up, but the source has other content of the same size and time.
    Source,
}

/// An entry of the sample that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillFinding {
    /// The path inside the snapshot.
    pub path: Vec<u8>,
    /// The kind of the fault.
    pub fault: Fault,
    /// The words for it.
    pub what: String,
}

/// The result of a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The seed of the sample.
    pub seed: u64,
    /// Files and symlinks that were chosen.
    pub files: u64,
    /// The bytes of their content.
    pub bytes: u64,
    /// Files and symlinks that came back as they were backed up.
    pub good: u64,
    /// Files without a recorded hash, which were compared with the snapshot only.
    pub unproved: u64,
    /// Entries of which this user or the scratch folder cannot have everything (owners, attributes).
    pub partly: u64,
    /// Files that were compared with the source too.
    pub with_source: u64,
    /// Files that were chosen and not restored, because the sample would have had too many bytes.
    pub too_large: u64,
    /// What is wrong.
    pub findings: Vec<DrillFinding>,
    /// Side effects to report.
    pub aside: Vec<String>,
}

/// Why a drill was not done.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The snapshot cannot be read.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The scratch folder cannot be made.
    #[error("{0}")]
    Place(PlaceError),
    /// The scratch folder has no room for the sample.
    #[error("the sample needs {} in {}, and {} are free", bytes(*needed), crate::entry::escape::shown_path(.path), bytes(*free))]
    Space {
        /// The bytes of the sample.
        needed: u64,
        /// The free bytes.
        free: u64,
        /// The scratch folder.
        path: PathBuf,
    },
    /// The restore ended early.
    #[error("{0}")]
    Restore(RestoreError),
    /// Another drill of the same job is at work.
    #[error("another drill is at work in {}", crate::entry::escape::shown_path(.0))]
    Busy(PathBuf),
    /// A signal stopped it.
    #[error("stopped")]
    Stopped,
}

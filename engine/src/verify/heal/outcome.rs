//! What a healing did, and why one could not begin.

use std::path::PathBuf;

use crate::error::{LookError, RunError};
use crate::snapshot::name::{Prefix, SnapshotName};

/// The result for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healing {
    /// It is what was backed up again, and was read again.
    Healed,
    /// It would be healed.
    Would,
    /// It stays as it is, for this reason.
    Left(String),
}

/// A name, or a folder, in which a check found damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealedName {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The path inside it; empty for the snapshot itself.
    pub path: Vec<u8>,
    /// What became of it.
    pub result: Healing,
}

/// The result of a healing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healed {
    /// Each damaged name.
    pub names: Vec<HealedName>,
    /// Side effects to report.
    pub aside: Vec<String>,
}

impl Healed {
    /// The number of names that were healed, that would be healed, and that were left.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        let of = |fits: fn(&Healing) -> bool| {
            self.names.iter().filter(|name| fits(&name.result)).count() as u64
        };
        [
            of(|result| *result == Healing::Healed),
            of(|result| *result == Healing::Would),
            of(|result| matches!(result, Healing::Left(_))),
        ]
    }
}

/// Why nothing was healed.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// Both folders are the same one.
    #[error("{} is the backups folder itself", crate::entry::escape::shown_path(.0))]
    Same(PathBuf),
    /// A run of the same job is at work.
    #[error("a run of {0} is at work")]
    Busy(Prefix),
    /// The backups folder cannot be written to.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A folder cannot be read.
    #[error(transparent)]
    Look(#[from] LookError),
}

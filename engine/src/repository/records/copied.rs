//! Marks the snapshots that were copied from another backups folder: `.backup_manager/copied/SNAPSHOT`. The mark exists before
//! the incomplete snapshot does, so a run never takes an unfinished copy for a snapshot of its own.

use std::io;

use serde::{Deserialize, Serialize};

use crate::fs::small_file::write_whole;
use crate::repository::backups_folder::Repository;
use crate::repository::records::holds::Hold;
use crate::repository::records::note;
use crate::repository::store::Store;
use crate::snapshot::name::{SnapshotName, SnapshotState};

/// The format number of these files.
const VERSION: u32 = 1;

/// Where a snapshot was copied from, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CopyMark {
    /// [`VERSION`].
    version: u32,
    /// The backups folder that it was copied from, as the user wrote it.
    pub(crate) from: String,
    /// RFC 3339, UTC: when its copy began.
    pub(crate) began: String,
    /// The hold of the original when the last copy looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
}

impl CopyMark {
    /// The mark of a copy from `from` that begins at `began`.
    #[must_use]
    pub(crate) fn new(from: String, began: String) -> Self {
        Self { version: VERSION, from, began, hold: None }
    }

    /// The mark with the hold of the original.
    #[must_use]
    pub(crate) fn with_hold(self, hold: Option<Hold>) -> Self {
        Self { hold, ..self }
    }
}

/// Stores the mark of `snapshot`.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store(
    repository: &Repository,
    snapshot: &SnapshotName,
    mark: &CopyMark,
) -> io::Result<()> {
    let dir = repository.make_store(Store::Copied)?;
    let name = snapshot.with_state(SnapshotState::Complete).to_string();
    write_whole(&dir, &name, &serde_json::to_vec(mark)?)
}

/// The mark of `snapshot`; `None` if it has none, or one that cannot be read.
pub(crate) fn load(repository: &Repository, snapshot: &SnapshotName) -> Option<CopyMark> {
    let stored = note(repository, Store::Copied, snapshot).ok().flatten()?;
    serde_json::from_slice(&stored).ok()
}

/// Whether `snapshot` is a copy, or the unfinished part of one. A mark that may exist counts.
pub(crate) fn is_copy(repository: &Repository, snapshot: &SnapshotName) -> bool {
    let complete = snapshot.with_state(SnapshotState::Complete);
    !matches!(note(repository, Store::Copied, &complete), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_for_the_unfinished_snapshot_too() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::open_or_make(folder.path(), None).unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        assert!(!is_copy(&repository, &name));
        let mark = CopyMark::new("/backups".to_owned(), "now".to_owned());
        store(&repository, &name.with_state(SnapshotState::Incomplete), &mark).unwrap();
        for state in [SnapshotState::Complete, SnapshotState::Incomplete, SnapshotState::Deleting] {
            assert!(is_copy(&repository, &name.with_state(state)));
        }
    }
}

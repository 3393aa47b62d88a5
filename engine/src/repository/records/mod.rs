//! The typed files of `.backup_manager/`.

pub mod coverage;
pub(crate) mod damage;
pub mod holds;
pub mod journal;
pub mod last_check;
pub mod progress;
pub mod report;
pub mod report_file;
pub(crate) mod sidecar;
pub mod status;

use std::io;

use crate::fs::small_file::read_if_any;
use crate::repository::Repository;
use crate::repository::store::Store;
use crate::snapshot::name::SnapshotName;

/// The file of a snapshot in `store`. `None` only when the file certainly does not exist.
pub(crate) fn note(
    repository: &Repository,
    store: Store,
    snapshot: &SnapshotName,
) -> io::Result<Option<Vec<u8>>> {
    match repository.store_if_any(store)? {
        Some(dir) => read_if_any(&dir, &snapshot.to_string()),
        None => Ok(None),
    }
}

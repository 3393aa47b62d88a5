//! The typed files of `.backup_manager/`.

pub(crate) mod copied;
pub(crate) mod coverage;
pub(crate) mod damage;
pub(crate) mod holds;
pub(crate) mod journal;
pub(crate) mod last_check;
pub(crate) mod last_drill;
pub(crate) mod names;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod report_file;
pub(crate) mod sidecar;
pub(crate) mod status;

use std::io;

use crate::fs::small_file::read_if_any;
use crate::repository::backups_folder::Repository;
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

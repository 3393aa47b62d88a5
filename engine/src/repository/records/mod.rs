//! The typed files of `.backup_manager/`.

pub mod coverage;
pub(crate) mod damage;
pub mod holds;
pub mod journal;
pub mod progress;
pub mod report;
pub mod report_file;
pub(crate) mod sidecar;
pub mod status;

use std::io;

use crate::fs::small_file::read_if_any;
use crate::repository::Backups;
use crate::snapshot::name::SnapshotName;

/// The folder of holds in `.backup_manager`.
pub(crate) const HOLDS: &std::ffi::CStr = c"holds";

/// The folder of marks of damage in `.backup_manager`: one file a damaged snapshot, named as it is.
pub(crate) const DAMAGED: &std::ffi::CStr = c"damaged";

/// What is noted of a snapshot in `folder`; `None` only when nothing is known to be there.
pub(crate) fn note(
    backups: &Backups,
    folder: &std::ffi::CStr,
    snapshot: &SnapshotName,
) -> io::Result<Option<Vec<u8>>> {
    match backups.own_if_any(folder)? {
        Some(dir) => read_if_any(&dir, &snapshot.to_string()),
        None => Ok(None),
    }
}

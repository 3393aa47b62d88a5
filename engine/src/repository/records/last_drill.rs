//! Stores the result of the last restore drill of each prefix, for the status: `.backup_manager/drilled/PREFIX.json`.

use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::entry::human::rfc3339;
use crate::fs::small_file::write_whole;
use crate::repository::backups_folder::Repository;
use crate::repository::store::{Store, file_of};
use crate::snapshot::name::{Prefix, SnapshotName};

/// The format number of these files.
const VERSION: u32 = 1;

/// What the last restore drill of a prefix restored, and how that compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrill {
    /// The format number, 1.
    pub version: u32,
    /// RFC 3339, UTC: when it ended.
    pub finished: String,
    /// The snapshot of which a part was restored.
    pub snapshot: String,
    /// The seed of the sample.
    pub seed: u64,
    /// The number of files and symlinks in the sample.
    pub files: u64,
    /// The bytes of their content.
    pub bytes: u64,
    /// The number of files without a recorded hash.
    pub unproved: u64,
    /// The number of files that were also compared with the source.
    pub with_source: u64,
    /// The number of entries that did not come back as they were backed up.
    pub failed: u64,
    /// Why the drill could not be done, or the first entry that did not come back; `None` when all did.
    pub reason: Option<String>,
}

impl LastDrill {
    /// A drill of `snapshot` that could not be done, which ended at `now`.
    #[must_use]
    pub fn not_done(snapshot: &SnapshotName, now: DateTime<Utc>, reason: String) -> Self {
        let (finished, snapshot) = (rfc3339(now), snapshot.to_string());
        Self { finished, snapshot, reason: Some(reason), ..Self::default() }
    }

    /// Whether everything in the sample came back as it was backed up.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.reason.is_none()
    }
}

/// The scratch folder of a drill in progress: `.backup_manager/drilled/PREFIX.scratch`. A killed drill leaves it,
/// and the next one removes the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScratchRecord {
    /// The format number, 1.
    version: u32,
    /// The folder that contains the scratch folder, escaped.
    pub(crate) parent: String,
    /// The name of the scratch folder.
    pub(crate) name: String,
    /// The device and the inode number of the scratch folder.
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

impl ScratchRecord {
    pub(crate) fn new(parent: String, name: String, (dev, ino): (u64, u64)) -> Self {
        Self { version: VERSION, parent, name, dev, ino }
    }
}

/// The last drill of `prefix`, if one is known.
pub(crate) fn load(repository: &Repository, prefix: &Prefix) -> Option<LastDrill> {
    repository.record(Store::Drilled, &file_of(prefix))
}

/// Stores the last drill of `prefix`.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store(repository: &Repository, prefix: &Prefix, drill: &LastDrill) -> io::Result<()> {
    let content = serde_json::to_vec_pretty(&LastDrill { version: VERSION, ..drill.clone() })?;
    write_whole(&repository.make_store(Store::Drilled)?, &file_of(prefix), &content)
}

fn scratch_file(prefix: &Prefix) -> String {
    format!("{prefix}.scratch")
}

/// The scratch folder that a drill of `prefix` uses or left.
pub(crate) fn scratch(repository: &Repository, prefix: &Prefix) -> Option<ScratchRecord> {
    repository.record(Store::Drilled, &scratch_file(prefix))
}

/// Stores which scratch folder a drill of `prefix` uses; `None` after it was removed.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store_scratch(
    repository: &Repository,
    prefix: &Prefix,
    scratch: Option<&ScratchRecord>,
) -> io::Result<()> {
    let name = scratch_file(prefix);
    let Some(scratch) = scratch else {
        let Some(dir) = repository.store(Store::Drilled) else { return Ok(()) };
        return match dir.unlink(&crate::entry::c_name(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    let content = serde_json::to_vec_pretty(scratch)?;
    write_whole(&repository.make_store(Store::Drilled)?, &name, &content)
}

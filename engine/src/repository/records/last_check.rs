//! Stores the result of the last check of each prefix, for the status: `.backup_manager/verified/PREFIX.json`.

use std::io;

use serde::{Deserialize, Serialize};

use crate::fs::small_file::write_whole;
use crate::repository::backups_folder::Repository;
use crate::repository::store::{Store, file_of};
use crate::snapshot::name::Prefix;

/// The format number of these files.
const VERSION: u32 = 1;

/// What the last check of a prefix read, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheck {
    /// The format number, 1.
    pub version: u32,
    /// RFC 3339, UTC: when it ended.
    pub finished: String,
    /// Whether it read all files of these snapshots, and not a part (`--sample`, `--rolling`).
    pub whole: bool,
    /// The number of snapshots.
    pub snapshots: usize,
    /// The number of files that equal their hash.
    pub good: u64,
    /// The number of files without a hash.
    pub unproved: u64,
    /// The number of damaged files and of snapshots that lack or have entries that they should not.
    pub damaged: usize,
}

impl LastCheck {
    /// A check that ended at `finished`.
    pub(crate) fn new(finished: String) -> Self {
        let (whole, snapshots) = (false, 0);
        Self { version: VERSION, finished, whole, snapshots, good: 0, unproved: 0, damaged: 0 }
    }
}

/// The last check of `prefix`, if one is known.
pub(crate) fn load(repository: &Repository, prefix: &Prefix) -> Option<LastCheck> {
    repository.record(Store::Checked, &file_of(prefix))
}

/// Stores the last check of `prefix`.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store(repository: &Repository, prefix: &Prefix, check: &LastCheck) -> io::Result<()> {
    let content = serde_json::to_vec_pretty(check)?;
    write_whole(&repository.make_store(Store::Checked)?, &file_of(prefix), &content)
}

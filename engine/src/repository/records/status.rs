//! The outcome of the last run of a job.

use std::io::{self};

use serde::{Deserialize, Serialize};

use crate::fs::small_file::{write_even_if_full, write_whole};
use crate::monitor::event::Stuck;
use crate::repository::backups_folder::Repository;
use crate::repository::store::Store;
use crate::repository::store::file_of;
use crate::snapshot::name::Prefix;

/// The outcome of the last run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// 1.
    pub version: u32,
    /// RFC 3339, UTC: when the last run began.
    pub started: String,
    /// RFC 3339, UTC: when the run ended.
    pub finished: String,
    /// `completed`, `completed_with_problems`, `failed`, `stopped`, `killed` when the run wrote no status, or
    /// `held` when runs had failed and nothing was due.
    pub outcome: String,
    /// Why the run failed.
    pub reason: Option<String>,
    /// The snapshot that the run completed.
    pub snapshot: Option<String>,
    /// The number of consecutive failed runs. A stopped run does not reset it.
    pub failures_in_a_row: u32,
    /// Snapshots due for removal that the last run that completed a snapshot could not remove.
    #[serde(default)]
    pub stuck: Vec<Stuck>,
}

/// The status of the last run. `None` when none is stored.
pub(crate) fn last_status(repository: &Repository, prefix: &Prefix) -> Option<JobStatus> {
    repository.record(Store::Status, &file_of(prefix))
}

/// The length of the file that reserves room: less may lie in the inode or in a block of several files.
const RESERVED: usize = 4096;

/// Creates the file of the status, if no run has, so that the first run can store how it ended also after it has filled the
/// disk: [`write_even_if_full`] needs the blocks of a file. It holds spaces, which are no status. Errors are ignored: storing the
/// status reports them.
pub(crate) fn reserve_status(repository: &Repository, prefix: &Prefix) {
    if last_status(repository, prefix).is_none()
        && let Some(dir) = repository.store(Store::Status)
    {
        let _ = write_whole(&dir, &file_of(prefix), &[b' '; RESERVED]);
    }
}

/// Stores the status of the last run.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store_status(
    repository: &Repository,
    prefix: &Prefix,
    mut status: JobStatus,
) -> io::Result<()> {
    let Some(dir) = repository.store(Store::Status) else { return Ok(()) };
    let file = file_of(prefix);
    let before = last_status(repository, prefix);
    if !status.outcome.starts_with("completed") {
        status.stuck = before.as_ref().map(|before| before.stuck.clone()).unwrap_or_default();
    }
    if matches!(status.outcome.as_str(), "failed" | "killed") {
        status.failures_in_a_row = before.map_or(0, |before| before.failures_in_a_row) + 1;
    } else if status.outcome == "stopped" {
        status.failures_in_a_row = before.map_or(0, |before| before.failures_in_a_row);
    }
    write_even_if_full(&dir, &file, &serde_json::to_vec_pretty(&status)?, write_whole)
}

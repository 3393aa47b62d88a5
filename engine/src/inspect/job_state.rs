//! Reads the state of a job: its snapshots, the records of its runs, and free space. It takes no
//! lock that could delay a run.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{LookError, RunError};
use crate::fs::file_system::space::Space;
use crate::repository::records::last_check::LastCheck;
use crate::repository::records::last_drill::LastDrill;
use crate::repository::records::progress;
use crate::repository::records::progress::Reached;
use crate::repository::records::report::Report;
use crate::repository::records::report_file::report;
use crate::repository::records::status::{JobStatus, last_status};
use crate::repository::records::{damage, holds, last_check, last_drill};
use crate::repository::{Repository, check_mounted};
use crate::snapshot::changes::Freeze;
use crate::snapshot::history::History;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::threads::cancel::Stop;

/// The state of a job.
#[derive(Debug, Default)]
pub struct Look {
    /// The snapshots.
    pub history: History,
    /// Whether a run is in progress.
    pub at_work: bool,
    /// How the last run ended.
    pub status: Option<JobStatus>,
    /// The progress of the last run.
    pub reached: Option<Reached>,
    /// The newest readable reports, oldest first.
    pub reports: Vec<Report>,
    /// Why pruning is frozen.
    pub frozen: Option<Freeze>,
    /// The complete snapshots in which a check found damage.
    pub damaged: Vec<SnapshotName>,
    /// The result of the last check.
    pub last_check: Option<LastCheck>,
    /// The result of the last restore drill.
    pub last_drill: Option<LastDrill>,
    /// The prefixes of other snapshots in the folder, when `prefix` has none.
    pub other_prefixes: Vec<Prefix>,
    /// Space on the file system of the backups folder.
    pub space: Option<Space>,
}

/// Reads the snapshots of `prefix` in `backups_dir`, and the newest `reports` reports. A folder
/// that does not exist yet contains nothing.
///
/// # Errors
/// The folder is not mounted or cannot be read.
pub fn look(backups_dir: &Path, prefix: &Prefix, reports: usize) -> Result<Look, RunError> {
    check_mounted(backups_dir)?;
    let repository = match Repository::open(backups_dir) {
        Ok(repository) => repository,
        Err(LookError { error, .. }) if error.kind() == ErrorKind::NotFound => {
            return Ok(Look::default());
        }
        Err(error) => return Err(error.into()),
    };
    let history = repository.history(prefix)?;
    let mut newest: Vec<Report> = history
        .complete
        .iter()
        .rev()
        .take(reports)
        .filter_map(|snapshot| report(&repository, snapshot))
        .collect();
    newest.reverse();
    let reached = progress::reached(&repository, prefix);
    // Test the lock only when a run claims to be in progress. The test takes the lock for a moment,
    // and a run that starts in that moment would find it taken.
    let at_work = reached.as_ref().is_some_and(|reached| !reached.ended)
        && repository.is_locked(prefix, &Stop::default());
    let status = last_status(&repository, prefix).map(|mut status: JobStatus| {
        let all = || history.complete.iter().chain(&history.incomplete).chain(&history.deleting);
        let there = |name: &str| all().any(|snapshot| snapshot.to_string() == name);
        status.stuck.retain(|stuck| there(&stuck.snapshot));
        status
    });
    let space = repository.dir.space().ok();
    let is_empty = history.complete.is_empty() && history.incomplete.is_empty();
    let other_prefixes = if is_empty { repository.prefixes()? } else { Vec::new() };
    let is_damaged = |name: &&SnapshotName| damage::is_damaged(&repository, name);
    let damaged = history.complete.iter().filter(is_damaged).cloned().collect();
    let frozen = holds::freeze(&repository, &history);
    let last_check = last_check::load(&repository, prefix);
    let last_drill = last_drill::load(&repository, prefix);
    Ok(Look {
        frozen,
        damaged,
        last_check,
        last_drill,
        other_prefixes,
        history,
        at_work,
        status,
        reached,
        reports: newest,
        space,
    })
}

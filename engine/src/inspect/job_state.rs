//! Reads the state of a job: its snapshots, the records of its runs, and free space. It takes no
//! lock that could delay a run.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::RunError;
use crate::fs::mount::missing_mount;
use crate::fs::small_file::read_small;
use crate::repository::Backups;
use crate::repository::records::progress;
use crate::repository::records::progress::Reached;
use crate::repository::records::report::Report;
use crate::repository::records::report_file::report;
use crate::repository::records::status::Status;
use crate::snapshot::history::History;
use crate::snapshot::name::Prefix;
use crate::threads::cancel::Stop;

/// The state of a job.
#[derive(Debug, Default)]
pub struct Look {
    /// The snapshots.
    pub history: History,
    /// Whether a run is in progress.
    pub at_work: bool,
    /// How the last run ended.
    pub status: Option<Status>,
    /// The progress of the last run.
    pub reached: Option<Reached>,
    /// The newest readable reports, oldest first.
    pub reports: Vec<Report>,
    /// Space on the file system of the backups folder.
    pub space: Option<Space>,
}

/// Space on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Total bytes.
    pub total_bytes: u64,
    /// Free inodes; `None` where the file system has no fixed number of inodes.
    pub free_inodes: Option<u64>,
}

/// Reads the snapshots of `prefix` in `backups_dir`, and the newest `reports` reports. A folder
/// that does not exist yet contains nothing.
///
/// # Errors
/// The folder is not mounted or cannot be read.
pub fn look(backups_dir: &Path, prefix: &Prefix, reports: usize) -> Result<Look, RunError> {
    if let Some(mount_point) = missing_mount(backups_dir) {
        return Err(RunError::NotMounted { path: backups_dir.to_owned(), mount_point });
    }
    let backups = match Backups::open(backups_dir) {
        Ok(backups) => backups,
        Err(RunError::Destination { error, .. }) if error.kind() == ErrorKind::NotFound => {
            return Ok(Look::default());
        }
        Err(error) => return Err(error),
    };
    let history = backups.history(prefix)?;
    let mut newest: Vec<Report> = history
        .complete
        .iter()
        .rev()
        .take(reports)
        .filter_map(|snapshot| report(&backups, snapshot))
        .collect();
    newest.reverse();
    let reached = progress::reached(&backups, prefix);
    // Test the lock only when a run claims to be in progress. The test takes the lock for a moment,
    // and a run that starts in that moment would find it taken.
    let at_work = reached.as_ref().is_some_and(|reached| !reached.ended)
        && backups.is_locked(prefix, &Stop::default());
    let status = backups
        .own(c"status")
        .and_then(|status| read_small(&status, &format!("{prefix}.json")))
        .and_then(|status| serde_json::from_slice(&status).ok())
        .map(|mut status: Status| {
            let all =
                || history.complete.iter().chain(&history.incomplete).chain(&history.deleting);
            let there = |name: &str| all().any(|snapshot| snapshot.to_string() == name);
            status.stuck.retain(|stuck| there(&stuck.snapshot));
            status
        });
    let space = backups.dir.space().ok().map(|space| Space {
        free_bytes: space.f_bavail * space.f_frsize,
        total_bytes: space.f_blocks * space.f_frsize,
        free_inodes: (space.f_files > 0).then_some(space.f_favail),
    });
    Ok(Look { history, at_work, status, reached, reports: newest, space })
}

//! Looks at what is there of a job: snapshots, what its runs left word of, free space. Reads only, and
//! asks for no lock that a run could meet.

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

/// What was found.
#[derive(Debug, Default)]
pub struct Look {
    /// The snapshots.
    pub history: History,
    /// Whether a run is at work.
    pub at_work: bool,
    /// How the last run ended.
    pub status: Option<Status>,
    /// How far the last run came.
    pub reached: Option<Reached>,
    /// The newest reports that can be read, oldest first.
    pub reports: Vec<Report>,
    /// Room on the file system of the backups folder.
    pub space: Option<Space>,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Inodes that are free; `None` where the file system has no fixed number.
    pub free_inodes: Option<u64>,
}

/// Looks at the snapshots of `prefix` in `backups_dir`, and at the newest `reports` reports.
///
/// # Errors
/// When the folder is not mounted or cannot be read. One that does not exist yet holds nothing.
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
    // Only where a run says that it goes on: to ask takes the lock for a moment, and a run that
    // began in that moment would find it taken.
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

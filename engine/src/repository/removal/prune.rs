//! Removes complete snapshots on request, under the lock that excludes runs.

use std::path::Path;

use crate::error::RunError;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::backups_folder::Repository;
use crate::repository::lock::{Locked, report_lease};
use crate::repository::records::holds::candidates;
use crate::repository::{removal, snapshot_links};
use crate::snapshot::history::History;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::snapshot::retention::Candidate;

/// Removes the snapshots that `choose` picks from the history, each with its reason, and the remains of earlier
/// removals. Calls `choose` only after it holds the lock. Skips snapshots that a process reads. `None` when a
/// run of `prefix` is active: then nothing was removed.
///
/// # Errors
/// Something could not be removed. The next run continues the removal.
pub fn prune(
    path: &Path,
    prefix: &Prefix,
    choose: impl FnOnce(&History, &[Candidate]) -> Vec<(SnapshotName, String)>,
    context: &Context,
) -> Result<Option<Vec<SnapshotName>>, RunError> {
    let repository = Repository::open_or_make(path, None)?;
    let lock = match repository.lock(prefix, &context.stop)? {
        Locked::Mine(lock) => lock,
        Locked::Busy => return Ok(None),
    };
    report_lease(&lock, context);
    let history = repository.history(prefix)?;
    // Removing the lock file does not end a run. The lock on the snapshot's folder still shows the run.
    if let Some(incomplete) = history.incomplete.last()
        && let Err(RunError::Taken { .. }) = repository.claim(incomplete)
    {
        return Ok(None);
    }
    context.progress.enter(Phase::Removing);
    let (mut names, mut retired) = (Vec::new(), Vec::new());
    for (name, why) in choose(&history, &candidates(&repository, &history)) {
        match removal::retire(&repository, &name, &why, context) {
            Ok(gone) => {
                names.extend(gone.is_some().then_some(name));
                retired.extend(gone);
            }
            Err(error) => drop(Stuck::of(&name, &error, context)),
        }
    }
    if let Err(error) = snapshot_links::refresh(&repository, prefix) {
        let what = format!("{}: {error}", snapshot_links::STALE);
        context.monitor.event(&Event::Aside { what });
    }
    removal::remove_retired(&repository, &retired, context)?;
    removal::remove_leftovers(&repository, &history, context)?;
    Ok(Some(names))
}

//! Removes complete snapshots because somebody asked for it, under the lock that keeps runs away.

use std::path::Path;

use crate::backups::Backups;
use crate::error::RunError;
use crate::history::History;
use crate::hold;
use crate::lock::Locked;
use crate::monitor::Phase;
use crate::name::{Prefix, SnapshotName};
use crate::report::Stuck;
use crate::retention::Candidate;
use crate::run::{Context, tell_of_a_lease};
use crate::seal;

/// What is noted of each complete snapshot of `history`.
pub(crate) fn candidates(backups: &Backups, history: &History) -> Vec<Candidate> {
    let candidate = |name: &SnapshotName| Candidate {
        name: name.clone(),
        held: hold::of(backups, name).is_some(),
        damaged: hold::is_damaged(backups, name),
    };
    history.complete.iter().map(candidate).collect()
}

/// Removes the snapshots that `choose` picks, each with the reason, from what is there once no run can
/// change it, but for those that somebody reads, and what earlier removals left. `None` when a run of `prefix` is at
/// work: nothing was done.
///
/// # Errors
/// When something could not be removed; the next run goes on with it.
pub fn prune(
    path: &Path,
    prefix: &Prefix,
    choose: impl FnOnce(&History, &[Candidate]) -> Vec<(SnapshotName, String)>,
    context: &Context,
) -> Result<Option<Vec<SnapshotName>>, RunError> {
    let backups = Backups::open_or_make(path, None)?;
    let lock = match backups.lock(prefix, &context.stop)? {
        Locked::Mine(lock) => lock,
        Locked::Busy => return Ok(None),
    };
    tell_of_a_lease(&lock, context);
    let history = backups.history(prefix)?;
    // Whoever removes a lock file removes no run.
    if let Some(incomplete) = history.incomplete.last()
        && let Err(RunError::Taken { .. }) = backups.claim(incomplete)
    {
        return Ok(None);
    }
    context.progress.enter(Phase::Removing);
    let (mut names, mut retired) = (Vec::new(), Vec::new());
    for (name, why) in choose(&history, &candidates(&backups, &history)) {
        match seal::retire(&backups, &name, &why, context) {
            Ok(gone) => {
                names.extend(gone.is_some().then_some(name));
                retired.extend(gone);
            }
            Err(error) => drop(Stuck::of(&name, &error, context)),
        }
    }
    seal::remove_retired(&backups, &retired, context)?;
    seal::remove_leftovers(&backups, &history, context)?;
    Ok(Some(names))
}

//! Removes the snapshots of a copy that its own retention rules do not keep.

use crate::copy::job::CopyJob;
use crate::error::RunError;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::{Repository, removal, snapshot_links};
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::retention::{RetentionDecision, judge};

/// Removes what the rules do not keep, after the copy of `new` is complete. That stays: the next one is linked to it.
///
/// # Errors
/// When stopped, or when the new names cannot be made durable.
pub(crate) fn retain(
    job: &CopyJob,
    repository: &Repository,
    history: &History,
    new: &SnapshotName,
    context: &Context,
) -> Result<(), RunError> {
    let candidates = repository.candidates(history);
    let fates = judge(&candidates, &job.retention, None);
    let mut retired = Vec::new();
    for (candidate, fate) in candidates.iter().zip(fates) {
        let RetentionDecision::Goes(why) = fate else { continue };
        if candidate.name == *new {
            continue;
        }
        match removal::retire(repository, &candidate.name, why, context) {
            Ok(gone) => retired.extend(gone),
            Err(error) => drop(Stuck::of(&candidate.name, &error, context)),
        }
    }
    if retired.is_empty() {
        return Ok(());
    }
    if let Err(error) = snapshot_links::refresh(repository, &job.prefix) {
        let what = format!("{}: {error}", snapshot_links::STALE);
        context.monitor.event(&Event::Aside { what });
    }
    context.progress.enter(Phase::Removing);
    removal::remove_retired(repository, &retired, context).map(drop)
}

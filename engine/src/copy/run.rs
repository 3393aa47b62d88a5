//! Copies the snapshots that a backups folder lacks, one after the other.

use std::sync::Arc;

use crate::copy::choose;
use crate::copy::choose::CopyStep;
use crate::copy::holds;
use crate::copy::job::{CopiedSnapshot, CopyJob, CopyOutcome, SnapshotStore};
use crate::copy::one::copy_one;
use crate::copy::retain::retain;
use crate::error::RunError;
use crate::monitor::context::Context;
use crate::repository::lock::{Locked, report_lease};
use crate::repository::{Repository, check_mounted, removal};
use crate::snapshot::name::SnapshotName;
use crate::threads::cancel::Stop;

/// Copies the snapshots of `store` that the backups folder lacks, oldest first. A copy that was interrupted is continued.
///
/// # Errors
/// When a snapshot could not be copied. The complete snapshots are unchanged, and the next copy goes on.
pub fn copy<St: SnapshotStore>(
    job: &CopyJob,
    store: &St,
    context: &Context,
) -> Result<CopyOutcome, RunError> {
    let _ = crate::fs::access::own_umask();
    check_mounted(&job.backups_dir)?;
    let mut offered = store.snapshots(&job.prefix)?;
    choose::refuse_overlap(&job.backups_dir, store)?;
    let repository = Repository::open_or_make(&job.backups_dir, job.backups_mode)?;
    let context = &Context { stop: Arc::new(Stop::within(&context.stop)), ..context.clone() };
    let lock = match repository.lock(&job.prefix, &context.stop)? {
        Locked::Mine(lock) => lock,
        Locked::Busy => return Ok(CopyOutcome::Busy),
    };
    report_lease(&lock, context);
    let mut history = repository.history(&job.prefix)?;
    if let Some(incomplete) = history.incomplete.last()
        && let Err(RunError::Taken { .. }) = repository.claim(incomplete)
    {
        return Ok(CopyOutcome::Busy);
    }
    choose::check(job, store, &repository, &history, &offered)?;
    holds::carry(store, &repository, (&history, &offered), job.only_adds, context)?;
    removal::remove_leftovers(&repository, &history, context)?;
    // The newest one is checked.
    let newest_common = history.complete.iter().rfind(|name| offered.contains(name)).cloned();
    let mut copied: Vec<CopiedSnapshot> = Vec::new();
    loop {
        let done = |name: &SnapshotName| copied.iter().any(|one| one.name == *name);
        let steps = choose::steps(job, &repository, &history, &offered);
        let step = steps.into_iter().find(|step| !done(&step.name));
        let next = step.as_ref().map(|step| step.name.stamp);
        removal::copies::remove_unfinished(&repository, &mut history, next, context)?;
        let Some(step) = step else { break };
        if let Some(common) = &step.common
            && !done(common)
            && newest_common.as_ref() != Some(common)
        {
            choose::check_common(store, &repository, common)?;
        }
        let is_first = copied.is_empty();
        let place = (&repository, &lock);
        match copy_one(job, store, place, (&step, is_first), context) {
            Ok(one) => copied.push(one),
            Err(error) if context.stop.asked() => return Err(error),
            Err(error) => {
                offered = store.snapshots(&job.prefix)?;
                // Otherwise a run has removed the snapshot, or the one before it, meanwhile.
                if is_there(&offered, &step) {
                    return Err(error);
                }
            }
        }
        history = repository.history(&job.prefix)?;
        retain(job, &repository, &history, &step.name, context)?;
    }
    let newest = history.complete.last().cloned();
    Ok(CopyOutcome::Done { copied, newest })
}

/// Whether the snapshots that a step reads are still there.
fn is_there(offered: &[SnapshotName], step: &CopyStep) -> bool {
    [Some(&step.name), step.common.as_ref()]
        .into_iter()
        .flatten()
        .all(|name| offered.contains(name))
}

/// The snapshots that [`copy`] would copy, oldest first. Creates nothing.
///
/// # Errors
/// Those for which [`copy`] refuses the folder; one of the folders cannot be read.
pub fn preview<St: SnapshotStore>(job: &CopyJob, store: &St) -> Result<Vec<CopyStep>, RunError> {
    check_mounted(&job.backups_dir)?;
    let offered = store.snapshots(&job.prefix)?;
    choose::refuse_overlap(&job.backups_dir, store)?;
    if !job.backups_dir.exists() {
        return Ok(choose::of_new(job, &offered));
    }
    let repository = Repository::open(&job.backups_dir)?;
    let history = repository.history(&job.prefix)?;
    choose::check(job, store, &repository, &history, &offered)?;
    Ok(choose::steps(job, &repository, &history, &offered))
}

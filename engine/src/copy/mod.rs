//! Copies the history of a prefix into another backups folder. The copy of a snapshot is a run whose source is that snapshot,
//! carried out by the side that gets it.

pub(crate) mod beside;
pub(crate) mod choose;
pub(crate) mod one;
pub(crate) mod read;
pub(crate) mod retain;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::RunError;
use crate::monitor::context::Context;
use crate::repository::lock::{Locked, report_lease};
use crate::repository::records::report::Counts;
use crate::repository::{Repository, check_mounted, removal};
use crate::snapshot::links::SnapshotLinks;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::snapshot::retention::Retention;
use crate::source::Source;
use crate::threads::cancel::Stop;

pub use self::beside::{Beside, DamagedPath};
pub use self::choose::CopyStep;
pub use self::read::content::{OpenedContent, RecordedContent};
pub use self::read::{SnapshotFolder, SnapshotReader};
pub use crate::repository::content::Proof;

/// The backups folder that snapshots are copied from. Nothing in it changes.
pub trait SnapshotStore: Send + Sync {
    /// One of its snapshots, as a source. Its only root is `/`.
    type Source: Source;

    /// The folder, for messages.
    fn name(&self) -> String;

    /// The complete snapshots of `prefix`, oldest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn snapshots(&self, prefix: &Prefix) -> Result<Vec<SnapshotName>, RunError>;

    /// Opens a snapshot. Each listed entry says whether `previous` has its inode under the same name, too
    /// ([`Meta::is_shared`]). Both stay as long as the source exists.
    ///
    /// [`Meta::is_shared`]: crate::entry::Meta::is_shared
    ///
    /// # Errors
    /// One of them is gone or cannot be read.
    fn open(
        &self,
        snapshot: &SnapshotName,
        previous: Option<&SnapshotName>,
    ) -> Result<Arc<Self::Source>, RunError>;

    /// What is stored beside a snapshot.
    ///
    /// # Errors
    /// It cannot be read.
    fn beside(&self, snapshot: &SnapshotName) -> Result<Beside, RunError>;

    /// Whether the folder at `path` of this machine is this backups folder, lies in it, or contains it.
    fn overlaps(&self, path: &Path) -> bool;
}

/// What is copied where.
#[derive(Debug, Clone)]
pub struct CopyJob {
    /// The prefix of the snapshots.
    pub prefix: Prefix,
    /// The backups folder that gets the copies.
    pub backups_dir: PathBuf,
    /// The permission bits of that folder, see [`Job::backups_mode`].
    ///
    /// [`Job::backups_mode`]: crate::Job::backups_mode
    pub backups_mode: Option<u32>,
    /// The retention rules of the copy.
    pub retention: Retention,
    /// Only so many of the newest snapshots are copied.
    pub newest: Option<NonZeroUsize>,
    /// The smallest file that is looked for under another path, see [`Job::rename_from`].
    ///
    /// [`Job::rename_from`]: crate::Job::rename_from
    pub rename_from: Option<u64>,
    /// The symlinks to snapshots that other programs use.
    pub links: SnapshotLinks,
    /// `--fake-super`: owners and modes that cannot be set are stored in attributes.
    pub fake_super: bool,
}

/// A snapshot that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedSnapshot {
    /// Its name.
    pub name: SnapshotName,
    /// What its copy took.
    pub counts: Counts,
    /// Entries that are not in the copy, or not as they are in the snapshot.
    pub problems: u64,
}

/// The result of a copy that did not fail.
#[derive(Debug)]
pub enum CopyOutcome {
    /// A run or another copy of the same prefix is active in the backups folder. Nothing was done.
    Busy,
    /// The copy has all snapshots that it is to have.
    Done {
        /// The snapshots that were copied now, oldest first.
        copied: Vec<CopiedSnapshot>,
        /// The newest complete snapshot of the copy.
        newest: Option<SnapshotName>,
    },
}

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
    refuse_overlap(job, store)?;
    let offered = store.snapshots(&job.prefix)?;
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
    removal::remove_leftovers(&repository, &history, context)?;
    let mut copied: Vec<CopiedSnapshot> = Vec::new();
    let mut offered = offered;
    loop {
        let done = |name: &SnapshotName| copied.iter().any(|one| one.name == *name);
        let steps = choose::steps(job, &repository, &history, &offered);
        let step = steps.into_iter().find(|step| !done(&step.name));
        let next = step.as_ref().map(|step| step.name.stamp);
        removal::copies::remove_unfinished(&repository, &mut history, next, context)?;
        let Some(step) = step else { break };
        let is_first = copied.is_empty();
        let place = (&repository, &lock);
        let result = one::copy_one(job, store, place, (&step, is_first), context);
        offered = store.snapshots(&job.prefix)?;
        match result {
            Ok(one) => copied.push(one),
            // A run has removed the snapshot, or the one before it, meanwhile.
            Err(_) if !is_there(&offered, &step) && !context.stop.asked() => {}
            Err(error) => return Err(error),
        }
        history = repository.history(&job.prefix)?;
        retain::retain(job, &repository, &history, &step.name, context)?;
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
    refuse_overlap(job, store)?;
    let offered = store.snapshots(&job.prefix)?;
    if !job.backups_dir.exists() {
        return Ok(choose::of_new(job, &offered));
    }
    let repository = Repository::open(&job.backups_dir)?;
    let history = repository.history(&job.prefix)?;
    choose::check(job, store, &repository, &history, &offered)?;
    Ok(choose::steps(job, &repository, &history, &offered))
}

fn refuse_overlap<St: SnapshotStore>(job: &CopyJob, store: &St) -> Result<(), RunError> {
    if !store.overlaps(&job.backups_dir) {
        return Ok(());
    }
    let path = job.backups_dir.clone();
    let why = format!("it and {} are the same folder, or one lies in the other", store.name());
    Err(RunError::NotForCopies { path, why })
}

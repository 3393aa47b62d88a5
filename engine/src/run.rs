//! A run as one line of data: list -> compare -> plan -> apply -> seal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};

use crate::error::RunError;
use crate::job::Job;
use crate::monitor::{Monitor, Progress};
use crate::name::SnapshotName;
use crate::report::{Counts, Report, RootFound};
use crate::source::Source;

/// Asks a run to end soon. Set from a signal handler's thread, read everywhere.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// From now on everything ends as soon as it can.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What surrounds a run.
#[derive(Clone)]
pub struct Context {
    /// The clock.
    pub now: fn() -> DateTime<Utc>,
    /// Ends the run early.
    pub stop: Arc<Stop>,
    /// Counters for displays.
    pub progress: Arc<Progress>,
    /// Receives events.
    pub monitor: Arc<dyn Monitor>,
}

/// How a run ended that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// Another run of the same prefix is at work; nothing was done.
    Busy,
    /// The newest snapshot is younger than the minimum time; nothing was done.
    Held {
        /// The snapshot that holds it.
        newest: SnapshotName,
        /// From when on a run will start.
        next: DateTime<Utc>,
    },
    /// A snapshot was completed; its problems were told as events and stand in the kept report.
    Completed(Box<Report>),
}

/// Takes a snapshot for `job`, or completes the one that was interrupted.
///
/// # Errors
/// When no snapshot was completed. Older snapshots are as before; what was copied stays for the next run.
pub fn run<S: Source>(
    job: &Job,
    source: Arc<S>,
    accept_shrink: bool,
    context: &Context,
) -> Result<Outcome, RunError> {
    let _ = (job, source, accept_shrink, context);
    Err(RunError::Stopped)
}

/// One difference between the source and the newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// What a run would do about it.
    pub change: ChangeKind,
    /// Path inside the snapshot, escaped as [`crate::bytes::Shown`] does; folders end in `/`.
    pub path: String,
    /// Bytes that would be copied.
    pub bytes: u64,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Not in the base.
    New,
    /// Other content or another type.
    Changed,
    /// Same content, other metadata.
    Metadata,
    /// No longer in the source. A folder stands for all that was below it.
    Deleted,
}

/// Receives the differences, a folder at a time, from every worker thread.
pub trait ChangeSink: Send + Sync {
    /// Some differences of one folder, in no particular order.
    fn changes(&self, changes: &[Change]);
}

/// What a run would do.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// The snapshot that it would link against.
    pub base: Option<SnapshotName>,
    /// The interrupted one that it would resume.
    pub resumes: Option<SnapshotName>,
    /// When the minimum time would hold it: until then.
    pub held_until: Option<DateTime<Utc>>,
    /// Whether another run is at work right now.
    pub busy: bool,
    /// Snapshots that it would remove.
    pub prunes: Vec<SnapshotName>,
    /// The source roots.
    pub roots: Vec<RootFound>,
    /// Entry counts; `copied` and `bytes_copied` are what would be read from the source.
    pub counts: Counts,
    /// Bytes free in the destination; `None` when the backups folder does not exist yet.
    pub free: Option<u64>,
    /// Why the run would fail at the end though everything could be read (a collapsed root).
    pub refused: Option<String>,
}

/// Compares the source with the newest snapshot (and an interrupted one), and writes nothing.
///
/// # Errors
/// As [`run`], for what can fail before something is written.
pub fn dry_run<S: Source>(
    job: &Job,
    source: Arc<S>,
    changes: Arc<dyn ChangeSink>,
    context: &Context,
) -> Result<Forecast, RunError> {
    let _ = (job, source, changes, context);
    Err(RunError::Stopped)
}

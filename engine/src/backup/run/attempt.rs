//! The inputs that all steps of an attempt to complete a snapshot share.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use chrono::{DateTime, Utc};

use crate::backup::brake::apply::suspicions;
use crate::backup::walk::state::setting::{DurableFiles, WalkSetting, gather};
use crate::entry::Time;
use crate::error::{RunError, destination};
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::Repository;
use crate::repository::lock::Lock;
use crate::repository::records::report::{BootTime, RootFound};
use crate::repository::records::report_file::Recorder;
use crate::snapshot::changes::Suspicion;
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;
use crate::source::Source;
use crate::source::check_roots::OpenedRoots;

/// The inputs of one attempt to complete a snapshot.
pub(crate) struct Attempt<'a, S: Source> {
    pub(crate) job: &'a Job,
    pub(crate) source: &'a Arc<S>,
    pub(crate) repository: &'a Repository,
    pub(crate) lock: &'a Lock,
    pub(crate) recorder: &'a Recorder,
    pub(crate) context: &'a Context,
    pub(crate) began: DateTime<Utc>,
    /// When the attempt began, as time since boot.
    pub(crate) boot: Option<BootTime>,
    /// When the attempt began, by the clock from which this machine takes file times.
    pub(crate) reads_from: Time,
    pub(crate) accept_shrink: bool,
    /// The remains of earlier snapshots that the run could not remove.
    pub(crate) leftovers: Vec<Stuck>,
    /// The roots as the check of the sources opened them. The first walk uses them.
    pub(crate) opened: Mutex<OpenedRoots<S::Folder>>,
    /// The time of the destination since which the incomplete snapshot may have links to the base.
    pub(crate) links_since: OnceLock<Option<Time>>,
}

/// The snapshots of an attempt.
pub(crate) struct SnapshotNames {
    pub(crate) base: Option<SnapshotName>,
    pub(crate) incomplete: SnapshotName,
    pub(crate) complete: SnapshotName,
    /// Whether an earlier run began the incomplete snapshot.
    pub(crate) resumed: bool,
    /// When the attempt begins to read the source, by the source's clock.
    pub(crate) reads_from: Time,
}

impl<S: Source> Attempt<'_, S> {
    /// Reports a failure that does not end the run.
    pub(crate) fn aside(&self, what: &str, error: io::Error) {
        self.context.monitor.event(&Event::Aside { what: format!("{what}: {error}") });
    }

    /// The suspicious changes among those below `roots`. Reports them.
    pub(crate) fn suspicions(
        &self,
        history: &History,
        names: &SnapshotNames,
        roots: &[RootFound],
    ) -> Vec<Suspicion> {
        let Self { job, repository, context, began, .. } = *self;
        let found = suspicions(job, repository, history, names.base.as_ref(), began, roots);
        for suspicion in &found {
            context.monitor.event(&Event::Suspicious { suspicion: suspicion.clone() });
        }
        found
    }

    /// An error of the backups folder as a whole.
    pub(crate) fn broken(&self, error: io::Error) -> RunError {
        let path = &self.repository.path;
        destination("cannot open or write in", path, path.clone(), error)
    }

    /// The setting for a walk of this attempt.
    pub(crate) fn setting(
        &self,
        names: &SnapshotNames,
        granularity_ns: u32,
        trust: DurableFiles,
    ) -> Result<WalkSetting, RunError> {
        let Self { job, repository, context, accept_shrink, .. } = *self;
        let (here, base) = (Some(&names.incomplete), names.base.as_ref());
        gather(job, repository, here, base, granularity_ns, trust, accept_shrink, context)
    }
}

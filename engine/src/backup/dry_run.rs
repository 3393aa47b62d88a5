//! A dry run: reports what a run would do. Writes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::backup::brake::apply::suspicions;
use crate::backup::change::{Change, ChangeSink};
use crate::backup::plan::{CompareRules, TimeRule};
use crate::backup::preview::Preview;
use crate::backup::roots::{Accept, find_roots, report_filtered, unmounted_root};
use crate::backup::shrink_guard::{refusal, roots_found};
use crate::backup::walk::Walk;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::{
    ComparedSnapshot, DurableFiles, RootSeen, WalkSetting, everything, gather,
};
use crate::backup::withheld::Empty;
use crate::entry::FileId;
use crate::entry::racy::ReadTimes;
use crate::error::{LookError, Missing, RunError};
use crate::fs::traverse::most_open_folders;
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::monitor::{Phase, Silent};
use crate::repository::records::holds::{candidates, freeze};
use crate::repository::records::report::{Counts, Holds, RootFound};
use crate::repository::records::sidecar::Sidecar;
use crate::repository::{Repository, check_mounted, lineage, uptime};
use crate::snapshot::changes::{Freeze, Suspicion};
use crate::snapshot::history::{Decision, History};
use crate::snapshot::name::{SnapshotName, SnapshotState};
use crate::snapshot::retention::surplus;
use crate::source::Source;
use crate::threads::work_queue::workers;

/// What a run would do.
#[derive(Debug, Clone)]
pub struct DryRunReport {
    /// The snapshot that the run would link against.
    pub base: Option<SnapshotName>,
    /// The interrupted snapshot that the run would resume.
    pub resumes: Option<SnapshotName>,
    /// The end of the minimum time, when that would keep the run from starting now.
    pub held_until: Option<DateTime<Utc>>,
    /// Whether another run of the same prefix holds the lock.
    pub busy: bool,
    /// The snapshots that the run would remove.
    pub prunes: Vec<SnapshotName>,
    /// The source roots.
    pub roots: Vec<RootFound>,
    /// Entry counts. `copied` and `bytes_copied` count what the run would read from the source.
    pub counts: Counts,
    /// Free bytes in the destination; `None` when the backups folder does not exist yet.
    pub free: Option<u64>,
    /// Mass changes that may be unwanted. A dry run opens no file, so it does not know whether contents look random.
    pub suspicions: Vec<Suspicion>,
    /// Why pruning is frozen already.
    pub frozen: Option<Freeze>,
    /// Why the run would fail although it can read everything (for example a collapsed root).
    pub refused: Option<String>,
}

/// Compares the source with the newest snapshot and with an interrupted one. Writes nothing.
///
/// # Errors
/// The errors of [`crate::backup::run::run`] that can occur before it writes something.
pub fn dry_run<S: Source>(
    job: &Job,
    source: Arc<S>,
    changes: Arc<dyn ChangeSink>,
    accept: Accept,
    context: &Context,
) -> Result<DryRunReport, RunError> {
    let job = &job.with(&*source);
    let now = (context.now)();
    let refused = check_mounted(&job.backups_dir).err();
    let repository = match Repository::open(&job.backups_dir) {
        Ok(repository) => Some(repository),
        Err(LookError { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let history = match &repository {
        Some(repository) => repository.history(&job.prefix)?,
        None => History::default(),
    };
    let other_sources =
        repository.as_ref().map_or(Ok(()), |repository| lineage::check(job, repository, &history));
    let mut delayed = other_sources.is_ok();
    if let Err(error) = other_sources {
        find_roots(job, &source, context)?;
        if !accept.sources {
            return Err(error);
        }
        context.monitor.event(&Event::SourcesAccepted { what: error.to_string() });
    }
    if let Some(repository) = &repository {
        delayed &= lineage::new_root(job, repository, &history).is_none();
        for root in lineage::dropped(job, repository, &history) {
            context.monitor.event(&Event::RootDropped { path: root.path, last: root.last });
        }
    }
    let base = history.base(now).cloned();
    let resumes = history.incomplete.last().cloned();
    let trust = everything();
    let grain = source.time_granularity_ns();
    let set = match &repository {
        Some(repository) => {
            gather(job, repository, resumes.as_ref(), base.as_ref(), grain, trust, false, context)?
        }
        None => nothing_yet(job, grain, trust, context),
    };
    let walk = WalkState::new(source, set);
    let preview = Arc::new(Preview::new(&walk, changes));
    context.progress.enter(Phase::Copying);
    // As in a run, this precedes the walk: otherwise the error would name a missing folder above the root, not the root.
    walk.look_at_roots(&job.layout, Vec::new())?;
    for (path, _) in job.layout.roots() {
        unmounted_root(job, &path).map_or(Ok(()), Err)?;
    }
    Walk::new(Arc::clone(&walk), preview).walk(job)?;
    walk.count_out_empty();
    report_filtered(job, &walk);
    let since_last = repository.as_ref().filter(|_| history.doubted_by(now).is_some());
    let since_last = since_last
        .and_then(|repository| uptime::since_last(repository, &job.prefix, &history, false));
    let held_until = match history.decide(now, job.minimum_time_guard, since_last) {
        Decision::Held { next, .. } if delayed => Some(next),
        Decision::Held { .. } | Decision::Resume(_) | Decision::Start => None,
    };
    let roots = roots_found(&walk);
    let suspicions = match &repository {
        Some(repository) => suspicions(job, repository, &history, base.as_ref(), now, &roots),
        None => Vec::new(),
    };
    let frozen = repository.as_ref().and_then(|repository| freeze(repository, &history));
    let prunes = match &repository {
        Some(_) if !suspicions.is_empty() => Vec::new(),
        Some(repository) => leaving(job, repository, &history, base.as_ref(), now),
        None => Vec::new(),
    };
    Ok(DryRunReport {
        base,
        resumes,
        held_until,
        busy: repository
            .as_ref()
            .is_some_and(|repository| repository.is_locked(&job.prefix, &context.stop)),
        prunes,
        roots,
        suspicions,
        frozen,
        counts: walk.tally.counts(),
        free: repository.as_ref().and_then(Repository::free_bytes),
        refused: refused.or_else(|| refusal(job, &walk)).map(|error| error.to_string()),
    })
}

/// The snapshots that a run would remove if it completed a snapshot now.
fn leaving(
    job: &Job,
    repository: &Repository,
    history: &History,
    base: Option<&SnapshotName>,
    now: DateTime<Utc>,
) -> Vec<SnapshotName> {
    let Some(stamp) = history.free_stamp(now) else { return Vec::new() };
    let new = SnapshotName { prefix: job.prefix.clone(), stamp, state: SnapshotState::Complete };
    let candidates = candidates(repository, history);
    let (before, after) = surplus(&candidates, &job.retention, base, &new);
    before.into_iter().chain(after).map(|(name, _)| name).collect()
}

/// The setting of a dry run when the backups folder does not exist yet.
fn nothing_yet(
    job: &Job,
    granularity_ns: u32,
    trust: DurableFiles,
    context: &Context,
) -> WalkSetting {
    let nothing = || ComparedSnapshot { top: None, kept: Sidecar::none() };
    let roots = job.layout.roots().into_iter().map(|(path, inside)| RootSeen {
        path,
        inside,
        file_system: None,
        inode: None,
        file_system_before: None,
        held_before: None,
    });
    WalkSetting {
        damaged: HashSet::new(),
        damaged_inodes: HashSet::new(),
        rules: CompareRules { keep: job.keep, time: TimeRule::new(granularity_ns, None) },
        trust,
        base: nothing(),
        here: nothing(),
        writes: false,
        base_since: None,
        begins: ReadTimes::default(),
        backups: FileId { dev: 0, ino: 0 },
        backups_dir: job.backups_dir.clone(),
        snapshot_dir: job.backups_dir.clone(),
        roots: roots.collect(),
        mounts_before: HashMap::new(),
        unmounted: HashSet::new(),
        accept_empty: false,
        selection: job.selection.clone(),
        empty: job.prune_empty.then(Empty::default),
        filters: Arc::clone(&job.filters),
        rename_from: None,
        base_holds: Holds::default(),
        folds_case: false,
        threads: workers(),
        most_open: most_open_folders(),
        most_listings: usize::MAX,
        context: context.clone(),
    }
}

/// Counts the entries and bytes that a walk with this setting would still store.
///
/// # Errors
/// The errors of any walk.
pub(crate) fn describe_missing<S: Source>(
    job: &Job,
    source: &Arc<S>,
    mut set: WalkSetting,
) -> Result<Missing, RunError> {
    set.context.monitor = Arc::new(Silent);
    set.context.progress = Arc::default();
    set.context.items = None;
    set.trust = everything();
    let walk = WalkState::new(Arc::clone(source), set);
    let preview = Arc::new(Preview::new(&walk, Arc::new(DiscardedChanges)));
    Walk::new(Arc::clone(&walk), preview).walk(job)?;
    let counts = walk.tally.counts();
    let entries = counts.entries.saturating_sub(counts.kept + counts.linked);
    Ok(Missing { entries, bytes: counts.bytes_copied })
}

/// A sink that drops the changes: the caller needs only the counts.
pub(crate) struct DiscardedChanges;

impl ChangeSink for DiscardedChanges {
    fn changes(&self, _: &[Change]) {}
}

//! Copies one snapshot: a run whose source is the snapshot, without the decisions that a run takes about its sources.

use std::sync::{Arc, Mutex, OnceLock};

use chrono::TimeDelta;

use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::backup::run::fill::{Filled, fill};
use crate::backup::run::prepare::Prepared;
use crate::backup::run::seal::{rename, still_alone};
use crate::copy::beside;
use crate::copy::choose::CopyStep;
use crate::copy::job::{CopiedSnapshot, CopyJob, SnapshotStore};
use crate::entry::escape::unshown;
use crate::entry::human::rfc3339;
use crate::entry::preserve::Preserve;
use crate::entry::racy;
use crate::error::{RunError, destination};
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Instead};
use crate::monitor::{Monitor, Phase};
use crate::repository::lock::Lock;
use crate::repository::records::copied::{self, CopyMark};
use crate::repository::records::damage::{DamageMarks, LACKED};
use crate::repository::records::progress::Tracker;
use crate::repository::records::report_file::Recorder;
use crate::repository::{Repository, removal, snapshot_links};
use crate::snapshot::changes::ChangeBrake;
use crate::snapshot::host::Host;
use crate::snapshot::layout::Layout;
use crate::snapshot::name::SnapshotState;
use crate::threads::lock::lock;

/// The most files that are named in the marks of a copy that lacks them. When there are more, the snapshot as a whole is marked.
const MARKS: usize = 10_000;

/// Copies the snapshot of `step`. With `is_first`, it also reports what the destination is.
///
/// # Errors
/// When it could not be completed. The next copy continues it.
pub(crate) fn copy_one<St: SnapshotStore>(
    job: &CopyJob,
    store: &St,
    (repository, lock_of_prefix): (&Repository, &Lock),
    (step, is_first): (&CopyStep, bool),
    context: &Context,
) -> Result<CopiedSnapshot, RunError> {
    let history = repository.history(&job.prefix)?;
    let source = store.open(&step.name, step.common.as_ref())?;
    let broken =
        |error| destination("cannot write in", &repository.path, repository.path.clone(), error);
    let began = (context.now)();
    // Before the incomplete snapshot exists, so that no run takes it for one of its own.
    let mark = CopyMark::new(store.name(), rfc3339(began));
    copied::store(repository, &step.name, &mark).map_err(broken)?;
    let lacking = Arc::new(Lacking::new(Arc::clone(&context.monitor), is_first));
    let monitor = Arc::clone(&lacking) as Arc<dyn Monitor>;
    let progress = Arc::clone(&context.progress);
    let tracker = Tracker::new(repository, &job.prefix, progress, context.now);
    tracker.note();
    let recorder = Arc::new(Recorder::new(monitor, tracker, None, &job.prefix));
    let monitor = Arc::clone(&recorder) as Arc<dyn Monitor>;
    let context = &Context { monitor, ..context.clone() };
    let reads_from = racy::clock();
    let attempt = Attempt {
        job: &as_run(job)?,
        source: &source,
        repository,
        lock: lock_of_prefix,
        recorder: &recorder,
        context,
        began,
        boot: None,
        reads_from,
        accept_shrink: true,
        leftovers: Vec::new(),
        opened: Mutex::default(),
        links_since: OnceLock::new(),
    };
    let older = |name: &&_| step.is_after(name);
    let names = SnapshotNames {
        base: step.common.clone().or_else(|| history.complete.iter().rfind(older).cloned()),
        incomplete: step.name.with_state(SnapshotState::Incomplete),
        complete: step.name.clone(),
        resumed: step.resumes,
        reads_from,
    };
    context.monitor.event(&Event::Copying {
        snapshot: names.complete.to_string(),
        base: names.base.as_ref().map(ToString::to_string),
        resumed: names.resumed,
    });
    recorder.begun(&names.incomplete.to_string());
    let result = std::thread::scope(|scope| {
        // It is needed at the end, and a host needs a round trip for it.
        let beside = scope.spawn(|| store.beside(&step.name));
        let filled = fill(&attempt, Prepared { names, history });
        let beside = beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seal(&attempt, filled?, &beside?, &lacking)
    });
    let result = result.map_err(|error| error.or_stopped(&context.stop));
    recorder.ended();
    let counts = result?;
    Ok(CopiedSnapshot { name: step.name.clone(), problems: counts.problems, counts })
}

impl CopyStep {
    fn is_after(&self, name: &crate::snapshot::name::SnapshotName) -> bool {
        name.stamp < self.name.stamp
    }
}

/// Makes the copy durable, stores what belongs beside it, and gives it its complete name.
fn seal<S: crate::source::Source>(
    attempt: &Attempt<'_, S>,
    filled: Filled<S>,
    beside: &beside::Beside,
    lacking: &Lacking,
) -> Result<crate::repository::records::report::Counts, RunError> {
    let Attempt { job, repository, context, .. } = attempt;
    let Filled { prepared: Prepared { names, .. }, content, .. } = filled;
    context.progress.enter(Phase::Sealing);
    let path = repository.path.join(names.incomplete.to_string());
    let unsynced = |error| RunError::Sync { path: path.clone(), error };
    content.checkpoints.sync().map_err(unsynced)?;
    still_alone(attempt, &names, &content)?;
    if let Err(error) = removal::rename_kept(repository, &names.incomplete, &names.complete) {
        attempt.aside("what is kept beside the snapshot stays under its old name", error);
    }
    let now = rfc3339((context.now)());
    let aside = |what: &str, error| attempt.aside(what, error);
    let marks = lacking.marks(beside, &names.complete.to_string());
    beside::store(
        (repository, &names.complete),
        beside,
        &content.abilities,
        (&marks, &now),
        &aside,
    )?;
    content
        .writer
        .open_up()
        .map_err(|error| destination("cannot set the mode of", &repository.path, path, error))?;
    rename(repository, &names.incomplete, &names.complete)?;
    if let Err(error) = content.checkpoints.forget() {
        attempt.aside("the journal of the finished copy stays behind", error);
    }
    if let Err(error) = snapshot_links::update(repository, &job.prefix, job.links) {
        attempt.aside(snapshot_links::STALE, error);
    }
    Ok(content.writer.walk.tally.counts())
}

/// The copy as a run: everything in the snapshot is kept, and nothing that was selected is left out.
fn as_run(job: &CopyJob) -> Result<Job, RunError> {
    let whole = Layout::new(&["/".into()], true, "/".as_ref());
    let layout = whole.map_err(|errors| {
        let why = errors.first().map(ToString::to_string).unwrap_or_default();
        RunError::NotForCopies { path: job.backups_dir.clone(), why }
    })?;
    Ok(Job {
        prefix: job.prefix.clone(),
        host: Host::default(),
        layout,
        backups_dir: job.backups_dir.clone(),
        backups_mode: job.backups_mode,
        keep: Preserve {
            acls: true,
            xattrs: true,
            fake_super: job.fake_super,
            of_snapshot: true,
            ..Preserve::default()
        },
        filters: Arc::default(),
        retention: job.retention.clone(),
        minimum_time_guard: TimeDelta::zero(),
        max_shrink_percent: 100.0,
        selection: job.selection.clone(),
        max_delete: None,
        change_brake: ChangeBrake::Off,
        links: job.links,
        rename_from: job.rename_from,
        prune_empty: false,
    })
}

/// Collects the files that the copy lacks, from the events about them.
struct Lacking {
    next: Arc<dyn Monitor>,
    /// Whether the destination is described. It is the same for all snapshots.
    describes: bool,
    found: Mutex<(DamageMarks, u64)>,
}

impl Lacking {
    fn new(next: Arc<dyn Monitor>, describes: bool) -> Self {
        Self { next, describes, found: Mutex::default() }
    }

    /// The marks of the copy, which also lacks what the original lacks. Reports when they do not name every file.
    fn marks(&self, beside: &beside::Beside, snapshot: &str) -> DamageMarks {
        let (mut marks, mut more) = lock(&self.found).clone();
        for lacked in beside.damaged.iter().filter(|file| file.what.starts_with(LACKED)) {
            let Some(path) = unshown(&lacked.path) else { continue };
            match marks.len() < MARKS {
                true => drop(marks.insert(path, lacked.what.clone())),
                false => more += 1,
            }
        }
        if more > 0 {
            let what = format!("{LACKED}: {more} files beside those that are listed");
            marks.insert(Vec::new(), what);
            let what = format!(
                "{snapshot} is not complete in the copy: {} entries could not be copied. That is more than are listed, so the snapshot as a whole is marked as damaged",
                MARKS as u64 + more
            );
            self.next.event(&Event::Aside { what });
        }
        marks
    }
}

impl Monitor for Lacking {
    fn event(&self, event: &Event) {
        if !self.describes && matches!(event, Event::Destination { .. } | Event::Limited { .. }) {
            return;
        }
        if let Event::Problem(problem) = event
            && problem.instead == Instead::NotCopied
        {
            let (marks, more) = &mut *lock(&self.found);
            if marks.len() < MARKS {
                let what = format!("{LACKED}: {}", problem.what);
                marks.insert(beside::inside(&problem.path), what);
            } else {
                *more += 1;
            }
        }
        self.next.event(event);
    }
}

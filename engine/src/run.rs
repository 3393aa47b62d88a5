//! A run as one line of data: list -> compare -> plan -> apply -> seal.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::io::Errno;

use crate::backups::{Backups, Locked, folder_name};
use crate::build::Build;
use crate::collapse::collapsed;
use crate::durable::{Checkpoints, SyncFileSystem, Ticker, clock_offset};
use crate::entry::Time;
use crate::error::{RunError, destination};
use crate::event::Event;
use crate::history::{Decision, History};
use crate::job::Job;
use crate::kept::Kept;
use crate::monitor::{Monitor, Phase, Progress};
use crate::name::{SnapshotName, Stamp, State};
use crate::plan::{Rules, TimeRule};
use crate::preview::Preview;
use crate::probe::{Abilities, probe};
use crate::record::{Recorder, Status, report, store_status};
use crate::report::{Counts, Report, RootFound, VERSION};
use crate::seal;
use crate::source::Source;
use crate::walk::{Beside, RootSeen, Setting, Target, Trust, Walk};

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
    /// Syncs the destination's file system; may be done outside of this process, so that a stop need not wait.
    pub sync: SyncFileSystem,
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

/// Bytes after which a checkpoint is due, however short the time since the last one.
const CHECKPOINT_BYTES: u64 = 4 << 30;
/// The first checkpoint comes after this time, each further one after twice the time, up to the longest.
const CHECKPOINT_FIRST: Duration = Duration::from_secs(10);
const CHECKPOINT_LONGEST: Duration = Duration::from_secs(60);

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
    // Modes are set as they are meant, not as the caller's umask would cut them.
    rustix::process::umask(rustix::fs::Mode::empty());
    let began = (context.now)();
    let backups = Backups::open_or_make(&job.backups_dir)?;
    let _lock = match backups.lock(&job.prefix)? {
        Locked::Mine(lock) => Some(lock),
        Locked::Busy => return Ok(Outcome::Busy),
        Locked::Impossible(error) => {
            let what = format!(
                "the destination has no locks ({error}): nothing keeps two runs of one prefix apart"
            );
            context.monitor.event(&Event::Limited { what });
            None
        }
    };
    let history = backups.history(&job.prefix)?;
    seal::remove_leftovers(&backups, &history, context)?;
    if let Decision::Held { newest, next } = history.decide(began, job.minimum_time_guard) {
        return Ok(Outcome::Held { newest, next });
    }
    let recorder = Arc::new(Recorder::new(
        Arc::clone(&context.monitor),
        backups.own(c"reports").as_ref(),
        &job.prefix,
    ));
    let monitor = Arc::clone(&recorder) as Arc<dyn Monitor>;
    let context = &Context { monitor, ..context.clone() };
    let result = Attempt { job, backups: &backups, context, began, accept_shrink }
        .complete(&source, &recorder, history);
    note_status(job, &backups, context, began, &result);
    result.map(|report| Outcome::Completed(Box::new(report)))
}

/// Keeps how the run ended; a failure to do so is told and changes nothing.
fn note_status(
    job: &Job,
    backups: &Backups,
    context: &Context,
    began: DateTime<Utc>,
    result: &Result<Report, RunError>,
) {
    let (outcome, reason, snapshot) = match result {
        Ok(report) if report.counts.problems > 0 => {
            ("completed_with_problems", None, Some(report.snapshot.clone()))
        }
        Ok(report) => ("completed", None, Some(report.snapshot.clone())),
        Err(RunError::Stopped) => ("stopped", None, None),
        Err(error) => ("failed", Some(error.to_string()), None),
    };
    let status = Status {
        version: 1,
        started: rfc3339(began),
        finished: rfc3339((context.now)()),
        outcome: outcome.to_owned(),
        reason,
        snapshot,
        failures_in_a_row: 0,
    };
    if let Err(error) = store_status(backups, &job.prefix, status) {
        let what = format!("the status of this run cannot be stored: {error}");
        context.monitor.event(&Event::Aside { what });
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// One try at completing a snapshot.
struct Attempt<'a> {
    job: &'a Job,
    backups: &'a Backups,
    context: &'a Context,
    began: DateTime<Utc>,
    accept_shrink: bool,
}

impl Attempt<'_> {
    fn complete<S: Source>(
        &self,
        source: &Arc<S>,
        recorder: &Recorder,
        mut history: History,
    ) -> Result<Report, RunError> {
        let Self { job, backups, context, .. } = self;
        context.progress.enter(Phase::Preparing);
        seal::sweep(backups, job, &history);
        self.check_clock(&history);
        let base = history.base(self.began).cloned();
        let stamp = history.free_stamp(self.began).ok_or_else(|| {
            let error =
                std::io::Error::other("the clock's year cannot be written with four digits");
            RunError::Destination {
                action: "cannot name a snapshot in",
                path: backups.path.clone(),
                error,
            }
        })?;
        let complete = SnapshotName { prefix: job.prefix.clone(), stamp, state: State::Complete };
        let abilities = self.probe()?;
        let (incomplete, resumed) = self.incomplete(&history, stamp)?;
        let about = |snapshot: &SnapshotName| snapshot.to_string();
        context.monitor.event(&Event::Started {
            snapshot: about(&incomplete),
            base: base.as_ref().map(about),
            resumed,
        });
        let checkpoints = self.checkpoints(&incomplete)?;
        let mut pruned = Vec::new();
        let walk = loop {
            let walk =
                self.prepare(source, &incomplete, base.as_ref(), &abilities, &checkpoints)?;
            context.progress.enter(Phase::Copying);
            match self.walk(&walk, &checkpoints) {
                Err(error @ RunError::NoSpace { .. }) => {
                    // A full history makes room early: one will go anyway when this run completes.
                    let (mut surplus, _) = history.surplus(job.max_backups.get(), base.as_ref());
                    if surplus.is_empty() {
                        return Err(self.how_much(error, source, &incomplete, base.as_ref()));
                    }
                    let oldest = surplus.remove(0);
                    let retired = seal::retire(
                        backups,
                        &oldest,
                        "the destination is full, and the history too",
                        context,
                    )?;
                    history.complete.retain(|name| *name != oldest);
                    pruned.push(oldest.to_string());
                    context.progress.enter(Phase::Removing);
                    seal::remove_retired(backups, &[retired], context)?;
                }
                result => {
                    result?;
                    break walk;
                }
            }
        };
        walk.set_late_modes()?;
        let roots = self.judge(&walk)?;
        context.progress.enter(Phase::Sealing);
        seal::make_durable(backups, &incomplete, &checkpoints)?;
        let (before, after) = history.surplus(job.max_backups.get(), base.as_ref());
        pruned.extend(before.iter().chain(&after).map(ToString::to_string));
        let finished = (context.now)();
        let report = Report {
            version: VERSION,
            snapshot: complete.to_string(),
            path: backups.path.join(complete.to_string()).display().to_string(),
            base: base.as_ref().map(about),
            resumed,
            started: rfc3339(self.began),
            finished: rfc3339(finished),
            seconds: (finished - self.began).as_seconds_f64(),
            time_granularity_ns: source.time_granularity_ns().max(abilities.time_granularity_ns),
            roots,
            pruned,
            counts: walk.tally.counts(),
        };
        self.file(recorder, &incomplete, &complete, &report);
        let mut retired = Vec::new();
        for name in &before {
            retired.push(seal::retire(backups, name, &self.why(), context)?);
        }
        seal::seal(backups, &incomplete, &complete)?;
        for name in &after {
            retired.push(seal::retire(backups, name, &self.why(), context)?);
        }
        for name in history.incomplete.iter().filter(|name| **name != incomplete) {
            retired.push(seal::retire(backups, name, "an older interrupted one", context)?);
        }
        if let Err(error) = checkpoints.forget() {
            let what = format!("the journal of the finished snapshot stays behind: {error}");
            context.monitor.event(&Event::Aside { what });
        }
        context.progress.enter(Phase::Removing);
        match seal::remove_retired(backups, &retired, context) {
            // The snapshot is complete; what is left of the old ones goes with the next run.
            Err(RunError::Stopped) | Ok(()) => {}
            Err(error) => context.monitor.event(&Event::Aside { what: error.to_string() }),
        }
        Ok(report)
    }

    fn why(&self) -> String {
        format!("the history holds {} (MAX_BACKUPS)", self.job.max_backups)
    }

    fn check_clock(&self, history: &History) {
        let future = history.from_the_future(self.began);
        if let Some(newest) = future.last() {
            let what = format!(
                "the clock says {}, but {newest} is from the future ({} in all): one of the two clocks was wrong; backups go on",
                rfc3339(self.began),
                future.len(),
            );
            self.context.monitor.event(&Event::Clock { what });
        }
    }

    fn probe(&self) -> Result<Abilities, RunError> {
        let (backups, monitor) = (self.backups, &self.context.monitor);
        let own = backups.own.as_ref().map_or(Err(Errno::NOENT.into()), probe);
        let abilities = own.map_err(|error| {
            destination("cannot write to", &backups.path, backups.path.clone(), error)
        })?;
        monitor.event(&Event::Destination { about: crate::mount::describe(backups) });
        for limit in abilities.limits() {
            monitor.event(&Event::Limited { what: limit.to_owned() });
        }
        Ok(abilities)
    }

    /// The incomplete snapshot to work in; whether it is resumed.
    fn incomplete(
        &self,
        history: &History,
        stamp: Stamp,
    ) -> Result<(SnapshotName, bool), RunError> {
        if let Some(incomplete) = history.incomplete.last() {
            return Ok((incomplete.clone(), true));
        }
        let name =
            SnapshotName { prefix: self.job.prefix.clone(), stamp, state: State::Incomplete };
        let path = self.backups.path.join(name.to_string());
        let made = folder_name(&name).and_then(|folder| {
            self.backups.dir.make_folder(&folder, 0o700)?;
            // A default ACL of the backups folder would reach every file of the snapshot.
            let _ = xattr::remove(self.backups.dir.path_of(&folder), "system.posix_acl_default");
            let _ = xattr::remove(self.backups.dir.path_of(&folder), "system.posix_acl_access");
            Ok(())
        });
        made.map_err(|error| destination("cannot create", &self.backups.path, path, error))?;
        Ok((name, false))
    }

    fn checkpoints(&self, incomplete: &SnapshotName) -> Result<Checkpoints, RunError> {
        let backups = self.backups;
        let broken = |error| destination("cannot open", &backups.path, backups.path.clone(), error);
        let dir = backups.own(c"journal").ok_or_else(|| broken(Errno::NOENT.into()))?;
        let top =
            folder_name(incomplete).and_then(|name| backups.dir.child(&name)).map_err(broken)?;
        let (prefix, sync) = (&self.job.prefix, self.context.sync);
        Ok(Checkpoints::new(dir, prefix, incomplete.to_string(), top, sync))
    }

    fn prepare<S: Source>(
        &self,
        source: &Arc<S>,
        incomplete: &SnapshotName,
        base: Option<&SnapshotName>,
        abilities: &Abilities,
        checkpoints: &Checkpoints,
    ) -> Result<Arc<Walk<S, Build<S>>>, RunError> {
        let (job, backups) = (self.job, self.backups);
        let broken = |error| destination("cannot open", &backups.path, backups.path.clone(), error);
        let now = checkpoints.clock().map_err(broken)?;
        let durable = checkpoints.durable_before();
        // When the clock went back, no time of before says anything about now.
        let steady = durable.is_none_or(|durable| durable <= now);
        let trust = if steady {
            Trust { before: durable, from: Some(now) }
        } else {
            checkpoints.distrust().map_err(broken)?;
            Trust { before: None, from: None }
        };
        let kept = backups.own(c"kept").ok_or_else(|| broken(Errno::NOENT.into()))?;
        let name = folder_name(incomplete).map_err(broken)?;
        let kept_here = Kept::create(&kept, &name).map_err(broken)?;
        let granularity = source.time_granularity_ns().max(abilities.time_granularity_ns);
        let set = self.setting(incomplete, base, granularity, trust)?;
        let dresser = Build::<S>::dresser(job.keep, abilities.clone());
        Ok(Walk::new(Arc::clone(source), Build::new(dresser, kept_here, !checkpoints.whole()), set))
    }

    fn setting(
        &self,
        incomplete: &SnapshotName,
        base: Option<&SnapshotName>,
        granularity_ns: u32,
        trust: Trust,
    ) -> Result<Setting, RunError> {
        setting(
            self.job,
            self.backups,
            Some(incomplete),
            base,
            granularity_ns,
            trust,
            self.accept_shrink,
            self.context,
        )
    }

    /// Walks with checkpoints now and then; the first failure of either ends both.
    fn walk<S: Source>(
        &self,
        walk: &Arc<Walk<S, Build<S>>>,
        checkpoints: &Checkpoints,
    ) -> Result<(), RunError> {
        let ticker = Ticker::default();
        std::thread::scope(|scope| {
            scope.spawn(|| self.keep_checkpoints(walk, checkpoints, &ticker));
            let result = walk.walk(self.job);
            ticker.end();
            result
        })
    }

    fn keep_checkpoints<S: Source>(
        &self,
        walk: &Arc<Walk<S, Build<S>>>,
        checkpoints: &Checkpoints,
        ticker: &Ticker,
    ) {
        let second = Duration::from_secs(1);
        let (mut due, mut waited, mut bytes) = (CHECKPOINT_FIRST, Duration::ZERO, 0);
        let mut offset = clock_offset();
        let fail = |error| {
            let path = self.backups.path.clone();
            walk.fail(RunError::Sync { path, error });
        };
        while ticker.wait(second) {
            waited += second;
            let ahead = clock_offset();
            // A hundredth of a second: less is the clock being slewed, and no file is that late.
            if ahead < offset - 10_000_000
                && let Err(error) = checkpoints.distrust()
            {
                return fail(error);
            }
            offset = ahead;
            let written = walk.target.written.load(Ordering::Relaxed);
            if waited < due && written - bytes < CHECKPOINT_BYTES {
                continue;
            }
            let flight = &walk.target.in_flight;
            let done = checkpoints.checkpoint(|clock: &dyn Fn() -> std::io::Result<Time>| {
                let _nothing_in_flight =
                    flight.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                clock()
            });
            match done {
                Ok(()) => self.context.monitor.event(&Event::Checkpoint),
                Err(_) if walk.halted() => return,
                Err(error) => return fail(error),
            }
            (due, waited, bytes) = ((due * 2).min(CHECKPOINT_LONGEST), Duration::ZERO, written);
        }
    }

    /// The roots with their counts, unless one of them has collapsed.
    fn judge<S: Source, T: Target<S>>(
        &self,
        walk: &Walk<S, T>,
    ) -> Result<Vec<RootFound>, RunError> {
        match refusal(self.job, walk) {
            Some(error) if !self.accept_shrink => Err(error),
            _ => Ok(roots_found(walk)),
        }
    }

    /// Keeps the report and what is kept beside the snapshot under the complete name. A snapshot is as
    /// good without its report, so a failure is told and changes nothing.
    fn file(
        &self,
        recorder: &Recorder,
        incomplete: &SnapshotName,
        complete: &SnapshotName,
        report: &Report,
    ) {
        let aside = |what: &str, error: std::io::Error| {
            let what = format!("{what}: {error}");
            self.context.monitor.event(&Event::Aside { what });
        };
        if let Err(error) = seal::rename_kept(self.backups, incomplete, complete) {
            aside("what is kept beside the snapshot stays under its old name", error);
        }
        if let Some(reports) = self.backups.own(c"reports")
            && let Err(error) =
                recorder.store(&reports, &self.job.prefix, &complete.to_string(), report)
        {
            aside("the report cannot be stored", error);
        }
    }

    /// Adds to `error` how much is still to be copied.
    fn how_much<S: Source>(
        &self,
        error: RunError,
        source: &Arc<S>,
        incomplete: &SnapshotName,
        base: Option<&SnapshotName>,
    ) -> RunError {
        let trust = Trust { before: None, from: Some(Time { secs: i64::MIN, nanos: 0 }) };
        let forecast = self
            .setting(incomplete, base, source.time_granularity_ns(), trust)
            .and_then(|mut set| {
                set.context.monitor = Arc::new(crate::monitor::Silent);
                set.context.progress = Arc::default();
                let walk = Walk::new(Arc::clone(source), Preview::new(Arc::new(Unheard)), set);
                walk.walk(self.job)?;
                Ok(walk.tally.counts().bytes_copied)
            });
        match (error, forecast) {
            (RunError::NoSpace { path, free, free_inodes, .. }, Ok(needed)) => {
                RunError::NoSpace { path, free, free_inodes, needed: Some(needed) }
            }
            (error, _) => error,
        }
    }
}

/// What a walk needs to know, gathered from the backups folder.
#[expect(clippy::too_many_arguments, reason = "the one place where both kinds of walk are set up")]
fn setting(
    job: &Job,
    backups: &Backups,
    incomplete: Option<&SnapshotName>,
    base: Option<&SnapshotName>,
    granularity_ns: u32,
    trust: Trust,
    accept_empty: bool,
    context: &Context,
) -> Result<Setting, RunError> {
    let broken = |error| destination("cannot open", &backups.path, backups.path.clone(), error);
    let kept = backups.own(c"kept");
    let beside = |name: Option<&SnapshotName>| -> std::io::Result<Beside> {
        let folder = name.map(folder_name).transpose()?.unwrap_or_else(CString::default);
        let top = name.map(|_| backups.dir.child(&folder)).transpose()?;
        Ok(Beside { top, kept: Kept::open(kept.as_ref().filter(|_| name.is_some()), &folder)? })
    };
    let report = base.and_then(|base| report(backups, base));
    let base_granularity = report.as_ref().map_or(1, |report| report.time_granularity_ns);
    let time = TimeRule {
        granularity_ns: granularity_ns.max(base_granularity),
        base_unknown: report.is_none(),
    };
    let expected = report.as_ref().map_or(0, |report| report.counts.entries);
    context.progress.entries_expected.store(expected, Ordering::Relaxed);
    let roots = job.layout.roots().into_iter().map(|(path, inside)| RootSeen {
        file_system: None,
        file_system_before: report
            .iter()
            .flat_map(|report| &report.roots)
            .find(|root| root.inside == crate::bytes::shown(&inside))
            .and_then(|root| root.file_system.clone()),
        path,
        inside,
    });
    Ok(Setting {
        rules: Rules { keep: job.keep, time },
        trust,
        roots: roots.collect(),
        base: beside(base).map_err(broken)?,
        here: beside(incomplete).map_err(broken)?,
        backups: backups.id,
        backups_dir: backups.path.clone(),
        accept_empty,
        context: context.clone(),
    })
}

/// Why a walk's result must not be sealed: a root that collapsed.
fn refusal<S: Source, T: Target<S>>(job: &Job, walk: &Walk<S, T>) -> Option<RunError> {
    let percent = job.max_shrink_percent;
    walk.roots().into_iter().zip(walk.tally.roots()).find_map(|(root, counts)| {
        let (before, now) = (counts.before, counts.now);
        collapsed(before, now, percent).then_some(RunError::Collapse {
            path: root.path,
            before,
            now,
            percent,
        })
    })
}

fn roots_found<S: Source, T: Target<S>>(walk: &Walk<S, T>) -> Vec<RootFound> {
    let found = |(root, counts): (RootSeen, crate::tally::RootCounts)| RootFound {
        path: crate::event::shown_path(&root.path),
        inside: crate::bytes::shown(&root.inside),
        files: counts.now,
        files_before: counts.before,
        file_system: root.file_system,
    };
    walk.roots().into_iter().zip(walk.tally.roots()).map(found).collect()
}

/// A sink for changes that nobody asked for.
struct Unheard;

impl ChangeSink for Unheard {
    fn changes(&self, _: &[Change]) {}
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
    let now = (context.now)();
    let backups = match Backups::open(&job.backups_dir) {
        Ok(backups) => Some(backups),
        Err(RunError::Destination { error, .. })
            if error.kind() == std::io::ErrorKind::NotFound =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    let history = match &backups {
        Some(backups) => backups.history(&job.prefix)?,
        None => History::default(),
    };
    let base = history.base(now).cloned();
    let resumes = history.incomplete.last().cloned();
    let trust = Trust { before: None, from: Some(Time { secs: i64::MIN, nanos: 0 }) };
    let grain = source.time_granularity_ns();
    let set = match &backups {
        Some(backups) => {
            setting(job, backups, resumes.as_ref(), base.as_ref(), grain, trust, false, context)?
        }
        None => nothing_yet(job, grain, trust, context),
    };
    let walk = Walk::new(source, Preview::new(changes), set);
    context.progress.enter(Phase::Copying);
    walk.walk(job)?;
    let held_until = match history.decide(now, job.minimum_time_guard) {
        Decision::Held { next, .. } => Some(next),
        Decision::Resume(_) | Decision::Start => None,
    };
    let (mut prunes, after) = history.surplus(job.max_backups.get(), base.as_ref());
    prunes.extend(after);
    let space = backups.as_ref().and_then(|backups| backups.dir.space().ok());
    Ok(Forecast {
        base,
        resumes,
        held_until,
        busy: backups.as_ref().is_some_and(|backups| backups.is_locked(&job.prefix)),
        prunes,
        roots: roots_found(&walk),
        counts: walk.tally.counts(),
        free: space.map(|space| space.f_bavail * space.f_frsize),
        refused: refusal(job, &walk).map(|error| error.to_string()),
    })
}

/// The setting of a dry run when there is no backups folder yet.
fn nothing_yet(job: &Job, granularity_ns: u32, trust: Trust, context: &Context) -> Setting {
    let nothing = || Beside { top: None, kept: Kept::none() };
    let roots = job.layout.roots().into_iter().map(|(path, inside)| RootSeen {
        path,
        inside,
        file_system: None,
        file_system_before: None,
    });
    Setting {
        rules: Rules { keep: job.keep, time: TimeRule { granularity_ns, base_unknown: true } },
        trust,
        base: nothing(),
        here: nothing(),
        backups: crate::entry::FileId { dev: 0, ino: 0 },
        backups_dir: job.backups_dir.clone(),
        roots: roots.collect(),
        accept_empty: false,
        context: context.clone(),
    }
}

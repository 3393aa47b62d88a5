//! One try at completing a snapshot: probe, walk, judge, seal, prune.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use rustix::io::Errno;

use crate::backup::apply::build::{Build, in_progress};
use crate::backup::checkpoints::keep_checkpoints;
use crate::backup::dry_run::what_is_missing;
use crate::backup::plan::WHOLE_SECONDS;
use crate::backup::roots::{find_roots, tell_filtered};
use crate::backup::seal;
use crate::backup::shrink_guard::{refusal, roots_found};
use crate::backup::walk::setting::{Setting, Trust, gather};
use crate::backup::walk::{Target, Walk};
use crate::entry::Time;
use crate::entry::escape::shown_path;
use crate::entry::human::rfc3339;
use crate::entry::racy::begin_of;
use crate::error::{RunError, destination};
use crate::fs::capabilities::{Abilities, probe};
use crate::fs::dir::Dir;
use crate::fs::file_system::tells_inodes;
use crate::fs::metadata::MetadataWriter;
use crate::fs::small_file::make_if_missing;
use crate::job::Job;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::lock::Lock;
use crate::repository::manifest::read::Reader;
use crate::repository::manifest::write::Writer;
use crate::repository::read_lock::{claim, holders};
use crate::repository::records::holds::candidates;
use crate::repository::records::journal::{Checkpoints, Ticker};
use crate::repository::records::report::{Boot, Report, RootDropped, RootFound, VERSION};
use crate::repository::records::report_file::{Recorder, carried, report};
use crate::repository::records::sidecar::Kept;
use crate::repository::removal::Retired;
use crate::repository::{Backups, folder_name, lineage, manifest, removal};
use crate::snapshot::history::History;
use crate::snapshot::name::{SnapshotName, State};
use crate::snapshot::retention::{Leaving, surplus};
use crate::source::{Answers, Source};

/// How many runs in a row wait for a snapshot that is in use before they say who has it.
const WAITS: u32 = 5;

/// How often a walk goes on on a disk that was full.
const ROUNDS: u32 = 10;

/// How much more room makes it worth to go on, bytes.
const WORTH_A_ROUND: u64 = 1 << 20;

/// One try at completing a snapshot.
pub(crate) struct Attempt<'a> {
    pub(crate) job: &'a Job,
    pub(crate) backups: &'a Backups,
    pub(crate) lock: &'a Lock,
    pub(crate) context: &'a Context,
    pub(crate) began: DateTime<Utc>,
    /// The same by the time since boot.
    pub(crate) boot: Option<Boot>,
    /// When it began, by the clock that stamps files.
    pub(crate) reads_from: Time,
    pub(crate) accept_shrink: bool,
    /// Of what earlier runs began to remove: what cannot be removed.
    pub(crate) leftovers: Vec<Stuck>,
}

/// What every part of an attempt refers to.
struct Names {
    base: Option<SnapshotName>,
    incomplete: SnapshotName,
    complete: SnapshotName,
    resumed: bool,
    /// When the source begins to be read, by its own clock.
    reads_from: Time,
}

/// An incomplete snapshot that holds everything.
struct Built<S: Source> {
    /// Keeps others off it; none where folders have no locks.
    claim: Option<Dir>,
    walk: Arc<Walk<S, Build<S>>>,
    checkpoints: Checkpoints,
    abilities: Abilities,
}

impl Attempt<'_> {
    /// Builds, judges and seals a snapshot, and removes what the history has no room for.
    ///
    /// # Errors
    /// When no snapshot was completed.
    pub(crate) fn complete<S: Source>(
        &self,
        source: &Arc<S>,
        recorder: &Recorder,
        mut history: History,
    ) -> Result<Report, RunError> {
        find_roots(self.job, source, self.context)?;
        self.check_clock(&history);
        let reads_from = begin_of(source.clock(), self.reads_from);
        let names = self.names(&history, reads_from)?;
        self.context.monitor.event(&Event::Started {
            snapshot: names.incomplete.to_string(),
            base: names.base.as_ref().map(ToString::to_string),
            resumed: names.resumed,
        });
        for root in lineage::dropped(self.job, self.backups, &history) {
            self.context.monitor.event(&Event::RootDropped { path: root.path, last: root.last });
        }
        let base = names.base.as_ref();
        let carried_before = base.map(|base| carried(self.backups, base)).unwrap_or_default();
        recorder.go_on(carried_before, rfc3339(self.began));
        let mut pruned = Vec::new();
        let mut first = true;
        let built = loop {
            match self.build(source, recorder, &names, std::mem::take(&mut first)) {
                Ok(built) => break built,
                // A full history makes room early: its oldest goes anyway when this run completes.
                Err(error @ RunError::NoSpace { .. }) => {
                    let room = self.make_room(&mut history, &names)?;
                    pruned.push(room.ok_or_else(|| self.how_much(error, source, &names))?);
                }
                Err(error) => return Err(error),
            }
        };
        let roots = self.judge(&built.walk)?;
        tell_filtered(self.job, &built.walk);
        self.context.progress.enter(Phase::Sealing);
        let path = self.backups.path.join(names.incomplete.to_string());
        built.checkpoints.sync().map_err(|error| RunError::Sync { path, error })?;
        self.still_alone(&names, &built)?;
        let (before, after) = self.surplus(&history, &names);
        let mut stuck = self.leftovers.clone();
        let in_use = self.waits(&history, before.iter().chain(&after), &mut stuck);
        let mut retired = self.retire(&before, &mut stuck);
        let going = |leaving: &Leaving| !in_use.contains_key(&leaving.0.to_string());
        pruned.extend(retired.iter().map(Retired::was));
        pruned.extend(after.iter().filter(|one| going(one)).map(|(name, _)| name.to_string()));
        let report = self.report(source, &names, &built, roots, pruned);
        let dropped = self.dropped(&history, &report.pruned);
        let mut report = Report { stuck: stuck.clone(), in_use, dropped, ..report };
        report.carried_since = recorder.carried_since();
        if let Some(coverage) = &mut report.coverage {
            coverage.not_entered = recorder.not_entered();
        }
        self.file(recorder, &names, &report);
        built.walk.open_up().map_err(|error| {
            let path = self.backups.path.join(names.incomplete.to_string());
            destination("cannot set the mode of", &self.backups.path, path, error)
        })?;
        seal::seal(self.backups, &names.incomplete, &names.complete)?;
        retired.extend(self.retire(&after, &mut stuck));
        history.incomplete.retain(|name| *name != names.incomplete);
        let older = |name: &SnapshotName| (name.clone(), "an older interrupted one");
        let older = history.incomplete.iter().map(older).collect::<Vec<_>>();
        retired.extend(self.retire(&older, &mut stuck));
        stuck.extend(self.clean_up(&built.checkpoints, &retired));
        report.stuck = stuck;
        Ok(report)
    }

    fn names(&self, history: &History, reads_from: Time) -> Result<Names, RunError> {
        let stamp = history.free_stamp(self.began).ok_or_else(|| {
            let error = io::Error::other("the clock's year cannot be written with four digits");
            let path = self.backups.path.clone();
            RunError::Destination { action: "cannot name a snapshot in", path, error }
        })?;
        let complete =
            SnapshotName { prefix: self.job.prefix.clone(), stamp, state: State::Complete };
        let interrupted = history.incomplete.last().cloned();
        Ok(Names {
            base: history.base(self.began).cloned(),
            resumed: interrupted.is_some(),
            incomplete: interrupted.unwrap_or_else(|| complete.with_state(State::Incomplete)),
            complete,
            reads_from,
        })
    }

    /// Nothing is sealed that another run works on by now.
    fn still_alone<S: Source>(&self, names: &Names, built: &Built<S>) -> Result<(), RunError> {
        if built.claim.is_some() || self.lock.is_mine() {
            return Ok(());
        }
        Err(RunError::Taken { path: self.backups.path.join(names.incomplete.to_string()) })
    }

    /// Fills the incomplete snapshot.
    fn build<S: Source>(
        &self,
        source: &Arc<S>,
        recorder: &Recorder,
        names: &Names,
        first: bool,
    ) -> Result<Built<S>, RunError> {
        self.context.progress.enter(Phase::Preparing);
        recorder.forget();
        let abilities = self.probe(first)?;
        self.make_incomplete(&names.incomplete)?;
        let claim = self.backups.claim(&names.incomplete)?;
        let checkpoints = self.checkpoints(&names.incomplete)?;
        let mut walk = self.prepare(source, names, &abilities, &checkpoints)?;
        self.context.progress.enter(Phase::Copying);
        let mut rounds = 0;
        while let Err(error) = self.walk(&walk, &checkpoints) {
            // What went from the incomplete snapshot may have made the room that was missing.
            let freed = rounds == 0 && walk.freed.load(Ordering::Relaxed) > 0;
            let full = matches!(error, RunError::NoSpace { .. });
            if !full || rounds == ROUNDS || !(freed || self.has_more_room_now(&error)) {
                return Err(error);
            }
            rounds += 1;
            recorder.forget();
            walk = self.prepare(source, names, &abilities, &checkpoints)?;
        }
        let gone = walk.remove_empty()?;
        walk.set_late_modes(&gone)?;
        self.finish_manifest(names, &walk, &gone);
        Ok(Built { claim, walk, checkpoints, abilities })
    }

    /// Whether there is room since the disk was full and everything was synced: a file system may set blocks
    /// aside for what is only in memory yet, xfs several for each file (measured).
    fn has_more_room_now(&self, full: &RunError) -> bool {
        let RunError::NoSpace { free, .. } = full else { return false };
        let now = self.backups.dir.space().map_or(0, |now| now.f_bavail * now.f_frsize);
        let more = now >= free + WORTH_A_ROUND;
        if more {
            let what = "the destination was full until all that was written was on the disk; the run goes on";
            self.context.monitor.event(&Event::Aside { what: what.to_owned() });
        }
        more
    }

    /// Removes the oldest snapshot of a full history; its name, if there was one to remove.
    fn make_room(&self, history: &mut History, names: &Names) -> Result<Option<String>, RunError> {
        let (surplus, _) = self.surplus(history, names);
        for (oldest, _) in surplus {
            let why = "the destination is full, and the history too";
            let retired = self.retire(&[(oldest.clone(), why)], &mut Vec::new());
            if retired.is_empty() {
                continue;
            }
            history.complete.retain(|name| *name != oldest);
            self.context.progress.enter(Phase::Removing);
            if removal::remove_retired(self.backups, &retired, self.context)?.is_empty() {
                return Ok(Some(oldest.to_string()));
            }
        }
        Ok(None)
    }

    /// What goes for the snapshot that is about to be completed.
    fn surplus(&self, history: &History, names: &Names) -> (Vec<Leaving>, Vec<Leaving>) {
        let candidates = candidates(self.backups, history);
        surplus(&candidates, &self.job.retention, names.base.as_ref(), &names.complete)
    }

    /// For how many runs in a row snapshots that would go have been in use, this one included. After [`WAITS`] runs they are
    /// told with who has them.
    fn waits<'b>(
        &self,
        history: &History,
        leaving: impl Iterator<Item = &'b Leaving>,
        stuck: &mut Vec<Stuck>,
    ) -> BTreeMap<String, u32> {
        let last = history.complete.last().and_then(|name| report(self.backups, name));
        let before = last.map(|last| last.in_use).unwrap_or_default();
        let mut waits = BTreeMap::new();
        for (name, _) in leaving.filter(|(name, _)| claim(self.backups, name).is_none()) {
            let snapshot = name.to_string();
            let runs = before.get(&snapshot).map_or(1, |runs| runs + 1);
            if runs > WAITS {
                let by = holders(self.backups, name).join(", ");
                let by =
                    if by.is_empty() { "a process that is not to be seen here".into() } else { by };
                let why = format!("it is in use in the {runs}. run in a row, by {by}; end that");
                let path = self.backups.path.join(&snapshot);
                stuck.push(Stuck::new(name, &path, &io::Error::other(why), self.context));
            }
            waits.insert(snapshot, runs);
        }
        waits
    }

    /// Takes snapshots out of the history. One that stays (it is read, held, or cannot be renamed) stands in nothing's way.
    fn retire(
        &self,
        leaving: &[(SnapshotName, impl Display)],
        stuck: &mut Vec<Stuck>,
    ) -> Vec<Retired> {
        let mut all = Vec::new();
        for (name, why) in leaving {
            match removal::retire(self.backups, name, why, self.context) {
                Ok(retired) => all.extend(retired),
                Err(error) => stuck.push(Stuck::of(name, &error, self.context)),
            }
        }
        all
    }

    fn report<S: Source>(
        &self,
        source: &Arc<S>,
        names: &Names,
        built: &Built<S>,
        roots: Vec<RootFound>,
        pruned: Vec<String>,
    ) -> Report {
        let finished = (self.context.now)();
        // A clock of this machine that was set back meanwhile stamps with what it said before.
        let now = source.clock().filter(|_| source.answers() == Answers::AtOnce);
        let read_since = now.map_or(names.reads_from, |now| now.min(names.reads_from));
        let mut grain = source.time_granularity_ns().max(built.abilities.time_granularity_ns);
        // What is linked from a base keeps the times that it has there.
        if names.base.is_some() && built.walk.set.rules.time.base_may_be_cut {
            grain = grain.max(WHOLE_SECONDS);
        }
        Report {
            version: VERSION,
            snapshot: names.complete.to_string(),
            path: shown_path(&self.backups.path.join(names.complete.to_string())),
            base: names.base.as_ref().map(ToString::to_string),
            resumed: names.resumed,
            started: rfc3339(self.began),
            boot: self.boot.clone(),
            finished: rfc3339(finished),
            seconds: (finished - self.began).as_seconds_f64(),
            time_granularity_ns: grain,
            host: Some(self.job.host.clone()),
            read_since: Some(read_since),
            roots,
            dropped: Vec::new(),
            carried_since: None,
            pruned,
            holds: Some((&built.abilities).into()),
            coverage: built.walk.coverage(self.job),
            stuck: Vec::new(),
            in_use: BTreeMap::new(),
            counts: built.walk.tally.counts(),
        }
    }

    /// The source roots that the job no longer names and that will still be in a snapshot.
    fn dropped(&self, history: &History, pruned: &[String]) -> Vec<RootDropped> {
        let mut after = history.clone();
        after.complete.retain(|name| !pruned.contains(&name.to_string()));
        let mut dropped = lineage::dropped(self.job, self.backups, history);
        dropped.retain(|root| lineage::not_after(&after, root).next().is_some());
        dropped
    }

    /// What remains when the snapshot is complete: a failure is told, the next run goes on with it. What cannot be removed.
    fn clean_up(&self, checkpoints: &Checkpoints, retired: &[Retired]) -> Vec<Stuck> {
        if let Err(error) = checkpoints.forget() {
            self.aside("the journal of the finished snapshot stays behind", error);
        }
        self.context.progress.enter(Phase::Removing);
        match removal::remove_retired(self.backups, retired, self.context) {
            Ok(stuck) => return stuck,
            Err(RunError::Stopped) => {}
            Err(error) => self.context.monitor.event(&Event::Aside { what: error.to_string() }),
        }
        Vec::new()
    }

    fn aside(&self, what: &str, error: io::Error) {
        self.context.monitor.event(&Event::Aside { what: format!("{what}: {error}") });
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

    fn probe(&self, tell: bool) -> Result<Abilities, RunError> {
        let (backups, monitor) = (self.backups, &self.context.monitor);
        let own = backups.own.as_ref().map_or(Err(Errno::NOENT.into()), probe);
        let path = || backups.path.clone();
        let abilities =
            own.map_err(|error| destination("cannot write to", &backups.path, path(), error))?;
        if tell {
            monitor.event(&Event::Destination {
                about: crate::repository::destination::describe(backups),
            });
            for limit in abilities.limits() {
                monitor.event(&Event::Limited { what: limit.to_owned() });
            }
        }
        Ok(abilities)
    }

    fn make_incomplete(&self, name: &SnapshotName) -> Result<(), RunError> {
        let path = self.backups.path.join(name.to_string());
        let made = folder_name(name).and_then(|folder| {
            make_if_missing(&self.backups.dir, &folder)?;
            // Nor shall a setgid bit reach every folder of it (mkdir(2)), or a default ACL of the backups
            // folder every file of the snapshot.
            in_progress(&self.backups.dir, &folder).map(drop)
        });
        made.map_err(|error| destination("cannot create", &self.backups.path, path, error))
    }

    fn checkpoints(&self, incomplete: &SnapshotName) -> Result<Checkpoints, RunError> {
        let backups = self.backups;
        let dir = backups.own(c"journal").ok_or_else(|| self.broken(Errno::NOENT.into()))?;
        let top = folder_name(incomplete).and_then(|name| backups.dir.child(&name));
        let top = top.map_err(|error| self.broken(error))?;
        let (prefix, sync) = (&self.job.prefix, self.context.sync);
        Ok(Checkpoints::new(dir, prefix, incomplete.to_string(), top, sync))
    }

    /// Which of the files that are there already are certainly on disk.
    fn trust(&self, checkpoints: &Checkpoints) -> Result<Trust, RunError> {
        let now = checkpoints.clock().map_err(|error| self.broken(error))?;
        let (durable, failed) = checkpoints.state();
        // When the clock went back, no time of before says anything about now.
        if durable.is_some_and(|durable| durable > now) {
            checkpoints.distrust().map_err(|error| self.broken(error))?;
            return Ok(Trust { before: None, checkable: !failed });
        }
        Ok(Trust { before: durable, checkable: !failed })
    }

    fn broken(&self, error: io::Error) -> RunError {
        let path = &self.backups.path;
        destination("cannot open or write in", path, path.clone(), error)
    }

    fn prepare<S: Source>(
        &self,
        source: &Arc<S>,
        names: &Names,
        abilities: &Abilities,
        checkpoints: &Checkpoints,
    ) -> Result<Arc<Walk<S, Build<S>>>, RunError> {
        let trust = self.trust(checkpoints)?;
        let kept = self.backups.own(c"kept").ok_or_else(|| self.broken(Errno::NOENT.into()))?;
        let kept = folder_name(&names.incomplete).and_then(|name| Kept::create(&kept, &name));
        let kept = kept.map_err(|error| self.broken(error))?;
        let manifest = self.manifest(names, abilities);
        let granularity = source.time_granularity_ns().max(abilities.time_granularity_ns);
        // On a full disk it cannot be noted: then what is stored now counts as read by the run before.
        let _ = checkpoints.note_begin(names.reads_from);
        let mut set = self.setting(names, granularity, trust)?;
        set.begins = set.begins.with(checkpoints.begins());
        set.folds_case = abilities.folds_case;
        let begun_on = checkpoints.roots();
        for root in &mut set.roots {
            let noted = || begun_on.get(&shown_path(&root.path)).cloned();
            root.file_system_before = root.file_system_before.take().or_else(noted);
        }
        let dresser = MetadataWriter::new(self.job.keep, abilities.clone());
        let build = Build::new(dresser, kept, manifest, !checkpoints.whole());
        let walk = Walk::new(Arc::clone(source), build, set);
        walk.look_at_roots(&self.job.layout)?;
        let mut found = begun_on;
        // Roots that this run has no use for are forgotten: what was begun is a snapshot of these.
        let mut begun_on = BTreeMap::new();
        for root in walk.roots() {
            let path = shown_path(&root.path);
            let file_system = found.remove(&path).or(root.file_system).unwrap_or_default();
            begun_on.insert(path, file_system);
        }
        match checkpoints.note_roots(begun_on, &self.job.host) {
            Ok(()) => Ok(walk),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// The manifest of the snapshot under its complete name. What is wrong with it ends no run.
    fn manifest(&self, names: &Names, abilities: &Abilities) -> Writer {
        let base = names.base.as_ref().and_then(|base| {
            let opened = folder_name(base)
                .and_then(|name| Reader::open(self.backups.own(manifest::FOLDER).as_ref(), &name));
            let broken = |error| {
                let what = format!("the manifest of {base} cannot be read: hashes of unchanged files are taken from their attributes");
                self.aside(&what, error);
            };
            let (reader, torn) = opened.map_err(broken).ok().flatten()?.prove();
            if torn {
                broken(io::ErrorKind::InvalidData.into());
            }
            Some(reader)
        });
        let known = tells_inodes(&self.backups.dir);
        let all = manifest::folder(self.backups);
        Writer::create(all, &names.complete.to_string(), base, abilities.into(), known)
    }

    /// Completes the manifest. A snapshot is as good without it, so a failure is told and changes nothing.
    fn finish_manifest<S: Source>(
        &self,
        names: &Names,
        walk: &Walk<S, Build<S>>,
        gone: &[Vec<u8>],
    ) {
        if let Err(error) = walk.target.manifest.finish(gone, walk.target.sync_each) {
            manifest::forget(self.backups, &names.complete.to_string());
            let what = "the manifest of the snapshot cannot be written: verify will go by the attributes of its files";
            self.aside(what, error);
        }
    }

    fn setting(
        &self,
        names: &Names,
        granularity_ns: u32,
        trust: Trust,
    ) -> Result<Setting, RunError> {
        let Self { job, backups, context, accept_shrink, .. } = *self;
        let (here, base) = (Some(&names.incomplete), names.base.as_ref());
        gather(job, backups, here, base, granularity_ns, trust, accept_shrink, context)
    }

    /// Walks with checkpoints now and then; the first failure of either ends both.
    fn walk<S: Source>(
        &self,
        walk: &Arc<Walk<S, Build<S>>>,
        checkpoints: &Checkpoints,
    ) -> Result<(), RunError> {
        let ticker = Ticker::default();
        let result = std::thread::scope(|scope| {
            let _ended_in_any_case = ticker.until_dropped();
            let pace = || keep_checkpoints(walk, checkpoints, &ticker);
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, pace) {
                self.aside("no checkpoints are made, an interruption will cost more", error);
            }
            walk.walk(self.job)
        });
        if walk.target.sync_failed.load(Ordering::Relaxed) {
            checkpoints.note_failure();
        }
        match result {
            // What is certain now need not be checked when the walk is done again.
            Err(error @ RunError::NoSpace { .. }) => {
                let _ = checkpoints.checkpoint();
                Err(error)
            }
            result => result,
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
    fn file(&self, recorder: &Recorder, names: &Names, report: &Report) {
        if let Err(error) = removal::rename_kept(self.backups, &names.incomplete, &names.complete) {
            self.aside("what is kept beside the snapshot stays under its old name", error);
        }
        let complete = names.complete.to_string();
        if let Some(reports) = self.backups.own(c"reports")
            && let Err(error) = recorder.store(&reports, &self.job.prefix, &complete, report)
        {
            self.aside("the report cannot be stored", error);
        }
    }

    /// Adds to `error` how much is still to be copied.
    fn how_much<S: Source>(&self, error: RunError, source: &Arc<S>, names: &Names) -> RunError {
        let unknown = Trust { before: None, checkable: true };
        let needed = self
            .setting(names, source.time_granularity_ns(), unknown)
            .and_then(|set| what_is_missing(self.job, source, set));
        match (error, needed) {
            (RunError::NoSpace { path, free, free_inodes, .. }, Ok(needed)) => {
                RunError::NoSpace { path, free, free_inodes, needed: Some(needed) }
            }
            (error, _) => error,
        }
    }
}

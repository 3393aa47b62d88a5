//! The fourth step of an attempt: makes the incomplete snapshot durable, stores the report, and renames the snapshot to its
//! complete name.

use std::collections::BTreeMap;

use crate::backup::plan::WHOLE_SECONDS;
use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::backup::run::fill::{Filled, Filling};
use crate::backup::run::judge::Accepted;
use crate::backup::run::prepare::Prepared;
use crate::entry::escape::{shown, shown_path};
use crate::entry::human::rfc3339;
use crate::error::{RunError, destination};
use crate::monitor::Phase;
use crate::monitor::event::{Event, Stuck};
use crate::repository::records::holds;
use crate::repository::records::journal::Checkpoints;
use crate::repository::records::report::{RenamedPath, Report, RootDropped, RootFound, VERSION};
use crate::repository::removal::Retired;
use crate::repository::source_path::SourceRoots;
use crate::repository::store::Store;
use crate::repository::{Repository, lineage, removal};
use crate::snapshot::changes::Freeze;
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::retention::Expiring;
use crate::source::{Answers, Source};

/// The state after the fourth step: the snapshot has its complete name. The retired snapshots are not removed yet.
pub(crate) struct Sealed {
    pub(crate) report: Report,
    pub(crate) retired: Vec<Retired>,
    /// The snapshots that could not be renamed or removed so far.
    pub(crate) stuck: Vec<Stuck>,
    pub(crate) checkpoints: Checkpoints,
    /// Keeps other runs from using the snapshot.
    _claim: Option<crate::fs::dir::Dir>,
}

/// Makes the snapshot durable, takes surplus snapshots out of the history, stores the report, and renames the snapshot.
///
/// # Errors
/// When the snapshot cannot be made durable or renamed, or another run has taken it over.
pub(crate) fn seal<S: Source>(
    attempt: &Attempt<'_, S>,
    accepted: Accepted<S>,
) -> Result<Sealed, RunError> {
    let Attempt { repository, recorder, context, .. } = attempt;
    let Accepted { filled, roots, suspicions, frozen } = accepted;
    let Filled { prepared, content, mut pruned } = filled;
    let Prepared { names, history } = prepared;
    context.progress.enter(Phase::Sealing);
    let path = repository.path.join(names.incomplete.to_string());
    let unsynced = |error| RunError::Sync { path: path.clone(), error };
    content.checkpoints.sync().map_err(unsynced)?;
    still_alone(attempt, &names, &content)?;
    let (before, after) = match frozen {
        Some(_) => (Vec::new(), Vec::new()),
        None => attempt.surplus(&history, &names),
    };
    let mut stuck = attempt.leftovers.clone();
    let in_use = attempt.waits(&history, before.iter().chain(&after), &mut stuck);
    let mut retired = attempt.retire(&before, &mut stuck);
    let going = |leaving: &Expiring| !in_use.contains_key(&leaving.0.to_string());
    pruned.extend(retired.iter().map(Retired::was));
    pruned.extend(after.iter().filter(|one| going(one)).map(|(name, _)| name.to_string()));
    let mut report = report(attempt, &names, &content, roots);
    report.dropped = dropped(attempt, &history, &pruned);
    (report.pruned, report.stuck, report.in_use) = (pruned, stuck.clone(), in_use);
    let first = frozen.as_ref().is_some_and(is_not_in_a_snapshot);
    (report.suspicions, report.frozen) = (suspicions, frozen);
    if let Some(freeze) = report.frozen.as_mut().filter(|_| first) {
        freeze.noticed = names.complete.to_string();
    }
    report.carried_since = recorder.carried_since();
    if let Some(coverage) = &mut report.coverage {
        coverage.not_entered = recorder.not_entered();
    }
    report_renamed(attempt, &report);
    store_report(attempt, &names, &report);
    content
        .writer
        .open_up()
        .map_err(|error| destination("cannot set the mode of", &repository.path, path, error))?;
    rename(repository, &names.incomplete, &names.complete)?;
    if let Some(freeze) = report.frozen.as_ref().filter(|_| first)
        && let Err(error) = holds::noticed(repository, &history, freeze)
    {
        attempt.aside("the hold does not name the snapshot with the mass change", error);
    }
    retired.extend(attempt.retire(&after, &mut stuck));
    let interrupted = history.incomplete.iter().filter(|name| **name != names.incomplete);
    let older: Vec<_> =
        interrupted.map(|name| (name.clone(), "an older interrupted one")).collect();
    retired.extend(attempt.retire(&older, &mut stuck));
    let Filling { claim, checkpoints, .. } = content;
    Ok(Sealed { report, retired, stuck, checkpoints, _claim: claim })
}

/// Whether no complete snapshot has the mass change yet. A hold that cannot be read has no time either.
fn is_not_in_a_snapshot(freeze: &Freeze) -> bool {
    freeze.noticed.is_empty() && !freeze.held.is_empty() && !freeze.since.is_empty()
}

/// Renames the incomplete snapshot to its complete name. Its content must be durable already.
///
/// # Errors
/// When it cannot be renamed, or the new name cannot be made durable.
pub(crate) fn rename(
    repository: &Repository,
    incomplete: &SnapshotName,
    complete: &SnapshotName,
) -> Result<(), RunError> {
    removal::rename(repository, incomplete, complete)?;
    let synced = repository.dir.sync();
    synced
        .map_err(|error| RunError::Sync { path: repository.path.join(complete.to_string()), error })
}

/// Refuses to seal a snapshot that another run may have taken over: the claim is missing and the lock is lost.
///
/// # Errors
/// [`RunError::Taken`].
pub(crate) fn still_alone<S: Source>(
    attempt: &Attempt<'_, S>,
    names: &SnapshotNames,
    content: &Filling<S>,
) -> Result<(), RunError> {
    if content.claim.is_some() || attempt.lock.is_mine() {
        return Ok(());
    }
    Err(RunError::Taken { path: attempt.repository.path.join(names.incomplete.to_string()) })
}

/// The report of the run, without the parts about other snapshots.
fn report<S: Source>(
    attempt: &Attempt<'_, S>,
    names: &SnapshotNames,
    content: &Filling<S>,
    roots: Vec<RootFound>,
) -> Report {
    let Attempt { job, source, repository, .. } = attempt;
    let Filling { writer, abilities, .. } = content;
    let walk = &writer.walk;
    let finished = (attempt.context.now)();
    // If this machine's clock was set back meanwhile, files now get earlier times than at the start.
    let here = source.answers() == Answers::AtOnce;
    let now = here.then(|| source.clock()).flatten();
    let read_since = now.map_or(names.reads_from, |now| now.min(names.reads_from));
    let mut grain = source.time_granularity_ns().max(abilities.time_granularity_ns);
    // An entry linked from the base keeps its times, which may be truncated to seconds.
    if names.base.is_some() && walk.set.rules.time.base_may_be_cut {
        grain = grain.max(WHOLE_SECONDS);
    }
    Report {
        version: VERSION,
        snapshot: names.complete.to_string(),
        path: shown_path(&repository.path.join(names.complete.to_string())),
        base: names.base.as_ref().map(ToString::to_string),
        resumed: names.resumed,
        started: rfc3339(attempt.began),
        boot: attempt.boot.clone(),
        finished: rfc3339(finished),
        seconds: (finished - attempt.began).as_seconds_f64(),
        time_granularity_ns: grain,
        host: Some(job.host.clone()),
        connection: source.connection(),
        read_since: Some(read_since),
        roots,
        dropped: Vec::new(),
        carried_since: None,
        pruned: Vec::new(),
        holds: Some(abilities.into()),
        coverage: walk.coverage(job),
        stuck: Vec::new(),
        in_use: BTreeMap::new(),
        renamed: walk.renamed(),
        suspicions: Vec::new(),
        frozen: None,
        counts: walk.tally.counts(),
    }
}

/// The most renamed folders and files that the log names. The report has all of them.
const RENAMED: usize = 20;

/// Reports what was renamed.
fn report_renamed<S: Source>(attempt: &Attempt<'_, S>, report: &Report) {
    let roots = SourceRoots::of_layout(&attempt.job.layout);
    let on_source = |inside: &String| {
        let (path, is_folder) = roots.of_shown(inside);
        shown(&path) + if is_folder { "/" } else { "" }
    };
    for RenamedPath { from, to, files } in report.renamed.iter().take(RENAMED) {
        let (from, to, files) = (on_source(from), on_source(to), *files);
        attempt.context.monitor.event(&Event::Renamed { from, to, files });
    }
}

/// The source roots that the job no longer names but that a snapshot of the remaining history contains.
fn dropped<S: Source>(
    attempt: &Attempt<'_, S>,
    history: &History,
    pruned: &[String],
) -> Vec<RootDropped> {
    let mut after = history.clone();
    after.complete.retain(|name| !pruned.contains(&name.to_string()));
    let mut dropped = lineage::dropped(attempt.job, attempt.repository, history);
    dropped.retain(|root| lineage::not_after(&after, root).next().is_some());
    dropped
}

/// Stores the report and the sidecar under the complete name. A snapshot is valid without its report, so a failure is
/// reported and does not end the run.
fn store_report<S: Source>(attempt: &Attempt<'_, S>, names: &SnapshotNames, report: &Report) {
    let Attempt { job, repository, recorder, .. } = attempt;
    if let Err(error) = removal::rename_kept(repository, &names.incomplete, &names.complete) {
        attempt.aside("what is kept beside the snapshot stays under its old name", error);
    }
    let complete = names.complete.to_string();
    if let Some(reports) = repository.store(Store::Reports)
        && let Err(error) = recorder.store(&reports, &job.prefix, &complete, report)
    {
        attempt.aside("the report cannot be stored", error);
    }
}

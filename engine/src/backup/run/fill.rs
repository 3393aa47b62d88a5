//! The second step of an attempt: fills the incomplete snapshot.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::dry_run::describe_missing;
use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::backup::run::checkpoints::keep_checkpoints;
use crate::backup::run::count;
use crate::backup::run::open::{checkpoints, make_incomplete, new_writer, probe_destination};
use crate::backup::run::prepare::Prepared;
use crate::backup::shrink_guard::roots_found;
use crate::backup::walk::Walk;
use crate::backup::walk::state::setting::DurableFiles;
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::file_system::capabilities::Abilities;
use crate::monitor::Phase;
use crate::monitor::event::Event;
use crate::repository::manifest;
use crate::repository::records::journal::{CheckpointTimer, Checkpoints};
use crate::repository::records::report::RootFound;
use crate::snapshot::history::History;
use crate::source::Source;
use crate::threads::cancel::Stop;

/// How many more walks an attempt makes after the destination was full.
const ROUNDS: u32 = 10;

/// The smallest growth of free space, in bytes, for which the attempt walks again.
const WORTH_A_ROUND: u64 = 1 << 20;

/// The state after the second step: the incomplete snapshot holds everything. It is not judged and not durable yet.
pub(crate) struct Filled<S: Source> {
    pub(crate) prepared: Prepared,
    pub(crate) content: Filling<S>,
    /// The snapshots that the run removed to make room.
    pub(crate) pruned: Vec<String>,
}

/// The writer and the records of a filled incomplete snapshot.
pub(crate) struct Filling<S: Source> {
    /// Keeps other runs from using the snapshot; `None` where folders cannot be locked.
    pub(crate) claim: Option<Dir>,
    pub(crate) writer: Arc<SnapshotWriter<S>>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) abilities: Abilities,
}

/// Fills the incomplete snapshot. When the destination is full and so is the history, the run removes the oldest
/// snapshot early: completing this snapshot would remove it anyway.
///
/// # Errors
/// When the source or the destination fails, or when the destination is full and the history is not.
pub(crate) fn fill<S: Source>(
    attempt: &Attempt<'_, S>,
    mut prepared: Prepared,
) -> Result<Filled<S>, RunError> {
    let Prepared { names, history } = &mut prepared;
    let mut pruned = Vec::new();
    let (mut first, mut seen) = (true, Vec::new());
    let content = loop {
        match fill_once(attempt, names, std::mem::take(&mut first), &mut seen) {
            Ok(content) => break content,
            Err(error @ RunError::NoSpace { .. }) if needs_all(attempt, history, names, &seen) => {
                return Err(with_needed(attempt, error, names));
            }
            Err(error @ RunError::NoSpace { .. }) => match attempt.make_room(history, names)? {
                Some(removed) => pruned.push(removed),
                None => return Err(with_needed(attempt, error, names)),
            },
            Err(error) => return Err(error),
        }
    };
    Ok(Filled { prepared, content, pruned })
}

/// Whether snapshots that could be removed to make room have to stay, because the changes that the run saw below `roots` before the disk was
/// full are suspicious. Reports them.
fn needs_all<S: Source>(
    attempt: &Attempt<'_, S>,
    history: &History,
    names: &SnapshotNames,
    roots: &[RootFound],
) -> bool {
    if attempt.surplus(history, names).0.is_empty() {
        return false;
    }
    let found = attempt.suspicions(history, names, roots);
    if !found.is_empty() {
        let what = "the destination is full, and because of the mass change no snapshot is removed to make room; if the change is wanted, CHANGE_BRAKE=off for one run allows that";
        attempt.context.monitor.event(&Event::Aside { what: what.to_owned() });
    }
    !found.is_empty()
}

/// What a walk that did not reach its end saw of the roots, with all the files that the base has.
fn seen_so_far<S: Source>(writer: &SnapshotWriter<S>) -> Vec<RootFound> {
    let walk = &writer.walk;
    let mut roots = roots_found(walk);
    for (found, root) in roots.iter_mut().zip(walk.roots()) {
        let files = root.held_before.map_or(0, |(files, _)| files);
        found.files_before = found.files_before.max(files);
    }
    roots
}

fn fill_once<S: Source>(
    attempt: &Attempt<'_, S>,
    names: &SnapshotNames,
    first: bool,
    seen: &mut Vec<RootFound>,
) -> Result<Filling<S>, RunError> {
    let Attempt { repository, recorder, context, .. } = attempt;
    context.progress.enter(Phase::Preparing);
    recorder.forget();
    let abilities = probe_destination(attempt, first)?;
    make_incomplete(attempt, &names.incomplete)?;
    let claim = repository.claim(&names.incomplete)?;
    let checkpoints = checkpoints(attempt, &names.incomplete)?;
    let mut writer = new_writer(attempt, names, &abilities, &checkpoints)?;
    context.progress.enter(Phase::Copying);
    let mut rounds = 0;
    while let Err(error) = walk_with_checkpoints(attempt, &writer, &checkpoints) {
        // Removals from the incomplete snapshot may have freed enough space.
        let freed = rounds == 0 && writer.walk.freed.load(Ordering::Relaxed) > 0;
        let full = matches!(error, RunError::NoSpace { .. });
        if !full || rounds == ROUNDS || !(freed || has_more_room_now(attempt, &error)) {
            *seen = seen_so_far(&writer);
            return Err(error);
        }
        rounds += 1;
        recorder.forget();
        writer = new_writer(attempt, names, &abilities, &checkpoints)?;
    }
    let gone = writer.walk.remove_empty()?;
    writer.set_late_modes(&gone)?;
    finish_manifest(attempt, names, &writer, &gone);
    Ok(Filling { claim, writer, checkpoints, abilities })
}

/// Walks and makes checkpoints meanwhile. The first failure of either ends both.
fn walk_with_checkpoints<S: Source>(
    attempt: &Attempt<'_, S>,
    writer: &Arc<SnapshotWriter<S>>,
    checkpoints: &Checkpoints,
) -> Result<(), RunError> {
    let ticker = CheckpointTimer::default();
    let result = std::thread::scope(|scope| {
        let _ended_in_any_case = ticker.until_dropped();
        let pace = || keep_checkpoints(writer, checkpoints, &ticker);
        if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, pace) {
            attempt.aside("no checkpoints are made, an interruption will cost more", error);
        }
        let walked = Arc::new(Stop::within(&attempt.context.stop));
        if count::is_wanted(attempt, writer) {
            let walked = Arc::clone(&walked);
            // Without the count the display has no totals.
            let _ = std::thread::Builder::new()
                .spawn_scoped(scope, move || count::count(attempt, walked));
        }
        let result = Walk::new(Arc::clone(&writer.walk), Arc::clone(writer)).walk(attempt.job);
        walked.ask();
        result
    });
    if writer.sync_failed.load(Ordering::Relaxed) {
        checkpoints.note_failure();
    }
    match result {
        // The next walk need not check the files that this checkpoint covers.
        Err(error @ RunError::NoSpace { .. }) => {
            let _ = checkpoints.checkpoint();
            Err(error)
        }
        result => result,
    }
}

/// Whether the sync after the disk was full has freed enough space. A file system may reserve blocks for data that is
/// only in memory: xfs reserves several for each file (measured).
fn has_more_room_now<S: Source>(attempt: &Attempt<'_, S>, full: &RunError) -> bool {
    let RunError::NoSpace { free, .. } = full else { return false };
    let now = attempt.repository.free_bytes().unwrap_or(0);
    let more = now >= free + WORTH_A_ROUND;
    if more {
        let what =
            "the destination was full until all that was written was on the disk; the run goes on";
        attempt.context.monitor.event(&Event::Aside { what: what.to_owned() });
    }
    more
}

/// Completes the manifest. The snapshot is valid without it, so a failure is reported and does not end the run.
fn finish_manifest<S: Source>(
    attempt: &Attempt<'_, S>,
    names: &SnapshotNames,
    writer: &SnapshotWriter<S>,
    gone: &[Vec<u8>],
) {
    if let Err(error) = writer.manifest.finish(gone, writer.sync_each) {
        manifest::forget(attempt.repository, &names.complete.to_string());
        let what = "the manifest of the snapshot cannot be written: verify will go by the attributes of its files";
        attempt.aside(what, error);
    }
}

/// Adds to `error` the number of entries and bytes that the run still has to copy.
fn with_needed<S: Source>(
    attempt: &Attempt<'_, S>,
    error: RunError,
    names: &SnapshotNames,
) -> RunError {
    let Attempt { job, source, .. } = attempt;
    let unknown = DurableFiles { before: None, checkable: true };
    let needed = attempt
        .setting(names, source.time_granularity_ns(), unknown)
        .and_then(|set| describe_missing(job, source, set));
    match (error, needed) {
        (RunError::NoSpace { path, free, free_inodes, .. }, Ok(needed)) => {
            RunError::NoSpace { path, free, free_inodes, needed: Some(needed) }
        }
        (error, _) => error,
    }
}

//! Restore drill: restores a random part of a snapshot into a scratch folder, through the code of the restore, and
//! compares it with the records of the snapshot and with the source.

pub(crate) mod compare;
pub(crate) mod outcome;
pub(crate) mod restored;
pub(crate) mod sample;
pub(crate) mod scratch;
pub(crate) mod source;

pub use self::outcome::{DrillError, DrillFinding, Drilled, Fault};
pub use self::sample::Sample;

use std::io;
use std::path::PathBuf;

use crate::drill::compare::Comparison;
use crate::drill::restored::{Reported, restored};
use crate::drill::sample::choose;
use crate::drill::scratch::{Asked, Scratch};
use crate::drill::source::SourceFiles;
use crate::entry::escape::shown;
use crate::entry::human::rfc3339;
use crate::fs::file_system::space::Space;
use crate::monitor::context::Context;
use crate::repository::records::last_drill;
use crate::repository::records::report_file::report;
use crate::repository::{LastDrill, Repository, SourceRoots};
use crate::restore::RestoreError;
use crate::restore::targets::local::LocalTarget;
use crate::snapshot::name::SnapshotName;

/// The bytes that a sample may always have, whatever the share.
const ALWAYS: u64 = 1 << 30;
/// The room on the disk that a file takes besides its content, at most.
const PER_FILE: u64 = 8192;

/// What to restore, and where.
#[derive(Debug, Clone)]
pub struct DrillOptions {
    /// The share of the files, between 0 and 1.
    pub share: f64,
    /// Chooses the sample.
    pub seed: u64,
    /// The folder in which the scratch folder is made.
    pub scratch: PathBuf,
    /// The source roots, if they are on this machine.
    pub source: Option<SourceRoots>,
    /// The users who wrote the snapshot, with rsync's `--fake-super`.
    pub fake_super: Vec<u32>,
}

/// Restores a sample of `snapshot` and compares it. Stores the result for the status, also of a drill that could not be
/// done.
///
/// # Errors
/// The drill could not be done.
pub fn drill(
    repository: &Repository,
    snapshot: &SnapshotName,
    options: &DrillOptions,
    context: &Context,
) -> Result<Drilled, DrillError> {
    let mut done = chosen(repository, snapshot, options, context)
        .and_then(|sample| attempt((repository, repository), snapshot, &sample, options, context));
    if let Some(last) = outcome(&done, snapshot, options.seed, context)
        && let Err(error) = last_drill::store(repository, &snapshot.prefix, &last)
        && let Ok(drilled) = &mut done
        && !may_not_write(&error)
    {
        drilled.aside.push(format!("cannot store the result for the status: {error}"));
    }
    done
}

/// Chooses what a drill restores of `snapshot`.
///
/// # Errors
/// The snapshot cannot be read, or the choice was stopped.
pub fn chosen(
    repository: &Repository,
    snapshot: &SnapshotName,
    options: &DrillOptions,
    context: &Context,
) -> Result<Sample, DrillError> {
    let stop = || context.stop.asked();
    let _stays = repository.lock_for_reading(snapshot)?;
    let top = repository.top(snapshot)?;
    let all = report(repository, snapshot).map_or(0, |report| report.counts.bytes);
    let most = part(all, options.share).max(ALWAYS);
    let sample = choose(&top, (options.share, options.seed), most, &stop);
    if stop() { Err(DrillError::Stopped) } else { Ok(sample) }
}

/// Restores `sample` from `copy`, which has that part of `snapshot`, and compares it with the snapshot in `repository`. Stores
/// nothing: the second value is the result for the status, if there is one.
pub fn drill_copy(
    repositories: (&Repository, &Repository),
    snapshot: &SnapshotName,
    sample: &Sample,
    options: &DrillOptions,
    context: &Context,
) -> (Result<Drilled, DrillError>, Option<LastDrill>) {
    let done = attempt(repositories, snapshot, sample, options, context);
    let last = outcome(&done, snapshot, options.seed, context);
    (done, last)
}

/// The result for the status. `None`: the drill did nothing.
fn outcome(
    done: &Result<Drilled, DrillError>,
    snapshot: &SnapshotName,
    seed: u64,
    context: &Context,
) -> Option<LastDrill> {
    let now = (context.now)();
    match done {
        Err(DrillError::Stopped | DrillError::Busy(_)) => None,
        Err(error) => {
            Some(LastDrill { seed, ..LastDrill::not_done(snapshot, now, error.to_string()) })
        }
        Ok(drilled) => {
            let first = drilled.findings.first();
            Some(LastDrill {
                finished: rfc3339(now),
                snapshot: snapshot.to_string(),
                seed,
                files: drilled.files,
                bytes: drilled.bytes,
                unproved: drilled.unproved,
                with_source: drilled.with_source,
                failed: drilled.findings.len() as u64,
                reason: first.map(|first| format!("{}: {}", shown(&first.path), first.what)),
                ..LastDrill::default()
            })
        }
    }
}

/// Whether the caller may only read the backups. Then nothing is stored.
fn may_not_write(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | NotFound)
}

/// Restores `sample` from the snapshot in `from`, and compares it with the one in `repository`.
fn attempt(
    (repository, from): (&Repository, &Repository),
    snapshot: &SnapshotName,
    sample: &Sample,
    options: &DrillOptions,
    context: &Context,
) -> Result<Drilled, DrillError> {
    let stop = || context.stop.asked();
    let _stays = repository.lock_for_reading(snapshot)?;
    let made = Scratch::make(&options.scratch, repository, &snapshot.prefix);
    let scratch = match made.map_err(DrillError::Place)? {
        Asked::Mine(scratch) => scratch,
        Asked::Busy(path) => return Err(DrillError::Busy(path)),
    };
    check_room(sample, &scratch)?;
    let mut aside = Vec::new();
    if let Some(error) = scratch.unrecorded.as_ref().filter(|error| !may_not_write(error)) {
        aside.push(format!(
            "cannot record {}: if this drill is killed, remove the folder by hand: {error}",
            crate::entry::escape::shown_path(&scratch.path)
        ));
    }
    let target = scratch.dir.try_clone().map(|top| {
        // The folder is removed again, so nothing in it has to be durable.
        LocalTarget::in_new_folder(top, repository, |_| Ok(()))
    });
    let target = target.map_err(|error| DrillError::Restore(RestoreError::Target(error)))?;
    let results = restored((from, snapshot), sample, &target, &options.fake_super, context)?;
    let comparison = Comparison {
        snapshot: repository.top(snapshot)?,
        kept: repository.kept(snapshot)?,
        manifest: repository.manifest(snapshot).ok().flatten(),
        restored: &scratch.dir,
        source: options
            .source
            .clone()
            .map(|roots| SourceFiles { roots, began: snapshot.stamp.time().timestamp() }),
        stop: &stop,
        fake_super: &options.fake_super,
        folder: None,
    };
    let mut drilled = compared(snapshot, options.seed, sample, &results, comparison)?;
    drilled.aside = aside;
    let path = scratch.path.clone();
    if let Err(error) = scratch.remove() {
        drilled.aside.push(format!(
            "cannot remove the scratch folder {}: {error}",
            crate::entry::escape::shown_path(&path)
        ));
    }
    Ok(drilled)
}

/// The `share` of `all`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a number of bytes, which is exact enough"
)]
fn part(all: u64, share: f64) -> u64 {
    (all as f64 * share.clamp(0.0, 1.0)) as u64
}

fn check_room(sample: &Sample, scratch: &Scratch<'_>) -> Result<(), DrillError> {
    let needed = sample.bytes + PER_FILE * sample.entries.len() as u64;
    match Space::of(&scratch.dir) {
        Ok(Space { free_bytes: free, .. }) if free < needed => {
            let path = scratch.path.parent().unwrap_or(&scratch.path).to_owned();
            Err(DrillError::Space { needed, free, path })
        }
        // A file system that does not know is tried.
        _ => Ok(()),
    }
}

fn compared(
    snapshot: &SnapshotName,
    seed: u64,
    sample: &Sample,
    results: &Reported,
    mut comparison: Comparison<'_>,
) -> Result<Drilled, DrillError> {
    let mut drilled = Drilled {
        snapshot: snapshot.clone(),
        seed,
        files: sample.entries.len() as u64,
        bytes: sample.bytes,
        good: 0,
        unproved: 0,
        partly: 0,
        with_source: 0,
        too_large: sample.too_large,
        findings: Vec::new(),
        aside: Vec::new(),
    };
    for (path, why) in &sample.unread {
        let what = format!("the folder cannot be read in the snapshot: {why}");
        drilled.findings.push(DrillFinding { path: path.clone(), fault: Fault::Failed, what });
    }
    for one in &sample.entries {
        if (comparison.stop)() {
            return Err(DrillError::Stopped);
        }
        let partly = results.partly.contains(&one.path);
        drilled.partly += u64::from(partly);
        let same = match results.bad.get(&one.path) {
            Some(bad) => Err(bad.clone()),
            None => comparison.entry(&one.path, partly),
        };
        match same {
            Ok(same) => {
                drilled.good += 1;
                drilled.unproved += u64::from(same.unproved);
                drilled.with_source += u64::from(same.with_source);
            }
            Err((fault, what)) => {
                drilled.findings.push(DrillFinding { path: one.path.clone(), fault, what });
            }
        }
    }
    if (comparison.stop)() {
        return Err(DrillError::Stopped);
    }
    Ok(drilled)
}

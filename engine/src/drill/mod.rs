//! Restore drill: restores a random part of a snapshot into a scratch folder, through the code of the restore, and
//! compares it with the records of the snapshot and with the source.

pub(crate) mod compare;
pub(crate) mod outcome;
pub(crate) mod sample;
pub(crate) mod scratch;
pub(crate) mod source;

pub use self::outcome::{DrillError, DrillFinding, Drilled, Fault};

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::drill::compare::Comparison;
use crate::drill::sample::{Candidate, Sample, choose};
use crate::drill::scratch::{Asked, Scratch};
use crate::drill::source::SourceFiles;
use crate::entry::c_name;
use crate::entry::escape::shown;
use crate::entry::human::rfc3339;
use crate::fs::file_system::space::Space;
use crate::monitor::context::Context;
use crate::repository::records::last_drill;
use crate::repository::records::report_file::report;
use crate::repository::{LastDrill, Repository, SourceRoots};
use crate::restore::request::{RequestedPath, names};
use crate::restore::targets::local::LocalTarget;
use crate::restore::{
    EntryOutcome, FoundLanding, Landing, RestoreError, RestoreOptions, RestoreSink, RestoredEntry,
    restore,
};
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};

/// The bytes that a sample may always have, whatever the share.
const ALWAYS: u64 = 1 << 30;
/// The number of entries that are restored together. Each can have a folder of its own, which stays open.
const BATCH: usize = 128;
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
    let done = attempt(repository, snapshot, options, context);
    let mut last = LastDrill {
        finished: rfc3339((context.now)()),
        snapshot: snapshot.to_string(),
        seed: options.seed,
        ..LastDrill::default()
    };
    match done {
        Err(DrillError::Stopped | DrillError::Busy(_)) => done,
        Err(error) => {
            last.reason = Some(error.to_string());
            let _ = last_drill::store(repository, &snapshot.prefix, &last);
            Err(error)
        }
        Ok(mut drilled) => {
            (last.files, last.bytes) = (drilled.files, drilled.bytes);
            (last.unproved, last.with_source) = (drilled.unproved, drilled.with_source);
            last.failed = drilled.findings.len() as u64;
            let first = drilled.findings.first();
            last.reason = first.map(|first| format!("{}: {}", shown(&first.path), first.what));
            if let Err(error) = last_drill::store(repository, &snapshot.prefix, &last)
                && !may_not_write(&error)
            {
                drilled.aside.push(format!("cannot store the result for the status: {error}"));
            }
            Ok(drilled)
        }
    }
}

/// Whether the caller may only read the backups. Then nothing is stored.
fn may_not_write(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | NotFound)
}

fn attempt(
    repository: &Repository,
    snapshot: &SnapshotName,
    options: &DrillOptions,
    context: &Context,
) -> Result<Drilled, DrillError> {
    let stop = || context.stop.asked();
    let _stays = repository.lock_for_reading(snapshot)?;
    let top = repository.top(snapshot)?;
    let all = report(repository, snapshot).map_or(0, |report| report.counts.bytes);
    let most = part(all, options.share).max(ALWAYS);
    let sample = choose(&top, (options.share, options.seed), most, &stop);
    if stop() {
        return Err(DrillError::Stopped);
    }
    let made = Scratch::make(&options.scratch, repository, &snapshot.prefix);
    let scratch = match made.map_err(DrillError::Place)? {
        Asked::Mine(scratch) => scratch,
        Asked::Busy(path) => return Err(DrillError::Busy(path)),
    };
    check_room(&sample, &scratch)?;
    let mut aside = Vec::new();
    if let Some(error) = scratch.unrecorded.as_ref().filter(|error| !may_not_write(error)) {
        aside.push(format!(
            "cannot record {}: if this drill is killed, remove the folder by hand: {error}",
            crate::entry::escape::shown_path(&scratch.path)
        ));
    }
    let results = Results::default();
    let target = scratch.dir.try_clone().map(|top| {
        // The folder is removed again, so nothing in it has to be durable.
        LocalTarget::in_new_folder(top, repository, |_| Ok(()))
    });
    let target = target.map_err(|error| DrillError::Restore(RestoreError::Target(error)))?;
    for batch in sample.entries.chunks(BATCH) {
        restore_batch(repository, snapshot, batch, &target, options, context, &results)?;
    }
    let results = unpoisoned(results.0.into_inner());
    let comparison = Comparison {
        snapshot: top,
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
    let mut drilled = compared(snapshot, options.seed, &sample, &results, comparison)?;
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

fn restore_batch(
    repository: &Repository,
    snapshot: &SnapshotName,
    batch: &[Candidate],
    target: &LocalTarget,
    options: &DrillOptions,
    context: &Context,
    results: &Results,
) -> Result<(), DrillError> {
    let item = |one: &Candidate| {
        let to = names(&one.path).into_iter().map(c_name).collect::<io::Result<_>>().ok()?;
        Some(RequestedPath { inside: one.path.clone(), to })
    };
    let items = batch.iter().filter_map(item).collect();
    let landing = Landing { items, whole: Vec::new() };
    let options =
        RestoreOptions { fake_super: options.fake_super.clone(), ..RestoreOptions::default() };
    let done = FoundLanding::look_up((repository, snapshot), &landing)
        .and_then(|found| restore(&found, target, options, context, results));
    match done {
        Err(RestoreError::Stopped) => Err(DrillError::Stopped),
        Err(RestoreError::Look(error)) => Err(DrillError::Look(error)),
        Err(error) => Err(DrillError::Restore(error)),
        Ok(_) => Ok(()),
    }
}

/// What the restore reported about entries that it did not restore completely.
#[derive(Default)]
struct Reported {
    partly: HashSet<Vec<u8>>,
    bad: HashMap<Vec<u8>, (Fault, String)>,
}

#[derive(Default)]
struct Results(Mutex<Reported>);

impl RestoreSink for Results {
    fn line(&self, line: &RestoredEntry) {
        let fault = match line.what {
            EntryOutcome::Partly => {
                lock(&self.0).partly.insert(line.path.clone());
                return;
            }
            EntryOutcome::Damaged => Fault::Damaged,
            EntryOutcome::Failed | EntryOutcome::Left => Fault::Failed,
            _ => return,
        };
        let why = line.why.clone().unwrap_or_default();
        lock(&self.0).bad.insert(line.path.clone(), (fault, why));
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

//! Restores the sample through the code of the restore, and collects what that reports.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Mutex;

use crate::drill::outcome::{DrillError, Fault};
use crate::drill::sample::Sample;
use crate::entry::c_name;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::records::damage;
use crate::restore::request::{RequestedPath, names};
use crate::restore::targets::local::LocalTarget;
use crate::restore::walk::read_snapshot::has;
use crate::restore::{
    EntryOutcome, FoundLanding, Landing, RestoreError, RestoreOptions, RestoreSink, RestoredEntry,
    restore,
};
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};

/// The number of entries that are restored together. Each can have a folder of its own, which stays open.
const BATCH: usize = 128;

/// What the restore reported about entries that it did not restore completely, by their paths inside the snapshot.
#[derive(Default)]
pub(crate) struct Reported {
    pub(crate) partly: HashSet<Vec<u8>>,
    pub(crate) bad: HashMap<Vec<u8>, (Fault, String)>,
}

/// Restores `sample` from a snapshot. The users `fake_super` wrote it with rsync's `--fake-super`.
///
/// # Errors
/// The restore ended early.
pub(crate) fn restored(
    (repository, snapshot): (&Repository, &SnapshotName),
    sample: &Sample,
    target: &LocalTarget,
    fake_super: &[u32],
    context: &Context,
) -> Result<Reported, DrillError> {
    let mut reported = Reported::default();
    let there = reported.without_lacked((repository, snapshot), sample)?;
    let results = Results(Mutex::new(reported));
    for batch in there.chunks(BATCH) {
        let landing = Landing { items: batch.to_vec(), whole: Vec::new() };
        let options =
            RestoreOptions { fake_super: fake_super.to_vec(), ..RestoreOptions::default() };
        FoundLanding::look_up((repository, snapshot), &landing)
            .and_then(|found| restore(&found, target, options, context, &results))
            .map_err(ended)?;
    }
    Ok(unpoisoned(results.0.into_inner()))
}

fn ended(error: RestoreError) -> DrillError {
    match error {
        RestoreError::Stopped => DrillError::Stopped,
        RestoreError::Look(error) => DrillError::Look(error),
        error => DrillError::Restore(error),
    }
}

impl Reported {
    /// The paths of the sample. Those that the snapshot does not have are reported as damaged, and left out: it is a copy.
    fn without_lacked(
        &mut self,
        (repository, snapshot): (&Repository, &SnapshotName),
        sample: &Sample,
    ) -> Result<Vec<RequestedPath>, DrillError> {
        let (top, kept) = (repository.top(snapshot)?, repository.kept(snapshot)?);
        let marks = damage::load(repository, snapshot);
        let mut there = Vec::new();
        for path in sample.entries.iter().map(|one| &one.path) {
            let to = names(path).into_iter().map(c_name).collect::<io::Result<_>>();
            let Ok(to) = to else { continue };
            let item = RequestedPath { inside: path.clone(), to };
            if has(&top, &kept, &item).map_err(ended)? {
                there.push(item);
            } else {
                let why = marks.get(path).and_then(|what| what.strip_prefix(damage::LACKED));
                let what = format!("the copy lacks it{}", why.unwrap_or_default());
                self.bad.insert(path.clone(), (Fault::Damaged, what));
            }
        }
        Ok(there)
    }
}

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

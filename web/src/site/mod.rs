//! What all pages share: a request, the job and place that it names, links, and answers.

pub(crate) mod answer;
pub(crate) mod link;
pub(crate) mod place;
pub(crate) mod request;
pub(crate) mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::inspect::{Measured, measure};
use engine::repository::SourceRoots;
use engine::{LookError, SnapshotName};
use tokio::sync::Semaphore;

use crate::access::sessions::Sessions;
use crate::program::{Job, Program};
use crate::settings::Settings;

/// Downloads at the same time.
const STREAMS: usize = 8;
/// Long pages that are being sent. Each keeps a thread until its reader has taken all of it.
const PAGES: usize = 16;
/// Comparisons, searches and measurements at the same time. Each uses several threads.
const SEARCHES: usize = 2;
/// Snapshots whose source roots are remembered.
const KNOWN_ROOTS: usize = 4096;

/// The page: the program around it, its settings, and what it remembers.
pub(crate) struct Site {
    pub(crate) program: Arc<dyn Program>,
    pub(crate) settings: Settings,
    pub(crate) sessions: Sessions,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) pages: Arc<Semaphore>,
    pub(crate) searches: Arc<Semaphore>,
    /// The source roots of complete snapshots: their reports do not change.
    roots: Mutex<HashMap<String, Arc<SourceRoots>>>,
    /// The last measurement of a job, with the names of its snapshots.
    measured: Mutex<Option<(Vec<SnapshotName>, Arc<Measured>)>>,
}

impl Site {
    pub(crate) fn new(program: Arc<dyn Program>, settings: Settings, sessions: Sessions) -> Self {
        Self {
            program,
            settings,
            sessions,
            streams: Arc::new(Semaphore::new(STREAMS)),
            pages: Arc::new(Semaphore::new(PAGES)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            roots: Mutex::default(),
            measured: Mutex::default(),
        }
    }

    /// The source roots of a complete snapshot.
    pub(crate) fn roots(&self, job: &Job, snapshot: &SnapshotName) -> Arc<SourceRoots> {
        let key = format!("{}\0{snapshot}", job.name);
        if let Some(known) = lock(&self.roots).get(&key) {
            return Arc::clone(known);
        }
        let report = job.repository.report(snapshot);
        let found = report.as_ref().map_or_else(|| job.roots.clone(), SourceRoots::of_report);
        let found = Arc::new(found);
        let mut known = lock(&self.roots);
        if known.len() >= KNOWN_ROOTS {
            known.clear();
        }
        known.insert(key, Arc::clone(&found));
        found
    }

    /// The sizes of snapshots, each alone. Remembers those that were asked for last.
    pub(crate) fn measured(
        &self,
        job: &Job,
        names: &[SnapshotName],
    ) -> Result<Arc<Measured>, LookError> {
        if let Some(known) = self.known_sizes(names) {
            return Ok(known);
        }
        let groups: Vec<_> = names.iter().map(|name| vec![name.clone()]).collect();
        let found = Arc::new(measure(&job.repository, &groups)?);
        *lock(&self.measured) = Some((names.to_vec(), Arc::clone(&found)));
        Ok(found)
    }

    /// The sizes of snapshots, if they were measured before.
    pub(crate) fn known_sizes(&self, names: &[SnapshotName]) -> Option<Arc<Measured>> {
        let known = lock(&self.measured);
        known.as_ref().filter(|(of, _)| of == names).map(|(_, found)| Arc::clone(found))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the engine tells while it works: counters that can be read at any time, and events.

pub mod context;
pub mod event;
pub mod items;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::monitor::event::Event;

/// Receives what happens during a run. Passed last; called from every worker thread.
pub trait Monitor: Send + Sync {
    /// Something a user may want to read. Counters are not told here, see [`Progress`].
    fn event(&self, event: &Event);
}

/// A monitor for whom it is all the same.
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _event: &Event) {}
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Lock, leftovers, probes.
    Preparing,
    /// List, compare, link and copy.
    Copying,
    /// What could not be read is tried again or carried forward.
    Retrying,
    /// Everything is made durable, the snapshot gets its name.
    Sealing,
    /// Old snapshots are removed.
    Removing,
    /// Content is read and compared with what was recorded.
    Verifying,
}

const PHASES: [Phase; 6] = [
    Phase::Preparing,
    Phase::Copying,
    Phase::Retrying,
    Phase::Sealing,
    Phase::Removing,
    Phase::Verifying,
];

/// Counters of a run in progress, for displays: all increase only. Written by the workers, read by anyone.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    /// Entries seen in the source so far.
    pub entries: AtomicU64,
    /// Entries linked to the base.
    pub linked: AtomicU64,
    /// Files copied from the source.
    pub copied: AtomicU64,
    /// Bytes read from the source.
    pub bytes_copied: AtomicU64,
    /// Entries removed, in the phase of that name.
    pub removed: AtomicU64,
    /// How many entries the base holds, when its report tells; 0 if not known.
    pub entries_expected: AtomicU64,
    folder: Mutex<String>,
}

impl Progress {
    /// What the run is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Relaxed)).min(PHASES.len() - 1)]
    }

    /// Says what the run is doing now.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The source folder a worker is in, escaped for display.
    #[must_use]
    pub fn folder(&self) -> String {
        self.folder.lock().map(|folder| folder.clone()).unwrap_or_default()
    }

    /// Says which folder a worker is in, unless another one is just saying so. `name` is only
    /// called when it will be shown.
    pub fn set_folder(&self, name: impl FnOnce() -> String) {
        if let Ok(mut folder) = self.folder.try_lock() {
            *folder = name();
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

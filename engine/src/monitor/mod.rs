//! What the engine reports while it works: events, and counters that can be read at any time.

pub(crate) mod context;
pub(crate) mod event;
pub(crate) mod items;

pub use self::event::{Instead, Problem};
pub use self::items::{ItemSink, ItemizedChange, Items};

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::monitor::event::Event;

/// Receives the events of a run. Passed as the last argument; every worker thread calls it.
pub trait Monitor: Send + Sync {
    /// Receives one event. Counters are in [`Progress`], not here.
    fn event(&self, event: &Event);
}

/// A monitor that ignores all events.
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _event: &Event) {}
}

/// The phase that a run is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Take the lock, remove leftovers, probe the destination.
    Preparing,
    /// List, compare, link and copy.
    Copying,
    /// Try unreadable entries again, or carry them forward.
    Retrying,
    /// Sync everything and give the snapshot its final name.
    Sealing,
    /// Remove old snapshots.
    Removing,
    /// Read content and compare it with the recorded hashes.
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

/// Counters of a run in progress, for displays. They never decrease. Worker threads write them; any
/// thread may read them.
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
    /// Entries removed in phase [`Phase::Removing`].
    pub removed: AtomicU64,
    /// The number of entries in the base according to its report; 0 if unknown.
    pub entries_expected: AtomicU64,
    folder: Mutex<String>,
}

impl Progress {
    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Ordering::Relaxed)).min(PHASES.len() - 1)]
    }

    /// Sets the current phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The source folder a worker is in, escaped for display.
    #[must_use]
    pub fn folder(&self) -> String {
        self.folder.lock().map(|folder| folder.clone()).unwrap_or_default()
    }

    /// Sets the folder to display, unless another thread is setting it at this moment. `name` is
    /// called only when the value is used.
    pub fn set_folder(&self, name: impl FnOnce() -> String) {
        if let Ok(mut folder) = self.folder.try_lock() {
            *folder = name();
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

//! Counters of a run that any thread can read at any time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::threads::lock::lock;

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
    /// Bytes of the files that are done so far, whether they were linked, kept or copied. A file that is
    /// being copied counts with the bytes that have arrived.
    pub bytes: AtomicU64,
    /// Entries linked to the base.
    pub linked: AtomicU64,
    /// Files copied from the source.
    pub copied: AtomicU64,
    /// Bytes read from the source.
    pub bytes_copied: AtomicU64,
    /// Entries removed in phase [`Phase::Removing`].
    pub removed: AtomicU64,
    /// The total that [`Progress::entries`] is expected to reach; 0 if unknown.
    pub entries_expected: AtomicU64,
    /// The total that [`Progress::bytes`] is expected to reach. It is known when `entries_expected` is.
    pub bytes_expected: AtomicU64,
    watched: AtomicBool,
    walk: Mutex<WalkStart>,
    place: Mutex<Place>,
}

/// The counters when the current walk began. A walk that begins again after an interruption counts
/// everything again.
#[derive(Debug, Default, Clone, Copy)]
struct WalkStart {
    at: Option<Instant>,
    entries: u64,
    bytes: u64,
}

/// Where a worker is at the moment.
#[derive(Debug, Default)]
struct Place {
    folder: String,
    /// The file that is being copied; empty between files.
    file: String,
}

/// What the current walk has done, and the total that it is expected to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalkProgress {
    /// Entries done.
    pub entries: u64,
    /// Bytes of files done.
    pub bytes: u64,
    /// The expected number of entries; 0 if unknown.
    pub entries_expected: u64,
    /// The expected bytes; meaningful if `entries_expected` is known.
    pub bytes_expected: u64,
    /// The time since the walk began.
    pub elapsed: Duration,
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

    /// Announces a display that shows totals and the current file. Only then are they determined where that
    /// takes extra work. To be called before the run begins.
    pub fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Whether a display shows totals and the current file.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Notes that a walk over all entries begins.
    pub(crate) fn begin_walk(&self) {
        let (entries, bytes) = (&self.entries, &self.bytes);
        *lock(&self.walk) = WalkStart {
            at: Some(Instant::now()),
            entries: entries.load(Ordering::Relaxed),
            bytes: bytes.load(Ordering::Relaxed),
        };
    }

    /// Sets the expected totals of a walk.
    pub(crate) fn expect(&self, entries: u64, bytes: u64) {
        self.bytes_expected.store(bytes, Ordering::Relaxed);
        self.entries_expected.store(entries, Ordering::Release);
    }

    /// What the current walk has done.
    #[must_use]
    pub fn walk(&self) -> WalkProgress {
        let start = *lock(&self.walk);
        let since =
            |counter: &AtomicU64, start: u64| counter.load(Ordering::Relaxed).saturating_sub(start);
        WalkProgress {
            entries: since(&self.entries, start.entries),
            bytes: since(&self.bytes, start.bytes),
            entries_expected: self.entries_expected.load(Ordering::Acquire),
            bytes_expected: self.bytes_expected.load(Ordering::Relaxed),
            elapsed: start.at.map(|at| at.elapsed()).unwrap_or_default(),
        }
    }

    /// The source folder a worker is in, escaped for display.
    #[must_use]
    pub fn folder(&self) -> String {
        lock(&self.place).folder.clone()
    }

    /// The file that is being copied or read, else the folder a worker is in; escaped for display.
    #[must_use]
    pub fn file(&self) -> String {
        let place = lock(&self.place);
        if place.file.is_empty() { place.folder.clone() } else { place.file.clone() }
    }

    /// Sets the folder to display, unless another thread is setting it at this moment. `name` is
    /// called only when the value is used.
    pub fn set_folder(&self, name: impl FnOnce() -> String) {
        if let Ok(mut place) = self.place.try_lock() {
            *place = Place { folder: name(), file: String::new() };
        }
    }

    /// Sets the file to display, if a display shows it. `name` is called only when the value is used.
    pub(crate) fn set_file(&self, name: impl FnOnce() -> String) {
        if self.is_watched()
            && let Ok(mut place) = self.place.try_lock()
        {
            place.file = name();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::add;

    #[test]
    fn a_walk_that_begins_again_counts_from_its_start() {
        let progress = Progress::default();
        progress.expect(10, 1000);
        progress.begin_walk();
        add(&progress.entries, 4);
        add(&progress.bytes, 300);
        assert_eq!((progress.walk().entries, progress.walk().bytes), (4, 300));
        progress.begin_walk();
        add(&progress.entries, 1);
        let WalkProgress { entries, bytes, entries_expected, bytes_expected, .. } = progress.walk();
        assert_eq!((entries, bytes, entries_expected, bytes_expected), (1, 0, 10, 1000));
    }

    #[test]
    fn the_current_file_is_kept_for_a_display_only_and_until_the_next_folder() {
        let progress = Progress::default();
        progress.set_folder(|| "/a".to_owned());
        progress.set_file(|| "/a/b".to_owned());
        assert_eq!(progress.file(), "/a");
        progress.watch();
        progress.set_file(|| "/a/b".to_owned());
        assert_eq!((progress.file().as_str(), progress.folder().as_str()), ("/a/b", "/a"));
        progress.set_folder(|| "/c".to_owned());
        assert_eq!(progress.file(), "/c");
    }
}

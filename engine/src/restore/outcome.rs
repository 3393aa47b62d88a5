//! The result of a restore, as counts and as lines.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The result for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryOutcome {
    /// Created where nothing existed.
    Created,
    /// Created, and replaced an existing entry.
    Replaced,
    /// The content was equal; owner, mode, time or attributes were set.
    Metadata,
    /// Removed, because the snapshot does not contain it.
    Removed,
    /// The target already had an equal entry.
    Equal,
    /// The existing entry may not be overwritten.
    Left,
    /// Restored without some of its properties.
    Partly,
    /// The content in the snapshot differs from the content that was backed up.
    Damaged,
    /// It could not be restored.
    Failed,
    /// The snapshot does not contain it, and it was not removed: the source may have had it.
    Protected,
}

/// The result for one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredEntry {
    /// The result.
    pub what: EntryOutcome,
    /// The path below the target's top folder.
    pub path: Vec<u8>,
    /// Whether the entry is a folder.
    pub folder: bool,
    /// Bytes of the content.
    pub bytes: u64,
    /// The reason, where there is one.
    pub why: Option<String>,
}

/// Receives the result lines, from every worker thread. [`EntryOutcome::Equal`] entries are only counted.
pub trait RestoreSink: Sync {
    /// Receives the result for one entry.
    fn line(&self, line: &RestoredEntry);
}

/// The number of entries with each result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RestoreCounts {
    /// Created where nothing existed.
    pub created: u64,
    /// Created, and replaced an existing entry.
    pub replaced: u64,
    /// Only owner, mode, time or attributes were set.
    pub metadata: u64,
    /// Removed.
    pub removed: u64,
    /// Already equal.
    pub equal: u64,
    /// Not restored, because another version exists and may not be overwritten.
    pub left: u64,
    /// Restored without some of their properties.
    pub partly: u64,
    /// Damaged in the snapshot.
    pub damaged: u64,
    /// Not restored for another reason.
    pub failed: u64,
    /// Not in the snapshot, and not removed: the run may not have read them.
    pub protected: u64,
    /// Files whose content matched the recorded hash while it was written.
    pub verified: u64,
    /// Files that were written and have no recorded hash.
    pub unproved: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
}

impl RestoreCounts {
    /// Whether everything was restored as it is in the snapshot.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left + self.partly + self.damaged + self.failed == 0
    }
}

/// The counters that the worker threads update.
#[derive(Debug, Default)]
pub(crate) struct RestoreTally {
    fates: [AtomicU64; 10],
    pub(crate) verified: AtomicU64,
    pub(crate) unproved: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl RestoreTally {
    pub(crate) fn count(&self, what: EntryOutcome) {
        self.fates[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> RestoreCounts {
        let of = |what: EntryOutcome| self.fates[what as usize].load(Ordering::Relaxed);
        RestoreCounts {
            created: of(EntryOutcome::Created),
            replaced: of(EntryOutcome::Replaced),
            metadata: of(EntryOutcome::Metadata),
            removed: of(EntryOutcome::Removed),
            equal: of(EntryOutcome::Equal),
            left: of(EntryOutcome::Left),
            partly: of(EntryOutcome::Partly),
            damaged: of(EntryOutcome::Damaged),
            failed: of(EntryOutcome::Failed),
            protected: of(EntryOutcome::Protected),
            verified: self.verified.load(Ordering::Relaxed),
            unproved: self.unproved.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

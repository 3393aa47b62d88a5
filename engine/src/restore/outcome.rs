//! What a restore did, as counts and as lines.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Made where nothing was.
    Created,
    /// Made in the place of something else.
    Replaced,
    /// Its content was there; owner, mode, time or attributes were set.
    Metadata,
    /// Removed, as the snapshot does not hold it.
    Removed,
    /// It was there as it is.
    Equal,
    /// What is in its place may not be overwritten.
    Left,
    /// Restored without some of its properties.
    Partly,
    /// Its content in the snapshot is not what was backed up.
    Damaged,
    /// It could not be restored.
    Failed,
    /// The snapshot does not hold it, and it is not removed: its source may have had it.
    Protected,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredEntry {
    /// What.
    pub what: What,
    /// Its path below the target's top.
    pub path: Vec<u8>,
    /// Whether it is a folder.
    pub folder: bool,
    /// Bytes of its content.
    pub bytes: u64,
    /// Why, where there is something to explain.
    pub why: Option<String>,
}

/// Receives the lines, from every worker thread. What is [`What::Equal`] is only counted.
pub trait Sink: Sync {
    /// One entry was dealt with.
    fn line(&self, line: &RestoredEntry);
}

/// How many entries of each fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RestoreCounts {
    /// Made where nothing was.
    pub created: u64,
    /// Made in the place of something else.
    pub replaced: u64,
    /// Given owner, mode, time or attributes only.
    pub metadata: u64,
    /// Removed.
    pub removed: u64,
    /// There already.
    pub equal: u64,
    /// Another version was left in the place.
    pub left: u64,
    /// Restored, but not with all that belongs to them.
    pub partly: u64,
    /// Damaged in the snapshot.
    pub damaged: u64,
    /// Not restored for another reason.
    pub failed: u64,
    /// Not in the snapshot, and not removed: the run may not have seen them.
    pub protected: u64,
    /// Files whose content was proved by the recorded hash while it was written.
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

/// Counts while threads are at work.
#[derive(Debug, Default)]
pub(crate) struct RestoreTally {
    fates: [AtomicU64; 10],
    pub(crate) verified: AtomicU64,
    pub(crate) unproved: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl RestoreTally {
    pub(crate) fn count(&self, what: What) {
        self.fates[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> RestoreCounts {
        let of = |what: What| self.fates[what as usize].load(Ordering::Relaxed);
        RestoreCounts {
            created: of(What::Created),
            replaced: of(What::Replaced),
            metadata: of(What::Metadata),
            removed: of(What::Removed),
            equal: of(What::Equal),
            left: of(What::Left),
            partly: of(What::Partly),
            damaged: of(What::Damaged),
            failed: of(What::Failed),
            protected: of(What::Protected),
            verified: self.verified.load(Ordering::Relaxed),
            unproved: self.unproved.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

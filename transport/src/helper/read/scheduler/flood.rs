//! When this end stops reading, because too much waits.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::delivery::{LISTINGS, QUEUED};
use crate::helper::read::scheduler::HelperScheduler;

/// Bytes of listings and of contents that may wait for the sinks before this end stops reading. It bounds the memory,
/// also of holes and of what takes more memory here than on the line. What a correct far end may still send fits below it: eight
/// channels have windows of 512 KiB for listings, and an entry takes up to four times its bytes on the line. Otherwise
/// contents, for which listings may wait, would not be read.
pub(super) const LISTINGS_HARD: usize = 4 * LISTINGS;
pub(super) const CONTENTS_HARD: usize = QUEUED + (12 << 20);

/// Bytes of chunks and parts that may wait for the thread that builds files before this end stops reading.
const EVENTS_HARD: usize = 8 << 20;

impl HelperScheduler {
    /// Whether so much waits that this end stops reading.
    pub(super) fn has_too_much(&self) -> bool {
        self.delivery.backlog.listings.load(Ordering::Relaxed) > LISTINGS_HARD || self.is_behind()
    }

    /// Whether this end stops reading because its own disk is slower than the line. Contents wait for nothing of the far end.
    /// Listings may wait for contents, and too many of them come only from a far end that breaks the rules.
    fn is_behind(&self) -> bool {
        let waits = &self.delivery.backlog;
        waits.bytes.load(Ordering::Relaxed) > CONTENTS_HARD
            || waits.events.load(Ordering::Relaxed) > EVENTS_HARD
    }

    /// Whether a far end from which nothing was read may have sent something.
    pub(super) fn may_have_missed(&self) -> bool {
        self.was_behind || self.is_behind()
    }

    /// Gives the far end time anew when this end reads again.
    pub(super) fn excuse_silence(&mut self) {
        let is_behind = self.is_behind();
        if std::mem::replace(&mut self.was_behind, is_behind) && !is_behind {
            let now = Instant::now();
            self.channels.iter_mut().for_each(|channel| channel.heard(now));
        }
    }
}

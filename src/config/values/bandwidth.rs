//! The limit of the rate at which a job reads content.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};

use crate::schedule::timetable::Timetable;
use crate::schedule::zone::Zone;

/// `--bwlimit`, else `BWLIMIT`.
#[derive(Debug, Clone)]
pub(crate) struct Bandwidth {
    pub(crate) table: Timetable,
    pub(crate) zone: Zone,
    /// How many jobs with a limit run at the moment. Each gets this part of its own limit, so that together they stay
    /// below the highest one.
    pub(crate) parts: Arc<AtomicUsize>,
}

impl Bandwidth {
    pub(crate) fn new(table: Timetable, zone: Zone) -> Self {
        Self { table, zone, parts: Arc::new(AtomicUsize::new(1)) }
    }

    /// Bytes per second at `now`; `None`: no limit.
    pub(crate) fn at(&self, now: DateTime<Utc>) -> Option<u64> {
        let parts = self.parts.load(Ordering::Relaxed).max(1) as u64;
        self.table.at(self.zone, now).map(|rate| (rate / parts).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_run_at_the_same_time_share_the_limit() {
        let zone = Zone::named("UTC").unwrap();
        let limit = Bandwidth::new(Timetable::constant(Some(1000)), zone);
        for (parts, expected) in [(1, 1000), (3, 333), (0, 1000), (5000, 1)] {
            limit.parts.store(parts, Ordering::Relaxed);
            assert_eq!(limit.at(DateTime::UNIX_EPOCH), Some(expected), "{parts}");
        }
        let none = Bandwidth::new(Timetable::constant(None), zone);
        assert_eq!(none.at(DateTime::UNIX_EPOCH), None);
    }
}

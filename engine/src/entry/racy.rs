//! Decides which files may have changed unnoticed since they were read.
//!
//! Size and mtime prove that the content is unchanged only when the mtime is older than the read: a
//! second change within the same clock tick leaves both as they are (git calls such entries racily
//! clean). A ctime older than the read proves more, because no program can set it back. Pure,
//! except for [`clock`].

use serde::{Deserialize, Serialize};

use crate::entry::{Meta, Time};

/// When a run started to read, by the clock that stamps files of the destination and by that of the
/// source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadStart {
    pub(crate) destination: Time,
    pub(crate) source: Time,
}

/// When the files of an incomplete snapshot were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadTimes {
    /// The earliest possible read.
    first: Option<Time>,
    /// The runs that worked on the snapshot, oldest first.
    runs: Vec<ReadStart>,
}

impl ReadTimes {
    /// `named` is the time in the name of the incomplete snapshot.
    pub(crate) fn new(named: Option<Time>, runs: Vec<ReadStart>) -> Self {
        let first = runs.iter().map(|run| run.source).chain(named).min();
        Self { first, runs }
    }

    /// Adds the runs that the journal lists.
    pub(crate) fn with(self, runs: Vec<ReadStart>) -> Self {
        Self::new(self.first, runs)
    }

    /// The earliest time at which the source may have changed a file after it was stored. `ctime`
    /// is the change time of the stored inode. A `shared` inode may have got its ctime from another
    /// process.
    pub(crate) fn of(&self, ctime: Time, shared: bool) -> Option<Time> {
        let run = self.runs.iter().rev().find(|run| run.destination <= ctime);
        run.filter(|_| !shared).map(|run| run.source).or(self.first)
    }
}

/// Whether a file with the metadata `meta` may have changed after `since` without a change of size
/// and mtime. The ctime is considered where it exists and `ctime` is set.
#[must_use]
pub(crate) fn may_have_changed(meta: &Meta, since: Time, ctime: bool) -> bool {
    let not_older = |time: Time| time >= before(since, resolution_ns(time));
    not_older(meta.mtime) || (ctime && meta.ctime != Time::default() && not_older(meta.ctime))
}

/// The coarsest clock that can produce this time: FAT has steps of 2 s, exFAT of 10 ms, NTFS of 100
/// ns.
fn resolution_ns(time: Time) -> u64 {
    match time.nanos {
        0 => 2_000_000_000,
        nanos if nanos % 10_000_000 == 0 => 10_000_000,
        _ => 100,
    }
}

/// `time` minus `nanos` nanoseconds.
#[must_use]
pub(crate) fn before(time: Time, nanos: u64) -> Time {
    let all = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos) - i128::from(nanos);
    let secs = i64::try_from(all.div_euclid(1_000_000_000)).unwrap_or(i64::MIN);
    let nanos = u32::try_from(all.rem_euclid(1_000_000_000)).unwrap_or(0);
    Time { secs, nanos }
}

/// How far the clock of a source may be behind this machine's if it cannot be read.
const UNKNOWN_NS: u64 = 30_000_000_000;

/// The earliest time stamp of a change after the read starts: `source_clock` if known, otherwise
/// `ours` minus 30 s.
#[must_use]
pub(crate) fn begin_of(source_clock: Option<Time>, ours: Time) -> Time {
    source_clock.unwrap_or_else(|| before(ours, UNKNOWN_NS))
}

/// The kernel's clock for time stamps of files. It advances in ticks of a few milliseconds.
#[must_use]
pub(crate) fn clock() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    fn at(secs: i64, nanos: u32) -> Time {
        Time { secs, nanos }
    }

    fn file(mtime: Time, ctime: Time) -> Meta {
        Meta {
            kind: Kind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 10,
            mtime,
            ctime,
            id: None,
            links: 1,
            rdev: 0,
            allocated: 4096,
            is_shared: false,
        }
    }

    #[test]
    fn a_time_that_is_not_older_than_the_read_proves_nothing() {
        let since = at(1000, 500_000_123);
        for (mtime, ctime, trusted, racy) in [
            (at(900, 1), at(0, 0), true, false),
            (at(1000, 500_000_122), at(0, 0), true, true),
            (at(1000, 500_000_123), at(0, 0), true, true),
            (at(1000, 499_999_999), at(0, 0), true, false),
            // A clock with steps of one or two seconds.
            (at(1000, 0), at(0, 0), true, true),
            (at(999, 0), at(0, 0), true, true),
            (at(998, 0), at(0, 0), true, false),
            (at(2000, 7), at(0, 0), true, true),
            // Changed, and its mtime set back.
            (at(900, 1), at(1001, 3), true, true),
            (at(900, 1), at(1001, 3), false, false),
            (at(900, 1), at(999, 3), true, false),
        ] {
            let found = may_have_changed(&file(mtime, ctime), since, trusted);
            assert_eq!(found, racy, "{mtime:?} {ctime:?} {trusted}");
        }
    }

    #[test]
    fn stored_files_were_read_by_the_last_run_that_began_before() {
        let begin = |destination, source| ReadStart {
            destination: at(destination, 0),
            source: at(source, 0),
        };
        let begins = ReadTimes::new(Some(at(9, 0)), vec![begin(100, 10), begin(200, 20)]);
        for (ctime, shared, since) in
            [(50, false, 9), (100, false, 10), (150, false, 10), (200, false, 20), (900, true, 9)]
        {
            assert_eq!(begins.of(at(ctime, 0), shared), Some(at(since, 0)), "{ctime}");
        }
        assert_eq!(ReadTimes::default().of(at(5, 0), false), None);
    }

    #[test]
    fn times_are_counted_back_over_seconds() {
        assert_eq!(before(at(5, 1), 2), at(4, 999_999_999));
        assert_eq!(before(at(5, 1), 2_000_000_001), at(3, 0));
    }
}

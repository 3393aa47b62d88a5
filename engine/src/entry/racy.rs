//! Which files may have changed without a trace since they were read.
//!
//! Size and time of a file prove that its content is the one that was read only when its modification
//! time is older than the read: a second change within the same tick of the source's clock leaves both
//! as they are (git calls such entries racily clean). A change time that is older than the read proves
//! more, as no program can set it back. Pure, but for [`clock`].

use serde::{Deserialize, Serialize};

use crate::entry::{Meta, Time};

/// When a run began to read: by the clock that stamps the files of the destination, and by the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) destination: Time,
    pub(crate) source: Time,
}

/// When the files of an incomplete snapshot were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Begins {
    /// Before this nothing of it was read.
    first: Option<Time>,
    /// The runs that worked on it, the oldest first.
    runs: Vec<Begin>,
}

impl Begins {
    /// `named` is the time that the incomplete snapshot is named after.
    pub(crate) fn new(named: Option<Time>, runs: Vec<Begin>) -> Self {
        let first = runs.iter().map(|run| run.source).chain(named).min();
        Self { first, runs }
    }

    /// The same, with what the journal tells of the runs.
    pub(crate) fn with(self, runs: Vec<Begin>) -> Self {
        Self::new(self.first, runs)
    }

    /// From when on a file of the source may have changed that was stored by then. `ctime` is the
    /// change time of what is stored; an inode that is `shared` may have got it from somebody else.
    pub(crate) fn of(&self, ctime: Time, shared: bool) -> Option<Time> {
        let run = self.runs.iter().rev().find(|run| run.destination <= ctime);
        run.filter(|_| !shared).map(|run| run.source).or(self.first)
    }
}

/// Whether a file that is as `meta` says may have changed after `since` without a trace in size and
/// modification time. Its change time counts where there is one and the job trusts it.
#[must_use]
pub fn may_have_changed(meta: &Meta, since: Time, ctime: bool) -> bool {
    let not_older = |time: Time| time >= before(since, resolution_ns(time));
    not_older(meta.mtime) || (ctime && meta.ctime != Time::default() && not_older(meta.ctime))
}

/// How coarse the clock is that a time may come from: FAT counts two seconds, exFAT hundredths of one,
/// NTFS steps of 100 ns.
fn resolution_ns(time: Time) -> u64 {
    match time.nanos {
        0 => 2_000_000_000,
        nanos if nanos % 10_000_000 == 0 => 10_000_000,
        _ => 100,
    }
}

/// The time `nanos` before `time`.
#[must_use]
pub fn before(time: Time, nanos: u64) -> Time {
    let all = i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos) - i128::from(nanos);
    let secs = i64::try_from(all.div_euclid(1_000_000_000)).unwrap_or(i64::MIN);
    let nanos = u32::try_from(all.rem_euclid(1_000_000_000)).unwrap_or(0);
    Time { secs, nanos }
}

/// How far the clock of a source may be behind this machine's that does not tell what it says.
const UNKNOWN_NS: u64 = 30_000_000_000;

/// From when on files of a source may change that is about to be read: `told` by its clock, or `ours`.
#[must_use]
pub fn begin_of(told: Option<Time>, ours: Time) -> Time {
    told.unwrap_or_else(|| before(ours, UNKNOWN_NS))
}

/// The clock that the kernel stamps files with: it moves in ticks of a few milliseconds.
#[must_use]
pub fn clock() -> Time {
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
            // A clock of whole seconds, or of two.
            (at(1000, 0), at(0, 0), true, true),
            (at(999, 0), at(0, 0), true, true),
            (at(998, 0), at(0, 0), true, false),
            (at(2000, 7), at(0, 0), true, true),
            // Changed with its time set back.
            (at(900, 1), at(1001, 3), true, true),
            (at(900, 1), at(1001, 3), false, false),
            (at(900, 1), at(999, 3), true, false),
        ] {
            let found = may_have_changed(&file(mtime, ctime), since, trusted);
            assert_eq!(found, racy, "{mtime:?} {ctime:?} {trusted}");
        }
    }

    #[test]
    fn what_is_stored_was_read_by_the_last_run_that_began_before() {
        let begin =
            |destination, source| Begin { destination: at(destination, 0), source: at(source, 0) };
        let begins = Begins::new(Some(at(9, 0)), vec![begin(100, 10), begin(200, 20)]);
        for (ctime, shared, since) in
            [(50, false, 9), (100, false, 10), (150, false, 10), (200, false, 20), (900, true, 9)]
        {
            assert_eq!(begins.of(at(ctime, 0), shared), Some(at(since, 0)), "{ctime}");
        }
        assert_eq!(Begins::default().of(at(5, 0), false), None);
    }

    #[test]
    fn times_are_counted_back_over_seconds() {
        assert_eq!(before(at(5, 1), 2), at(4, 999_999_999));
        assert_eq!(before(at(5, 1), 2_000_000_001), at(3, 0));
    }
}

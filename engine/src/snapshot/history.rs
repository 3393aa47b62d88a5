//! Decides about the history of a prefix: what a run does, and which snapshot is its base. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::snapshot::name::{SnapshotName, SnapshotState, Stamp};

/// The snapshots of one prefix, sorted by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Complete snapshots.
    pub complete: Vec<SnapshotName>,
    /// Interrupted snapshots.
    pub incomplete: Vec<SnapshotName>,
    /// Snapshots that are being removed.
    pub deleting: Vec<SnapshotName>,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Resume this incomplete snapshot.
    Resume(SnapshotName),
    /// Start a new snapshot.
    Start,
    /// Nothing: the newest snapshot is younger than the minimum time.
    Held {
        /// The snapshot that delays the run.
        newest: SnapshotName,
        /// The earliest time at which a run starts.
        next: DateTime<Utc>,
    },
}

/// Whether a clock that shows `now` was never set. A machine without a clock battery starts at
/// 1970, or at the build time of its system.
#[must_use]
pub fn never_set(now: DateTime<Utc>) -> bool {
    // 2024-01-01, before the first release of this program.
    now.timestamp() < 1_704_067_200
}

impl History {
    /// Sorts `names` by state and time.
    #[must_use]
    pub fn of(names: impl IntoIterator<Item = SnapshotName>) -> Self {
        let mut history = Self::default();
        for name in names {
            match name.state {
                SnapshotState::Complete => history.complete.push(name),
                SnapshotState::Incomplete => history.incomplete.push(name),
                SnapshotState::Deleting => history.deleting.push(name),
            }
        }
        for names in [&mut history.complete, &mut history.incomplete, &mut history.deleting] {
            names.sort_by_key(|name| name.stamp);
        }
        history
    }

    /// What a run that starts at `now` does, when snapshots must be at least `guard` apart.
    ///
    /// A snapshot from the future delays a run only as long as one from the past would, so a clock
    /// that was wrong once does not stop backups for years. If the clock cannot be right,
    /// `since_last` counts instead, if known: a lower bound of the time since the last snapshot.
    #[must_use]
    pub fn decide(
        &self,
        now: DateTime<Utc>,
        guard: TimeDelta,
        since_last: Option<TimeDelta>,
    ) -> Decision {
        if let Some(incomplete) = self.incomplete.last() {
            return Decision::Resume(incomplete.clone());
        }
        if let (Some(newest), Some(since)) = (self.doubted_by(now), since_last) {
            let rest = guard - since;
            let next = now.checked_add_signed(rest).unwrap_or(DateTime::<Utc>::MAX_UTC);
            return match rest > TimeDelta::zero() {
                true => Decision::Held { newest: newest.clone(), next },
                false => Decision::Start,
            };
        }
        let near = |name: &&SnapshotName| (now - name.stamp.time()).abs() < guard;
        match self.complete.iter().rfind(near) {
            Some(newest) => {
                let next = newest.stamp.time().checked_add_signed(guard);
                Decision::Held {
                    newest: newest.clone(),
                    next: next.unwrap_or(DateTime::<Utc>::MAX_UTC),
                }
            }
            None => Decision::Start,
        }
    }

    /// The newest snapshot, if it shows that a clock reading `now` is wrong: the clock is behind
    /// the snapshot or was never set. A snapshot more than a year ahead does not count, because a
    /// wrong clock named it.
    #[must_use]
    pub fn doubted_by(&self, now: DateTime<Utc>) -> Option<&SnapshotName> {
        let newest = self.complete.last()?;
        let ahead = newest.stamp.time() - now;
        let behind = ahead > TimeDelta::zero() && ahead < TimeDelta::days(365);
        (behind || never_set(now)).then_some(newest)
    }

    /// The base of a run: the newest snapshot that is not from the future, or else the newest.
    #[must_use]
    pub fn base(&self, now: DateTime<Utc>) -> Option<&SnapshotName> {
        self.complete.iter().rfind(|name| name.stamp.time() <= now).or(self.complete.last())
    }

    /// Complete snapshots whose time is later than `now`.
    #[must_use]
    pub fn from_the_future(&self, now: DateTime<Utc>) -> &[SnapshotName] {
        &self.complete[self.complete.partition_point(|name| name.stamp.time() <= now)..]
    }

    /// The time stamp for a snapshot of a run that starts at `now`: its second, or the next unused
    /// one.
    #[must_use]
    pub fn free_stamp(&self, now: DateTime<Utc>) -> Option<Stamp> {
        let taken = |stamp: Stamp| {
            [&self.complete, &self.deleting].into_iter().flatten().any(|name| name.stamp == stamp)
        };
        let mut stamp = Stamp::of(now)?;
        while taken(stamp) {
            stamp = stamp.next()?;
        }
        Some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::name::Prefix;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn name(seconds: i64, state: SnapshotState) -> SnapshotName {
        let stamp = Stamp::of(at(seconds)).unwrap();
        SnapshotName { prefix: Prefix::new("p").unwrap(), stamp, state }
    }

    fn complete(seconds: &[i64]) -> History {
        History::of(seconds.iter().map(|seconds| name(*seconds, SnapshotState::Complete)))
    }

    #[test]
    fn the_guard_holds_within_its_time_and_not_for_years() {
        let guard = TimeDelta::seconds(100);
        for (snapshots, now, held_by) in [
            (&[][..], 0, None),
            (&[0], 99, Some(0)),
            (&[0], 100, None),
            (&[0, 50], 120, Some(50)),
            // From the future: slightly, far, and next to a snapshot with a correct time.
            (&[50], 0, Some(50)),
            (&[100], 0, None),
            (&[1_000_000], 0, None),
            (&[10, 1_000_000], 20, Some(10)),
        ] {
            let decision = complete(snapshots).decide(at(now), guard, None);
            match held_by {
                None => assert_eq!(decision, Decision::Start, "{snapshots:?} at {now}"),
                Some(by) => {
                    let (newest, next) = (name(by, SnapshotState::Complete), at(by + 100));
                    assert_eq!(decision, Decision::Held { newest, next });
                }
            }
        }
    }

    #[test]
    fn no_guard_holds_nothing_and_an_incomplete_one_is_always_resumed() {
        assert_eq!(complete(&[0]).decide(at(0), TimeDelta::zero(), None), Decision::Start);
        let incomplete = name(5, SnapshotState::Incomplete);
        let history = History::of([name(0, SnapshotState::Complete), incomplete.clone()]);
        assert_eq!(history.decide(at(1), TimeDelta::hours(20), None), Decision::Resume(incomplete));
    }

    #[test]
    fn a_clock_that_cannot_be_right_leaves_the_guard_to_the_time_since_boot() {
        let guard = TimeDelta::seconds(100);
        // These times are before 2024.
        let late = 10_000_000;
        for (newest, now, since, held) in [
            (0, 500, 10, true),
            (0, 500, 100, false),
            (late + 50, late, 10, true),
            (late + 50, late, 100, false),
            (late + 5_000, late, 10, true),
            (late + 5_000, late, 500, false),
            // The clock is right, so it counts.
            (late, late + 99, 5_000, true),
            (late, late + 100, 10, false),
            (late + 400 * 86_400, late, 10, false),
        ] {
            let decision =
                complete(&[newest]).decide(at(now), guard, Some(TimeDelta::seconds(since)));
            let is_held = matches!(decision, Decision::Held { .. });
            assert_eq!(is_held, held, "{newest} {now} {since}");
        }
    }

    #[test]
    fn the_base_is_the_newest_that_can_be() {
        for (snapshots, now, base) in [
            (&[][..], 0, None),
            (&[1, 5, 3], 9, Some(5)),
            (&[1, 50], 9, Some(1)),
            (&[50, 60], 9, Some(60)),
        ] {
            let history = complete(snapshots);
            assert_eq!(
                history.base(at(now)).cloned(),
                base.map(|base| name(base, SnapshotState::Complete))
            );
        }
        assert_eq!(complete(&[1, 50]).from_the_future(at(9)).len(), 1);
    }

    #[test]
    fn no_two_snapshots_share_a_name() {
        let history =
            History::of([name(0, SnapshotState::Complete), name(1, SnapshotState::Deleting)]);
        assert_eq!(history.free_stamp(at(0)), Stamp::of(at(2)));
        assert_eq!(history.free_stamp(at(7)), Stamp::of(at(7)));
    }
}

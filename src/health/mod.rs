//! Decides whether a job is healthy, and why not, when it is due next, and when its disk will be full. Does
//! no I/O.

pub(crate) mod copies;
pub(crate) mod growth;
pub(crate) mod mass_change;
pub(crate) mod reason;

use std::num::NonZeroUsize;

use chrono::{DateTime, TimeDelta, Utc};
use engine::History;
use engine::SnapshotName;
use engine::inspect::Look;
use engine::snapshot::{Decision, never_set};

use crate::config::types::HealthLimits;
use crate::health::reason::Reason;
use crate::schedule::window::OpenHours;

/// The newest snapshot that counts, and its age. A snapshot from the future has the age 0.
pub(crate) fn newest(history: &History, now: DateTime<Utc>) -> Option<(&SnapshotName, TimeDelta)> {
    let newest = history.base(now)?;
    Some((newest, (now - newest.stamp.time()).max(TimeDelta::zero())))
}

/// Number of consecutive failed runs, including a last run that was killed before it could record its end.
pub(crate) fn failures(look: &Look) -> u32 {
    let noted = look.status.as_ref().map_or(0, |status| status.failures_in_a_row);
    noted + u32::from(killed(look))
}

/// Whether the last run has ended without recording its end.
pub(crate) fn killed(look: &Look) -> bool {
    look.reached.as_ref().is_some_and(|reached| !reached.ended) && !look.at_work
}

/// Why the job is not healthy; empty if it is. `since` is the time from which snapshots are expected, if
/// known. A job without a snapshot gets the maximum age from then on before it counts as unhealthy.
pub(crate) fn complaints(
    now: DateTime<Utc>,
    look: &Look,
    alert: HealthLimits,
    since: Option<DateTime<Utc>>,
) -> Vec<Reason> {
    let mut complaints = Vec::new();
    complaints.extend(age_complaint(now, look, alert, since));
    complaints.extend(unread_complaint(now, look, alert.max_age));
    let failures = failures(look);
    if usize::try_from(failures).is_ok_and(|failures| failures >= NonZeroUsize::get(alert.failures))
    {
        let status = look.status.as_ref().filter(|_| !killed(look));
        let why = status.and_then(|status| status.reason.clone());
        complaints.push(Reason::Failed { runs: failures, why });
    }
    if let Some(stuck) = look.status.iter().flat_map(|status| &status.stuck).next() {
        complaints.push(Reason::Stuck {
            snapshot: stuck.snapshot.clone(),
            path: stuck.path.clone(),
            why: stuck.why.clone(),
        });
    }
    complaints.extend(drill_complaint(look));
    complaints
}

/// Why the last restore drill failed.
pub(crate) fn drill_complaint(look: &Look) -> Option<Reason> {
    Reason::of_drill(look.last_drill.as_ref()?)
}

fn age_complaint(
    now: DateTime<Utc>,
    look: &Look,
    alert: HealthLimits,
    since: Option<DateTime<Utc>>,
) -> Option<Reason> {
    let limit = alert.max_age;
    if let Some((newest, age)) = newest(&look.history, now) {
        return if now > overdue(newest.stamp.time(), &alert) {
            Some(Reason::Old { age, limit })
        } else if never_set(now) {
            Some(Reason::ClockNeverSet { now })
        } else if newest.stamp.time() - now > limit {
            Some(Reason::FromTheFuture { newest: newest.clone() })
        } else {
            None
        };
    }
    let begun = look.history.incomplete.iter().map(|name| name.stamp.time());
    match begun.chain(since).min() {
        None if failures(look) > 0 => Some(Reason::NoSnapshot),
        None => Some(Reason::NoRun),
        Some(begun) if now > overdue(begun, &alert) => {
            Some(Reason::NotCompleted { since: now - begun, limit })
        }
        Some(_) => None,
    }
}

/// Since when the newest snapshot contains an older version of an entry that could not be read.
pub(crate) fn unread_since(look: &Look) -> Option<DateTime<Utc>> {
    let since = look.reports.last()?.carried_since.as_ref()?;
    DateTime::parse_from_rfc3339(since).ok().map(DateTime::from)
}

fn unread_complaint(now: DateTime<Utc>, look: &Look, limit: TimeDelta) -> Option<Reason> {
    let since = unread_since(look).filter(|since| now - *since > limit)?;
    let report = look.reports.last()?;
    let number = report.counts.carried_forward;
    Some(Reason::Unread { number, since, limit, report: report.snapshot.clone() })
}

/// The time until which a snapshot taken at `newest` is young enough: until it is older than `MAX_AGE_H`, and until
/// the first window in which the next snapshot could be taken has ended.
pub(crate) fn overdue(newest: DateTime<Utc>, alert: &HealthLimits) -> DateTime<Utc> {
    let old = newest + alert.max_age;
    match alert.hours {
        Some(hours) => old.max(hours.first_close(newest + alert.guard)),
        None => old,
    }
}

/// The time from which a run would take a snapshot.
pub(crate) fn due(
    history: &History,
    guard: TimeDelta,
    hours: Option<OpenHours>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let due = match history.decide(now, guard, None) {
        Decision::Held { next, .. } => next.max(now),
        Decision::Resume(_) | Decision::Start => now,
    };
    hours.map_or(due, |hours| hours.first_open(due))
}

#[cfg(test)]
mod tests {
    use engine::Prefix;
    use engine::repository::JobStatus;
    use engine::repository::Reached;
    use engine::snapshot::SnapshotState;
    use engine::snapshot::Stamp;

    use super::*;
    use crate::schedule::window::Window;
    use crate::schedule::zone::Zone;

    const HOUR: i64 = 3600;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000 + hours * HOUR, 0).unwrap()
    }

    fn name(hours: i64, state: SnapshotState) -> SnapshotName {
        let stamp = Stamp::of(at(hours)).unwrap();
        SnapshotName { prefix: Prefix::new("p").unwrap(), stamp, state }
    }

    fn snapshots(complete: &[i64], incomplete: &[i64]) -> Look {
        let complete = complete.iter().map(|hours| name(*hours, SnapshotState::Complete));
        let incomplete = incomplete.iter().map(|hours| name(*hours, SnapshotState::Incomplete));
        Look { history: History::of(complete.chain(incomplete)), ..Look::default() }
    }

    fn joined(reasons: &[Reason]) -> String {
        reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ")
    }

    fn failed(times: u32) -> Option<JobStatus> {
        Some(JobStatus {
            version: 1,
            started: String::new(),
            finished: String::new(),
            outcome: "failed".to_owned(),
            reason: Some("host down".to_owned()),
            snapshot: None,
            failures_in_a_row: times,
            stuck: Vec::new(),
        })
    }

    fn alert() -> HealthLimits {
        HealthLimits {
            max_age: TimeDelta::hours(44),
            guard: TimeDelta::hours(20),
            hours: None,
            failures: NonZeroUsize::new(3).unwrap(),
        }
    }

    #[test]
    fn a_job_without_a_young_snapshot_is_unhealthy() {
        for (complete, incomplete, since, now, expected) in [
            (&[0][..], &[][..], None, 44, ""),
            (&[0], &[], None, 45, "the newest snapshot is 1 d 21 h old, more than 1 d 20 h"),
            (&[0, 30], &[], None, 45, ""),
            (&[0], &[30], None, 45, "the newest snapshot is 1 d 21 h old"),
            (&[], &[], None, 0, "there is no snapshot yet, and no run has begun"),
            (&[], &[0], None, 44, ""),
            (&[], &[0], None, 45, "no snapshot was completed in the 1 d 21 h since"),
            (&[], &[], Some(0), 44, ""),
            (&[], &[], Some(0), 45, "no snapshot was completed"),
            (&[], &[40], Some(0), 45, "no snapshot was completed"),
            (&[1], &[], None, 0, ""),
            (&[100], &[], None, 0, "is from the future"),
            (&[0, 1000], &[], None, 1, ""),
        ] {
            let look = snapshots(complete, incomplete);
            let found = joined(&complaints(at(now), &look, alert(), since.map(at)));
            let same =
                if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(same, "{complete:?} {incomplete:?} {since:?} {now}: {found:?}");
        }
    }

    #[test]
    fn failures_in_a_row_count_and_a_killed_run_is_one() {
        let left = |ended| Some(Reached { ended, ..Reached::default() });
        for (status, reached, at_work, expected) in [
            (failed(2), None, false, ""),
            (failed(3), None, false, "the last 3 runs failed, the last one: host down"),
            (failed(3), left(true), false, "the last 3 runs failed, the last one: host down"),
            (failed(2), left(false), true, ""),
            (failed(2), left(false), false, "the last 3 runs failed, the last one: it was killed"),
            (None, left(false), false, ""),
        ] {
            let look = Look { status, reached, at_work, ..snapshots(&[0], &[]) };
            let found = joined(&complaints(at(1), &look, alert(), None));
            let same =
                if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(same, "{look:?}: {found:?}");
        }
    }

    #[test]
    fn the_guard_determines_when_a_run_takes_a_snapshot() {
        let guard = TimeDelta::hours(20);
        for (look, now, expected) in [
            (snapshots(&[], &[]), 5, 5),
            (snapshots(&[0], &[]), 5, 20),
            (snapshots(&[0], &[]), 25, 25),
            (snapshots(&[0], &[3]), 5, 5),
        ] {
            assert_eq!(due(&look.history, guard, None, at(now)), at(expected), "{look:?}");
        }
    }

    /// The hour 0 of these tests is 15:06:40 UTC.
    fn hours(window: &str) -> Option<OpenHours> {
        let window = Window::read(window).unwrap();
        Some(OpenHours { window, zone: Zone::named("UTC").unwrap() })
    }

    #[test]
    fn a_run_is_due_when_the_window_opens() {
        let guard = TimeDelta::hours(20);
        for (window, complete, now, expected) in [
            ("15:00-16:00", &[][..], 5, "16 15:00"),
            ("15:00-16:00", &[], 0, "15 15:06"),
            ("15:00-16:00", &[0], 5, "16 15:00"),
            ("10:00-16:00", &[0], 5, "16 11:06"),
        ] {
            let history = snapshots(complete, &[]).history;
            let due = due(&history, guard, hours(window), at(now));
            assert_eq!(due.format("%d %H:%M").to_string(), expected, "{window} {complete:?} {now}");
        }
    }

    #[test]
    fn no_snapshot_is_overdue_before_a_window_has_passed() {
        let strict = HealthLimits { max_age: TimeDelta::hours(20), ..alert() };
        for (limits, window, expected) in [
            // The next snapshot can be taken from 11:06 on.
            (strict, "22:00-23:30", "16 23:30"),
            (strict, "11:00-12:00", "16 12:00"),
            (strict, "10:00-11:00", "17 11:00"),
            (alert(), "22:00-06:00", "17 11:06"),
            (alert(), "10:00-11:00", "17 11:06"),
        ] {
            let limits = HealthLimits { hours: hours(window), ..limits };
            let shown = overdue(at(0), &limits).format("%d %H:%M").to_string();
            assert_eq!(shown, expected, "{window}");
        }
        let limits = HealthLimits { hours: hours("22:00-23:30"), ..strict };
        let look = snapshots(&[0], &[]);
        assert_eq!(complaints(at(25), &look, limits, None), Vec::new());
        let late = joined(&complaints(at(33), &look, limits, None));
        assert!(late.contains("the newest snapshot is 1 d 9 h old"), "{late}");
    }
}

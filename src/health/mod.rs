//! Decides whether a job is healthy, and why not, when it is due next, and when its disk will be full. Does
//! no I/O.

pub(crate) mod copies;
pub(crate) mod growth;
pub(crate) mod mass_change;

use std::num::NonZeroUsize;

use chrono::{DateTime, TimeDelta, Utc};
use engine::History;
use engine::SnapshotName;
use engine::inspect::Look;
use engine::snapshot::{Decision, never_set};

use crate::config::types::HealthLimits;
use crate::schedule::window::OpenHours;
use crate::term::local_time;
use crate::term::units::{counted, duration};

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
) -> Vec<String> {
    let mut complaints = Vec::new();
    complaints.extend(age_complaint(now, look, alert, since));
    complaints.extend(unread_complaint(now, look, alert.max_age));
    let failures = failures(look);
    if usize::try_from(failures).is_ok_and(|failures| failures >= NonZeroUsize::get(alert.failures))
    {
        let reason = look.status.as_ref().filter(|_| !killed(look));
        let reason = reason.and_then(|status| status.reason.clone());
        let reason = reason.unwrap_or_else(|| "it was killed, or the machine went down".to_owned());
        complaints.push(match failures {
            1 => format!("the last run failed: {reason}"),
            failures => format!("the last {failures} runs failed, the last one: {reason}"),
        });
    }
    if let Some(stuck) = look.status.iter().flat_map(|status| &status.stuck).next() {
        complaints.push(stuck.to_string());
    }
    complaints.extend(drill_complaint(look));
    complaints
}

/// Why the last restore drill failed.
pub(crate) fn drill_complaint(look: &Look) -> Option<String> {
    let drill = look.last_drill.as_ref()?;
    let reason = drill.reason.as_ref()?;
    let time = local_time::of_rfc3339(&drill.finished);
    Some(match drill.failed {
        0 => format!("the restore drill of {time} could not be done: {reason}"),
        failed => format!(
            "the restore drill of {time} failed: {} of {} did not come back as backed up, the first: {reason}",
            failed, drill.snapshot
        ),
    })
}

fn age_complaint(
    now: DateTime<Utc>,
    look: &Look,
    alert: HealthLimits,
    since: Option<DateTime<Utc>>,
) -> Option<String> {
    let max_age = alert.max_age;
    let limit = || format!("{} (MAX_AGE_H)", shown(max_age));
    if let Some((newest, age)) = newest(&look.history, now) {
        return if now > overdue(newest.stamp.time(), &alert) {
            Some(format!("the newest snapshot is {} old, more than {}", shown(age), limit()))
        } else if never_set(now) {
            Some(format!(
                "the clock was never set, it says {}; set it (timedatectl set-ntp true)",
                local_time::minute(now)
            ))
        } else if newest.stamp.time() - now > max_age {
            Some(format!("the newest snapshot, {newest}, is from the future; check the clock"))
        } else {
            None
        };
    }
    let begun = look.history.incomplete.iter().map(|name| name.stamp.time());
    match begun.chain(since).min() {
        None if failures(look) > 0 => Some("there is no snapshot yet".to_owned()),
        None => Some("there is no snapshot yet, and no run has begun".to_owned()),
        Some(begun) if now > overdue(begun, &alert) => Some(format!(
            "no snapshot was completed in the {} since it began, more than {}",
            shown(now - begun),
            limit()
        )),
        Some(_) => None,
    }
}

/// Since when the newest snapshot contains an older version of an entry that could not be read.
pub(crate) fn unread_since(look: &Look) -> Option<DateTime<Utc>> {
    let since = look.reports.last()?.carried_since.as_ref()?;
    DateTime::parse_from_rfc3339(since).ok().map(DateTime::from)
}

fn unread_complaint(now: DateTime<Utc>, look: &Look, max_age: TimeDelta) -> Option<String> {
    let since = unread_since(look).filter(|since| now - *since > max_age)?;
    let report = look.reports.last()?;
    Some(format!(
        "{} could not be read and {} carried forward, the oldest since {}, longer than {} (MAX_AGE_H); the report of {} lists them",
        counted(report.counts.carried_forward, "entry", "entries"),
        if report.counts.carried_forward == 1 { "is" } else { "are" },
        local_time::minute(since),
        shown(max_age),
        report.snapshot,
    ))
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

fn shown(time: TimeDelta) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of less than a century")]
    duration(time.num_seconds() as f64)
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
            let found = complaints(at(now), &look, alert(), since.map(at)).join("; ");
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
            let found = complaints(at(1), &look, alert(), None).join("; ");
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
        assert_eq!(complaints(at(25), &look, limits, None), Vec::<String>::new());
        let late = complaints(at(33), &look, limits, None).join("; ");
        assert!(late.contains("the newest snapshot is 1 d 9 h old"), "{late}");
    }
}

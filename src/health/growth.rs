//! Estimates when the disk will be full, from the bytes that the last runs copied. Does no I/O.

use chrono::{DateTime, TimeDelta, Utc};
use engine::Report;

/// Number of reports to read.
pub(crate) const REPORTS: usize = 15;
/// With fewer runs or a shorter time, there is no estimate.
const FEWEST: usize = 3;
const SHORTEST: TimeDelta = TimeDelta::hours(24);
/// Longest forecast in days.
const FARTHEST_DAYS: f64 = 3650.0;

/// The forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Forecast {
    /// There is too little data.
    Unknown,
    /// Not within ten years.
    NotInSight { bytes_per_day: f64 },
    /// The time at which the disk is full at the current rate, if removing old snapshots frees nothing.
    Full { when: DateTime<Utc>, bytes_per_day: f64 },
}

/// Estimates from the newest `reports`, oldest first. The first report does not count, because its bytes were
/// copied before the measured time, and a first snapshot copies everything.
pub(crate) fn forecast(reports: &[Report], free_bytes: u64, now: DateTime<Utc>) -> Forecast {
    let time = |report: &Report| DateTime::parse_from_rfc3339(&report.started).ok();
    let (Some(first), Some(last)) = (reports.first().and_then(time), reports.last().and_then(time))
    else {
        return Forecast::Unknown;
    };
    let span = last - first;
    if reports.len() < FEWEST || span < SHORTEST {
        return Forecast::Unknown;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let (copied, days, free) = (
        reports.iter().skip(1).map(|report| report.counts.bytes_copied).sum::<u64>() as f64,
        span.num_seconds() as f64 / 86_400.0,
        free_bytes as f64,
    );
    let bytes_per_day = copied / days;
    let days_left = free / bytes_per_day;
    if days_left.is_nan() || days_left > FARTHEST_DAYS {
        return Forecast::NotInSight { bytes_per_day };
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than ten years of seconds")]
    let left = TimeDelta::seconds((days_left * 86_400.0) as i64);
    Forecast::Full { when: now + left, bytes_per_day }
}

#[cfg(test)]
mod tests {
    use engine::repository::Counts;

    use super::*;

    fn at(days: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::days(days)
    }

    fn reports(runs: &[(i64, u64)]) -> Vec<Report> {
        runs.iter()
            .map(|(day, bytes_copied)| Report {
                version: 1,
                snapshot: String::new(),
                path: String::new(),
                base: None,
                resumed: false,
                started: at(*day).to_rfc3339(),
                finished: String::new(),
                boot: None,
                seconds: 1.0,
                time_granularity_ns: 1,
                connection: None,
                read_since: None,
                host: None,
                roots: Vec::new(),
                dropped: Vec::new(),
                carried_since: None,
                pruned: Vec::new(),
                renamed: Vec::new(),
                suspicions: Vec::new(),
                frozen: None,
                holds: None,
                coverage: None,
                stuck: Vec::new(),
                in_use: std::collections::BTreeMap::new(),
                counts: Counts { bytes_copied: *bytes_copied, ..Counts::default() },
            })
            .collect()
    }

    #[test]
    fn the_growth_of_the_last_runs_predicts_when_the_disk_is_full() {
        let full = |day, bytes_per_day| Forecast::Full { when: at(day), bytes_per_day };
        for (runs, free, expected) in [
            (&[][..], 10, Forecast::Unknown),
            (&[(0, 999), (1, 10)], 10, Forecast::Unknown),
            (&[(0, 999), (0, 10), (0, 10)], 10, Forecast::Unknown),
            (&[(0, 999), (1, 10), (2, 10)], 100, full(12, 10.0)),
            (&[(0, 999), (2, 10), (4, 30)], 100, full(14, 10.0)),
            (&[(0, 999), (1, 10), (2, 10)], 0, full(2, 10.0)),
            (&[(0, 999), (1, 0), (2, 0)], 100, Forecast::NotInSight { bytes_per_day: 0.0 }),
            (&[(0, 999), (1, 0), (2, 0)], 0, Forecast::NotInSight { bytes_per_day: 0.0 }),
            (&[(0, 9), (1, 1), (2, 1)], 1 << 40, Forecast::NotInSight { bytes_per_day: 1.0 }),
        ] {
            let now = at(runs.last().map_or(0, |run| run.0));
            assert_eq!(forecast(&reports(runs), free, now), expected, "{runs:?} {free}");
        }
    }
}

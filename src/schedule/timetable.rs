//! A rate that depends on the time of day: `08:00,2M 19:00,off`. Pure: the clock and the zone are arguments.
//!
//! The times are those that the clocks show. So where the clocks go back, the entries of the repeated hour hold twice.

use chrono::{DateTime, Utc};

use crate::schedule::clock_time::ClockTime;
use crate::schedule::zone::Zone;

/// Rates, each from a time of day until that of the next entry. Before the first entry, the last one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timetable {
    /// In the order of their times; at least one. `None`: no limit.
    entries: Vec<(ClockTime, Option<u64>)>,
}

impl Timetable {
    /// One rate for the whole day, bytes per second; `None`: no limit.
    pub(crate) fn constant(rate: Option<u64>) -> Self {
        Self { entries: vec![(ClockTime::of(chrono::NaiveTime::MIN), rate)] }
    }

    /// The rates of a day.
    ///
    /// # Errors
    /// There is no entry, or there are two for the same time.
    pub(crate) fn new(mut entries: Vec<(ClockTime, Option<u64>)>) -> Result<Self, String> {
        entries.sort_by_key(|(time, _)| *time);
        if entries.is_empty() {
            return Err("it is empty; write for example 08:00,2M 19:00,off".to_owned());
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("it has two rates for {}; remove one of them", pair[0].0));
        }
        Ok(Self { entries })
    }

    /// The rate at `now`.
    pub(crate) fn at(&self, zone: Zone, now: DateTime<Utc>) -> Option<u64> {
        let shown = ClockTime::of(zone.local(now).time());
        let begun = self.entries.iter().rfind(|(time, _)| *time <= shown);
        begun.or(self.entries.last()).and_then(|(_, rate)| *rate)
    }

    /// Whether there is a limit at any time.
    pub(crate) fn limits(&self) -> bool {
        self.entries.iter().any(|(_, rate)| rate.is_some())
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn table(entries: &[(&str, Option<u64>)]) -> Result<Timetable, String> {
        Timetable::new(
            entries.iter().map(|(time, rate)| (ClockTime::read(time).unwrap(), *rate)).collect(),
        )
    }

    fn rate(table: &Timetable, zone: &str, now: &str) -> Option<u64> {
        let now = NaiveDateTime::parse_from_str(now, "%Y-%m-%d %H:%M").unwrap().and_utc();
        table.at(Zone::named(zone).unwrap(), now)
    }

    #[test]
    fn an_entry_holds_until_the_next_one_and_the_last_one_over_midnight() {
        let table = table(&[("19:00", None), ("08:00", Some(2)), ("12:30", Some(5))]).unwrap();
        for (time, expected) in [
            ("00:00", None),
            ("07:59", None),
            ("08:00", Some(2)),
            ("12:29", Some(2)),
            ("12:30", Some(5)),
            ("18:59", Some(5)),
            ("19:00", None),
        ] {
            assert_eq!(rate(&table, "UTC", &format!("2026-05-04 {time}")), expected, "{time}");
        }
        assert_eq!(rate(&Timetable::constant(Some(7)), "UTC", "2026-05-04 00:00"), Some(7));
    }

    #[test]
    fn what_the_clocks_show_counts_when_they_change() {
        let table = table(&[("02:30", Some(1)), ("04:00", Some(2))]).unwrap();
        for (now, expected) in [
            // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
            ("2026-03-29 00:59", Some(2)),
            ("2026-03-29 01:00", Some(1)),
            ("2026-03-29 02:00", Some(2)),
            // 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
            ("2026-10-25 00:29", Some(2)),
            ("2026-10-25 00:30", Some(1)),
            ("2026-10-25 01:00", Some(2)),
            ("2026-10-25 01:30", Some(1)),
            ("2026-10-25 03:00", Some(2)),
        ] {
            assert_eq!(rate(&table, "Europe/Berlin", now), expected, "{now}");
        }
    }

    #[test]
    fn a_table_without_entries_or_with_two_for_a_time_is_refused() {
        assert!(table(&[]).unwrap_err().contains("write for example"));
        let twice = table(&[("08:00", None), ("9:00", None), ("8:00", Some(1))]);
        assert_eq!(twice.unwrap_err(), "it has two rates for 08:00; remove one of them");
    }
}

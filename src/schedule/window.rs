//! The part of each day in which a job may run: `22:00-06:00`. Pure: the clock and the zone are arguments.
//!
//! Each day has one interval of instants. Where the clocks show the start twice, the earlier time counts; where
//! they show the end twice, the later one. A time that they skip is the end of the gap. So a window is never
//! interrupted by a change of the clocks, and one that lies in a gap does not open on that day.

use std::fmt;

use chrono::{DateTime, Days, Utc};

use crate::schedule::clock_time::ClockTime;
use crate::schedule::zone::Zone;

/// The days before and after a moment whose intervals can contain it or follow it. A zone can skip a day.
const DAYS: u64 = 3;

/// Two times of day. A window that ends at or before its start ends on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    start: ClockTime,
    end: ClockTime,
}

/// Whether a window is open at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowState {
    /// It closes at this time. With windows that follow each other without a gap, at the end of the last one that
    /// is looked at.
    Open { closes: DateTime<Utc> },
    /// It opens at this time.
    Closed { opens: DateTime<Utc> },
}

impl Window {
    /// Parses `HH:MM-HH:MM`.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write two times of day, for example 22:00-06:00";
        let parts = text.split_once('-');
        let times = parts.map(|(start, end)| [start, end].map(|part| ClockTime::read(part.trim())));
        let Some([Some(start), Some(end)]) = times else {
            return Err(format!("'{text}' is not a window; {EXAMPLE}"));
        };
        if start.ends_the_day() {
            return Err(format!("'{text}' begins at the end of a day; write 00:00 for its start"));
        }
        if start == end {
            return Err(format!(
                "'{text}' begins and ends at the same time; write two different times, or remove it for the whole day"
            ));
        }
        Ok(Self { start, end })
    }

    /// Whether it is open at `now`.
    pub(crate) fn at(self, zone: Zone, now: DateTime<Utc>) -> WindowState {
        let intervals = self.intervals(zone, now);
        let mut closes = None;
        for (from, to) in &intervals {
            let reached = closes.unwrap_or(now);
            if *from <= reached && reached < *to {
                closes = Some(*to);
            }
        }
        match closes {
            Some(closes) => WindowState::Open { closes },
            None => {
                let next = intervals.iter().map(|(from, _)| *from).find(|from| *from > now);
                // Only the end of the calendar has no next day.
                WindowState::Closed { opens: next.unwrap_or(DateTime::<Utc>::MAX_UTC) }
            }
        }
    }

    /// The intervals around `now` that are not empty, in their order.
    fn intervals(self, zone: Zone, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let today = zone.local(now).date();
        let Some(first) = today.checked_sub_days(Days::new(DAYS)) else { return Vec::new() };
        let days = first.iter_days().take(2 * usize::try_from(DAYS).unwrap_or_default() + 1);
        let interval = |date| {
            let from = zone.first_instant(self.start.on(date, 0)?)?;
            let to = zone.instant(self.end.on(date, i64::from(self.end <= self.start))?)?;
            (from < to).then_some((from, to))
        };
        days.filter_map(interval).collect()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// The window of a job, with the zone of its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenHours {
    pub(crate) window: Window,
    pub(crate) zone: Zone,
}

impl OpenHours {
    /// Whether the window is open at `now`.
    pub(crate) fn at(self, now: DateTime<Utc>) -> WindowState {
        self.window.at(self.zone, now)
    }

    /// The first moment from `from` on at which it is open.
    pub(crate) fn first_open(self, from: DateTime<Utc>) -> DateTime<Utc> {
        match self.at(from) {
            WindowState::Open { .. } => from,
            WindowState::Closed { opens } => opens,
        }
    }

    /// The end of the first window of which a part follows `from`.
    pub(crate) fn first_close(self, from: DateTime<Utc>) -> DateTime<Utc> {
        match self.at(self.first_open(from)) {
            WindowState::Open { closes } => closes,
            WindowState::Closed { opens } => opens,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDateTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
    }

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    /// What holds at `now` (UTC), with the time at which that changes: `open until 28 05:00`.
    fn state(window: &str, name: &str, now: &str) -> String {
        match Window::read(window).unwrap().at(zone(name), utc(now)) {
            WindowState::Open { closes } => format!("open until {}", closes.format("%d %H:%M")),
            WindowState::Closed { opens } => format!("closed until {}", opens.format("%d %H:%M")),
        }
    }

    #[test]
    fn a_window_is_open_from_its_start_until_its_end() {
        for (window, now, expected) in [
            ("08:00-17:00", "2026-05-04 07:59", "closed until 04 08:00"),
            ("08:00-17:00", "2026-05-04 08:00", "open until 04 17:00"),
            ("08:00-17:00", "2026-05-04 16:59", "open until 04 17:00"),
            ("08:00-17:00", "2026-05-04 17:00", "closed until 05 08:00"),
            ("22:00-06:00", "2026-05-04 21:59", "closed until 04 22:00"),
            ("22:00-06:00", "2026-05-04 22:00", "open until 05 06:00"),
            ("22:00-06:00", "2026-05-04 00:00", "open until 04 06:00"),
            ("22:00-06:00", "2026-05-04 06:00", "closed until 04 22:00"),
            ("22:00-24:00", "2026-05-04 23:59", "open until 05 00:00"),
            ("22:00-24:00", "2026-05-05 00:00", "closed until 05 22:00"),
            ("22:00-00:00", "2026-05-05 00:00", "closed until 05 22:00"),
            ("12:01-12:00", "2026-05-04 12:00", "closed until 04 12:01"),
            // It never closes; what follows three days later is not looked at.
            ("00:00-24:00", "2026-05-04 12:00", "open until 08 00:00"),
        ] {
            assert_eq!(state(window, "UTC", now), expected, "{window} {now}");
        }
    }

    #[test]
    fn clocks_that_go_forward_shorten_a_window_or_leave_it_out() {
        // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
        for (window, now, expected) in [
            ("22:00-06:00", "2026-03-28 21:30", "open until 29 04:00"),
            ("01:00-02:30", "2026-03-29 00:30", "open until 29 01:00"),
            ("01:00-02:30", "2026-03-29 01:00", "closed until 29 23:00"),
            ("02:30-05:00", "2026-03-29 00:59", "closed until 29 01:00"),
            ("02:30-05:00", "2026-03-29 01:00", "open until 29 03:00"),
            // The clocks do not show these times on that day.
            ("02:15-02:45", "2026-03-29 00:59", "closed until 30 00:15"),
            ("02:15-02:45", "2026-03-29 01:10", "closed until 30 00:15"),
        ] {
            assert_eq!(state(window, "Europe/Berlin", now), expected, "{window} {now}");
        }
        // Samoa had no 2011-12-30.
        assert_eq!(
            state("08:00-09:00", "Pacific/Apia", "2011-12-29 20:00"),
            "closed until 30 18:00"
        );
    }

    #[test]
    fn clocks_that_go_back_interrupt_no_window_and_open_none_twice() {
        // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
        for (window, now, expected) in [
            ("22:00-06:00", "2026-10-24 20:30", "open until 25 05:00"),
            ("01:00-02:30", "2026-10-24 23:30", "open until 25 01:30"),
            ("01:00-02:30", "2026-10-25 00:45", "open until 25 01:30"),
            ("01:00-02:30", "2026-10-25 01:30", "closed until 26 00:00"),
            ("02:30-04:00", "2026-10-25 00:30", "open until 25 03:00"),
            ("02:30-04:00", "2026-10-25 01:10", "open until 25 03:00"),
            ("02:15-02:45", "2026-10-25 00:14", "closed until 25 00:15"),
            ("02:15-02:45", "2026-10-25 01:10", "open until 25 01:45"),
            // The window of the day before ends after this one has begun.
            ("02:30-02:15", "2026-10-24 23:00", "open until 26 01:15"),
        ] {
            assert_eq!(state(window, "Europe/Berlin", now), expected, "{window} {now}");
        }
        // Lord Howe goes back by half an hour.
        let lord_howe = |now| state("01:40-02:10", "Australia/Lord_Howe", now);
        assert_eq!(lord_howe("2026-04-04 14:50"), "open until 04 15:40");
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_to_write() {
        for (text, expected) in [
            ("", "for example 22:00-06:00"),
            ("22:00", "for example 22:00-06:00"),
            ("22-6", "for example 22:00-06:00"),
            ("22:00-06:60", "for example 22:00-06:00"),
            ("24:00-06:00", "write 00:00"),
            ("22:00-22:00", "two different times"),
        ] {
            let wrong = Window::read(text).unwrap_err();
            assert!(wrong.contains(expected), "{text}: {wrong}");
        }
        assert_eq!(Window::read(" 9:00 - 17:00").unwrap().to_string(), "09:00-17:00");
    }

    #[test]
    fn the_first_window_from_a_moment_on() {
        let hours = OpenHours { window: Window::read("22:00-06:00").unwrap(), zone: zone("UTC") };
        let noon = utc("2026-05-04 12:00");
        assert_eq!(hours.first_open(noon), utc("2026-05-04 22:00"));
        assert_eq!(hours.first_close(noon), utc("2026-05-05 06:00"));
        let night = utc("2026-05-04 23:00");
        assert_eq!(
            (hours.first_open(night), hours.first_close(night)),
            (night, utc("2026-05-05 06:00"))
        );
    }

    const ZONES: [&str; 5] =
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];

    proptest! {
        #[test]
        fn a_state_holds_until_the_time_that_it_names(
            number in 0..ZONES.len(),
            now in 946_684_800_i64..1_900_000_000,
            start in 0_u16..1440,
            length in 1_u16..1440,
        ) {
            let (zone, now) = (zone(ZONES[number]), DateTime::from_timestamp(now, 0).unwrap());
            let shown = |minute: u16| format!("{:02}:{:02}", minute % 1440 / 60, minute % 60);
            let window = Window::read(&format!("{}-{}", shown(start), shown(start + length))).unwrap();
            let second = TimeDelta::seconds(1);
            match window.at(zone, now) {
                WindowState::Open { closes } => {
                    prop_assert!(closes > now);
                    let just_before = matches!(window.at(zone, closes - second), WindowState::Open { .. });
                    prop_assert!(just_before);
                    let after = matches!(window.at(zone, closes), WindowState::Closed { .. });
                    prop_assert!(after || closes - now > TimeDelta::days(2));
                }
                WindowState::Closed { opens } => {
                    prop_assert!(opens > now && opens - now <= TimeDelta::days(3));
                    prop_assert_eq!(window.at(zone, opens - second), WindowState::Closed { opens });
                    let opened = matches!(window.at(zone, opens), WindowState::Open { .. });
                    prop_assert!(opened);
                }
            }
        }
    }
}

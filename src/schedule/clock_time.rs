//! A time of day as a clock shows it.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Minutes since midnight, 0 to 1440: `24:00` is the end of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClockTime(u16);

impl ClockTime {
    /// Parses `HH:MM`. `24:00` is the only time of the hour 24.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let all = hour * 60 + minute;
        (minute < 60 && all <= DAY).then_some(Self(all))
    }

    /// Whether it is `24:00`, which belongs to the next day.
    pub(crate) fn ends_the_day(self) -> bool {
        self.0 == DAY
    }

    /// The time on `date`, `days` later.
    pub(crate) fn on(self, date: NaiveDate, days: i64) -> Option<NaiveDateTime> {
        let minutes = TimeDelta::minutes(i64::from(self.0)) + TimeDelta::days(days);
        date.and_time(NaiveTime::MIN).checked_add_signed(minutes)
    }

    /// The whole minute that a clock shows at `time`.
    pub(crate) fn of(time: NaiveTime) -> Self {
        let minutes = time.hour() * 60 + time.minute();
        // A day has 1440 minutes.
        Self(u16::try_from(minutes).unwrap_or(DAY))
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_minutes_are_read_and_nothing_else_is() {
        for (text, shown) in
            [("0:00", "00:00"), ("08:05", "08:05"), ("23:59", "23:59"), ("24:00", "24:00")]
        {
            assert_eq!(ClockTime::read(text).unwrap().to_string(), shown);
        }
        for text in
            ["", "8", "8:5", "24:01", "25:00", "12:60", "-1:00", "+8:00", "008:00", "8:00pm"]
        {
            assert_eq!(ClockTime::read(text), None, "{text}");
        }
    }
}

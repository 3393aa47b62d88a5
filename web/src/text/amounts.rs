//! Sizes, counts, ages and times as words.

use chrono::{NaiveDateTime, TimeDelta};

use crate::text::{Language, Text};

impl Language {
    /// The mark before decimals.
    fn point(self) -> &'static str {
        if self == Self::English { "." } else { "," }
    }

    /// The mark between thousands.
    fn comma(self) -> &'static str {
        match self {
            Self::English => ",",
            Self::German | Self::Spanish => ".",
            // NARROW NO-BREAK SPACE (Imprimerie nationale)
            Self::French => "\u{202f}",
        }
    }

    /// An integer with marks between thousands.
    pub(crate) fn count(self, number: u64) -> String {
        engine::entry::human::count(number).replace(',', self.comma())
    }

    /// Bytes with a binary unit.
    pub(crate) fn size(self, bytes: u64) -> String {
        engine::entry::human::bytes(bytes).replace('.', self.point())
    }

    /// A limit that a setting has in hours.
    pub(crate) fn hours(self, limit: TimeDelta) -> String {
        match (limit.num_minutes() + 30) / 60 {
            ..2 => self.span(limit),
            hours => self.fill(Text::Hours, &[&self.count(hours.unsigned_abs())]),
        }
    }

    /// How long ago something was.
    pub(crate) fn ago(self, age: TimeDelta) -> String {
        if age < TimeDelta::zero() {
            return self.say(Text::InTheFuture).to_owned();
        }
        if age < TimeDelta::minutes(1) {
            return self.say(Text::JustNow).to_owned();
        }
        self.fill(Text::Ago, &[&self.span(age)])
    }

    /// A span of time in its largest unit.
    pub(crate) fn span(self, span: TimeDelta) -> String {
        let amount = |number: i64, one, many| self.counted(number.unsigned_abs(), one, many);
        // Two days, not one, from 36 hours on.
        match (span.num_seconds(), span.num_minutes(), span.num_hours()) {
            (seconds, ..60, _) if seconds < 60 => amount(seconds, Text::OneSecond, Text::Seconds),
            (_, minutes @ ..90, _) => amount(minutes, Text::Minute, Text::Minutes),
            (_, minutes, ..36) => amount((minutes + 30) / 60, Text::Hour, Text::Hours),
            (_, _, hours) if hours < 24 * 90 => amount((hours + 12) / 24, Text::Day, Text::Days),
            (_, _, hours) => amount((hours + 360) / 720, Text::Month, Text::Months),
        }
    }
}

/// A local time, to the minute.
pub(crate) fn minute(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// A local time, to the second.
pub(crate) fn second(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_of_its_largest_unit() {
        for (seconds, english, german) in [
            (-5, "in the future", "in der Zukunft"),
            (5, "just now", "gerade eben"),
            (60, "1 minute ago", "vor 1 Minute"),
            (3600, "60 minutes ago", "vor 60 Minuten"),
            (3 * 3600, "3 hours ago", "vor 3 Stunden"),
            (35 * 3600, "35 hours ago", "vor 35 Stunden"),
            (4 * 86_400, "4 days ago", "vor 4 Tagen"),
            (400 * 86_400, "13 months ago", "vor 13 Monaten"),
        ] {
            let age = TimeDelta::seconds(seconds);
            assert_eq!(Language::English.ago(age), english);
            assert_eq!(Language::German.ago(age), german);
        }
    }

    #[test]
    fn a_limit_in_hours_stays_in_hours() {
        for (minutes, english) in [
            (0, "0 seconds"),
            (45, "45 minutes"),
            (44 * 60, "44 hours"),
            (1001 * 60, "1,001 hours"),
        ] {
            assert_eq!(Language::English.hours(TimeDelta::minutes(minutes)), english);
        }
    }

    #[test]
    fn numbers_have_the_marks_of_the_language() {
        assert_eq!(Language::English.count(12_345), "12,345");
        assert_eq!(Language::German.count(12_345), "12.345");
        assert_eq!(Language::German.size(1536), "1,5 KiB");
    }
}

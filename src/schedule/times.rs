//! Computes the next start time of a line. The search uses local time without daylight saving; only the
//! result is converted to an instant. So each local time occurs once a day. If the clocks show it twice, the
//! later one counts; if they skip it, the end of the gap counts.

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::schedule::zone::Zone;

/// Parses the five fields of a line, or `@daily` and similar names.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn read(fields: &str) -> Result<Cron, String> {
    let fields = if fields.eq_ignore_ascii_case("@midnight") { "@daily" } else { fields };
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(fields).map_err(|error| match fields.starts_with('@') {
        true => "the name is unknown".to_owned(),
        false => error.to_string(),
    })?;
    // A date that does not occur within eight years never occurs: the longest gap of 29-02 is eight years
    // (around 1900).
    match cron.find_next_occurrence(&DateTime::UNIX_EPOCH, true) {
        Ok(_) => Ok(cron),
        Err(_) => Err("there is no such day in any year".to_owned()),
    }
}

/// The first start time after `after`. `None` at the end of the calendar.
pub(crate) fn next(cron: &Cron, zone: Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let shown = zone.local(after);
    // If the clocks will show the current local time again, the start times before it will also come again.
    let again = zone.instant(shown)? - after;
    let mut local = shown.checked_sub_signed(again.max(TimeDelta::zero()))?.and_utc();
    loop {
        local = cron.find_next_occurrence(&local, false).ok()?;
        match zone.instant(local.naive_utc())? {
            instant if instant > after => return Some(instant),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::NaiveDateTime;
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
    }

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    /// The start times of `fields` after `after`, in UTC.
    fn times(fields: &str, name: &str, after: &str, count: usize) -> Vec<String> {
        let cron = read(fields).unwrap();
        let following = |at: &DateTime<Utc>| next(&cron, zone(name), *at);
        let times = std::iter::successors(following(&utc(after)), following);
        times.take(count).map(|time| time.format("%d %H:%M").to_string()).collect()
    }

    #[test]
    fn fields_names_ranges_steps_and_nicknames() {
        for (fields, expected) in [
            ("* * * * *", ["01 00:01", "01 00:02"]),
            ("*/20 * * * *", ["01 00:20", "01 00:40"]),
            ("5-7/2 3 * * *", ["01 03:05", "01 03:07"]),
            ("0 0 * * sun", ["07 00:00", "14 00:00"]),
            ("0 0 * * 7", ["07 00:00", "14 00:00"]),
            ("0 12 * JAN-FEB Mon-Fri", ["01 12:00", "02 12:00"]),
            ("0 0 13 * fri", ["05 00:00", "12 00:00"]),
            ("1,2 4 2 * *", ["02 04:01", "02 04:02"]),
            ("@hourly", ["01 01:00", "01 02:00"]),
            ("@daily", ["02 00:00", "03 00:00"]),
            ("@midnight", ["02 00:00", "03 00:00"]),
            ("@weekly", ["07 00:00", "14 00:00"]),
            ("@monthly", ["01 00:00", "01 00:00"]),
            ("@yearly", ["01 00:00", "01 00:00"]),
        ] {
            // A Monday.
            assert_eq!(times(fields, "UTC", "2024-01-01 00:00", 2), expected, "{fields}");
        }
    }

    #[test]
    fn times_that_cannot_be_read_are_refused() {
        for fields in [
            "",
            "*",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "a * * * *",
            "*/0 * * * *",
            "5-3 x * * *",
            "@fortnightly",
            "0 0 31 2 *",
            "* * * * * *",
        ] {
            assert!(read(fields).is_err(), "{fields}");
        }
    }

    #[test]
    fn a_local_time_comes_once_also_when_the_clocks_change() {
        for (fields, zone, after, expected) in [
            // Berlin, 2024-03-31: 02:00 becomes 03:00 at 01:00 UTC.
            ("30 2 * * *", "Europe/Berlin", "2024-03-30 12:00", ["31 01:00", "01 00:30"]),
            ("0 3 * * *", "Europe/Berlin", "2024-03-30 12:00", ["31 01:00", "01 01:00"]),
            ("15 * * * *", "Europe/Berlin", "2024-03-31 00:20", ["31 01:00", "31 01:15"]),
            // 2024-10-27: 03:00 becomes 02:00 at 01:00 UTC.
            ("30 2 * * *", "Europe/Berlin", "2024-10-26 12:00", ["27 01:30", "28 01:30"]),
            ("30 2 * * *", "Europe/Berlin", "2024-10-27 00:45", ["27 01:30", "28 01:30"]),
            ("0 3 * * *", "Europe/Berlin", "2024-10-26 12:00", ["27 02:00", "28 02:00"]),
            ("30 * * * *", "Europe/Berlin", "2024-10-27 00:00", ["27 01:30", "27 02:30"]),
            // Lord Howe changes by half an hour; Samoa had no 2011-12-30.
            ("45 1 * * *", "Australia/Lord_Howe", "2024-04-05 15:00", ["06 15:15", "07 15:15"]),
            ("0 12 * * *", "Pacific/Apia", "2011-12-29 23:00", ["30 10:00", "30 22:00"]),
        ] {
            assert_eq!(times(fields, zone, after, 2), expected, "{fields} {zone} {after}");
        }
    }

    const ZONES: [&str; 6] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "Asia/Kathmandu",
        "UTC",
    ];

    proptest! {
        #[test]
        fn times_are_in_order_and_each_local_time_comes_once_a_day(
            zone_number in 0..ZONES.len(),
            start in 946_684_800_i64..1_800_000_000,
            minute in 0_u32..60,
            hour in 0_u32..24,
        ) {
            let (zone, start) = (zone(ZONES[zone_number]), DateTime::from_timestamp(start, 0).unwrap());
            let cron = read(&format!("{minute} {hour} * * *")).unwrap();
            let (mut at, mut days) = (start, BTreeSet::new());
            for _ in 0..400 {
                let time = next(&cron, zone, at).unwrap();
                prop_assert!(time > at);
                let local = zone.local(time);
                // Exactly once per day, at the time itself or at the end of the gap that contains it.
                prop_assert!(days.insert(local.date()), "twice on {}", local);
                if let Some(wanted) = local.date().and_hms_opt(hour, minute, 0) {
                    prop_assert!(local >= wanted && local - wanted <= TimeDelta::hours(2), "{local}");
                }
                at = time;
            }
            let (first, last) = (*days.first().unwrap(), *days.last().unwrap());
            prop_assert_eq!((last - first).num_days() + 1, 400);
        }

        #[test]
        fn between_a_time_and_the_next_there_is_none(
            zone_number in 0..ZONES.len(),
            start in 946_684_800_i64..1_800_000_000,
            ahead in 0_i64..100_000,
        ) {
            let (zone, start) = (zone(ZONES[zone_number]), DateTime::from_timestamp(start, 0).unwrap());
            let cron = read("7,37 */3 * * *").unwrap();
            let time = next(&cron, zone, start).unwrap();
            let between = start + TimeDelta::seconds(ahead);
            let later = next(&cron, zone, between).unwrap();
            if between < time { prop_assert_eq!(later, time) } else { prop_assert!(later > between) }
        }
    }
}

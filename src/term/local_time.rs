//! Formats instants as local times with their zone, for people.

use std::path::Path;

use chrono::{DateTime, Local, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

/// The system's zone: a file of the zone database, or a symlink to one (localtime(5)).
const LOCALTIME: &str = "/etc/localtime";

/// The local time to the minute with its zone: `2026-11-28 21:21 CET`.
pub(crate) fn minute(time: DateTime<Utc>) -> String {
    shown(time, "%Y-%m-%d %H:%M")
}

/// The local time to the second with its zone: `2026-11-28 21:21:55 CET`.
pub(crate) fn second(time: DateTime<Utc>) -> String {
    shown(time, "%Y-%m-%d %H:%M:%S")
}

/// Converts times to those that the clocks here show. It looks up the zone once, for many times.
pub(crate) fn clock() -> impl Fn(DateTime<Utc>) -> NaiveDateTime {
    let zone = zone();
    move |time| match zone {
        Some(zone) => time.with_timezone(&zone).naive_local(),
        None => time.with_timezone(&Local).naive_local(),
    }
}

/// The local date: `2026-11-28`.
pub(crate) fn date(time: DateTime<Utc>) -> String {
    match zone() {
        Some(zone) => time.with_timezone(&zone).format("%Y-%m-%d").to_string(),
        None => time.with_timezone(&Local).format("%Y-%m-%d").to_string(),
    }
}

/// The local time to the second of a time in RFC 3339. Another text stays as it is.
pub(crate) fn of_rfc3339(text: &str) -> String {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => second(time.to_utc()),
        Err(_) => text.to_owned(),
    }
}

/// Formats `time` in `zone` to the minute.
pub(crate) fn minute_in(zone: Tz, time: DateTime<Utc>) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string()
}

fn shown(time: DateTime<Utc>, format: &str) -> String {
    let format = format!("{format} %Z");
    match zone() {
        Some(zone) => time.with_timezone(&zone).format(&format).to_string(),
        // chrono knows no abbreviation here and writes the offset.
        None => time.with_timezone(&Local).format(&format).to_string(),
    }
}

/// The instants at which this machine's clocks show `local`.
pub(crate) fn instants(local: NaiveDateTime) -> MappedLocalTime<DateTime<Utc>> {
    match zone() {
        Some(zone) => zone.from_local_datetime(&local).map(|time| time.to_utc()),
        None => Local.from_local_datetime(&local).map(|time| time.to_utc()),
    }
}

/// The name of the zone of this machine's clocks.
pub(crate) fn zone_name() -> String {
    zone().map_or_else(|| "the zone of this machine".to_owned(), |zone| zone.name().to_owned())
}

/// The zone of this process, if its name is known.
fn zone() -> Option<Tz> {
    let variable = std::env::var("TZ").ok().filter(|value| !value.is_empty());
    let system = || std::fs::read_link(LOCALTIME).ok();
    let is_set = Path::new(LOCALTIME).exists();
    named(variable.as_deref(), system().as_deref(), is_set)
}

/// The zone that `TZ` names, else the one that the symlink `/etc/localtime` leads to. Without both the system
/// counts in UTC (tzset(3)).
fn named(variable: Option<&str>, link: Option<&Path>, is_set: bool) -> Option<Tz> {
    if let Some(name) = variable {
        return name.strip_prefix(':').unwrap_or(name).trim().parse().ok();
    }
    match link.and_then(Path::to_str).and_then(|path| path.split_once("zoneinfo/")) {
        Some((_, name)) => name.parse().ok(),
        None => (!is_set).then_some(Tz::UTC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_has_a_name_where_one_is_known() {
        let berlin = Some(Tz::Europe__Berlin);
        for (variable, link, is_set, expected) in [
            (None, None, false, Some(Tz::UTC)),
            (None, None, true, None),
            (None, Some("../usr/share/zoneinfo/Europe/Berlin"), true, berlin),
            (None, Some("/elsewhere"), true, None),
            (Some(":Europe/Berlin"), None, false, berlin),
            (Some("CET-1CEST,M3.5.0,M10.5.0/3"), None, false, None),
            (Some("UTC"), Some("/usr/share/zoneinfo/Europe/Berlin"), true, Some(Tz::UTC)),
        ] {
            assert_eq!(
                named(variable, link.map(Path::new), is_set),
                expected,
                "{variable:?} {link:?}"
            );
        }
        let time = DateTime::from_timestamp(1_701_960_000, 0).unwrap();
        assert_eq!(minute_in(Tz::Europe__Berlin, time), "2023-12-07 15:40 CET");
        assert_eq!(minute_in(Tz::Asia__Kolkata, time), "2023-12-07 20:10 IST");
    }
}

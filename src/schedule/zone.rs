//! Time zones: converts between instants and local times.

use std::fmt;

use chrono::{DateTime, Local, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::term::local_time;

/// Search limit in minutes. The longest gap of a zone's clock is one day (Samoa, 2011); the search covers two
/// days.
const LONGEST_GAP_MINUTES: i64 = 2 * 24 * 60;

/// The time zone of a crontab line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// A zone of the IANA database, which is compiled into the binary.
    Named(Tz),
    /// The zone in `TZ` or `/etc/localtime`, if its value is not a zone name.
    System,
}

impl Zone {
    /// The zone with this name, such as `Europe/Berlin`. A leading `:` is allowed, as in tzset(3).
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        name.strip_prefix(':').unwrap_or(name).parse().ok().map(Self::Named)
    }

    /// The local time at `instant`.
    pub(crate) fn local(self, instant: DateTime<Utc>) -> NaiveDateTime {
        match self {
            Self::Named(zone) => instant.with_timezone(&zone).naive_local(),
            Self::System => instant.with_timezone(&Local).naive_local(),
        }
    }

    /// The local time at `instant` with its zone, for people.
    pub(crate) fn shown(self, instant: DateTime<Utc>) -> String {
        match self {
            Self::Named(zone) => local_time::minute_in(zone, instant),
            Self::System => local_time::minute(instant),
        }
    }

    /// The instant at which the clocks show `local`. If they show it twice, the later one counts. A time that
    /// they skip counts as the end of the gap, so the order of local times is preserved. `None` at the ends
    /// of the calendar.
    pub(crate) fn instant(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        self.instants(local).map(|(_, last)| last)
    }

    /// Like [`Zone::instant`], but of a time that the clocks show twice, the earlier one counts.
    pub(crate) fn first_instant(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        self.instants(local).map(|(first, _)| first)
    }

    /// The first and the last instant at which the clocks show `local`, or the end of the gap that contains it.
    fn instants(self, local: NaiveDateTime) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        (0..=LONGEST_GAP_MINUTES).find_map(|minutes| {
            let local = local.checked_add_signed(TimeDelta::minutes(minutes))?;
            match self {
                Self::Named(zone) => both(&zone.from_local_datetime(&local)),
                Self::System => both(&Local.from_local_datetime(&local)),
            }
        })
    }
}

fn both<Z: TimeZone>(
    mapped: &MappedLocalTime<DateTime<Z>>,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let utc = |instant: &DateTime<Z>| instant.with_timezone(&Utc);
    match mapped {
        MappedLocalTime::Single(instant) => Some((utc(instant), utc(instant))),
        // Implementations differ in which of the two comes first: chrono's `Local` returns the later one
        // first.
        MappedLocalTime::Ambiguous(one, other) => {
            Some((utc(one).min(utc(other)), utc(one).max(utc(other))))
        }
        MappedLocalTime::None => None,
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(zone) => f.write_str(zone.name()),
            Self::System => f.write_str("the system's zone"),
        }
    }
}

/// The zone from the environment: `CRON_TZ`, else `TZ`, else the system's. Also returns the variables whose
/// value is not a zone name and that were therefore skipped.
pub(crate) fn of_environment(
    cron_tz: Option<&str>,
    tz: Option<&str>,
) -> (Zone, Vec<(&'static str, String)>) {
    let mut unknown = Vec::new();
    for (name, value) in [("CRON_TZ", cron_tz), ("TZ", tz)] {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        match Zone::named(value) {
            Some(zone) => return (zone, unknown),
            None => unknown.push((name, value.to_owned())),
        }
    }
    (Zone::System, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_zone() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        for (cron_tz, tz, expected, unknown) in [
            (None, None, Zone::System, 0),
            (None, Some("Europe/Berlin"), berlin, 0),
            (None, Some(":Europe/Berlin"), berlin, 0),
            (Some("UTC"), Some("Europe/Berlin"), Zone::Named(Tz::UTC), 0),
            (Some("Nowhere/At_All"), Some("Europe/Berlin"), berlin, 1),
            (Some(""), Some("CET-1CEST,M3.5.0,M10.5.0/3"), Zone::System, 1),
        ] {
            let (zone, named) = of_environment(cron_tz, tz);
            assert_eq!((zone, named.len()), (expected, unknown), "{cron_tz:?} {tz:?}");
        }
    }
}

//! Parses a rate, or a timetable of rates: `5m`, `08:00,2M 19:00,off`.

use crate::config::rsync::size::{self, Unit};
use crate::schedule::clock_time::ClockTime;
use crate::schedule::timetable::Timetable;

/// Parses one rate for the whole day, or `TIME,RATE` pairs with spaces between them. A number without a unit counts
/// KiB per second.
///
/// # Errors
/// A message with what to write instead.
pub(crate) fn read(text: &str) -> Result<Timetable, String> {
    if !text.contains(':') {
        return Ok(Timetable::constant(rate(text.trim())?));
    }
    let entry = |entry: &str| {
        let (time, of) = entry.split_once(',').ok_or_else(|| {
            format!("'{entry}' is no time with a rate; write for example 08:00,2M 19:00,off")
        })?;
        let time = ClockTime::read(time).filter(|time| !time.ends_the_day());
        let time = time.ok_or_else(|| {
            format!("'{entry}' begins with no time of day; write for example 08:00,2M")
        })?;
        Ok((time, rate(of)?))
    };
    let entries: Result<Vec<_>, String> = text.split_whitespace().map(entry).collect();
    Timetable::new(entries?)
}

/// Bytes per second; `None`: no limit.
fn rate(text: &str) -> Result<Option<u64>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let rate = size::read(text, Unit::Kibibyte).map_err(|wrong| format!("{wrong}, or off"))?;
    // rsync(1) rounds rates to whole KiB, and the minimum is 1 KiB.
    if (1..512).contains(&rate) {
        return Err("a rate below 512 bytes a second is none; write 1 or more".to_owned());
    }
    Ok((rate > 0).then_some(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rate_or_a_timetable() {
        let time = |text| ClockTime::read(text).unwrap();
        for (text, expected) in [
            ("100", Timetable::constant(Some(100 << 10))),
            ("5m", Timetable::constant(Some(5 << 20))),
            ("0", Timetable::constant(None)),
            ("off", Timetable::constant(None)),
            (
                "08:00,2M  19:00,OFF",
                Timetable::new(vec![(time("08:00"), Some(2 << 20)), (time("19:00"), None)])
                    .unwrap(),
            ),
            ("7:30,512", Timetable::new(vec![(time("7:30"), Some(512 << 10))]).unwrap()),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_to_write() {
        for (text, expected) in [
            ("fast", "for example 500, 1.5m or 2GB, or off"),
            ("100b", "below 512"),
            ("08:00", "'08:00' is no time with a rate; write for example 08:00,2M 19:00,off"),
            ("08:00,2M,19:00,off", "is not a size"),
            ("08:00,2M 25:00,off", "'25:00,off' begins with no time of day"),
            ("24:00,1m", "begins with no time of day"),
            ("08:00,1b", "below 512"),
            ("08:00,1m 8:00,2m", "two rates for 08:00"),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.contains(expected), "{text}: {wrong}");
        }
    }
}

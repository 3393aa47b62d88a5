//! Parses dates, times and distances (`2 days ago`) in the zone of the user. Pure.

use chrono::{
    DateTime, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone,
    Utc,
};

/// Parses a text of digits only.
pub(super) fn whole<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses `2 days ago`, `an hour ago`.
pub(super) fn ago<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Option<DateTime<Utc>> {
    let mut words = text.split_whitespace();
    let (count, unit, "ago", None) = (words.next()?, words.next()?, words.next()?, words.next())
    else {
        return None;
    };
    let count: u32 = match count {
        "a" | "an" | "one" => 1,
        digits => whole(digits)?,
    };
    let utc = || now.with_timezone(&Utc);
    let exactly = |seconds: i64| {
        let delta = TimeDelta::try_seconds(i64::from(count).checked_mul(seconds)?)?;
        utc().checked_sub_signed(delta)
    };
    // The same time of day, across a change of summer time. If that day has no such local time, the
    // time in UTC.
    let days = |days: u64| {
        let days = Days::new(u64::from(count) * days);
        let there = now.clone().checked_sub_days(days).map(|time| time.with_timezone(&Utc));
        there.or_else(|| utc().checked_sub_days(days))
    };
    let months = |months: u32| {
        let months = Months::new(count.checked_mul(months)?);
        let there = now.clone().checked_sub_months(months).map(|time| time.with_timezone(&Utc));
        there.or_else(|| utc().checked_sub_months(months))
    };
    match unit.strip_suffix('s').unwrap_or(unit) {
        "second" | "sec" => exactly(1),
        "minute" | "min" => exactly(60),
        "hour" => exactly(3600),
        "day" => days(1),
        "week" => days(7),
        "month" => months(1),
        "year" => months(12),
        _ => None,
    }
}

/// The last second of a day, minute or second; with `first`, the first second.
pub(super) fn point<Z: TimeZone>(
    text: &str,
    now: &DateTime<Z>,
    first: bool,
) -> Option<DateTime<Utc>> {
    let zone_less = ["z", "utc"].iter().find_map(|zone| text.strip_suffix(zone));
    let (text, utc) = zone_less.map_or((text, false), |text| (text.trim_end(), true));
    // Not the `t` inside a word.
    let cut = text.char_indices().find(|(at, c)| {
        c.is_whitespace() || (*c == 't' && text[..*at].ends_with(|c: char| c.is_ascii_digit()))
    });
    let (day, time) = match cut {
        Some((at, c)) => (&text[..at], Some(text[at + c.len_utf8()..].trim_start())),
        None => (text, None),
    };
    let day = date(day, if utc { now.naive_utc() } else { now.naive_local() }.date())?;
    let last = match time {
        None if first => day.and_time(NaiveTime::MIN),
        None => day.and_time(NaiveTime::from_hms_opt(23, 59, 59)?),
        Some(time) => day.and_time(last_second(time, if first { 0 } else { 59 })?),
    };
    if utc { Some(last.and_utc()) } else { there(last, &now.timezone()) }
}

/// Converts a local time. Of two times at the end of summer time it takes the later one; in the gap
/// at its start it takes the time after the gap.
fn there<Z: TimeZone>(local: NaiveDateTime, zone: &Z) -> Option<DateTime<Utc>> {
    let later = |local: &NaiveDateTime| match zone.from_local_datetime(local) {
        // The order of the two depends on the zone type: chrono's `Local` returns the later one
        // first.
        LocalResult::Ambiguous(one, other) => Some(one.max(other)),
        LocalResult::Single(time) => Some(time),
        LocalResult::None => None,
    };
    let found = match later(&local) {
        Some(time) => time,
        None => later(&local.checked_add_signed(TimeDelta::hours(1))?)?,
    };
    Some(found.with_timezone(&Utc))
}

/// Parses `2026-11-23`, `23-11-2026`, `today`, `yesterday`.
fn date(text: &str, today: NaiveDate) -> Option<NaiveDate> {
    match text {
        "today" => return Some(today),
        "yesterday" => return today.pred_opt(),
        _ => {}
    }
    let mut parts = text.split('-');
    let (first, month, last, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    let (year, day) = if first.len() == 4 { (first, last) } else { (last, first) };
    (year.len() == 4 && day.len() <= 2 && month.len() <= 2)
        .then(|| NaiveDate::from_ymd_opt(whole(year)?, whole(month)?, whole(day)?))?
}

/// Parses `14:30:05`, or `14:30` with the seconds `or`.
fn last_second(text: &str, or: u32) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let (hour, minute, second, None) = (parts.next()?, parts.next()?, parts.next(), parts.next())
    else {
        return None;
    };
    let second = second.map_or(Some(or), whole);
    if [hour, minute].iter().any(|part| part.is_empty() || part.len() > 2) {
        return None;
    }
    NaiveTime::from_hms_opt(whole(hour)?, whole(minute)?, second?)
}

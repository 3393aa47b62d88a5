//! Selects a snapshot by what the user writes: a name, `latest~2`, a date, `2 days ago`. Pure.
//!
//! A date or time selects the newest snapshot that existed at the last second of that day or
//! minute. Dates and times are in the zone of `now`, unless they end in `Z` or `UTC`. Snapshot
//! names are always in UTC.

use chrono::{
    DateTime, Days, LocalResult, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone,
    Utc,
};

use crate::entry::escape::shown;
use crate::snapshot::history::History;
use crate::snapshot::name::{Prefix, SnapshotName, Stamp, State};

/// A parsed selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
    /// The time at which the user made the selection.
    now: DateTime<Utc>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A full name, or only the time stamp of a name.
    Exact {
        prefix: Option<Prefix>,
        stamp: Stamp,
        state: State,
    },
    /// This many snapshots before the newest.
    Latest(usize),
    Oldest,
    /// The newest snapshot at that time. `time` is the last second of a day, minute or second that
    /// starts at `from`; an age has no `from`.
    At {
        time: DateTime<Utc>,
        from: Option<DateTime<Utc>>,
    },
}

/// Why no snapshot is selected. The texts name existing snapshots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The text has no known form.
    #[error("'{0}' is not the name, date or time of a snapshot")]
    Unknown(String),
    /// The history is empty.
    #[error("there is no complete snapshot")]
    Empty,
    /// No snapshot has that name.
    #[error("there is no snapshot {asked}{}", near(.nearest.as_ref()))]
    NoSuch {
        /// The selection.
        asked: String,
        /// The snapshot closest in time.
        nearest: Option<SnapshotName>,
    },
    /// `latest~N`, but there are fewer snapshots.
    #[error("there is no {asked}: there are {count} complete snapshots, the oldest is {oldest}")]
    TooFew {
        /// The selection.
        asked: String,
        /// The number of complete snapshots.
        count: usize,
        /// The oldest one.
        oldest: SnapshotName,
    },
    /// The date or age selects a snapshot of another day, where an exact match is required.
    #[error("no snapshot was taken at '{asked}'; the newest one before it is {found}")]
    NotThen {
        /// The selection.
        asked: String,
        /// The newest snapshot at that time.
        found: SnapshotName,
    },
    /// The time is before the first snapshot.
    #[error("no snapshot is as old as '{asked}': the oldest is {oldest}")]
    TooEarly {
        /// The selection.
        asked: String,
        /// The oldest snapshot.
        oldest: SnapshotName,
    },
}

fn near(nearest: Option<&SnapshotName>) -> String {
    nearest.map_or_else(String::new, |name| format!("; the nearest in time is {name}"))
}

impl Selector {
    /// Parses `text`, written at `now`. Its zone is that of `now`.
    ///
    /// # Errors
    /// [`SelectError::Unknown`].
    pub fn parse<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Result<Self, SelectError> {
        let said = last_component(text.trim());
        let what = exact(said)
            .or_else(|| counted(said))
            .or_else(|| at(said, now))
            .ok_or_else(|| SelectError::Unknown(shown(text.as_bytes())))?;
        Ok(Self { text: shown(said.as_bytes()), now: now.with_timezone(&Utc), what })
    }

    /// The prefix, if the selection is a full name.
    #[must_use]
    pub fn prefix(&self) -> Option<&Prefix> {
        match &self.what {
            What::Exact { prefix, .. } => prefix.as_ref(),
            _ => None,
        }
    }

    /// Selects a snapshot of `history`. Only a full name selects an incomplete one.
    ///
    /// # Errors
    /// No snapshot matches.
    pub fn pick<'a>(&self, history: &'a History) -> Result<&'a SnapshotName, SelectError> {
        let complete = &history.complete;
        let oldest = || complete.first().ok_or(SelectError::Empty);
        match &self.what {
            What::Exact { prefix, stamp, state } => {
                let names = match state {
                    State::Complete => complete,
                    State::Incomplete => &history.incomplete,
                    State::Deleting => &history.deleting,
                };
                let meant = |name: &&SnapshotName| {
                    name.stamp == *stamp && prefix.as_ref().is_none_or(|own| *own == name.prefix)
                };
                names.iter().find(meant).ok_or_else(|| self.no_such(history, *stamp))
            }
            What::Latest(back) => {
                let past = &complete[..complete.len() - history.from_the_future(self.now).len()];
                let counted = if past.is_empty() { complete } else { past };
                let oldest = oldest()?;
                counted.iter().rev().nth(*back).ok_or_else(|| SelectError::TooFew {
                    asked: self.text.clone(),
                    count: counted.len(),
                    oldest: oldest.clone(),
                })
            }
            What::Oldest => oldest(),
            What::At { time, .. } => {
                let oldest = oldest()?;
                let found = complete.iter().rfind(|name| name.stamp.time() <= *time);
                found.ok_or_else(|| SelectError::TooEarly {
                    asked: self.text.clone(),
                    oldest: oldest.clone(),
                })
            }
        }
    }

    /// Checks that `picked` was taken in the selected day, minute or second. An age never matches
    /// exactly.
    ///
    /// # Errors
    /// [`SelectError::NotThen`].
    pub fn means_exactly(&self, picked: &SnapshotName) -> Result<(), SelectError> {
        let What::At { time, from } = &self.what else { return Ok(()) };
        if from.is_some_and(|from| (from..=*time).contains(&picked.stamp.time())) {
            return Ok(());
        }
        Err(SelectError::NotThen { asked: self.text.clone(), found: picked.clone() })
    }

    fn no_such(&self, history: &History, stamp: Stamp) -> SelectError {
        let all = history.complete.iter().chain(&history.incomplete);
        let away = |name: &&SnapshotName| (name.stamp.time() - stamp.time()).abs();
        SelectError::NoSuch { asked: self.text.clone(), nearest: all.min_by_key(away).cloned() }
    }
}

/// Shell completion turns a snapshot name into a path.
fn last_component(text: &str) -> &str {
    let text = text.trim_end_matches('/');
    text.rsplit('/').next().unwrap_or(text)
}

fn exact(text: &str) -> Option<What> {
    if let Some(stamp) = Stamp::parse(text.as_bytes()) {
        return Some(What::Exact { prefix: None, stamp, state: State::Complete });
    }
    let SnapshotName { prefix, stamp, state } = SnapshotName::parse_any(text.as_bytes())?;
    Some(What::Exact { prefix: Some(prefix), stamp, state })
}

fn counted(text: &str) -> Option<What> {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "latest" => Some(What::Latest(0)),
        "oldest" => Some(What::Oldest),
        text => whole(text.strip_prefix("latest~")?).map(What::Latest),
    }
}

/// Parses a text of digits only.
fn whole<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn at<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Option<What> {
    let text = text.to_ascii_lowercase();
    match ago(&text, now) {
        Some(time) => Some(What::At { time, from: None }),
        None => {
            let time = point(&text, now, false)?;
            Some(What::At { time, from: point(&text, now, true) })
        }
    }
}

/// Parses `2 days ago`, `an hour ago`.
fn ago<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Option<DateTime<Utc>> {
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
fn point<Z: TimeZone>(text: &str, now: &DateTime<Z>, first: bool) -> Option<DateTime<Utc>> {
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

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;
    use proptest::prelude::*;

    use super::*;

    /// Noon in a zone two hours ahead of UTC.
    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-23T12:00:00+02:00").unwrap()
    }

    fn name(stamp: &str, state: State) -> SnapshotName {
        let stamp = Stamp::parse(stamp.as_bytes()).unwrap();
        SnapshotName { prefix: Prefix::new("p.q").unwrap(), stamp, state }
    }

    const STAMPS: [&str; 5] = [
        "31-10-2025_02-00-00",
        "20-11-2026_02-00-00",
        "21-11-2026_21-59-59",
        "21-11-2026_22-00-00",
        "23-11-2026_09-30-30",
    ];

    fn history() -> History {
        let future = name("01-01-2190_00-00-00", State::Complete);
        let incomplete = name("23-11-2026_09-40-00", State::Incomplete);
        let complete = STAMPS.iter().map(|stamp| name(stamp, State::Complete));
        History::of(complete.chain([future, incomplete]))
    }

    fn picked(text: &str) -> Result<String, String> {
        let selector = Selector::parse(text, &now()).map_err(|error| error.to_string())?;
        let history = history();
        let picked = selector.pick(&history).map_err(|error| error.to_string())?;
        let text = picked.to_string();
        Ok(text.strip_prefix("p.q.").unwrap_or(&text).to_owned())
    }

    #[test]
    fn what_people_say_picks_the_snapshot_that_was_there() {
        for (text, index) in [
            ("latest", 4),
            ("LATEST~0", 4),
            ("latest~1", 3),
            ("latest~4", 0),
            ("oldest", 0),
            ("p.q.20-11-2026_02-00-00", 1),
            ("/backups/p.q.20-11-2026_02-00-00/", 1),
            ("20-11-2026_02-00-00", 1),
            ("01-01-2190_00-00-00", 9),
            // Local days end at 22:00 UTC.
            ("2026-11-23", 4),
            ("23-11-2026", 4),
            ("2026-11-22", 3),
            ("2026-11-21", 2),
            ("21-11-2026", 2),
            ("2026-11-21 UTC", 3),
            ("2026-11-20", 1),
            ("2026-11-19", 0),
            ("2026-11-20 03:59", 0),
            ("2026-11-20 04:00", 1),
            ("2026-11-20 03:59:59", 0),
            ("2026-11-20T02:00:00Z", 1),
            ("2026-11-20t01:59:59z", 0),
            ("2026-11-23 11:30", 4),
            ("2026-11-23 11:29", 3),
            ("2026-11-23 11:30:29", 3),
            ("today", 4),
            ("yesterday", 3),
            ("yesterday 00:00", 3),
            ("2 days ago", 1),
            ("1 day ago", 3),
            ("a day ago", 3),
            ("29 minutes ago", 4),
            ("30 minutes ago", 3),
            ("an hour ago", 3),
            ("36 hours ago", 3),
            ("37 hours ago", 1),
            ("one week ago", 0),
            ("1 month ago", 0),
            ("1 year ago", 0),
        ] {
            let expected = STAMPS.get(index).copied().unwrap_or("01-01-2190_00-00-00");
            assert_eq!(picked(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            picked("p.q.23-11-2026_09-40-00.incomplete").unwrap(),
            "23-11-2026_09-40-00.incomplete"
        );
    }

    #[test]
    fn what_cannot_be_picked_names_what_is_there() {
        for (text, error) in [
            (
                "latest~5",
                "there is no latest~5: there are 5 complete snapshots, the oldest is p.q.31",
            ),
            ("2 years ago", "no snapshot is as old as '2 years ago': the oldest is p.q.31-10-2025"),
            ("2025-10-30", "no snapshot is as old as '2025-10-30'"),
            (
                "p.q.21-11-2026_21-59-58",
                "there is no snapshot p.q.21-11-2026_21-59-58; the nearest in time is p.q.21-11-2026_21-59-59",
            ),
            ("p.q.20-11-2026_02-00-00.incomplete", "there is no snapshot p.q.20-11"),
            ("p.20-11-2026_02-00-00", "there is no snapshot p.20-11"),
        ] {
            let said = picked(text).unwrap_err();
            assert!(said.starts_with(error), "{text}: {said}");
        }
        let empty = Selector::parse("latest", &now()).unwrap();
        assert_eq!(empty.pick(&History::default()), Err(SelectError::Empty));
    }

    #[test]
    fn a_text_of_no_known_form_is_an_error() {
        for text in [
            "",
            " ",
            "last",
            "latest~",
            "latest~-1",
            "latest~+1",
            "latest~99999999999999999999",
            "2026-13-01",
            "2026-11-31",
            "26-11-23",
            "2026-11",
            "2026-11-23 25:00",
            "2026-11-23 1",
            "2026-11-23 10:00:00:00",
            "days ago",
            "two days ago",
            "2 days",
            "-2 days ago",
            "2 fortnights ago",
            "tomorrow",
            "yesterday ago",
            "4294967295 years ago",
            "99999999999 days ago",
            "p.q.31-02-2026_00-00-00",
            "\u{1b}[31m",
            "ü",
            "üüüüüüüüüüüüüüüüüüüü",
        ] {
            assert!(
                matches!(picked(text), Err(said) if said.contains("is not the name")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_local_time_that_occurs_twice_or_never_is_accepted() {
        // This uses the zone of the system, because zone rules are not available without their
        // data.
        let now = chrono::Local.timestamp_opt(1_790_000_000, 0).unwrap();
        for day in 1..=28 {
            let text = format!("2026-03-{day:02} 02:30");
            assert!(Selector::parse(&text, &now).is_ok(), "{text}");
        }
    }

    /// Like Berlin, this zone has 02:00 to 03:00 on 25-10-2026 twice. The two may be returned in
    /// either order.
    #[derive(Debug, Clone, Copy)]
    struct Berlin {
        later_first: bool,
    }

    impl TimeZone for Berlin {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self { later_first: false }
        }

        fn offset_from_local_date(&self, local: &NaiveDate) -> LocalResult<FixedOffset> {
            self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<FixedOffset> {
            let [summer, winter] = [2, 1].map(|hours| FixedOffset::east_opt(hours * 3600).unwrap());
            match local.to_string().as_str() {
                text if text < "2026-10-25 02:00:00" => LocalResult::Single(summer),
                text if text >= "2026-10-25 03:00:00" => LocalResult::Single(winter),
                _ if self.later_first => LocalResult::Ambiguous(winter, summer),
                _ => LocalResult::Ambiguous(summer, winter),
            }
        }

        fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            let summer = utc.to_string().as_str() < "2026-10-25 01:00:00";
            FixedOffset::east_opt(if summer { 7200 } else { 3600 }).unwrap()
        }
    }

    #[test]
    fn a_local_time_that_occurs_twice_is_the_later_one() {
        for later_first in [false, true] {
            let now = Berlin { later_first }.with_ymd_and_hms(2026, 11, 1, 12, 0, 0).unwrap();
            for (text, utc) in [
                ("2026-10-25 01:59:59", "2026-10-24 23:59:59 UTC"),
                ("2026-10-25 02:00:00", "2026-10-25 01:00:00 UTC"),
                ("2026-10-25 02:30", "2026-10-25 01:30:59 UTC"),
                ("2026-10-25 03:00:00", "2026-10-25 02:00:00 UTC"),
            ] {
                let time = point(text, &now, false).unwrap();
                assert_eq!(time.to_string(), utc, "{text} {later_first}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = picked(&text);
        }

        #[test]
        fn text_near_the_grammar_is_read_without_panic(
            text in "(latest~|p\\.q\\.)?[0-9]{0,5}[-:_ ~tz.]{0,2}[0-9]{0,5}[-:_ ]?[0-9]{0,20}(days|utc)?( ago)?",
        ) {
            let _ = picked(&text);
        }

        #[test]
        fn each_name_picks_itself_and_a_time_never_a_later_one(
            seconds in proptest::collection::btree_set(0_i64..2_000_000_000, 1..12),
            asked in 0_i64..2_000_000_000,
        ) {
            let stamp = |second: i64| Stamp::of(DateTime::from_timestamp(second, 0).unwrap()).unwrap();
            let prefix = Prefix::new("p.q").unwrap();
            let all = seconds.iter().map(|second| {
                SnapshotName { prefix: prefix.clone(), stamp: stamp(*second), state: State::Complete }
            });
            let history = History::of(all);
            for name in &history.complete {
                let selector = Selector::parse(&name.to_string(), &now()).unwrap();
                prop_assert_eq!(selector.pick(&history), Ok(name));
            }
            let text = stamp(asked).time().format("%Y-%m-%d %H:%M:%SZ").to_string();
            let picked = Selector::parse(&text, &now()).unwrap().pick(&history).ok().cloned();
            let expected = history.complete.iter().rfind(|name| name.stamp <= stamp(asked)).cloned();
            prop_assert_eq!(picked, expected);
        }
    }
}

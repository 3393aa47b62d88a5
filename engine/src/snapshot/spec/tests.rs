use chrono::{FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime};
use proptest::prelude::*;

use super::*;

/// Noon in a zone two hours ahead of UTC.
fn now() -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339("2026-11-23T12:00:00+02:00").unwrap()
}

fn name(stamp: &str, state: SnapshotState) -> SnapshotName {
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
    let future = name("01-01-2190_00-00-00", SnapshotState::Complete);
    let incomplete = name("23-11-2026_09-40-00", SnapshotState::Incomplete);
    let complete = STAMPS.iter().map(|stamp| name(stamp, SnapshotState::Complete));
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
fn times_and_ages_select_the_snapshot_of_that_time() {
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
fn a_selection_without_a_snapshot_names_the_existing_ones() {
    for (text, error) in [
        ("latest~5", "there is no latest~5: there are 5 complete snapshots, the oldest is p.q.31"),
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
        assert!(matches!(picked(text), Err(said) if said.contains("is not the name")), "{text:?}");
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
            SnapshotName { prefix: prefix.clone(), stamp: stamp(*second), state: SnapshotState::Complete }
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

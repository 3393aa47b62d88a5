//! Recognises the names that other backup programs give to their snapshots. Pure.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::snapshot::name::{OWN, SnapshotName};

/// A program whose snapshots can be adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `LEVEL.NUMBER`: `daily.0`, `alpha.3`.
    Rsnapshot,
    /// `YYYYMMDD-HHMMSS-TAG`, with the tree in `backup`.
    BackInTime,
    /// `YYYY-MM-DD-HHMMSS`.
    RsyncTimeBackup,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsnapshot => "rsnapshot",
            Self::BackInTime => "Back In Time",
            Self::RsyncTimeBackup => "rsync-time-backup",
        })
    }
}

/// What a name in the folder of another program means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ForeignName {
    /// A snapshot of rsnapshot, whose time is that of the folder.
    Rotated {
        /// `daily`.
        level: String,
        /// 0 is the newest.
        number: u32,
    },
    /// A snapshot whose name has its local time.
    Dated(Program, NaiveDateTime),
    /// It has the form of a snapshot's name, with a date or time that does not exist.
    NoTime(Program),
    /// Another file of the program.
    Companion(Program),
    /// A file of this program.
    Own,
    /// No program here gives this name.
    Unknown,
}

impl ForeignName {
    /// The program whose snapshot has the name.
    pub(crate) fn program(&self) -> Option<Program> {
        match self {
            Self::Rotated { .. } => Some(Program::Rsnapshot),
            Self::Dated(program, _) | Self::NoTime(program) => Some(*program),
            Self::Companion(_) | Self::Own | Self::Unknown => None,
        }
    }

    pub(crate) fn of(name: &[u8]) -> Self {
        if name == OWN.as_bytes() || SnapshotName::parse_any(name).is_some() {
            return Self::Own;
        }
        let Ok(text) = std::str::from_utf8(name) else { return Self::Unknown };
        companion(text)
            .or_else(|| rsync_time_backup(text))
            .or_else(|| back_in_time(text))
            .or_else(|| rotated(text))
            .unwrap_or(Self::Unknown)
    }
}

fn companion(text: &str) -> Option<ForeignName> {
    let program = match text {
        "latest" | "backup.marker" | "backup.inprogress" => Program::RsyncTimeBackup,
        "last_snapshot" | "new_snapshot" => Program::BackInTime,
        ".sync" => Program::Rsnapshot,
        _ if is_number(text.strip_prefix("_delete.")?) => Program::Rsnapshot,
        _ => return None,
    };
    Some(ForeignName::Companion(program))
}

/// `2026-11-29-030004`.
fn rsync_time_backup(text: &str) -> Option<ForeignName> {
    let [year, month, day, time] = parts(text)?;
    let shape = (year.len(), month.len(), day.len(), time.len()) == (4, 2, 2, 6);
    shape.then(|| dated(Program::RsyncTimeBackup, [year, month, day], time))
}

/// `20261129-030054-596`. Old versions wrote no tag.
fn back_in_time(text: &str) -> Option<ForeignName> {
    let (date, time) = match parts(text) {
        Some([date, time, tag]) if tag.len() == 3 => (date, time),
        Some(_) => return None,
        None => parts(text).map(|[date, time]| (date, time))?,
    };
    let shape = (date.len(), time.len()) == (8, 6);
    shape.then(|| dated(Program::BackInTime, [&date[..4], &date[4..6], &date[6..]], time))
}

/// `daily.0`. rsnapshot lets its user choose the words.
fn rotated(text: &str) -> Option<ForeignName> {
    let (level, number) = text.split_once('.')?;
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let canonical = is_number(number) && (number == "0" || !number.starts_with('0'));
    let named = !level.is_empty() && level.chars().all(word) && canonical;
    let number = named.then(|| number.parse().ok())??;
    Some(ForeignName::Rotated { level: level.to_owned(), number })
}

/// The `N` numbers between the hyphens.
fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    let parts: Vec<&str> = text.split('-').collect();
    let parts: [&str; N] = parts.try_into().ok()?;
    parts.iter().all(|part| is_number(part)).then_some(parts)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn dated(program: Program, [year, month, day]: [&str; 3], time: &str) -> ForeignName {
    let number = |text: &str| text.parse::<u32>().ok();
    let date = || {
        NaiveDate::from_ymd_opt(i32::try_from(number(year)?).ok()?, number(month)?, number(day)?)
    };
    let time = || {
        let (hour, minute, second) = (&time[..2], &time[2..4], &time[4..]);
        NaiveTime::from_hms_opt(number(hour)?, number(minute)?, number(second)?)
    };
    match (date(), time()) {
        (Some(date), Some(time)) => ForeignName::Dated(program, date.and_time(time)),
        _ => ForeignName::NoTime(program),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ForeignName::{Companion, Dated, NoTime, Own, Rotated, Unknown};
    use super::Program::{BackInTime, Rsnapshot, RsyncTimeBackup};
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn level(level: &str, number: u32) -> ForeignName {
        Rotated { level: level.to_owned(), number }
    }

    #[test]
    fn the_names_of_each_program_are_recognised() {
        for (name, expected) in [
            ("daily.0", level("daily", 0)),
            ("hourly.23", level("hourly", 23)),
            ("alpha.6", level("alpha", 6)),
            ("my-own_level2.10", level("my-own_level2", 10)),
            (".sync", Companion(Rsnapshot)),
            ("_delete.4711", Companion(Rsnapshot)),
            ("20261129-030054-596", Dated(BackInTime, at("2026-11-29T03:00:54"))),
            ("20101129-030054", Dated(BackInTime, at("2010-11-29T03:00:54"))),
            ("last_snapshot", Companion(BackInTime)),
            ("new_snapshot", Companion(BackInTime)),
            ("2026-11-29-030004", Dated(RsyncTimeBackup, at("2026-11-29T03:00:04"))),
            ("2024-02-29-235959", Dated(RsyncTimeBackup, at("2024-02-29T23:59:59"))),
            ("latest", Companion(RsyncTimeBackup)),
            ("backup.marker", Companion(RsyncTimeBackup)),
            ("backup.inprogress", Companion(RsyncTimeBackup)),
            (".backup_manager", Own),
            ("my_backup.29-11-2026_03-00-04", Own),
            ("other.29-11-2026_03-00-04.incomplete", Own),
        ] {
            assert_eq!(ForeignName::of(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_date_that_does_not_exist_is_told_from_another_name() {
        for (name, expected) in [
            ("2026-02-29-030004", NoTime(RsyncTimeBackup)),
            ("2026-13-01-030004", NoTime(RsyncTimeBackup)),
            ("2026-11-29-240000", NoTime(RsyncTimeBackup)),
            ("2026-11-29-235960", NoTime(RsyncTimeBackup)),
            ("20260230-030054-596", NoTime(BackInTime)),
            ("20260228-036054", NoTime(BackInTime)),
        ] {
            assert_eq!(ForeignName::of(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn other_names_are_of_no_program() {
        for name in [
            "",
            ".",
            "daily",
            "daily.",
            ".0",
            "daily.00",
            "daily.01",
            "daily.-1",
            "daily.+1",
            "daily.0x",
            "daily.0.0",
            "daily.4294967296",
            "täglich.0",
            "a b.0",
            "daily.0\n",
            "2026-11-29",
            "2026-11-29-0300",
            "2026-11-29-03000a",
            "26-11-29-030004",
            "2026-11-29-030004-1",
            "20261129-030054-59",
            "20261129-030054-5960",
            "20261129-030054-59a",
            "2026112-9030054-596",
            "_delete.",
            "_delete.x",
            "Latest",
            "lost+found",
            "２０２６-11-29-030004",
            "my_backup.31-02-2026_03-00-04",
        ] {
            assert_eq!(ForeignName::of(name.as_bytes()), Unknown, "{name}");
        }
        assert_eq!(ForeignName::of(b"daily.0\xff"), Unknown);
        assert_eq!(ForeignName::of(b"\xff\xfe"), Unknown);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = ForeignName::of(&bytes);
        }

        #[test]
        fn any_digits_are_read_without_panic(text in "[0-9a.-]{0,30}") {
            let _ = ForeignName::of(text.as_bytes());
        }
    }
}

//! Names of snapshots: `PREFIX.DD-MM-YYYY_HH-MM-SS` (UTC), with an optional suffix for the state.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

/// The longest file name on Linux file systems, bytes (`NAME_MAX`, limits.h).
const NAME_MAX: usize = 255;
/// `.`, the 19 bytes of a time stamp, and the longest suffix.
const TAIL_MAX: usize = 1 + 19 + ".incomplete".len();

/// The prefix that identifies the snapshots of one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(String);

/// Why a text is not a valid prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The text is empty or only white space.
    #[error("it is empty")]
    Empty,
    /// A `/` would place the snapshots in another folder.
    #[error("it contains a '/'")]
    Slash,
    /// A leading `.` hides the snapshots; a leading `-` looks like an option.
    #[error("it starts with '.' or '-'")]
    LeadingMark,
    /// A control character, such as NUL or line feed.
    #[error("it contains a control character")]
    Control,
    /// The whole name must fit into 255 bytes.
    #[error("it is longer than {} bytes", NAME_MAX - TAIL_MAX)]
    TooLong,
}

impl Prefix {
    /// Checks and takes a prefix.
    ///
    /// # Errors
    /// Snapshots with this prefix could not be created, listed or recognised.
    pub fn new(text: &str) -> Result<Self, PrefixError> {
        if text.trim().is_empty() {
            Err(PrefixError::Empty)
        } else if text.contains('/') {
            Err(PrefixError::Slash)
        } else if text.starts_with(['.', '-']) {
            Err(PrefixError::LeadingMark)
        } else if text.chars().any(char::is_control) {
            Err(PrefixError::Control)
        } else if text.len() > NAME_MAX - TAIL_MAX {
            Err(PrefixError::TooLong)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A second in UTC, as it appears in the name of a snapshot. Years 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(DateTime<Utc>);

impl Stamp {
    /// The second that contains `time`; `None` if the year does not have four digits.
    #[must_use]
    pub fn of(time: DateTime<Utc>) -> Option<Self> {
        if !(0..=9999).contains(&time.year()) {
            return None;
        }
        DateTime::from_timestamp(time.timestamp(), 0).map(Self)
    }

    /// Parses `DD-MM-YYYY_HH-MM-SS`. `None` unless it has exactly this form and is a valid date and
    /// time.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let [d1, d2, b'-', m1, m2, b'-', y @ .., b'_', h1, h2, b'-', n1, n2, b'-', s1, s2] = text
        else {
            return None;
        };
        let two = |tens: &u8, ones: &u8| number(&[*tens, *ones]);
        if y.len() != 4 {
            return None;
        }
        let year = i32::try_from(number(y)?).ok()?;
        NaiveDate::from_ymd_opt(year, two(m1, m2)?, two(d1, d2)?)?
            .and_hms_opt(two(h1, h2)?, two(n1, n2)?, two(s1, s2)?)
            .map(|time| Self(time.and_utc()))
    }

    /// The next second.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::of(self.0.checked_add_signed(chrono::TimeDelta::seconds(1))?)
    }

    /// The second as a point in time.
    #[must_use]
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0;
        let (date, time) = ((t.day(), t.month(), t.year()), (t.hour(), t.minute(), t.second()));
        write!(f, "{:02}-{:02}-{:04}_", date.0, date.1, date.2)?;
        write!(f, "{:02}-{:02}-{:02}", time.0, time.1, time.2)
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

/// The state of a snapshot, which the suffix of its folder shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SnapshotState {
    /// No suffix: complete and durable.
    Complete,
    /// `.incomplete`: in progress or interrupted.
    Incomplete,
    /// `.deleting`: being removed.
    Deleting,
}

impl SnapshotState {
    /// The suffix, including its dot.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Complete => "",
            Self::Incomplete => ".incomplete",
            Self::Deleting => ".deleting",
        }
    }
}

/// The folder name of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotName {
    /// The prefix of its job.
    pub prefix: Prefix,
    /// When the run started that completed it; for an incomplete one, the run that created it.
    pub stamp: Stamp,
    /// What its suffix says.
    pub state: SnapshotState,
}

impl SnapshotName {
    /// Parses a folder name. `None` unless it consists of `prefix`, a time stamp and a known
    /// suffix.
    #[must_use]
    pub fn parse(prefix: &Prefix, name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(prefix.0.as_bytes())?.strip_prefix(b".")?;
        let (stamp, suffix) = rest.split_at_checked(19)?;
        let state = [SnapshotState::Complete, SnapshotState::Incomplete, SnapshotState::Deleting]
            .into_iter()
            .find(|state| state.suffix().as_bytes() == suffix)?;
        Some(Self { prefix: prefix.clone(), stamp: Stamp::parse(stamp)?, state })
    }

    /// Parses a snapshot name with any prefix.
    #[must_use]
    pub fn parse_any(name: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(name).ok()?;
        let suffixed = [SnapshotState::Incomplete, SnapshotState::Deleting].iter();
        let rest = suffixed.filter_map(|state| text.strip_suffix(state.suffix())).next();
        let (before, _) = text.split_at_checked(rest.unwrap_or(text).len().checked_sub(19)?)?;
        Self::parse(&Prefix::new(before.strip_suffix('.')?).ok()?, name)
    }

    /// The same snapshot in another state.
    #[must_use]
    pub fn with_state(&self, state: SnapshotState) -> Self {
        Self { state, ..self.clone() }
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.prefix, self.stamp, self.state.suffix())
    }
}

/// The folder in the backups folder for everything except snapshots.
pub(crate) const OWN: &str = ".backup_manager";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::new(text).unwrap()
    }

    #[test]
    fn only_exact_names_belong_to_a_job() {
        let job = prefix("my_backup");
        for (name, belongs) in [
            ("my_backup.07-12-2023_13-32-58", true),
            ("my_backup.07-12-2023_13-32-58.incomplete", true),
            ("my_backup.07-12-2023_13-32-58.deleting", true),
            ("my_backup.29-02-2024_00-00-00", true),
            ("my_backup.29-02-2023_00-00-00", false),
            ("my_backup.07-12-2023_24-00-00", false),
            ("my_backup.07-12-2023_13-32-60", false),
            ("my_backup.7-12-2023_13-32-58", false),
            ("my_backup.07-12-2023_13-32-58.old", false),
            ("my_backup.07-12-2023_13-32-58.incomplete.incomplete", false),
            ("my_backup.07-12-2023_13-32-58 ", false),
            ("my_backup2.07-12-2023_13-32-58", false),
            ("my_backup.x.07-12-2023_13-32-58", false),
            ("my_backup.+7-12-2023_13-32-58", false),
            ("my_backup.07-12-20231_13-32-58", false),
            ("my_backup", false),
        ] {
            assert_eq!(SnapshotName::parse(&job, name.as_bytes()).is_some(), belongs, "{name}");
        }
    }

    #[test]
    fn bad_prefixes_are_refused_with_the_reason() {
        for (text, why) in [
            ("", PrefixError::Empty),
            ("a/b", PrefixError::Slash),
            (".a", PrefixError::LeadingMark),
            ("-a", PrefixError::LeadingMark),
            ("a\nb", PrefixError::Control),
            (&"x".repeat(225), PrefixError::TooLong),
        ] {
            assert_eq!(Prefix::new(text), Err(why));
        }
    }

    proptest! {
        #[test]
        fn names_round_trip(seconds in -62_167_219_200_i64..253_402_300_800, prefix in "[a-z_.0-9]{1,20}") {
            prop_assume!(!prefix.starts_with('.'));
            let stamp = Stamp::of(DateTime::from_timestamp(seconds, 5).unwrap()).unwrap();
            for state in [SnapshotState::Complete, SnapshotState::Incomplete, SnapshotState::Deleting] {
                let name = SnapshotName { prefix: Prefix::new(&prefix).unwrap(), stamp, state };
                let text = name.to_string();
                prop_assert_eq!(SnapshotName::parse_any(text.as_bytes()), Some(name.clone()));
                let read = SnapshotName::parse(&name.prefix, text.as_bytes());
                prop_assert_eq!(read, Some(name));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = SnapshotName::parse(&prefix("p"), &bytes);
            let _ = SnapshotName::parse_any(&bytes);
            let _ = Stamp::parse(&bytes);
        }
    }
}

//! Selects a snapshot by what the user writes: a name, `latest~2`, a date, `2 days ago`. Pure.
//!
//! A date or time selects the newest snapshot that existed at the last second of that day or
//! minute. Dates and times are in the zone of `now`, unless they end in `Z` or `UTC`. Snapshot
//! names are always in UTC.

#[cfg(test)]
mod tests;
mod when;

use chrono::{DateTime, TimeZone, Utc};

use crate::entry::escape::shown;
use crate::snapshot::history::History;
use crate::snapshot::name::{Prefix, SnapshotName, SnapshotState, Stamp};
use crate::snapshot::spec::when::{ago, point, whole};

/// A parsed selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    text: String,
    /// The time at which the user made the selection.
    now: DateTime<Utc>,
    what: Choice,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// A full name, or only the time stamp of a name.
    Exact {
        prefix: Option<Prefix>,
        stamp: Stamp,
        state: SnapshotState,
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
            Choice::Exact { prefix, .. } => prefix.as_ref(),
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
            Choice::Exact { prefix, stamp, state } => {
                let names = match state {
                    SnapshotState::Complete => complete,
                    SnapshotState::Incomplete => &history.incomplete,
                    SnapshotState::Deleting => &history.deleting,
                };
                let meant = |name: &&SnapshotName| {
                    name.stamp == *stamp && prefix.as_ref().is_none_or(|own| *own == name.prefix)
                };
                names.iter().find(meant).ok_or_else(|| self.no_such(history, *stamp))
            }
            Choice::Latest(back) => {
                let past = &complete[..complete.len() - history.from_the_future(self.now).len()];
                let counted = if past.is_empty() { complete } else { past };
                let oldest = oldest()?;
                counted.iter().rev().nth(*back).ok_or_else(|| SelectError::TooFew {
                    asked: self.text.clone(),
                    count: counted.len(),
                    oldest: oldest.clone(),
                })
            }
            Choice::Oldest => oldest(),
            Choice::At { time, .. } => {
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
        let Choice::At { time, from } = &self.what else { return Ok(()) };
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

fn exact(text: &str) -> Option<Choice> {
    if let Some(stamp) = Stamp::parse(text.as_bytes()) {
        return Some(Choice::Exact { prefix: None, stamp, state: SnapshotState::Complete });
    }
    let SnapshotName { prefix, stamp, state } = SnapshotName::parse_any(text.as_bytes())?;
    Some(Choice::Exact { prefix: Some(prefix), stamp, state })
}

fn counted(text: &str) -> Option<Choice> {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "latest" => Some(Choice::Latest(0)),
        "oldest" => Some(Choice::Oldest),
        text => whole(text.strip_prefix("latest~")?).map(Choice::Latest),
    }
}

fn at<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Option<Choice> {
    let text = text.to_ascii_lowercase();
    match ago(&text, now) {
        Some(time) => Some(Choice::At { time, from: None }),
        None => {
            let time = point(&text, now, false)?;
            Some(Choice::At { time, from: point(&text, now, true) })
        }
    }
}

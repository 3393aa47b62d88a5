//! What is known of the further copies of a job's snapshots, and whether one is too old. Does no I/O.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use engine::SnapshotName;
use engine::repository::{AppFiles, LastDrill};
use engine::{LookError, Prefix};
use serde::{Deserialize, Serialize};

use crate::config::mistake::shown_path;
use crate::config::types::Copies;
use crate::health::reason::Reason;

/// The folder of the states in `.backup_manager/`.
const FOLDER: &str = "copies";

/// The state of each copy, by the path of its folder, escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CopyStates(pub(crate) BTreeMap<String, CopyState>);

/// The state of a copy after the last attempt. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CopyState {
    /// When it was first attempted.
    pub(crate) since: i64,
    /// The last attempt.
    pub(crate) tried: i64,
    /// When the copy last had all snapshots that it is to have.
    pub(crate) completed: Option<i64>,
    /// The newest snapshot that it has.
    pub(crate) newest: Option<String>,
    /// Why the last attempt did not complete it.
    pub(crate) reason: Option<String>,
    /// Whether its disk was missing.
    pub(crate) absent: bool,
    /// The last restore drill of it.
    pub(crate) drill: Option<LastDrill>,
}

impl CopyState {
    /// When its newest snapshot was taken; before the first one, when it was first attempted.
    pub(crate) fn newest_time(&self) -> DateTime<Utc> {
        let named = || SnapshotName::parse_any(self.newest.as_ref()?.as_bytes());
        let since = || DateTime::from_timestamp(self.since, 0).unwrap_or_default();
        named().map_or_else(since, |name| name.stamp.time())
    }
}

impl CopyStates {
    /// The states of the copies of `prefix` that `own` records.
    pub(crate) fn load(own: &AppFiles, prefix: &Prefix) -> Self {
        let stored = own.read(FOLDER, &format!("{prefix}.json"));
        stored.and_then(|stored| serde_json::from_slice(&stored).ok()).unwrap_or_default()
    }

    /// The states that the backups folder `dir` records; none if it records none.
    pub(crate) fn of(dir: &Path, prefix: &Prefix) -> Self {
        let own: Result<AppFiles, LookError> = AppFiles::open(dir);
        own.map(|own| Self::load(&own, prefix)).unwrap_or_default()
    }

    /// Stores the states.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn store(&self, own: &AppFiles, prefix: &Prefix) -> std::io::Result<()> {
        own.write(FOLDER, &format!("{prefix}.json"), &serde_json::to_vec_pretty(self)?)
    }
}

/// The copies whose last restore drill failed: when it ended, and what is wrong.
pub(crate) fn failed_drills(copies: &Copies, states: &CopyStates) -> Vec<(String, Reason)> {
    let failed = |to: &PathBuf| {
        let folder = shown_path(to);
        let drill = states.0.get(&folder)?.drill.as_ref()?;
        let reason = Box::new(Reason::of_drill(drill)?);
        Some((drill.finished.clone(), Reason::CopyDrill { folder, reason }))
    };
    copies.to.iter().filter_map(failed).collect()
}

/// A copy whose newest snapshot is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LateCopy {
    /// Its folder.
    pub(crate) folder: String,
    /// When its newest snapshot was taken.
    pub(crate) since: DateTime<Utc>,
    /// What is wrong.
    pub(crate) reason: Reason,
}

/// The copies that are too old at `now`. `newest` is the time of the job's own newest snapshot: a copy that has it is as good
/// as the job. A copy that was never attempted has the age of the job's oldest snapshot, `oldest`.
pub(crate) fn late(
    now: DateTime<Utc>,
    copies: &Copies,
    states: &CopyStates,
    (oldest, newest): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
) -> Vec<LateCopy> {
    let mut late = Vec::new();
    for to in &copies.to {
        let folder = shown_path(to);
        let state = states.0.get(&folder);
        let known = state.is_some_and(|state| state.newest.is_some());
        let Some(since) = state.map(CopyState::newest_time).or(oldest) else { continue };
        let is_whole = known && newest.is_some_and(|newest| since >= newest);
        if now - since <= copies.max_age || is_whole {
            continue;
        }
        let (age, limit) = (now - since, copies.max_age);
        let why = state.and_then(|state| state.reason.clone());
        let reason = match known {
            true => Reason::OldCopy { folder: folder.clone(), age, limit, why },
            false => Reason::NoCopy { folder: folder.clone(), age, limit, why },
        };
        late.push(LateCopy { folder, since, reason });
    }
    late
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_copy_is_late_when_its_newest_snapshot_is_too_old_and_the_job_has_a_newer_one() {
        let at = |days: i64| DateTime::from_timestamp(1_700_000_000 + days * 86_400, 0).unwrap();
        let name = |days: i64| at(days).format("p.%d-%m-%Y_%H-%M-%S").to_string();
        let to = vec![PathBuf::from("/b")];
        let copies = Copies { to, max_age: TimeDelta::days(8), ..Copies::default() };
        for (newest, since, own, now, expected) in [
            (Some(0), 0, Some(9), 8, ""),
            (
                Some(0),
                0,
                Some(9),
                9,
                "the newest snapshot of the copy in /b is 9 d 0 h old, more than",
            ),
            (Some(0), 0, Some(0), 9, ""),
            (None, 0, Some(0), 9, "there is no copy in /b since 9 d"),
            (None, 5, Some(0), 9, ""),
        ] {
            let newest = newest.map(name);
            let state = CopyState { since: at(since).timestamp(), newest, ..CopyState::default() };
            let states = CopyStates([("/b".to_owned(), state)].into());
            let found = late(at(now), &copies, &states, (Some(at(0)), own.map(at)));
            let found: Vec<_> = found.iter().map(|late| late.reason.to_string()).collect();
            let found = found.join("; ");
            let is_so =
                if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
            assert!(is_so, "{found}");
        }
        let never = late(at(9), &copies, &CopyStates::default(), (Some(at(0)), Some(at(0))));
        assert_eq!(never.len(), 1);
    }
}

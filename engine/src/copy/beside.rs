//! What is stored beside a snapshot and travels with it: its report, its hold, its marks of damage.

use std::io;

use serde::{Deserialize, Serialize};

use crate::entry::escape::{shown_path, unshown};
use crate::error::{RunError, destination};
use crate::fs::file_system::capabilities::Abilities;
use crate::fs::small_file::write_whole;
use crate::repository::Repository;
use crate::repository::records::copied;
use crate::repository::records::damage::{self, DamageMarks};
use crate::repository::records::holds::{self, Hold};
use crate::repository::records::report::Holds;
use crate::repository::records::report_file::report_file;
use crate::repository::store::Store;
use crate::snapshot::name::SnapshotName;

/// When a run began, read the source first, and ended. It distinguishes two snapshots with the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTimes {
    started: String,
    finished: String,
    #[serde(default)]
    read_since: serde_json::Value,
}

/// What is stored beside a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beside {
    /// The report of the run that completed it, as it is stored; `None` for snapshots that rsync made.
    pub report: Option<Vec<u8>>,
    /// The hold, when a user or a mass change pinned it.
    pub hold: Option<Hold>,
    /// The files that a check found damaged.
    pub damaged: Vec<DamagedPath>,
}

/// A damaged file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPath {
    /// The path inside the snapshot, escaped.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

impl Beside {
    /// What the backups folder has beside `snapshot`.
    #[must_use]
    pub fn of(repository: &Repository, snapshot: &SnapshotName) -> Self {
        let shown = |(path, what): (Vec<u8>, String)| DamagedPath {
            path: crate::entry::escape::shown(&path),
            what,
        };
        Self {
            report: repository.read(Store::Reports, &report_file(&snapshot.to_string())),
            hold: holds::of(repository, snapshot),
            damaged: damage::load(repository, snapshot).into_iter().map(shown).collect(),
        }
    }

    /// The times of the run that completed the snapshot; `None` for snapshots that rsync made.
    #[must_use]
    pub fn identity(&self) -> Option<RunTimes> {
        serde_json::from_slice(self.report.as_ref()?).ok()
    }
}

/// The holds of those of `snapshots` that are held.
#[must_use]
pub fn held(repository: &Repository, snapshots: &[SnapshotName]) -> Vec<(SnapshotName, Hold)> {
    let of = |name: &SnapshotName| Some((name.clone(), holds::of(repository, name)?));
    snapshots.iter().filter_map(of).collect()
}

/// Stores the report and the hold of `snapshot`, which is about to be completed in `repository`, and the files `lacking` from
/// it.
///
/// # Errors
/// The hold or the marks cannot be stored. A snapshot is complete without its report, so such an error goes to `aside`.
pub(crate) fn store(
    (repository, snapshot): (&Repository, &SnapshotName),
    beside: &Beside,
    abilities: &Abilities,
    (lacking, now): (&DamageMarks, &str),
    aside: &dyn Fn(&str, io::Error),
) -> Result<(), RunError> {
    let broken = |error| {
        let path = repository.path_of(snapshot);
        destination("cannot store what belongs to", &repository.path, path, error)
    };
    // The mark first: the hold of an unfinished copy is stored again by the next copy.
    if let Some(mark) = copied::load(repository, snapshot) {
        let mark = mark.with_hold(beside.hold.clone());
        copied::store(repository, snapshot, &mark).map_err(broken)?;
    }
    match &beside.hold {
        Some(hold) => holds::store(repository, snapshot, hold),
        None => holds::remove(repository, snapshot).map(drop),
    }
    .map_err(broken)?;
    damage::store(repository, snapshot, lacking, now).map_err(broken)?;
    if let Some(report) = &beside.report
        && let Err(error) = store_report(repository, snapshot, report, abilities)
    {
        aside("the report cannot be stored", error);
    }
    Ok(())
}

/// Stores a report with the path of the copy, and what its disk can hold.
fn store_report(
    repository: &Repository,
    snapshot: &SnapshotName,
    report: &[u8],
    abilities: &Abilities,
) -> io::Result<()> {
    let mut report: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(report)?;
    report.insert("path".to_owned(), shown_path(&repository.path_of(snapshot)).into());
    report.insert("holds".to_owned(), serde_json::to_value(Holds::from(abilities))?);
    let grain = report.get("time_granularity_ns").and_then(serde_json::Value::as_u64).unwrap_or(1);
    let grain = grain.max(abilities.time_granularity_ns.into());
    report.insert("time_granularity_ns".to_owned(), grain.into());
    let dir = repository.make_store(Store::Reports)?;
    write_whole(&dir, &report_file(&snapshot.to_string()), &serde_json::to_vec(&report)?)
}

/// The path inside a snapshot of an entry whose path `shown` an event of its copy has.
pub(crate) fn inside(shown: &str) -> Vec<u8> {
    let path = unshown(shown).unwrap_or_else(|| shown.as_bytes().to_vec());
    path.strip_prefix(b"/").map_or(path.clone(), <[u8]>::to_vec)
}

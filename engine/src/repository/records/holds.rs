//! Pins snapshots: with a file `.backup_manager/holds/SNAPSHOT`, the program never removes the snapshot.
//!
//! The damage record of a snapshot is in `.backup_manager/damaged/SNAPSHOT`.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::entry::c_name;
use crate::error::{LookError, look};
use crate::fs::small_file::write_whole;
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::lock::read_lock::keep_from_removal;
use crate::repository::records::{damage, note};
use crate::repository::store::Store;
use crate::snapshot::changes::Freeze;
use crate::snapshot::history::History;
use crate::snapshot::name::{SnapshotName, SnapshotState};
use crate::snapshot::retention::Candidate;

/// Since when a snapshot is pinned, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hold {
    /// RFC 3339, UTC.
    pub since: String,
    /// The user's note.
    pub note: Option<String>,
    /// The mass change because of which a run pinned it: pruning is frozen while the hold exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<Freeze>,
}

/// The hold of a snapshot. An unreadable record counts as a hold, and so does one that may exist.
pub(crate) fn of(repository: &Repository, snapshot: &SnapshotName) -> Option<Hold> {
    let unreadable = |what: String| {
        let held = snapshot.to_string();
        let brake = Some(Freeze { held, what: what.clone(), ..Freeze::default() });
        Hold { since: String::new(), note: Some(what), brake }
    };
    match note(repository, Store::Holds, snapshot) {
        // Some program or user may have made the file without content.
        Ok(content) if content.as_ref().is_some_and(Vec::is_empty) => Some(Hold::default()),
        Ok(content) => {
            Some(serde_json::from_slice(&content?).unwrap_or_else(|error| {
                unreadable(format!("why it is held cannot be read: {error}"))
            }))
        }
        Err(error) => Some(unreadable(format!("whether it is held cannot be read: {error}"))),
    }
}

/// Why pruning of `history` is frozen; `None` when it is not. A hold that cannot be read may be one of a mass change.
pub(crate) fn freeze(repository: &Repository, history: &History) -> Option<Freeze> {
    // Most histories have no holds. The folder is missing then.
    if matches!(repository.store_if_any(Store::Holds), Ok(None)) {
        return None;
    }
    history.complete.iter().find_map(|name| of(repository, name)?.brake)
}

/// Pins a complete snapshot in the backups folder `path`. A snapshot that is already pinned keeps its time, and
/// keeps its note unless `hold` has a new one.
///
/// # Errors
/// The snapshot does not exist (any more), or the hold cannot be stored.
pub fn pin(path: &Path, snapshot: &SnapshotName, hold: &Hold) -> Result<(), LookError> {
    let repository = Repository::open_or_make(path, None).map_err(|error| look(path, error))?;
    pin_in(&repository, snapshot, hold).map_err(|error| LookError {
        action: "cannot hold",
        path: path.join(snapshot.to_string()),
        error,
    })
}

/// As [`pin`].
///
/// # Errors
/// As those of [`pin`].
pub(crate) fn pin_in(
    repository: &Repository,
    snapshot: &SnapshotName,
    hold: &Hold,
) -> io::Result<()> {
    let hold = match of(repository, snapshot) {
        Some(Hold { since, note, brake }) if !since.is_empty() => Hold {
            since,
            note: hold.note.clone().or(note),
            brake: brake.or_else(|| hold.brake.clone()),
        },
        _ => hold.clone(),
    };
    // A remover locks the snapshot's folder first and checks for a hold afterwards.
    let _stays = keep_from_removal(repository, snapshot)?;
    store(repository, snapshot, &hold)?;
    let there = folder_name(snapshot).and_then(|name| repository.dir.child(&name));
    there.map(drop).inspect_err(|_| {
        let _ = remove(repository, snapshot);
    })
}

/// Removes the hold of a snapshot. Returns whether there was one.
///
/// # Errors
/// The hold cannot be removed.
pub fn release(path: &Path, snapshot: &SnapshotName) -> Result<bool, LookError> {
    let repository = Repository::open(path)?;
    remove(&repository, snapshot).map_err(|error| LookError {
        action: "cannot release",
        path: path.join(snapshot.to_string()),
        error,
    })
}

/// Stores the hold of a snapshot that need not be complete yet.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store(
    repository: &Repository,
    snapshot: &SnapshotName,
    hold: &Hold,
) -> io::Result<()> {
    let content = serde_json::to_vec(hold)?;
    write_whole(&repository.make_store(Store::Holds)?, &snapshot.to_string(), &content)
}

/// Removes the hold of a snapshot. Returns whether there was one.
///
/// # Errors
/// Any I/O error.
pub(crate) fn remove(repository: &Repository, snapshot: &SnapshotName) -> io::Result<bool> {
    if repository.own_is_hidden() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let Some(holds) = repository.store(Store::Holds) else { return Ok(false) };
    match holds.unlink(&c_name(snapshot.to_string())?) {
        Ok(()) => holds.sync().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Stores in the hold because of which pruning is frozen in which snapshot the mass change was noticed.
///
/// # Errors
/// The hold cannot be stored.
pub(crate) fn noticed(
    repository: &Repository,
    history: &History,
    freeze: &Freeze,
) -> io::Result<()> {
    let held = history.complete.iter().find(|name| name.to_string() == freeze.held);
    let Some((name, hold)) = held.and_then(|name| Some((name, of(repository, name)?))) else {
        // It was released meanwhile.
        return Ok(());
    };
    // One that cannot be read stays as it is.
    match &hold.brake {
        Some(brake) if brake.noticed.is_empty() && brake.since == freeze.since => {
            store(repository, name, &Hold { brake: Some(freeze.clone()), ..hold })
        }
        _ => Ok(()),
    }
}

/// Removes the hold, the damage record and the copy mark of a snapshot that no longer exists.
pub(crate) fn forget(repository: &Repository, snapshot: &SnapshotName) {
    let complete = snapshot.with_state(SnapshotState::Complete).to_string();
    for folder in [Store::Holds, Store::Damaged, Store::Copied] {
        if let (Some(dir), Ok(name)) = (repository.store(folder), c_name(complete.as_str())) {
            let _ = dir.unlink(&name);
        }
    }
}

/// Each complete snapshot of `history` with its hold and damage mark, and whether pruning is frozen.
pub(crate) fn candidates(repository: &Repository, history: &History) -> Vec<Candidate> {
    let held: Vec<_> = history.complete.iter().map(|name| of(repository, name)).collect();
    let frozen = held.iter().flatten().any(|hold| hold.brake.is_some());
    let candidate = |(name, held): (&SnapshotName, Option<Hold>)| Candidate {
        name: name.clone(),
        held: held.is_some(),
        damaged: damage::is_damaged(repository, name),
        frozen,
    };
    history.complete.iter().zip(held).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::records::damage::is_damaged;

    #[test]
    fn a_hold_is_there_until_it_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::open_or_make(folder.path(), None).unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        assert_eq!(of(&repository, &name), None);
        assert!(!release(folder.path(), &name).unwrap());
        let hold =
            Hold { since: "x".to_owned(), note: Some("before the move".to_owned()), brake: None };
        assert!(pin(folder.path(), &name, &hold).is_err() && of(&repository, &name).is_none());
        std::fs::create_dir(folder.path().join(name.to_string())).unwrap();
        pin(folder.path(), &name, &hold).unwrap();
        let again = Hold { since: "y".to_owned(), ..Hold::default() };
        pin(folder.path(), &name, &again).unwrap();
        assert_eq!(of(&repository, &name), Some(hold), "nothing that was said is lost");
        let other = Hold { since: "z".to_owned(), note: Some("after".to_owned()), brake: None };
        pin(folder.path(), &name, &other).unwrap();
        assert_eq!(of(&repository, &name), Some(Hold { since: "x".to_owned(), ..other }));
        assert!(release(folder.path(), &name).unwrap() && of(&repository, &name).is_none());
        let own = |path: &str| folder.path().join(".backup_manager").join(path);
        std::fs::write(own("holds").join(name.to_string()), "").unwrap();
        assert_eq!(of(&repository, &name), Some(Hold::default()));
        std::fs::write(own("holds").join(name.to_string()), "garbage").unwrap();
        let brake = of(&repository, &name).and_then(|hold| hold.brake);
        assert_eq!(brake.unwrap().held, name.to_string(), "better held and frozen than lost");
        std::fs::create_dir(own("damaged")).unwrap();
        assert!(!is_damaged(&repository, &name));
        std::fs::write(own("damaged").join(name.to_string()), "").unwrap();
        assert!(is_damaged(&repository, &name));
        forget(&repository, &name.with_state(SnapshotState::Deleting));
        assert!(!is_damaged(&repository, &name) && of(&repository, &name).is_none());
    }

    #[test]
    fn the_hold_of_a_mass_change_freezes_the_whole_history() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::open_or_make(folder.path(), None).unwrap();
        let names = ["p.07-12-2023_13-32-58", "p.08-12-2023_13-32-58", "p.09-12-2023_13-32-58"];
        for name in names {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let names = names.map(|name| SnapshotName::parse_any(name.as_bytes()).unwrap());
        let history = History::of(names.iter().cloned());
        let hold = Hold { since: "x".to_owned(), ..Hold::default() };
        pin(folder.path(), &names[1], &hold).unwrap();
        assert_eq!(freeze(&repository, &history), None);
        assert!(candidates(&repository, &history).iter().all(|candidate| !candidate.frozen));
        let brake = Freeze { held: names[1].to_string(), ..Freeze::default() };
        let by_run = Hold { since: "y".to_owned(), note: None, brake: Some(brake.clone()) };
        pin_in(&repository, &names[1], &by_run).unwrap();
        let both = Hold { brake: Some(brake.clone()), ..hold };
        assert_eq!(of(&repository, &names[1]), Some(both), "the user's hold stays");
        assert_eq!(freeze(&repository, &history), Some(brake));
        assert!(candidates(&repository, &history).iter().all(|candidate| candidate.frozen));
        assert!(release(folder.path(), &names[1]).unwrap());
        assert_eq!(freeze(&repository, &history), None);
    }
}

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
}

/// The hold of a snapshot. An unreadable record counts as a hold, and so does one that may exist.
pub(crate) fn of(repository: &Repository, snapshot: &SnapshotName) -> Option<Hold> {
    match note(repository, Store::Holds, snapshot) {
        Ok(content) => Some(serde_json::from_slice(&content?).unwrap_or_default()),
        Err(error) => {
            let note = Some(format!("whether it is held cannot be read: {error}"));
            Some(Hold { since: String::new(), note })
        }
    }
}

/// Pins a complete snapshot in the backups folder `path`. A snapshot that is already pinned keeps its time, and
/// keeps its note unless `hold` has a new one.
///
/// # Errors
/// The snapshot does not exist (any more), or the hold cannot be stored.
pub fn pin(path: &Path, snapshot: &SnapshotName, hold: &Hold) -> Result<(), LookError> {
    let repository = Repository::open_or_make(path, None).map_err(|error| look(path, error))?;
    let failed =
        |error| LookError { action: "cannot hold", path: path.join(snapshot.to_string()), error };
    let hold = match of(&repository, snapshot) {
        Some(Hold { since, note }) if !since.is_empty() => {
            Hold { since, note: hold.note.clone().or(note) }
        }
        _ => hold.clone(),
    };
    // A remover locks the snapshot's folder first and checks for a hold afterwards.
    let _stays = keep_from_removal(&repository, snapshot).map_err(failed)?;
    store(&repository, snapshot, &hold).map_err(failed)?;
    let there = folder_name(snapshot).and_then(|name| repository.dir.child(&name));
    there.map(drop).map_err(|error| {
        let _ = remove(&repository, snapshot);
        failed(error)
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

fn store(repository: &Repository, snapshot: &SnapshotName, hold: &Hold) -> io::Result<()> {
    let content = serde_json::to_vec(hold)?;
    write_whole(&repository.make_store(Store::Holds)?, &snapshot.to_string(), &content)
}

fn remove(repository: &Repository, snapshot: &SnapshotName) -> io::Result<bool> {
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

/// Removes the hold and the damage record of a snapshot that no longer exists.
pub(crate) fn forget(repository: &Repository, snapshot: &SnapshotName) {
    let complete = snapshot.with_state(SnapshotState::Complete).to_string();
    for folder in [Store::Holds, Store::Damaged] {
        if let (Some(dir), Ok(name)) = (repository.store(folder), c_name(complete.as_str())) {
            let _ = dir.unlink(&name);
        }
    }
}

/// Each complete snapshot of `history` with its hold and damage mark.
pub(crate) fn candidates(repository: &Repository, history: &History) -> Vec<Candidate> {
    let candidate = |name: &SnapshotName| Candidate {
        name: name.clone(),
        held: of(repository, name).is_some(),
        damaged: damage::is_damaged(repository, name),
    };
    history.complete.iter().map(candidate).collect()
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
        let hold = Hold { since: "x".to_owned(), note: Some("before the move".to_owned()) };
        assert!(pin(folder.path(), &name, &hold).is_err() && of(&repository, &name).is_none());
        std::fs::create_dir(folder.path().join(name.to_string())).unwrap();
        pin(folder.path(), &name, &hold).unwrap();
        let again = Hold { since: "y".to_owned(), note: None };
        pin(folder.path(), &name, &again).unwrap();
        assert_eq!(of(&repository, &name), Some(hold), "nothing that was said is lost");
        let other = Hold { since: "z".to_owned(), note: Some("after".to_owned()) };
        pin(folder.path(), &name, &other).unwrap();
        assert_eq!(of(&repository, &name), Some(Hold { since: "x".to_owned(), ..other }));
        assert!(release(folder.path(), &name).unwrap() && of(&repository, &name).is_none());
        let own = |path: &str| folder.path().join(".backup_manager").join(path);
        std::fs::write(own("holds").join(name.to_string()), "garbage").unwrap();
        assert_eq!(of(&repository, &name), Some(Hold::default()), "better held than lost");
        std::fs::create_dir(own("damaged")).unwrap();
        assert!(!is_damaged(&repository, &name));
        std::fs::write(own("damaged").join(name.to_string()), "").unwrap();
        assert!(is_damaged(&repository, &name));
        forget(&repository, &name.with_state(SnapshotState::Deleting));
        assert!(!is_damaged(&repository, &name) && of(&repository, &name).is_none());
    }
}

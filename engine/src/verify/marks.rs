//! What was found damaged, kept for the runs to come: `.backup_manager/damaged/SNAPSHOT`, one file for each
//! snapshot that bears damage.

use std::collections::{BTreeMap, HashSet};
use std::ffi::CStr;
use std::io;

use serde::{Deserialize, Serialize};

use crate::backups::{Backups, read_small, write_whole};
use crate::bytes::{shown, unshown};
use crate::dir::{Dir, c_name};
use crate::hold::DAMAGED;
use crate::kept::make_if_missing;
use crate::name::SnapshotName;

/// The format number of these files.
const VERSION: u32 = 1;

/// What is noted of one snapshot: what is wrong, by path inside.
pub(super) type Marks = BTreeMap<Vec<u8>, String>;

#[derive(Serialize, Deserialize)]
struct Stored {
    /// [`VERSION`].
    version: u32,
    /// RFC 3339, UTC: when it was found last.
    found: String,
    damaged: Vec<Mark>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    /// Inside the snapshot, escaped; empty for the snapshot itself.
    path: String,
    /// What is wrong.
    what: String,
}

/// What is noted of a snapshot.
pub(super) fn load(backups: &Backups, snapshot: &SnapshotName) -> Marks {
    let content = backups.own(DAMAGED).and_then(|dir| read_small(&dir, &snapshot.to_string()));
    let stored = content.and_then(|content| serde_json::from_slice::<Stored>(&content).ok());
    let pair = |mark: Mark| Some((unshown(&mark.path)?, mark.what));
    stored.map_or_else(Marks::new, |stored| stored.damaged.into_iter().filter_map(pair).collect())
}

/// The paths inside a snapshot that are known to be damaged.
pub(crate) fn damaged_paths(backups: &Backups, snapshot: &SnapshotName) -> HashSet<Vec<u8>> {
    load(backups, snapshot).into_keys().filter(|path| !path.is_empty()).collect()
}

/// Notes `marks`, found at `now`, in the place of what was noted before.
///
/// # Errors
/// The system's.
pub(super) fn store(
    backups: &Backups,
    snapshot: &SnapshotName,
    marks: &Marks,
    now: &str,
) -> io::Result<()> {
    let own = backups.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
    if marks.is_empty() {
        let Some(dir) = backups.own(DAMAGED) else { return Ok(()) };
        return match dir.unlink(&c_name(snapshot.to_string())?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => dir.sync(),
        };
    }
    let dir = folder(own, DAMAGED)?;
    let mark = |(path, what): (&Vec<u8>, &String)| Mark { path: shown(path), what: what.clone() };
    let damaged = marks.iter().map(mark).collect();
    let stored = Stored { version: VERSION, found: now.to_owned(), damaged };
    write_whole(&dir, &snapshot.to_string(), &serde_json::to_vec_pretty(&stored)?)
}

/// Opens or makes the folder `name` in `.backup_manager`. Whoever checks may be another user (root) than
/// the one whose runs have to read it.
///
/// # Errors
/// The system's.
pub(super) fn folder(own: &Dir, name: &CStr) -> io::Result<Dir> {
    make_if_missing(own, name)?;
    let owner = own.meta()?;
    let folder = own.child(name)?;
    if folder.meta()?.uid != owner.uid {
        // Where that is not possible the runs are this user's too, or cannot know.
        let _ = crate::dir::set_owner(&folder, Some(owner.uid), Some(owner.gid));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_and_go_with_the_damage() {
        let folder = tempfile::tempdir().unwrap();
        let backups = Backups::open_or_make(folder.path(), None).unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        assert_eq!(load(&backups, &name), Marks::new());
        let marks = Marks::from([(b"a\xff\n".to_vec(), "x".to_owned()), (Vec::new(), "y".into())]);
        store(&backups, &name, &marks, "now").unwrap();
        assert_eq!(load(&backups, &name), marks);
        assert_eq!(damaged_paths(&backups, &name), HashSet::from([b"a\xff\n".to_vec()]));
        assert!(crate::hold::is_damaged(&backups, &name));
        store(&backups, &name, &Marks::new(), "now").unwrap();
        assert!(!crate::hold::is_damaged(&backups, &name));
    }
}

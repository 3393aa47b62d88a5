//! What was found damaged, kept for the runs to come: `.backup_manager/damaged/SNAPSHOT`, one file for each
//! snapshot that bears damage.

use std::collections::{BTreeMap, HashSet};
use std::ffi::CStr;
use std::io;

use serde::{Deserialize, Serialize};

use crate::entry::c_name;
use crate::entry::escape::{shown, unshown};
use crate::fs::dir::Dir;
use crate::fs::small_file::{give_to_owner, make_if_missing, read_if_any, write_whole};
use crate::repository::Backups;
use crate::repository::records::{DAMAGED, note};
use crate::snapshot::name::SnapshotName;

/// The format number of these files.
const VERSION: u32 = 1;

/// What is noted of one snapshot: what is wrong, by path inside.
pub(crate) type Marks = BTreeMap<Vec<u8>, String>;

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

/// What is noted of a snapshot, as far as it can be read.
pub(crate) fn load(backups: &Backups, snapshot: &SnapshotName) -> Marks {
    read(backups, snapshot).ok().flatten().unwrap_or_default()
}

/// What is noted of a snapshot: nothing, or the marks.
///
/// # Errors
/// When a mark is there, or may be, and cannot be read.
fn read(backups: &Backups, snapshot: &SnapshotName) -> io::Result<Option<Marks>> {
    let Some(dir) = backups.own_if_any(DAMAGED)? else { return Ok(None) };
    let Some(content) = read_if_any(&dir, &snapshot.to_string())? else { return Ok(None) };
    let stored: Stored = serde_json::from_slice(&content)?;
    let pair = |mark: Mark| Some((unshown(&mark.path)?, mark.what));
    let marks: Option<Marks> = stored.damaged.into_iter().map(pair).collect();
    marks.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What of a snapshot is known to be damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The paths inside.
    pub(crate) paths: HashSet<Vec<u8>>,
    /// Why the mark cannot be read: then any file may be.
    pub(crate) unknown: Option<String>,
}

/// What of a snapshot is known to be damaged.
pub(crate) fn damage(backups: &Backups, snapshot: &SnapshotName) -> Damage {
    match read(backups, snapshot) {
        Ok(marks) => {
            let paths = marks.unwrap_or_default().into_keys().filter(|path| !path.is_empty());
            Damage { paths: paths.collect(), unknown: None }
        }
        Err(error) => Damage { unknown: Some(error.to_string()), ..Damage::default() },
    }
}

/// Notes `marks`, found at `now`, in the place of what was noted before.
///
/// # Errors
/// The system's.
pub(crate) fn store(
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

/// Opens or makes the folder `name` in `.backup_manager`.
///
/// # Errors
/// The system's.
pub(crate) fn folder(own: &Dir, name: &CStr) -> io::Result<Dir> {
    make_if_missing(own, name)?;
    give_to_owner(own, name);
    own.child(name)
}

/// Whether a snapshot bears the mark of damage, or may bear it.
pub(crate) fn is_damaged(backups: &Backups, snapshot: &SnapshotName) -> bool {
    !matches!(note(backups, DAMAGED, snapshot), Ok(None))
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
        assert_eq!(damage(&backups, &name).paths, HashSet::from([b"a\xff\n".to_vec()]));
        assert!(crate::repository::records::damage::is_damaged(&backups, &name));
        let file = folder.path().join(".backup_manager/damaged").join(name.to_string());
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, &text[..text.len() / 2]).unwrap();
        let torn = damage(&backups, &name);
        assert!(torn.paths.is_empty() && torn.unknown.is_some(), "any file may be damaged");
        store(&backups, &name, &Marks::new(), "now").unwrap();
        assert_eq!(damage(&backups, &name), Damage::default());
        assert!(!crate::repository::records::damage::is_damaged(&backups, &name));
    }
}

//! Stores the damage that checks found, for later runs: `.backup_manager/damaged/SNAPSHOT`, one file for each
//! damaged snapshot.

use std::collections::{BTreeMap, HashSet};
use std::io;

use serde::{Deserialize, Serialize};

use crate::entry::c_name;
use crate::entry::escape::{shown, unshown};
use crate::entry::tree_path::place_of;
use crate::fs::small_file::{read_if_any, write_whole};
use crate::fs::traverse::open_if_here;
use crate::repository::backups_folder::Repository;
use crate::repository::records::note;
use crate::repository::store::Store;
use crate::snapshot::name::SnapshotName;

/// The format number of these files.
const VERSION: u32 = 1;

/// The beginning of the description of a file that a copy lacks.
pub(crate) const LACKED: &str = "it is not in this copy";

/// The damage of one snapshot: a description of each problem, by path inside the snapshot.
pub(crate) type DamageMarks = BTreeMap<Vec<u8>, String>;

#[derive(Serialize, Deserialize)]
struct DamageFile {
    /// [`VERSION`].
    version: u32,
    /// RFC 3339, UTC: when a check last found the damage.
    found: String,
    damaged: Vec<DamageEntry>,
}

#[derive(Serialize, Deserialize)]
struct DamageEntry {
    /// The path inside the snapshot, escaped; empty for the snapshot itself.
    path: String,
    /// What is wrong.
    what: String,
}

/// The damage recorded for a snapshot. Empty when the record cannot be read.
pub(crate) fn load(repository: &Repository, snapshot: &SnapshotName) -> DamageMarks {
    read(repository, snapshot).ok().flatten().unwrap_or_default()
}

/// The damage recorded for a snapshot. `None` when there is no record.
///
/// # Errors
/// The record exists, or may exist, and cannot be read.
fn read(repository: &Repository, snapshot: &SnapshotName) -> io::Result<Option<DamageMarks>> {
    let Some(dir) = repository.store_if_any(Store::Damaged)? else { return Ok(None) };
    let Some(content) = read_if_any(&dir, &snapshot.to_string())? else { return Ok(None) };
    let stored: DamageFile = serde_json::from_slice(&content)?;
    let pair = |mark: DamageEntry| Some((unshown(&mark.path)?, mark.what));
    let marks: Option<DamageMarks> = stored.damaged.into_iter().map(pair).collect();
    marks.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The known damage of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DamageRecord {
    /// The damaged paths inside the snapshot.
    pub(crate) paths: HashSet<Vec<u8>>,
    /// Why the record cannot be read. Then any file may be damaged.
    pub(crate) unknown: Option<String>,
}

/// Reads the known damage of a snapshot.
pub(crate) fn damage(repository: &Repository, snapshot: &SnapshotName) -> DamageRecord {
    match read(repository, snapshot) {
        Ok(marks) => {
            let paths = marks.unwrap_or_default().into_keys().filter(|path| !path.is_empty());
            DamageRecord { paths: paths.collect(), unknown: None }
        }
        Err(error) => DamageRecord { unknown: Some(error.to_string()), ..DamageRecord::default() },
    }
}

/// Whether a mark says that a copy lacks the file at `path`, and that is still so.
pub(crate) fn is_lacked(
    repository: &Repository,
    snapshot: &SnapshotName,
    path: &[u8],
    what: &str,
) -> bool {
    let place = place_of(path);
    let parent = || open_if_here(&repository.open_top(snapshot).ok()?, place.parent()?).ok();
    what.starts_with(LACKED)
        && parent().is_none_or(|dir| matches!(dir.find(place.name()), Ok(None)))
}

/// Stores `marks`, found at `now`, and replaces the previous record.
///
/// # Errors
/// Any I/O error.
pub(crate) fn store(
    repository: &Repository,
    snapshot: &SnapshotName,
    marks: &DamageMarks,
    now: &str,
) -> io::Result<()> {
    if marks.is_empty() {
        let Some(dir) = repository.store(Store::Damaged) else { return Ok(()) };
        return match dir.unlink(&c_name(snapshot.to_string())?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => dir.sync(),
        };
    }
    let dir = repository.make_store(Store::Damaged)?;
    let mark =
        |(path, what): (&Vec<u8>, &String)| DamageEntry { path: shown(path), what: what.clone() };
    let damaged = marks.iter().map(mark).collect();
    let stored = DamageFile { version: VERSION, found: now.to_owned(), damaged };
    write_whole(&dir, &snapshot.to_string(), &serde_json::to_vec_pretty(&stored)?)
}

/// Whether a snapshot has a damage record, or may have one.
pub(crate) fn is_damaged(repository: &Repository, snapshot: &SnapshotName) -> bool {
    !matches!(note(repository, Store::Damaged, snapshot), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_and_go_with_the_damage() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::open_or_make(folder.path(), None).unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        assert_eq!(load(&repository, &name), DamageMarks::new());
        let marks =
            DamageMarks::from([(b"a\xff\n".to_vec(), "x".to_owned()), (Vec::new(), "y".into())]);
        store(&repository, &name, &marks, "now").unwrap();
        assert_eq!(load(&repository, &name), marks);
        assert_eq!(damage(&repository, &name).paths, HashSet::from([b"a\xff\n".to_vec()]));
        assert!(crate::repository::records::damage::is_damaged(&repository, &name));
        let file = folder.path().join(".backup_manager/damaged").join(name.to_string());
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, &text[..text.len() / 2]).unwrap();
        let torn = damage(&repository, &name);
        assert!(torn.paths.is_empty() && torn.unknown.is_some(), "any file may be damaged");
        store(&repository, &name, &DamageMarks::new(), "now").unwrap();
        assert_eq!(damage(&repository, &name), DamageRecord::default());
        assert!(!crate::repository::records::damage::is_damaged(&repository, &name));
    }
}

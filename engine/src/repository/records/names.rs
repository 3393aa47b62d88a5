//! Records which entries of a snapshot are stored under other names, because the destination refuses or changes their own.
//! `.backup_manager/kept/SNAPSHOT/names/` has one small file per folder with such entries, named by the BLAKE3 of the
//! folder's path, with one JSON line per entry.

use std::ffi::{CStr, CString};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::entry::escape::{shown, unshown};
use crate::entry::stored_name::ChangedNames;
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::dir::names::{NameRecords, SnapshotNames};
use crate::fs::small_file::{create_state, make_if_missing};
use crate::repository::records::sidecar::file_name;

/// The folder of the records, in the sidecar of the snapshot.
const NAMES: &CStr = c"names";

/// A line of a folder's file.
#[derive(Serialize, Deserialize)]
struct NameLine {
    /// The entry's own name, escaped.
    name: String,
    /// Its name on the disk.
    stored: String,
}

/// The records of one snapshot.
struct NameFiles {
    /// The sidecar of the snapshot.
    kept: Option<Dir>,
    /// The folder of the records, if it exists.
    names: OnceLock<Dir>,
    /// Whether each file is synced.
    sync: bool,
}

/// The stored names of the complete snapshot `name`, whose sidecar is in `all`. `None` when the snapshot has none. With
/// `changed` names, which the destination changes, no such name is looked up on the disk.
///
/// # Errors
/// Any I/O error.
pub(crate) fn names_of(
    all: Option<&Dir>,
    name: &CStr,
    changed: ChangedNames,
) -> io::Result<Option<Arc<SnapshotNames>>> {
    let kept = all.map(|all| child(all, name)).transpose()?.flatten();
    let names = kept.as_ref().map(|kept| child(kept, NAMES)).transpose()?.flatten();
    let any = names.is_some();
    if !any && !changed.any() {
        return Ok(None);
    }
    let files = NameFiles { kept: None, names: once(names), sync: false };
    Ok(Some(SnapshotNames::read_only(Box::new(files), changed, any)))
}

/// The stored names of a snapshot in progress, whose sidecar is `kept`. With `sync`, each record is synced when it is written.
///
/// # Errors
/// Any I/O error.
pub(crate) fn names_in_progress(
    kept: Dir,
    changed: ChangedNames,
    sync: bool,
) -> io::Result<Arc<SnapshotNames>> {
    let names = child(&kept, NAMES)?;
    let any = names.is_some();
    let files = NameFiles { kept: Some(kept), names: once(names), sync };
    Ok(SnapshotNames::writable(Box::new(files), changed, any))
}

fn once(names: Option<Dir>) -> OnceLock<Dir> {
    names.map_or_else(OnceLock::new, OnceLock::from)
}

fn child(dir: &Dir, name: &CStr) -> io::Result<Option<Dir>> {
    match dir.child(name) {
        Ok(child) => Ok(Some(child)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl NameFiles {
    /// The folder of the records. Creates it when it is missing.
    fn folder(&self) -> io::Result<&Dir> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        let kept = self.kept.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
        make_if_missing(kept, NAMES)?;
        if self.sync {
            kept.sync()?;
        }
        let names = kept.child(NAMES)?;
        Ok(self.names.get_or_init(|| names))
    }
}

impl NameRecords for NameFiles {
    // Skips lines that cannot be parsed: a power cut can cut the last one.
    fn load(&self, place: &Arc<TreePath>) -> io::Result<Vec<(CString, CString)>> {
        let Some(names) = self.names.get() else { return Ok(Vec::new()) };
        let file = match names.open_file(&file_name(place)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut found = Vec::new();
        for line in BufReader::new(file).split(b'\n') {
            let parsed = serde_json::from_slice(&line?).ok();
            found.extend(parsed.and_then(|NameLine { name, stored }| {
                Some((CString::new(unshown(&name)?).ok()?, CString::new(stored).ok()?))
            }));
        }
        Ok(found)
    }

    fn add(&self, place: &Arc<TreePath>, own: &CStr, stored: &CStr) -> io::Result<()> {
        let (names, name) = (self.folder()?, file_name(place)?);
        let (mut file, new) = match names.open_to_write(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (create_state(names, &name)?, true)
            }
            opened => (opened?, false),
        };
        let length = file.seek(SeekFrom::End(0))?;
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        let mut text = Vec::new();
        // A power cut can leave a line without its end.
        if last != *b"\n" {
            text.push(b'\n');
        }
        let stored = stored.to_string_lossy().into_owned();
        serde_json::to_writer(&mut text, &NameLine { name: shown(own.to_bytes()), stored })?;
        text.push(b'\n');
        file.write_all(&text)?;
        if self.sync {
            file.sync_all()?;
            if new {
                names.sync()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::entry::stored_name::stored_name;

    fn listed(dir: &Dir) -> Vec<CString> {
        let mut names = Vec::new();
        dir.names(|entry| {
            names.push(entry.name.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
        names.sort();
        names
    }

    /// A snapshot in progress, and its sidecar.
    struct InProgress(tempfile::TempDir);

    impl InProgress {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("kept/s")).unwrap();
            std::fs::create_dir(folder.path().join("s")).unwrap();
            Self(folder)
        }

        fn at(&self, path: &str) -> Dir {
            Dir::at(&self.0.path().join(path)).unwrap()
        }

        fn top(&self, not_utf8: bool) -> Dir {
            let changed = ChangedNames { not_utf8, ..ChangedNames::default() };
            let names = names_in_progress(self.at("kept/s"), changed, true).unwrap();
            self.at("s").with_names(names)
        }

        fn complete(&self) -> Dir {
            let names = names_of(Some(&self.at("kept")), c"s", ChangedNames::default()).unwrap();
            names.map_or_else(|| self.at("s"), |names| self.at("s").with_names(names))
        }
    }

    #[test]
    fn an_entry_with_a_stored_name_has_its_own_name_everywhere_in_the_program() {
        let snapshot = InProgress::new();
        let top = snapshot.top(false);
        assert!(top.give_stored_name(c"a:b").unwrap());
        assert!(!top.give_stored_name(c"a:b").unwrap(), "only once");
        top.make_folder(c"a:b", 0o755).unwrap();
        let folder = top.child(c"a:b").unwrap();
        folder.give_stored_name(c"c\xff").unwrap();
        folder.create_file(c"c\xff", 0o644).unwrap();
        folder.create_file(c"plain", 0o644).unwrap();
        folder.link(c"again", &folder, c"c\xff").unwrap();
        for top in [top, snapshot.top(false), snapshot.complete()] {
            assert_eq!(listed(&top), [c"a:b".to_owned()]);
            let folder = top.child(c"a:b").unwrap();
            assert_eq!(listed(&folder), [c"again".to_owned(), c"c\xff".into(), c"plain".into()]);
            let links = [c"c\xff", c"again"].map(|name| folder.stat(name).unwrap().id);
            assert_eq!(links[0], links[1]);
            assert!(folder.stores_elsewhere(c"c\xff").unwrap());
            assert!(!folder.stores_elsewhere(c"plain").unwrap());
            assert!(folder.open_file(c"c\xff").is_ok() && folder.node(c"c\xff").is_ok());
        }
        let plain = snapshot.at("s");
        assert_eq!(listed(&plain), [stored_name(c"a:b")]);
        let below = plain.child(&stored_name(c"a:b")).unwrap();
        assert!(listed(&below).contains(&stored_name(c"c\xff")));
    }

    #[test]
    fn two_handles_of_a_folder_know_the_same_names() {
        let snapshot = InProgress::new();
        let top = snapshot.top(false);
        top.make_folder(c"d", 0o755).unwrap();
        let (one, other) = (top.child(c"d").unwrap(), top.child(c"d").unwrap());
        for name in [c"1", c"2", c"3"] {
            one.give_stored_name(name).unwrap();
            one.create_file(name, 0o644).unwrap();
            assert!(other.stat(name).is_ok());
            assert_eq!(listed(&one), listed(&other));
        }
        other.give_stored_name(c"4").unwrap();
        other.create_file(c"4", 0o644).unwrap();
        assert_eq!(listed(&one).len(), 4);
        assert!(one.strays().unwrap().is_none());
    }

    #[test]
    fn an_entry_whose_name_is_like_a_stored_name_gets_another_one() {
        let snapshot = InProgress::new();
        let top = snapshot.top(false);
        let looks_stored = stored_name(c"a:b");
        top.create_file(&looks_stored, 0o644).unwrap();
        top.give_stored_name(c"a:b").unwrap();
        top.create_file(c"a:b", 0o600).unwrap();
        for top in [top, snapshot.top(false), snapshot.complete()] {
            assert_eq!(top.stat(&looks_stored).unwrap().mode, 0o644);
            assert_eq!(top.stat(c"a:b").unwrap().mode, 0o600);
            assert_eq!(listed(&top).len(), 2);
        }
        // In a snapshot without a record, such an entry has its own name on the disk.
        let older = InProgress::new();
        older.at("s").create_file(&looks_stored, 0o644).unwrap();
        assert!(older.complete().stat(&looks_stored).is_ok());
    }

    #[test]
    fn what_a_power_cut_left_without_a_record_is_found_as_a_stray() {
        let snapshot = InProgress::new();
        let top = snapshot.top(false);
        top.give_stored_name(c"a:b").unwrap();
        top.create_file(c"a:b", 0o644).unwrap();
        let place = TreePath::top(None);
        let file = format!("kept/s/names/{}", file_name(&place).unwrap().to_str().unwrap());
        let file = snapshot.0.path().join(file);
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, &text[..20]).unwrap();
        let top = snapshot.top(false);
        assert!(listed(&top).is_empty());
        assert!(top.stat(c"a:b").is_err() && top.stat(&stored_name(c"a:b")).is_err());
        let (plain, strays) = top.strays().unwrap().unwrap();
        assert_eq!(strays, [stored_name(c"a:b")]);
        plain.unlink(&strays[0]).unwrap();
        // The next line is whole, although the one before it is not.
        top.give_stored_name(c"a:b").unwrap();
        top.create_file(c"a:b", 0o644).unwrap();
        assert_eq!(listed(&snapshot.complete()), [c"a:b".to_owned()]);
    }

    #[test]
    fn a_name_that_the_destination_changes_is_never_on_the_disk() {
        let snapshot = InProgress::new();
        let top = snapshot.top(true);
        assert!(top.stat(c"a\xff").is_err());
        top.create_file(c"a\xff", 0o644).unwrap();
        assert!(top.stat(c"a\xff").is_ok());
        assert_eq!(listed(&snapshot.at("s")), [stored_name(c"a\xff")]);
        assert_eq!(listed(&snapshot.complete()), [c"a\xff".to_owned()]);
    }

    #[test]
    fn a_snapshot_without_stored_names_has_no_record() {
        let snapshot = InProgress::new();
        let top = snapshot.top(false);
        top.create_file(c"a", 0o644).unwrap();
        assert!(listed(&snapshot.at("kept/s")).is_empty());
        assert!(
            names_of(Some(&snapshot.at("kept")), c"s", ChangedNames::default()).unwrap().is_none()
        );
    }
}

//! Stores the metadata that the destination cannot hold (an owner, a mode, a device, a symlink, attributes).
//! `.backup_manager/kept/SNAPSHOT/` has one small file per folder, named by the BLAKE3 of the folder's path,
//! with one JSON line per entry.

use std::ffi::{CStr, CString};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::escape::{shown, unshown};
use crate::entry::overlay::{SidecarRecord, SidecarRecords};
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::small_file::{create_state, make_if_missing};

/// A line of a folder's file.
#[derive(Serialize, Deserialize)]
struct SidecarLine {
    name: String,
    #[serde(flatten)]
    record: SidecarRecord,
}

/// The records of one snapshot. `None` where the destination could store everything.
pub(crate) struct Sidecar(Option<Dir>);

/// The name of the file with the records of the folder at `place`.
pub(crate) fn file_name(place: &Arc<TreePath>) -> io::Result<CString> {
    crate::entry::c_name(blake3::hash(&place.inside()).to_hex().as_str())
}

impl Sidecar {
    /// Opens the records of the snapshot `name` in `all`, the folder of all records. A missing folder means
    /// that there are no records.
    ///
    /// # Errors
    /// Any other I/O error.
    pub(crate) fn open(all: Option<&Dir>, name: &CStr) -> io::Result<Self> {
        match all.map(|all| all.child(name)) {
            None => Ok(Self(None)),
            Some(Ok(dir)) => Ok(Self(Some(dir))),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Some(Err(error)) => Err(error),
        }
    }

    /// Opens or creates the records of the snapshot `name` in `all`.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn create(all: &Dir, name: &CStr) -> io::Result<Self> {
        make_if_missing(all, name)?;
        Ok(Self(Some(all.child(name)?)))
    }

    /// A sidecar without records.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Whether the snapshot can have records.
    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// Reads the records of the folder at `place`. Skips lines that cannot be parsed: the entry then counts as
    /// changed.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn load(&self, place: &Arc<TreePath>) -> io::Result<SidecarRecords> {
        let Some(dir) = &self.0 else { return Ok(SidecarRecords::new()) };
        let file = match dir.open_file(&file_name(place)?) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(SidecarRecords::new());
            }
            Err(error) => return Err(error),
        };
        let mut records = SidecarRecords::new();
        // Splits bytes, because a line damaged by a bad disk may not be valid UTF-8.
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(SidecarLine { name, record }) = serde_json::from_slice(&line?)
                && let Some(Ok(name)) = unshown(&name).map(CString::new)
            {
                records.insert(name, record);
            }
        }
        Ok(records)
    }

    /// Stores the records of the folder at `place`, and replaces the previous ones.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn store(
        &self,
        place: &Arc<TreePath>,
        records: &SidecarRecords,
        sync: bool,
    ) -> io::Result<()> {
        let Some(dir) = &self.0 else { return Ok(()) };
        let name = file_name(place)?;
        match dir.unlink(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ if records.is_empty() => return Ok(()),
            _ => {}
        }
        let mut file = BufWriter::new(create_state(dir, &name)?);
        for (name, record) in records {
            let line = SidecarLine { name: shown(name.to_bytes()), record: record.clone() };
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        if sync { file.sync_all() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn of_a_damaged_file_the_lines_that_are_whole_are_read(
            at in 0_usize..400, bytes in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let all = Dir::at(folder.path()).unwrap();
            let kept = Sidecar::create(&all, c"snapshot").unwrap();
            let place = TreePath::top(None);
            let names: Vec<_> = (0..5).map(|n| crate::entry::c_name(format!("name {n}")).unwrap()).collect();
            let record = |n: u32| SidecarRecord { uid: Some(n), target: Some(shown(b"t\xff")), ..SidecarRecord::default() };
            let records: SidecarRecords = names.iter().cloned().zip((0..5).map(record)).collect();
            kept.store(&place, &records, false).unwrap();
            let path = folder.path().join("snapshot").join(file_name(&place).unwrap().to_str().unwrap());
            let mut text = std::fs::read(&path).unwrap();
            let at = at.min(text.len());
            let to = (at + bytes.len()).min(text.len());
            text.splice(at..to, bytes);
            std::fs::write(&path, text).unwrap();
            let found = kept.load(&place).unwrap();
            let same = names.iter().filter(|name| found.get(*name) == records.get(*name)).count();
            // A change within eight bytes affects two lines at most.
            prop_assert!(same >= 3, "{found:?}");
        }
    }

    #[test]
    fn records_come_back_as_they_were_stored() {
        let folder = tempfile::tempdir().unwrap();
        let all = Dir::at(folder.path()).unwrap();
        let kept = Sidecar::create(&all, c"snapshot").unwrap();
        let place = TreePath::top(None).child(c"a\xff\n", None);
        let record = SidecarRecord {
            uid: Some(5),
            target: Some(shown(b"t\xff")),
            xattrs: vec![(shown(b"user.x"), shown(b"\0\x01"))],
            ..SidecarRecord::default()
        };
        let records = SidecarRecords::from([(c"name \xff".to_owned(), record)]);
        kept.store(&place, &records, true).unwrap();
        assert_eq!(kept.load(&place).unwrap(), records);
        assert_eq!(kept.load(&TreePath::top(None)).unwrap(), SidecarRecords::new());
        kept.store(&place, &SidecarRecords::new(), false).unwrap();
        assert_eq!(kept.load(&place).unwrap(), SidecarRecords::new());
    }
}

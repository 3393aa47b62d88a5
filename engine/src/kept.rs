//! What the destination cannot hold (an owner, a mode, a device, a symlink, attributes) is kept beside
//! the snapshot: `.backup_manager/kept/SNAPSHOT/` has one small file a folder, named by the BLAKE3 of the
//! folder's path, a JSON line an entry.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::backups::{create_state, other_owner};
use crate::bytes::{shown, unshown};
use crate::dir::Dir;
use crate::entry::{Entry, Kind, Meta, Time, Xattrs};
use crate::place::Place;
use crate::plan::Held;

/// The values of one entry that its inode does not hold. What is absent the inode holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// The whole entry is missing: what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rdev: Option<u64>,
    /// Escaped as [`crate::bytes::Shown`] does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// Names and values, escaped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) xattrs: Vec<(String, String)>,
    /// The attributes are here because they do not fit there, and that was not told yet.
    #[serde(skip)]
    pub(crate) no_room: bool,
}

/// A line of a folder's file.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    #[serde(flatten)]
    record: Record,
}

impl Record {
    /// A record of all of an entry that the destination cannot hold at all.
    pub(crate) fn whole(entry: &Entry) -> Self {
        let meta = &entry.meta;
        Self {
            kind: Some(meta.kind),
            uid: Some(meta.uid),
            gid: Some(meta.gid),
            mode: Some(meta.mode),
            mtime: Some(meta.mtime),
            rdev: meta.kind.is_device().then_some(meta.rdev),
            target: entry.target().map(shown),
            xattrs: escape(entry.xattrs()),
            no_room: false,
        }
    }

    /// Adds attributes that could not be set.
    pub(crate) fn add_xattrs(&mut self, refused: &crate::attrs::Refused) {
        self.xattrs.extend(escape(&refused.attributes));
        self.no_room |= refused.no_room;
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is held, when `on_disk` is what the inode tells.
    pub(crate) fn complete(&self, on_disk: Option<Held>) -> Option<Held> {
        let kind = self.kind;
        let missing = kind.is_some() && on_disk.is_none();
        let mut held = match (on_disk, kind) {
            (Some(held), _) => held,
            (None, Some(kind)) => Held {
                meta: Meta {
                    kind,
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    size: 0,
                    mtime: Time::default(),
                    ctime: Time::default(),
                    id: None,
                    links: 1,
                    rdev: 0,
                    allocated: 0,
                },
                target: None,
                xattrs: Xattrs::new(),
                on_disk: false,
            },
            (None, None) => return None,
        };
        held.on_disk = !missing;
        let meta = &mut held.meta;
        meta.uid = self.uid.unwrap_or(meta.uid);
        meta.gid = self.gid.unwrap_or(meta.gid);
        meta.mode = self.mode.unwrap_or(meta.mode);
        meta.mtime = self.mtime.unwrap_or(meta.mtime);
        meta.rdev = self.rdev.unwrap_or(meta.rdev);
        if let Some(target) = self.target.as_deref().and_then(unshown) {
            held.target = Some(target);
        }
        let pairs =
            self.xattrs.iter().filter_map(|(name, value)| Some((unshown(name)?, unshown(value)?)));
        held.xattrs.extend(pairs);
        held.xattrs.sort();
        Some(held)
    }
}

fn escape(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
    xattrs.iter().map(|(name, value)| (shown(name), shown(value))).collect()
}

/// The records of one folder, by name.
pub(crate) type Records = HashMap<CString, Record>;

/// The records of one snapshot; none where everything could be held.
pub(crate) struct Kept(Option<Dir>);

fn file_name(place: &Arc<Place>) -> io::Result<CString> {
    crate::dir::c_name(blake3::hash(&place.inside()).to_hex().as_str())
}

impl Kept {
    /// Opens the records of the snapshot `name` in `all`, the folder of all records.
    ///
    /// # Errors
    /// The system's, but for there being none.
    pub(crate) fn open(all: Option<&Dir>, name: &CStr) -> io::Result<Self> {
        match all.map(|all| all.child(name)) {
            None => Ok(Self(None)),
            Some(Ok(dir)) => Ok(Self(Some(dir))),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Some(Err(error)) => Err(error),
        }
    }

    /// Opens or makes the records of the snapshot `name` in `all`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn create(all: &Dir, name: &CStr) -> io::Result<Self> {
        make_if_missing(all, name)?;
        Ok(Self(Some(all.child(name)?)))
    }

    /// No records.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Whether there can be any.
    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// The records of the folder at `place`.
    ///
    /// # Errors
    /// The system's; lines that cannot be read are passed over: the entry then counts as changed.
    pub(crate) fn load(&self, place: &Arc<Place>) -> io::Result<Records> {
        let Some(dir) = &self.0 else { return Ok(Records::new()) };
        let file = match dir.open_file(&file_name(place)?) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Records::new()),
            Err(error) => return Err(error),
        };
        let mut records = Records::new();
        // Bytes: what a bad disk made of a line need not be text.
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(Line { name, record }) = serde_json::from_slice(&line?)
                && let Some(Ok(name)) = unshown(&name).map(CString::new)
            {
                records.insert(name, record);
            }
        }
        Ok(records)
    }

    /// Stores the records of the folder at `place` in the place of those that are there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn store(
        &self,
        place: &Arc<Place>,
        records: &Records,
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
            let line = Line { name: shown(name.to_bytes()), record: record.clone() };
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        if sync { file.sync_all() } else { Ok(()) }
    }
}

/// Makes a private folder unless it is there. In another user's folder root makes it that user's.
///
/// # Errors
/// The system's.
pub(crate) fn make_if_missing(dir: &Dir, name: &CStr) -> io::Result<()> {
    match dir.make_folder(name, 0o700) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            if let Some((uid, gid)) = other_owner(dir) {
                let made = dir.child(name)?;
                // The other user may have moved a snapshot of root's there, which would become theirs.
                if is_empty(&made)? {
                    let _ = crate::dir::set_owner(&made, Some(uid), Some(gid));
                }
            }
            Ok(())
        }
    }
}

fn is_empty(folder: &Dir) -> io::Result<bool> {
    let mut empty = true;
    folder.names(|_| {
        empty = false;
        ControlFlow::Break(())
    })?;
    Ok(empty)
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
            let kept = Kept::create(&all, c"snapshot").unwrap();
            let place = Place::top(None);
            let names: Vec<_> = (0..5).map(|n| crate::dir::c_name(format!("name {n}")).unwrap()).collect();
            let record = |n: u32| Record { uid: Some(n), target: Some(shown(b"t\xff")), ..Record::default() };
            let records: Records = names.iter().cloned().zip((0..5).map(record)).collect();
            kept.store(&place, &records, false).unwrap();
            let path = folder.path().join("snapshot").join(file_name(&place).unwrap().to_str().unwrap());
            let mut text = std::fs::read(&path).unwrap();
            let at = at.min(text.len());
            let to = (at + bytes.len()).min(text.len());
            text.splice(at..to, bytes);
            std::fs::write(&path, text).unwrap();
            let found = kept.load(&place).unwrap();
            let same = names.iter().filter(|name| found.get(*name) == records.get(*name)).count();
            // A change within eight bytes reaches two lines at most.
            prop_assert!(same >= 3, "{found:?}");
        }
    }

    #[test]
    fn records_come_back_as_they_were_stored() {
        let folder = tempfile::tempdir().unwrap();
        let all = Dir::at(folder.path()).unwrap();
        let kept = Kept::create(&all, c"snapshot").unwrap();
        let place = Place::top(None).child(c"a\xff\n", None);
        let record = Record {
            uid: Some(5),
            target: Some(shown(b"t\xff")),
            xattrs: vec![(shown(b"user.x"), shown(b"\0\x01"))],
            ..Record::default()
        };
        let records = Records::from([(c"name \xff".to_owned(), record)]);
        kept.store(&place, &records, true).unwrap();
        assert_eq!(kept.load(&place).unwrap(), records);
        assert_eq!(kept.load(&Place::top(None)).unwrap(), Records::new());
        kept.store(&place, &Records::new(), false).unwrap();
        assert_eq!(kept.load(&place).unwrap(), Records::new());
    }
}

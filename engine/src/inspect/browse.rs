//! A snapshot held open for reading, folder by folder. Writes nothing.
//!
//! Each step is a single name on a held folder, so no name can lead out of the snapshot.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use rustix::io::Errno;

use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, c_name, check_name};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::lookup::held;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::inspect::difference::DifferenceKind;
use crate::inspect::equality::{hash_of, same_content, same_metadata};
use crate::repository::Repository;
use crate::repository::lock::read_lock::ReadLock;
use crate::repository::records::sidecar::Sidecar;
use crate::snapshot::name::SnapshotName;

/// The attributes are not read: a reader sees content, type, owner, mode and times.
const NO_ATTRIBUTES: XattrSelection = XattrSelection { xattrs: false, acls: false };

/// For copies of entries.
const ALL_ATTRIBUTES: XattrSelection = XattrSelection { xattrs: true, acls: true };

/// A snapshot that no other process removes while it is open.
pub struct OpenSnapshot {
    _stays: ReadLock,
    pub(crate) top: Dir,
    pub(crate) kept: Sidecar,
}

impl OpenSnapshot {
    /// Opens a snapshot.
    ///
    /// # Errors
    /// The snapshot does not exist, or no longer exists.
    pub fn open(repository: &Repository, name: &SnapshotName) -> Result<Self, LookError> {
        let _stays = repository.lock_for_reading(name)?;
        Ok(Self { _stays, top: repository.top(name)?, kept: repository.kept(name)? })
    }

    /// Opens the folder at the path `inside`; an empty path is the snapshot itself.
    ///
    /// # Errors
    /// The folder does not exist or cannot be read, or `inside` contains a name that no entry can have.
    pub fn folder(&self, inside: &[u8]) -> io::Result<OpenFolder<'_>> {
        let (mut dir, mut place) = (self.top.try_clone()?, TreePath::top(None));
        for name in inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let name = single_name(name)?;
            dir = dir.child(&name)?;
            place = place.child(&name, None);
        }
        OpenFolder::new(self, dir, place)
    }
}

/// A folder of an open snapshot.
pub struct OpenFolder<'a> {
    snapshot: &'a OpenSnapshot,
    dir: Dir,
    place: Arc<TreePath>,
    records: SidecarRecords,
}

/// A name of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderName {
    /// A single path component.
    pub name: CString,
    /// The inode number; 0 if only the sidecar holds the entry.
    pub ino: u64,
    /// Whether it is known to be a folder.
    pub folder: bool,
}

impl<'a> OpenFolder<'a> {
    fn new(snapshot: &'a OpenSnapshot, dir: Dir, place: Arc<TreePath>) -> io::Result<Self> {
        let records = snapshot.kept.load(&place)?;
        Ok(Self { snapshot, dir, place, records })
    }

    /// The names in it, sorted.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn names(&self) -> io::Result<Vec<FolderName>> {
        list(&self.dir, &self.records)
    }

    /// The entry `name` as it was backed up, without its attributes; `None` if there is none.
    ///
    /// # Errors
    /// The entry cannot be read.
    pub fn entry(&self, name: &CStr) -> io::Result<Option<StoredEntry>> {
        held(&self.dir, name, &self.records, NO_ATTRIBUTES)
    }

    /// As [`OpenFolder::entry`], with its attributes and ACLs.
    ///
    /// # Errors
    /// The entry cannot be read.
    pub fn whole_entry(&self, name: &CStr) -> io::Result<Option<StoredEntry>> {
        held(&self.dir, name, &self.records, ALL_ATTRIBUTES)
    }

    /// The folder itself as it was backed up, without its attributes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn own(&self) -> io::Result<StoredEntry> {
        let meta = self.dir.meta()?;
        let own = StoredEntry { meta, target: None, xattrs: Vec::new(), on_disk: true };
        let record = self.records.get(c"");
        Ok(record.and_then(|record| record.complete(Some(own.clone()))).unwrap_or(own))
    }

    /// Opens the subfolder `name`.
    ///
    /// # Errors
    /// It does not exist, or is no folder.
    pub fn child(&self, name: &CStr) -> io::Result<OpenFolder<'a>> {
        OpenFolder::new(self.snapshot, self.dir.child(name)?, self.place.child(name, None))
    }

    /// Opens the regular file `name` for reading.
    ///
    /// # Errors
    /// It does not exist, or is no regular file.
    pub fn file(&self, name: &CStr) -> io::Result<File> {
        let file = self.dir.open_file(name)?;
        match stat::meta(&file)?.kind {
            Kind::File => Ok(file),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// How `entry`, which is `name` in this folder, differs from the entry of that name in `before`, the same
    /// folder of an earlier snapshot. `None` if it does not. The content of folders is not compared.
    ///
    /// # Errors
    /// The earlier entry cannot be read.
    pub fn change_since(
        &self,
        before: Option<&OpenFolder<'_>>,
        name: &CStr,
        entry: &StoredEntry,
    ) -> io::Result<Option<DifferenceKind>> {
        let earlier = before.map(|before| before.entry(name)).transpose()?.flatten();
        let (Some(before), Some(earlier)) = (before, earlier) else {
            return Ok(Some(DifferenceKind::Added));
        };
        let same_inode = entry.meta.id.is_some() && entry.meta.id == earlier.meta.id;
        let hashes = || [hash_of(&before.dir, name), hash_of(&self.dir, name)];
        Ok(match () {
            () if same_inode && entry == &earlier => None,
            () if !same_content(&earlier, entry, hashes) => Some(DifferenceKind::Changed),
            () if !same_metadata(&earlier, entry) => Some(DifferenceKind::Metadata),
            () => None,
        })
    }
}

/// A path component as a C string.
///
/// # Errors
/// `ENOENT` for a name that no entry can have.
fn single_name(name: &[u8]) -> io::Result<CString> {
    check_name(name).map_err(|_| io::Error::from(Errno::NOENT))?;
    c_name(name)
}

/// The names of a folder in order, including entries that only the sidecar holds.
pub(crate) fn list(dir: &Dir, records: &SidecarRecords) -> io::Result<Vec<FolderName>> {
    let mut names = Vec::new();
    dir.names(|entry| {
        let name = entry.name.to_owned();
        names.push(FolderName { name, ino: entry.ino, folder: entry.folder });
        ControlFlow::Continue(())
    })?;
    let by_name = |one: &FolderName, other: &FolderName| one.name.cmp(&other.name);
    names.sort_unstable_by(by_name);
    let on_disk = names.len();
    for (name, record) in records {
        let found = names[..on_disk].binary_search_by(|known| known.name.cmp(name));
        if record.kind.is_some() && found.is_err() {
            names.push(FolderName { name: name.clone(), ino: 0, folder: false });
        }
    }
    if names.len() > on_disk {
        names.sort_unstable_by(by_name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_snapshot_and_only_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("p.07-12-2023_13-32-58");
        std::fs::create_dir_all(snapshot.join("home/u")).unwrap();
        std::fs::write(snapshot.join("home/u/x"), "text").unwrap();
        std::fs::write(folder.path().join("secret"), "text").unwrap();
        std::os::unix::fs::symlink("/", snapshot.join("home/root")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, snapshot.join("fifo"), 0o600.into()).unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        let name = SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap();
        let open = OpenSnapshot::open(&repository, &name).unwrap();
        for inside in [&b".."[..], b"home/..", b"home/../..", b".", b"home/root", b"none", b"a\0b"]
        {
            assert!(open.folder(inside).is_err(), "{inside:?}");
        }
        let home = open.folder(b"/home//u/").unwrap();
        assert!(home.file(c"x").is_ok());
        let names: Vec<_> = home.names().unwrap().into_iter().map(|name| name.name).collect();
        assert_eq!(names, [c"x".to_owned()]);
        let top = open.folder(b"").unwrap();
        assert!(top.file(c"fifo").is_err(), "a fifo would never end");
        assert!(top.file(c"home").is_err());
        assert!(top.file(c"../secret").is_err());
        assert!(top.child(c"home").unwrap().entry(c"root").unwrap().unwrap().target.is_some());
    }
}

//! The snapshots of one side while it is healed, or while the other side is healed from it.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::entry::digest::{NameDigest, name_digest};
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::{TreePath, place_of};
use crate::entry::{Kind, Meta};
use crate::fs::dir::Dir;
use crate::fs::lookup::{find, held};
use crate::fs::metadata::xattrs::{XattrSelection, read_own, recorded};
use crate::repository::Repository;
use crate::repository::lock::read_lock::ReadLock;
use crate::repository::manifest::read::ManifestReader;
use crate::repository::manifest::record::{
    ManifestRecord, MetaDigest, RecordedFields, RecordedHash,
};
use crate::repository::records::sidecar::Sidecar;
use crate::snapshot::name::{SnapshotName, SnapshotState};

pub(crate) const ALL: XattrSelection = XattrSelection { xattrs: true, acls: true };

/// The number of snapshots that stay open. Each takes several handles of the process limit.
const MOST_OPEN: usize = 32;

/// A name in a snapshot: the path inside it.
pub(crate) type NameIn = (SnapshotName, Vec<u8>);

/// The names that were backed up with some content and do not have it now; `None` is one that nothing but the manifest has.
pub(super) type Lacking = HashMap<RecordedHash, Vec<Option<NameIn>>>;

/// What an entry has to be, as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// From the manifest; `None` for a snapshot without one.
    pub(crate) meta: Option<(RecordedFields, MetaDigest)>,
    /// The hash in the manifest, or else in the attribute. Not known of what is no file.
    pub(crate) content: RecordedHash,
}

impl Recorded {
    /// Whether the metadata is what was recorded, if it was.
    pub(crate) fn is_meta(&self, meta: &Meta, target: Option<&[u8]>) -> bool {
        self.meta.is_none_or(|(fields, digest)| fields.digest(meta, target, true) == digest)
    }
}

/// A snapshot that is open.
pub(crate) struct OpenSnapshot {
    pub(crate) top: Dir,
    kept: Sidecar,
    pub(crate) manifest: Option<ManifestReader>,
    _stays: Option<ReadLock>,
}

/// The snapshots of one repository.
pub(crate) struct Side<'a> {
    pub(crate) repository: &'a Repository,
    open: HashMap<SnapshotName, Option<Arc<OpenSnapshot>>>,
}

/// The folder that contains an entry, and its name.
pub(crate) fn split(path: &[u8]) -> (Arc<TreePath>, CString) {
    let place = place_of(path);
    let parent = place.parent().map_or_else(|| TreePath::top(None), Arc::clone);
    (parent, place.name().to_owned())
}

impl<'a> Side<'a> {
    pub(crate) fn new(repository: &'a Repository) -> Self {
        Self { repository, open: HashMap::new() }
    }

    /// Opens a snapshot, and keeps it from removal; `None` when it does not exist.
    pub(crate) fn snapshot(
        &mut self,
        name: &SnapshotName,
    ) -> io::Result<Option<Arc<OpenSnapshot>>> {
        if let Some(open) = self.open.get(name) {
            return Ok(open.clone());
        }
        let opened = match self.opened(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(Arc::new(opened?)),
        };
        if self.open.len() >= MOST_OPEN {
            self.open.clear();
        }
        self.open.insert(name.clone(), opened.clone());
        Ok(opened)
    }

    fn opened(&self, name: &SnapshotName) -> io::Result<OpenSnapshot> {
        // The caller holds the lock of an incomplete snapshot, which excludes readers.
        let stays = (name.state == SnapshotState::Complete)
            .then(|| self.repository.lock_for_reading(name).map_err(|error| error.error));
        let manifest = match name.state {
            // A manifest that cannot be read proves nothing.
            SnapshotState::Complete => self.repository.manifest(name).ok().flatten(),
            _ => None,
        };
        Ok(OpenSnapshot {
            _stays: stays.transpose()?,
            top: self.repository.open_top(name)?,
            kept: self.repository.kept(name).map_err(|error| error.error)?,
            manifest,
        })
    }
}

impl OpenSnapshot {
    /// Opens a folder. Follows no symlink, and enters no mount point.
    pub(crate) fn folder(&self, place: &Arc<TreePath>) -> io::Result<Dir> {
        let chain = place.chain();
        chain[1..].iter().try_fold(self.top.try_clone()?, |dir, at| dir.child_here(at.name()))
    }

    /// The entry at `path` with the values that are kept beside the snapshot, and its folder.
    pub(crate) fn entry(&self, path: &[u8]) -> io::Result<Option<(Dir, CString, StoredEntry)>> {
        let (parent, name) = split(path);
        let dir = match self.folder(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            dir => dir?,
        };
        let found = held(&dir, &name, &self.kept.load(&parent)?, ALL)?;
        Ok(found.map(|found| (dir, name, found)))
    }

    /// The metadata of the inode at `path`.
    pub(crate) fn on_disk(&self, path: &[u8]) -> io::Result<Option<Meta>> {
        let (parent, name) = split(path);
        find(&self.folder(&parent)?, &name)
    }

    /// The folder `place` itself, with the values that are kept beside the snapshot.
    pub(crate) fn own(&self, place: &Arc<TreePath>) -> io::Result<(Dir, StoredEntry)> {
        let dir = self.folder(place)?;
        let xattrs = read_own(&dir, ALL)?;
        let found = StoredEntry { meta: dir.meta()?, target: None, xattrs, on_disk: true };
        let record = self.kept.load(place)?.remove(c"");
        let complete = record.and_then(|record| record.complete(Some(found.clone())));
        Ok((dir, complete.unwrap_or(found)))
    }

    /// The record of an entry in the manifest, and what the manifest covers.
    pub(crate) fn record(
        &self,
        path: &[u8],
    ) -> io::Result<Option<(RecordedFields, ManifestRecord)>> {
        let (parent, name) = split(path);
        let Some(manifest) = &self.manifest else { return Ok(None) };
        let Some(folder) = manifest.folder(&parent)? else { return Ok(None) };
        let record = folder.get(&name_digest(&name)).copied();
        Ok(record.map(|record| (manifest.coverage(), record)))
    }

    /// What the entry at `path` has to be by the manifest; `None` when nothing records it.
    pub(crate) fn recorded(&self, path: &[u8]) -> io::Result<Option<Recorded>> {
        let Some((fields, record)) = self.record(path)? else { return Ok(None) };
        let (parent, name) = split(path);
        let content = match record.content.is_known() {
            true => record.content,
            false => self.folder(&parent).and_then(|dir| borne(&dir, &name)).unwrap_or_default(),
        };
        Ok(Some(Recorded { meta: Some((fields, record.meta)), content }))
    }
}

/// The hash in the attribute of a file; the unknown one when there is none, or the entry is no file.
pub(crate) fn borne(dir: &Dir, name: &CStr) -> io::Result<RecordedHash> {
    if dir.stat(name)?.kind != Kind::File {
        return Ok(RecordedHash::default());
    }
    Ok(borne_by(&dir.open_file(name)?))
}

fn borne_by(file: &File) -> RecordedHash {
    let found = recorded(file).ok().flatten();
    let hash = |(method, bytes): (_, Vec<u8>)| {
        blake3::Hash::from_slice(&bytes).ok().map(|hash| RecordedHash::new(method, &hash))
    };
    found.and_then(hash).unwrap_or_default()
}

/// The digests of the names in a folder.
pub(super) fn digests(dir: &Dir) -> io::Result<HashSet<NameDigest>> {
    let mut names = HashSet::new();
    dir.names(|entry| {
        names.insert(name_digest(entry.name));
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

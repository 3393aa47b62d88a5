//! Writes the manifest of a complete snapshot: creates a missing one, or rewrites one to add hashes that the
//! files cannot store as attributes.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::entry::digest::{NameDigest, name_digest};
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, c_name};
use crate::fs::dir::Dir;
use crate::fs::file_system::capabilities::probe;
use crate::fs::file_system::reports_inodes;
use crate::fs::traverse::{Visitor, explore};
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::manifest;
use crate::repository::manifest::changes::FolderChanges;
use crate::repository::manifest::read::ManifestReader;
use crate::repository::manifest::record::RecordedHash;
use crate::repository::manifest::write::{Finished, Writer};
use crate::repository::store::Store;
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// Hashes of files that cannot store them as attributes, by inode number.
pub(crate) type Hashes = HashMap<u64, RecordedHash>;

/// A snapshot with its manifest.
struct SnapshotManifest {
    top: Dir,
    manifest: ManifestReader,
}

impl SnapshotManifest {
    fn open(repository: &Repository, name: &SnapshotName) -> io::Result<Option<Self>> {
        let folder = folder_name(name)?;
        let all = repository.store(Store::Manifests);
        let Some(manifest) = ManifestReader::open(all.as_ref(), &folder)? else { return Ok(None) };
        Ok(Some(Self { top: repository.open_top(name)?, manifest }))
    }
}

/// Writes the manifest of the complete snapshot `name`, unless a present manifest already has all of `hashes`.
/// Recorded hashes stay. Other hashes come from the attributes of the files, or from `hashes`. Folders that
/// equal those in the snapshot `before` share its records. Returns whether a manifest was written. The caller
/// must hold the lock of the job and prevent the removal of `name`.
///
/// # Errors
/// Any I/O error. The previous manifest then stays unchanged.
pub(crate) fn write(
    repository: &Repository,
    name: &SnapshotName,
    before: Option<&SnapshotName>,
    hashes: &Arc<Hashes>,
) -> io::Result<bool> {
    let folder = folder_name(name)?;
    let all = manifest::folder(repository)?;
    let own = SnapshotManifest::open(repository, name)?;
    let anew = own.is_some();
    if anew && hashes.is_empty() {
        return Ok(false);
    }
    let base = match (own, before) {
        (Some(own), _) => Some(own),
        (None, Some(before)) => SnapshotManifest::open(repository, before).ok().flatten(),
        (None, None) => None,
    };
    let coverage = match &base {
        Some(base) => base.manifest.coverage(),
        None => (&probe(repository.own.as_ref().ok_or(io::ErrorKind::NotFound)?)?).into(),
    };
    let packs = base.as_ref().map_or(&[][..], |base| &base.manifest.index.packs);
    let pack = (0_u32..)
        .map(|number| if number == 0 { name.to_string() } else { format!("{name}-{number}") })
        .find(|pack| !packs.contains(pack))
        .unwrap_or_default();
    let known = reports_inodes(&repository.dir);
    let top = repository.open_top(name)?;
    let reader = match &base {
        Some(base) => Some(base.manifest.reopened()?),
        None => None,
    };
    let unfinished = manifest::unfinished(name)?;
    let writer = Writer::create(Ok(all.try_clone()?), &unfinished, reader, coverage, known)
        .recording(pack, Arc::clone(hashes));
    let visit = Visit {
        writer: &writer,
        base: base.as_ref(),
        hashes,
        known,
        altered: AtomicBool::new(false),
        failed: Mutex::default(),
    };
    explore(&top, &TreePath::top(None), workers(), &visit);
    let altered = visit.altered.load(Ordering::Relaxed);
    let failed = unpoisoned(visit.failed.into_inner());
    let unfinished = c_name(unfinished)?;
    let done = match failed {
        Some(error) => Err(error),
        None if anew && !altered => Ok(false),
        None => writer.finish(&[], true).map(|()| true),
    };
    match done {
        Ok(true) => manifest::replace(&all, &unfinished, &folder).map(|()| true),
        done => {
            manifest::remove(&all, &unfinished)?;
            done
        }
    }
}

/// Records each visited folder.
struct Visit<'a> {
    writer: &'a Writer,
    base: Option<&'a SnapshotManifest>,
    hashes: &'a Hashes,
    /// Whether directory listings contain inode numbers.
    known: bool,
    /// Whether the records of a folder differ from those of the base.
    altered: AtomicBool,
    failed: Mutex<Option<io::Error>>,
}

/// The entries of a folder, sorted: name digests and inode numbers; the number is 0 for folders.
type Names = Vec<(NameDigest, u64)>;

fn names(dir: &Dir, mut each: impl FnMut(&CStr, bool)) -> io::Result<Names> {
    let mut names = Vec::new();
    let mut unknown = Vec::new();
    dir.names(|entry| {
        let ino = if entry.folder { 0 } else { entry.ino };
        names.push((name_digest(entry.name), ino));
        if entry.folder || entry.file {
            each(entry.name, entry.folder);
        } else {
            unknown.push(entry.name.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    for name in unknown {
        let is_folder = dir.find(&name)?.is_some_and(|meta| meta.kind == Kind::Folder);
        each(&name, is_folder);
    }
    names.sort_unstable();
    Ok(names)
}

impl Visit<'_> {
    /// Whether the folder `place` has the same entries as in the base, and its records there have every known
    /// hash.
    fn is_as_in_base(&self, place: &Arc<TreePath>, here: &Names, base: &Dir) -> bool {
        let is_same = self.known && names(base, |_, _| {}).is_ok_and(|base| base == *here);
        let lacks_none = |base: &SnapshotManifest| {
            let Ok(Some(records)) = base.manifest.folder(place) else { return false };
            here.iter()
                .filter(|(_, ino)| self.hashes.contains_key(ino))
                .all(|(name, _)| records.get(name).is_some_and(|record| record.content.is_known()))
        };
        is_same && self.base.is_some_and(lacks_none)
    }
}

impl Visitor for Visit<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        let here = names(dir, |name, is_folder| {
            if is_folder {
                enter(name);
            }
        })?;
        let base = self.base.and_then(|base| {
            let mut chain = place.chain().into_iter().skip(1);
            chain.try_fold(base.top.try_clone().ok()?, |dir, at| dir.child(at.name()).ok())
        });
        let changes = FolderChanges::default();
        if !base.as_ref().is_some_and(|base| self.is_as_in_base(place, &here, base)) {
            changes.alter();
            self.altered.store(true, Ordering::Relaxed);
        }
        // The owner may change the mode of the snapshot's top folder at any time, so its metadata is not
        // recorded.
        let own = if place.depth() > 0 { Some(dir.meta()?) } else { None };
        self.writer.folder(&Finished {
            place,
            here: dir,
            base: base.as_ref(),
            changes: &changes,
            partial: false,
            seen: here.len(),
            own,
        });
        Ok(())
    }

    fn failed(&self, _: &Arc<TreePath>, error: io::Error) {
        lock(&self.failed).get_or_insert(error);
    }

    fn enough(&self) -> bool {
        lock(&self.failed).is_some()
    }
}

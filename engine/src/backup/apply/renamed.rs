//! Stores files that the base has under another path.

use std::ffi::CStr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::apply::link::LinkedFrom;
use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::plan::planned::{Origin, PendingEntry, Planned};
use crate::backup::plan::{Verdict, verdict_of};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::tally::Batched;
use crate::entry::digest::Method;
use crate::entry::stored::StoredEntry;
use crate::entry::{FileId, Kind, ListedEntry};
use crate::fs::dir::Dir;
use crate::fs::traverse::open_if_here;
use crate::source::{BaseFile, ContentProof, Source};
use crate::threads::lock::lock;

impl<S: Source> SnapshotWriter<S> {
    /// Stores `item` from the one of `origins` that has its content according to the proof. Returns `false` when none has,
    /// or when it cannot be used: the run then reads the source.
    pub(crate) fn store_renamed(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        (item, origins): (&PendingEntry, &[Arc<Origin>]),
        (method, proof): (Method, ContentProof),
        done: &mut Batched,
    ) -> io::Result<bool> {
        let Some((origin, hash)) = self.proven(origins, method, proof) else { return Ok(false) };
        let (entry, over) = (ListedEntry::from(&item.entry), !folder.fresh);
        let Ok(dir) = origin.folder() else { return Ok(false) };
        let from = (&*dir, origin.name.as_c_str());
        folder.changes.alter();
        let verdict = verdict_of(entry, &origin.held, &self.walk.set.rules);
        let stored = match verdict {
            Verdict::Same if self.may_link_to(origin, &dir, (handles, entry.name)) => {
                let (held, record) = (Some(&origin.held), origin.record.as_ref());
                let from = LinkedFrom { dir: from.0, name: from.1, held, record };
                self.link_to(folder, handles, entry, &from, done)?
            }
            Verdict::Same | Verdict::Metadata => {
                self.copy_locally(folder, handles, from, entry, over, done)?
            }
            Verdict::New | Verdict::Changed => false,
        };
        if stored && !self.walk.halted() {
            folder.changes.stored(entry.name, method, &hash);
            self.walk.found_renamed((folder.area, &folder.place), entry.name, origin);
        }
        Ok(stored)
    }

    /// The first one of `origins` whose content is proven to be that of the source's file, and its hash.
    fn proven<'a>(
        &self,
        origins: &'a [Arc<Origin>],
        method: Method,
        proof: ContentProof,
    ) -> Option<(&'a Origin, blake3::Hash)> {
        // One that no file was renamed from yet can be linked.
        let mut origins: Vec<_> = origins.iter().collect();
        origins
            .sort_by_key(|origin| origin.held.meta.id.is_some_and(|id| self.is_renamed_from(id)));
        origins.into_iter().find_map(|origin| {
            // A file that cannot be read proves nothing.
            let hash = origin.open().and_then(|file| self.hash_of(&file, method)).ok()?;
            let is_equal = match proof {
                ContentProof::Hash(of_source) => hash == of_source,
                ContentProof::Samples => true,
            };
            is_equal.then_some((&**origin, hash))
        })
    }

    /// Whether a file under another path was linked to the base's inode `id`.
    pub(crate) fn is_renamed_from(&self, id: FileId) -> bool {
        self.has_renamed.load(Ordering::Relaxed) && lock(&self.renamed_from).contains(&id.ino)
    }

    /// Whether this walk linked the inode of a file that an earlier one stored as renamed: the source has the file again under its
    /// old path. If not, the walk copies it where it finds it there.
    pub(crate) fn is_put_back(
        &self,
        handles: &FolderHandles<S::Folder>,
        planned: &Planned<'_>,
    ) -> bool {
        let Planned { entry, base, here: Some(held), .. } = planned else { return false };
        let id = |held: &StoredEntry| held.meta.id;
        let is_apart = base.as_ref().and_then(id) != id(held);
        let is_grouped = self.walk.keep().hard_links && entry.meta.links > 1;
        let is_file = held.meta.kind == Kind::File && held.meta.links > 1;
        let (Some(since), Some(id)) = (self.walk_links_since, id(held)) else { return false };
        if !is_file || !is_apart || is_grouped {
            return false;
        }
        self.has_renamed.store(true, Ordering::Relaxed);
        lock(&self.renamed_from).insert(id.ino);
        let now = handles.here.as_ref().and_then(|here| here.stat(entry.name).ok());
        now.is_some_and(|now| now.ctime >= since)
    }

    /// Whether the snapshot has no other name of the origin's inode. In the source they are two files, and `restore` would
    /// make them one. A link changes the time of the last change of an inode (link(2)).
    fn may_link_to(
        &self,
        origin: &Origin,
        dir: &Dir,
        (handles, name): (&FolderHandles<S::Folder>, &CStr),
    ) -> bool {
        // A copy of a file that is gone fails, and then the run reads the source.
        let Ok(meta) = dir.stat(&origin.name) else { return false };
        let Some(id) = meta.id.filter(|id| Some(*id) == origin.held.meta.id) else { return false };
        let is_unlinked = self.links_since.is_some_and(|since| meta.ctime < since);
        self.has_renamed.store(true, Ordering::Relaxed);
        lock(&self.renamed_from).insert(id.ino)
            && (is_unlinked || self.are_all_known(origin, id, meta.links, (handles, name)))
    }

    /// Whether all `names` of the inode `id` are that of the origin in complete snapshots, and `own`, which an earlier attempt may have
    /// linked. The time of its last change moves also when a snapshot is removed to make room.
    fn are_all_known(
        &self,
        origin: &Origin,
        id: FileId,
        names: u64,
        (handles, own): (&FolderHandles<S::Folder>, &CStr),
    ) -> bool {
        let is_there = |top: &&Dir| {
            let found = open_if_here(top, &origin.place).and_then(|dir| dir.stat(&origin.name));
            found.is_ok_and(|found| found.id == Some(id))
        };
        let here = handles.here.as_ref().and_then(|here| here.stat(own).ok());
        let is_own = here.is_some_and(|here| here.id == Some(id));
        self.complete.iter().filter(is_there).count() as u64 + u64::from(is_own) == names
    }
}

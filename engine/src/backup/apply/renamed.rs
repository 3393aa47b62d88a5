//! Stores files that the base has under another path.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::apply::link::LinkedFrom;
use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::plan::planned::{Origin, PendingEntry};
use crate::backup::plan::{Verdict, verdict_of};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::tally::Batched;
use crate::entry::digest::Method;
use crate::entry::{FileId, ListedEntry};
use crate::fs::dir::Dir;
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
            Verdict::Same if self.may_link_to(origin, &dir) => {
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
            self.walk.found_renamed(folder, entry, origin);
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

    /// Whether the snapshot has no other name of the origin's inode. In the source they are two files, and `restore` would
    /// make them one. A link changes the time of the last change of an inode (link(2)).
    fn may_link_to(&self, origin: &Origin, dir: &Dir) -> bool {
        // A copy of a file that is gone fails, and then the run reads the source.
        let Ok(meta) = dir.stat(&origin.name) else { return false };
        let Some(id) = meta.id.filter(|id| Some(*id) == origin.held.meta.id) else { return false };
        let is_unlinked = self.links_since.is_some_and(|since| meta.ctime < since);
        self.has_renamed.store(true, Ordering::Relaxed);
        lock(&self.renamed_from).insert(id.ino) && is_unlinked
    }
}

//! Compares a file of the source with the base's copy without writing: it hashes the content while it arrives.
//! Only when the content differs does the run read it again and store it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::backup::apply::copy;
use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::plan::planned::PendingEntry;
use crate::backup::plan::{Action, Verdict};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::tally::Batched;
use crate::entry::digest::{Digest, Method};
use crate::entry::{Kind, Meta};
use crate::fs::metadata::xattrs;
use crate::source::{ContentProof, Source};

/// The hash so far of a file that is being compared.
pub(crate) struct Comparing {
    /// `None` until the first content arrives: a source may send only a proof.
    hasher: Option<Digest>,
    method: Method,
    length: u64,
    /// The proof that the source sent instead of the content.
    proof: Option<ContentProof>,
}

impl Comparing {
    /// Starts to compare a file with the metadata `meta`.
    pub(crate) fn new(meta: &Meta) -> Self {
        let method = Method::of(meta);
        Self { hasher: None, method, length: 0, proof: None }
    }

    pub(crate) fn method(&self) -> Method {
        self.method
    }

    fn hasher(&mut self) -> &mut Digest {
        self.hasher.get_or_insert_with(|| self.method.begin())
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        self.hasher().update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Hashes a hole as zeros. Returns `false` when `stop` returned true.
    pub(crate) fn hole(&mut self, length: u64, stop: &dyn Fn() -> bool) -> bool {
        self.length += length;
        self.hasher().zeros(length, stop)
    }

    /// Records that a file of `length` bytes was not sent because of `proof`.
    pub(crate) fn same(&mut self, length: u64, proof: ContentProof) {
        (self.length, self.proof) = (length, Some(proof));
    }

    /// The length of the content that was compared, bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of the content that arrived.
    pub(crate) fn hash(&self) -> blake3::Hash {
        self.hasher.as_ref().map_or_else(|| self.method.begin().finish(), Digest::finish)
    }

    /// What shows the content of the file.
    pub(crate) fn proof(&self) -> ContentProof {
        self.proof.unwrap_or_else(|| ContentProof::Hash(self.hash().into()))
    }
}

/// Whether the base probably has the content of a file, so that the run compares it before it stores it.
pub(crate) fn may_be_of_base(item: &PendingEntry) -> bool {
    let of_base =
        |base: &crate::entry::stored::StoredEntry| base.on_disk && base.meta.kind == Kind::File;
    item.step.action == Action::FetchAndCompare
        && item.renamed.is_none()
        && matches!(item.step.verdict, Verdict::Same | Verdict::Metadata)
        && item.base.as_ref().is_some_and(of_base)
}

/// Whether the open file is the one that was listed and has not changed since. `after` is its metadata from the
/// handle after the last byte. The size is not compared here: some file systems know it only after reading.
pub(crate) fn is_as_listed(listed: &Meta, after: &Meta) -> bool {
    // For files without an inode number, the source itself compares owner and mode.
    let same_rights = listed.id.is_none() || rights(listed) == rights(after);
    after.id == listed.id
        && after.mtime == listed.mtime
        && after.ctime == listed.ctime
        && same_rights
}

/// The owner, group and mode of a file.
pub(crate) fn rights(meta: &Meta) -> (u32, u32, u32) {
    (meta.uid, meta.gid, meta.mode)
}

impl<S: Source> SnapshotWriter<S> {
    /// The hash, by `method`, of the base's copy of `item`, see [`Self::hash_of`]. `None` when the copy cannot be opened.
    pub(crate) fn hash_in_base(
        &self,
        handles: &FolderHandles<S::Folder>,
        item: &PendingEntry,
        method: Method,
    ) -> io::Result<Option<blake3::Hash>> {
        let Some(base) = &handles.base else { return Ok(None) };
        let Ok(file) = base.open_file(&item.entry.name) else { return Ok(None) };
        self.hash_of(&file, method).map(Some)
    }

    /// The hash, by `method`, of a file of the base: the recorded hash, or with `--checksum` the hash of the content on
    /// disk.
    pub(crate) fn hash_of(&self, file: &File, method: Method) -> io::Result<blake3::Hash> {
        let recorded =
            if self.walk.keep().checksum { None } else { xattrs::hash_and_method(file)? };
        match recorded {
            Some((by, hash)) if by == method => Ok(hash),
            _ => copy::content_hash(file, method, &|| self.walk.halted()),
        }
    }

    /// Stores a file whose content equals the base's, from the base's copy. Returns `false` when that copy cannot be used.
    pub(crate) fn store_from_base(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        item: &PendingEntry,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let planned = item.planned();
        match (&handles.base, item.step.verdict) {
            (_, Verdict::Same) => self.link(folder, handles, &planned, done),
            (Some(base), Verdict::Metadata) => {
                let from = (base, item.entry.name.as_c_str());
                self.copy_locally(folder, handles, from, planned.entry, !folder.fresh, done)
            }
            _ => Ok(false),
        }
    }

    /// Corrects what was counted and reported about `item` when it was planned: its verdict is `found`.
    pub(crate) fn turned_out(
        &self,
        folder: &WalkFolder<S::Folder>,
        item: &mut PendingEntry,
        found: Verdict,
    ) {
        let planned = std::mem::replace(&mut item.step.verdict, found);
        if planned == found {
            return;
        }
        self.walk.tally.count(|counts| counts.turn(planned, found));
        self.walk.turned_out(folder, item, planned);
        self.walk.report_item(self.walk.item(folder, &item.planned()));
    }
}

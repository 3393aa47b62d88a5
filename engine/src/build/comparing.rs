//! Compares a file of the source with the base's copy of it, without writing: its content is hashed as
//! it comes. Only when it differs is it read again and stored.

use std::io;
use std::sync::Arc;

use super::content::Item;
use super::{Build, copy};
use crate::attrs;
use crate::entry::Kind;
use crate::folder::{Folder, Handles};
use crate::plan::{Action, Verdict};
use crate::source::Source;
use crate::tally::Batched;
use crate::walk::Walk;

/// A file that is being compared.
pub(super) struct Comparing {
    hasher: blake3::Hasher,
    length: u64,
}

impl Comparing {
    pub(super) fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), length: 0 }
    }

    pub(super) fn data(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// A hole is zeros. `false` when `stop` says that no more is wanted.
    pub(super) fn hole(&mut self, length: u64, stop: &dyn Fn() -> bool) -> bool {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut left = length;
        while left > 0 {
            if stop() {
                return false;
            }
            let count = left.min(ZEROS.len() as u64);
            self.hasher.update(&ZEROS[..count as usize]);
            left -= count;
        }
        self.length += length;
        true
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }
}

/// Whether the base most likely has the content of a file, so that it is compared before it is stored.
pub(super) fn may_be_of_base(item: &Item) -> bool {
    let of_base = |base: &crate::plan::Held| base.on_disk && base.meta.kind == Kind::File;
    item.step.action == Action::FetchAndCompare
        && matches!(item.step.verdict, Verdict::Same | Verdict::Metadata)
        && item.base.as_ref().is_some_and(of_base)
}

impl<S: Source> Walk<S, Build<S>> {
    /// The hash of what the base holds as `item`: the recorded one, or with `--checksum` that of what
    /// can be read there now. `None` when it cannot be read.
    pub(super) fn hash_in_base(
        &self,
        handles: &Handles<S::Folder>,
        item: &Item,
    ) -> io::Result<Option<blake3::Hash>> {
        let Some(base) = &handles.base else { return Ok(None) };
        let Ok(file) = base.open_file(&item.entry.name) else { return Ok(None) };
        let recorded = if self.keep().checksum { None } else { attrs::hash(&file)? };
        match recorded {
            Some(hash) => Ok(Some(hash)),
            None => copy::content_hash(&file, &|| self.halted()).map(Some),
        }
    }

    /// Stores a file from the base that was compared and has the base's content. `false` when the base's
    /// copy cannot be used after all.
    pub(super) fn store_from_base(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        item: &Item,
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

    /// What was counted and told of `item` when it was planned turned out otherwise.
    pub(super) fn turned_out(&self, folder: &Folder<S::Folder>, item: &mut Item, found: Verdict) {
        let planned = std::mem::replace(&mut item.step.verdict, found);
        if planned == found {
            return;
        }
        self.tally.count(|counts| counts.turn(planned, found));
        self.tell_item(self.item(folder, &item.planned()));
    }
}

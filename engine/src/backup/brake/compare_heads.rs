//! Compares the first bytes of a new or changed file with those of the file of the base that it replaces.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};

use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::brake::sample::{SAMPLE, looks_random};
use crate::backup::brake::tally::{Sampled, without_extension};
use crate::backup::plan::Action;
use crate::backup::plan::planned::{PendingEntry, Planned};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::entry::Kind;
use crate::entry::tree_path::place_of;
use crate::fs::dir::Dir;
use crate::fs::traverse::open_if_here;
use crate::source::Source;

impl<S: Source> SnapshotWriter<S> {
    /// Counts a stored file whose first bytes look random, or do not. The base is read only where they do.
    pub(crate) fn sampled(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        item: &PendingEntry,
        looks_random: Option<bool>,
    ) {
        let is_other = item.step.verdict.is_other_content();
        let Some(is_random) = looks_random.filter(|_| is_other) else { return };
        let sampled = match is_random {
            true => replaced(handles.base.as_ref(), item),
            false => Sampled::Ordinary,
        };
        let name = &item.entry.name;
        self.walk.changes.sampled(folder.area, sampled, || folder.place.source_of(name));
    }

    /// As [`Self::sampled`], for a file that an earlier, interrupted run stored.
    pub(crate) fn sampled_kept(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        planned: &Planned<'_>,
    ) {
        let Planned { entry, step, .. } = planned;
        let is_kept = matches!(step.action, Action::Keep | Action::Check);
        let is_other = step.verdict.is_other_content();
        let has_base = self.walk.set.base.top.is_some();
        if is_kept && is_other && has_base && entry.meta.kind == Kind::File {
            let bytes = handles.here.as_ref().and_then(|here| head(here, entry.name));
            let looks_random = bytes.and_then(|bytes| looks_random(&bytes));
            self.sampled(folder, handles, &PendingEntry::to_fetch(planned), looks_random);
        }
    }
}

/// How a file that looks random compares with the file of the base that it replaces.
fn replaced(base: Option<&Dir>, item: &PendingEntry) -> Sampled {
    let name = &item.entry.name;
    let of_base = item.base.as_ref().filter(|base| base.on_disk && base.meta.kind == Kind::File);
    let before = match (base, of_base) {
        (Some(base), Some(_)) => head(base, name),
        // An encrypted copy often has the old name with one more extension.
        (Some(base), None) => without_extension(name)
            .and_then(|name| CString::new(name).ok())
            .and_then(|name| head(base, &name)),
        (None, _) => None,
    };
    match before.as_deref().map(looks_random) {
        Some(Some(false)) => Sampled::TurnedRandom,
        Some(Some(true) | None) => Sampled::Ordinary,
        None if of_base.is_some() => Sampled::Ordinary,
        None => Sampled::NewRandom,
    }
}

/// Whether the file at the path `inside` of the base looks random. `None` when that is not known.
pub(crate) fn is_random_in(base: &Dir, inside: &[u8]) -> Option<bool> {
    let file = place_of(inside);
    let dir = open_if_here(base, file.parent()?).ok()?;
    looks_random(&head(&dir, file.name())?)
}

/// The first bytes of a file of the base. `None` when it is no file or cannot be read.
fn head(base: &Dir, name: &CStr) -> Option<Vec<u8>> {
    let read = |file: File| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(SAMPLE);
        file.take(SAMPLE as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    base.open_file(name).and_then(read).ok()
}

//! Tells a plan instead of carrying it out: the target of a dry run. Writes nothing.

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::bytes::shown;
use crate::dir::Dir;
use crate::entry::{Entry, FileId, Kind};
use crate::error::RunError;
use crate::event::Instead;
use crate::folder::{Folder, Handles};
use crate::forecast::{Change, ChangeKind, ChangeSink};
use crate::plan::{Action, Verdict};
use crate::source::Source;
use crate::tally::Batched;
use crate::walk::{Planned, Target, Walk};

/// Sends every difference to a sink and counts what a run would copy.
pub(crate) struct Preview {
    changes: Arc<dyn ChangeSink>,
    /// Hard-linked inodes that were counted: their content is copied once.
    counted: Mutex<HashSet<FileId>>,
}

impl Preview {
    pub(crate) fn new(changes: Arc<dyn ChangeSink>) -> Self {
        Self { changes, counted: Mutex::default() }
    }

    fn first_name(&self, meta: &crate::entry::Meta) -> bool {
        match meta.id.filter(|_| meta.links > 1) {
            Some(id) => self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert(id),
            None => true,
        }
    }
}

impl<S: Source> Target<S> for Preview {
    fn enter(
        _: &Arc<Walk<S, Self>>,
        _: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: &Entry,
    ) -> Result<(Option<Dir>, bool), RunError> {
        let here = handles.here.as_ref().and_then(|here| here.child(&entry.name).ok());
        let fresh = here.is_none();
        Ok((here, fresh))
    }

    fn apply(
        walk: &Arc<Walk<S, Self>>,
        folder: &Arc<Folder<S::Folder>>,
        _: &Arc<Handles<S::Folder>>,
        _: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    ) {
        let mut changes = Vec::new();
        let mut done = Batched::default();
        for Planned { entry, step, .. } in steps {
            let (file, counts) = (entry.meta.kind == Kind::File, &mut done.counts);
            let fetched = matches!(step.action, Action::Fetch | Action::FetchAndCompare);
            let fetched = file && fetched && walk.target.first_name(entry.meta);
            let bytes = if fetched { entry.meta.size } else { 0 };
            counts.copied += u64::from(fetched);
            counts.bytes_copied += bytes;
            match step.action {
                Action::Keep | Action::Check | Action::Mend => counts.kept += 1,
                Action::Link => {
                    counts.linked += 1;
                    counts.bytes_saved += if file { entry.meta.size } else { 0 };
                }
                _ => {}
            }
            let change = match step.verdict {
                Verdict::New => ChangeKind::New,
                Verdict::Changed => ChangeKind::Changed,
                Verdict::Metadata => ChangeKind::Metadata,
                Verdict::Same => continue,
            };
            let slash = if entry.meta.kind == Kind::Folder { "/" } else { "" };
            let path = shown(&folder.place.inside_of(entry.name)) + slash;
            changes.push(Change { change, path, bytes });
        }
        walk.tally.add(&done, None);
        if !changes.is_empty() {
            walk.target.changes.changes(&changes);
        }
    }

    fn deleted(
        walk: &Arc<Walk<S, Self>>,
        folder: &Folder<S::Folder>,
        name: &CStr,
        is_folder: bool,
    ) {
        let path = shown(&folder.place.inside_of(name)) + if is_folder { "/" } else { "" };
        walk.target.changes.changes(&[Change { change: ChangeKind::Deleted, path, bytes: 0 }]);
    }

    fn superfluous(
        _: &Arc<Walk<S, Self>>,
        _: &Folder<S::Folder>,
        _: &Dir,
        _: &CStr,
    ) -> Result<(), RunError> {
        Ok(())
    }

    fn unread(
        walk: &Arc<Walk<S, Self>>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        let handles = walk.handles(folder)?;
        let base = handles.base.as_ref();
        let held =
            name.is_empty() || base.is_some_and(|base| matches!(base.find(name), Ok(Some(_))));
        Ok(if held { Instead::CarriedForward } else { Instead::Nothing })
    }

    fn finish(_: &Arc<Walk<S, Self>>, _: &Folder<S::Folder>) -> Result<(), RunError> {
        Ok(())
    }
}

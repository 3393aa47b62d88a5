//! Reports a plan instead of carrying it out: the plan sink of a dry run. Writes nothing.

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

use crate::backup::change::{Change, ChangeKind, ChangeSink};
use crate::backup::plan::planned::{Origin, Planned, Renamed};
use crate::backup::plan::{Action, Verdict};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::plan_sink::{EnteredFolder, PlanSink};
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::tally::Batched;
use crate::entry::escape::shown;
use crate::entry::preserve::Preserve;
use crate::entry::{Entry, FileId, Kind, Meta, Time};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::mount::point::is_mount_point;
use crate::monitor::add;
use crate::monitor::event::Instead;
use crate::source::Source;
use crate::threads::lock::lock;

/// Sends every difference to a change sink, and counts what a run would copy.
pub(crate) struct Preview<S: Source> {
    walk: Arc<WalkState<S>>,
    changes: Arc<dyn ChangeSink>,
    /// The hard-linked inodes counted so far: a run copies their content once.
    counted: Mutex<HashSet<(FileId, Time)>>,
}

impl<S: Source> Preview<S> {
    pub(crate) fn new(walk: &Arc<WalkState<S>>, changes: Arc<dyn ChangeSink>) -> Self {
        Self { walk: Arc::clone(walk), changes, counted: Mutex::default() }
    }

    /// Whether an entry is the first name of its inode. The other names become hard links to it.
    fn first_name(&self, keep: Preserve, meta: &Meta) -> bool {
        let several = keep.hard_links && meta.links > 1 && meta.kind != Kind::Folder;
        match meta.id.filter(|_| several) {
            Some(id) => {
                let mut counted = lock(&self.counted);
                counted.insert((id, meta.ctime))
            }
            None => true,
        }
    }
}

impl<S: Source> PlanSink<S> for Preview<S> {
    fn enter(
        &self,
        parent: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: &Entry,
    ) -> Result<EnteredFolder, RunError> {
        let here = match handles.here.as_ref().map(|here| here.child_if_here(&entry.name)) {
            Some(Err(error)) if is_mount_point(&error) => {
                return Err(self.walk.destination(
                    "cannot open",
                    &parent.place,
                    &entry.name,
                    error,
                ));
            }
            opened => opened.and_then(Result::ok),
        };
        let fresh = here.is_none();
        Ok(EnteredFolder::Opened(here, fresh))
    }

    fn apply(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        _: &Arc<FolderHandles<S::Folder>>,
        _: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    ) {
        let mut changes = Vec::new();
        let (mut done, mut settled) = (Batched::default(), 0);
        for planned in steps {
            let Planned { entry, step, .. } = planned;
            let (meta, counts) = (entry.meta, &mut done.counts);
            let file = meta.kind == Kind::File;
            let mut bytes = 0;
            settled += entry.file_size();
            match step.action {
                _ if !self.first_name(self.walk.keep(), meta) => counts.hard_links += 1,
                Action::Keep | Action::Check | Action::UpdateMetadata => counts.kept += 1,
                Action::Link => {
                    counts.linked += 1;
                    counts.bytes_saved += if file { meta.size } else { 0 };
                }
                Action::FetchAndCompare
                    if matches!(step.verdict, Verdict::Same | Verdict::Metadata) =>
                {
                    counts.compared += 1;
                    counts.bytes_compared += meta.size;
                }
                _ if matches!(planned.renamed, Some(Renamed::Same(_))) => {
                    counts.renamed += 1;
                    let from = origin(planned).map_or(entry.name, |origin| &origin.name);
                    self.walk.changes.renamed(folder.area, from, entry.name);
                    counts.bytes_saved += meta.size;
                }
                Action::Fetch | Action::FetchAndCompare => {
                    bytes = meta.size;
                    counts.copied += 1;
                    counts.bytes_copied += bytes;
                }
                Action::CopyLocally => counts.bytes_saved += meta.size,
                Action::Enter | Action::Make => {}
            }
            if !self.walk.is_held_back(folder, planned) {
                changes.extend(change(folder, planned, bytes));
            }
        }
        self.walk.tally.add(&done, None);
        add(&self.walk.set.context.progress.bytes, settled);
        if !changes.is_empty() {
            self.changes.changes(&changes);
        }
    }

    fn change(&self, folder: &WalkFolder<S::Folder>, planned: &Planned<'_>) -> Option<Change> {
        change(folder, planned, 0)
    }

    fn report(&self, change: Change) {
        self.changes.changes(&[change]);
    }

    fn knows(&self, id: FileId, meta: &Meta) -> bool {
        let counted = lock(&self.counted);
        counted.contains(&(id, meta.ctime))
    }

    fn deleted(&self, folder: &WalkFolder<S::Folder>, name: &CStr, is_folder: bool) {
        let path = shown(&folder.place.inside_of(name)) + if is_folder { "/" } else { "" };
        self.changes.changes(&[Change {
            change: ChangeKind::Deleted,
            path,
            from: None,
            bytes: 0,
            file: None,
        }]);
    }

    fn left_out(&self, folder: &WalkFolder<S::Folder>, name: &CStr, is_folder: bool) {
        let path = shown(&folder.place.inside_of(name)) + if is_folder { "/" } else { "" };
        self.changes.changes(&[Change {
            change: ChangeKind::LeftOut,
            path,
            from: None,
            bytes: 0,
            file: None,
        }]);
    }

    fn superfluous(&self, _: &WalkFolder<S::Folder>, _: &Dir, _: &CStr) -> Result<(), RunError> {
        Ok(())
    }

    fn carry_forward(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        let handles = self.walk.handles(folder)?;
        let base = handles.base.as_ref();
        let held =
            name.is_empty() || base.is_some_and(|base| matches!(base.find(name), Ok(Some(_))));
        if held {
            self.walk.not_empty(folder, |change| self.report(change));
        }
        Ok(if held { Instead::CarriedForward } else { Instead::Nothing })
    }

    fn finish(&self, _: &WalkFolder<S::Folder>) -> Result<(), RunError> {
        Ok(())
    }
}

/// The file of the base that an entry probably was renamed from.
fn origin<'a>(planned: &'a Planned<'_>) -> Option<&'a Origin> {
    match &planned.renamed {
        Some(Renamed::Same(origins)) => origins.first().map(|origin| &**origin),
        _ => None,
    }
}

/// The change to report for an entry; `None` for an unchanged one.
fn change<F>(folder: &WalkFolder<F>, planned: &Planned<'_>, bytes: u64) -> Option<Change> {
    let from = origin(planned).map(|origin| shown(&origin.path()));
    let change = match planned.step.verdict {
        Verdict::New | Verdict::Changed if from.is_some() => ChangeKind::Renamed,
        Verdict::New => ChangeKind::New,
        Verdict::Changed => ChangeKind::Changed,
        Verdict::Metadata => ChangeKind::Metadata,
        Verdict::Same => return None,
    };
    let entry = planned.entry;
    let slash = if entry.meta.kind == Kind::Folder { "/" } else { "" };
    let file = (change == ChangeKind::New && entry.meta.kind == Kind::File)
        .then_some((entry.meta.size, entry.meta.mtime));
    let path = shown(&folder.place.inside_of(entry.name)) + slash;
    Some(Change { change, path, from, bytes, file })
}

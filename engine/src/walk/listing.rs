//! Takes the listing of a folder, and concludes from its end what is gone.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Target, Task, Walk, lock};
use crate::dir::Dir;
use crate::entry::Batch;
use crate::error::RunError;
use crate::folder::Folder;
use crate::source::{ListSink, Source, SourceError};
use crate::tally::Batched;

/// Takes a folder's listing.
pub(super) struct Listing<S: Source, T: Target<S>> {
    pub(super) walk: Arc<Walk<S, T>>,
    pub(super) folder: Arc<Folder<S::Folder>>,
    pub(super) listed: u64,
}

impl<S: Source, T: Target<S>> ListSink for Listing<S, T> {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        self.listed += batch.len() as u64;
        let walk = &self.walk;
        let result = walk.handles(&self.folder).and_then(|handles| match &handles.source {
            Some(source) => walk.process(&self.folder, source, batch.iter(), true),
            None => Ok(()),
        });
        if let Err(error) = result {
            walk.fail(error);
        }
        if walk.halted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn unreadable(&mut self, name: &CStr, error: SourceError) {
        self.listed += 1;
        if let Err(error) = self.walk.unread(&self.folder, name, error) {
            self.walk.fail(error);
        }
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        let (walk, folder) = (&self.walk, &self.folder);
        if walk.halted() {
            return;
        }
        let empty = self.listed == 0;
        let outcome = match result {
            Ok(()) if empty => walk.check_empty(folder).and_then(|()| walk.listed(folder)),
            Ok(()) => walk.listed(folder),
            Err(error) => walk.unlisted(folder, error),
        };
        if let Err(error) = outcome.and_then(|()| walk.settle(folder)) {
            walk.fail(error);
        }
    }
}

impl<S: Source, T: Target<S>> Walk<S, T> {
    /// Counts what was below `name`, which the base has and the source no longer.
    pub(super) fn gone(
        self: &Arc<Self>,
        parent: &Dir,
        name: &CStr,
        root: Option<usize>,
    ) -> Result<(), RunError> {
        let Ok(dir) = parent.child(name).map(Arc::new) else { return Ok(()) };
        let mut batched = Batched::default();
        // A base that cannot be read is counted as far as it can.
        let _ = dir.names(|entry| {
            batched.counts.deleted += 1;
            if entry.folder {
                let (parent, name) = (Arc::clone(&dir), entry.name.to_owned());
                self.queue.push(Task::Gone { parent, name, root });
            } else {
                batched.root.before += 1;
            }
            ControlFlow::Continue(())
        });
        self.tally.add(&batched, root);
        Ok(())
    }

    /// The listing of a folder is through: what it did not show is gone.
    pub(super) fn listed(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
    ) -> Result<(), RunError> {
        self.below(folder)?;
        let handles = self.handles(folder)?;
        if let Some(base) = handles.base.as_ref().and_then(|dir| dir.try_clone().ok()) {
            let base = Arc::new(base);
            let mut batched = Batched::default();
            let _ = base.names(|entry| {
                if !folder.saw(entry.name) {
                    batched.counts.deleted += 1;
                    T::deleted(self, folder, entry.name, entry.folder);
                    if entry.folder {
                        let (parent, name) = (Arc::clone(&base), entry.name.to_owned());
                        self.queue.push(Task::Gone { parent, name, root: folder.root });
                    } else {
                        batched.root.before += 1;
                    }
                }
                ControlFlow::Continue(())
            });
            self.tally.add(&batched, folder.root);
        }
        if folder.fresh {
            return Ok(());
        }
        let Some(here) = &handles.here else { return Ok(()) };
        let mut extra = Vec::new();
        here.names(|entry| {
            if !folder.saw(entry.name) {
                extra.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| self.destination("cannot list", &folder.place, c"", error))?;
        extra.iter().try_for_each(|name| T::superfluous(self, folder, here, name))
    }

    /// Whether an empty source root is one whose file system is not mounted.
    pub(super) fn check_empty(&self, folder: &Folder<S::Folder>) -> Result<(), RunError> {
        let roots = lock(&self.roots);
        let Some(root) = folder.root.and_then(|number| roots.get(number)) else { return Ok(()) };
        let is_root = folder.node.as_ref().is_some_and(|node| node.root && node.below.is_empty());
        let moved =
            root.file_system_before.is_some() && root.file_system_before != root.file_system;
        let mut held_something = false;
        if let Some(base) = folder.open_handles().as_ref().and_then(|handles| handles.base.as_ref())
        {
            let _ = base.names(|_| {
                held_something = true;
                ControlFlow::Break(())
            });
        }
        if is_root && moved && held_something && !self.set.accept_empty {
            return Err(RunError::Unmounted { path: root.path.clone() });
        }
        Ok(())
    }
}

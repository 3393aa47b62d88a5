//! Opens the folders of a walk in the source, the base and the incomplete snapshot. Opens them again if the walk had to
//! close their handles.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::walk::Walk;
use crate::backup::walk::expect::known::ConfirmedFolder;
use crate::backup::walk::folder::{FolderHandles, FolderParts, WalkFolder};
use crate::backup::walk::listing::Listing;
use crate::backup::walk::plan_sink::EnteredFolder;
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::CountedArea;
use crate::backup::walk::state::task::{Arrival, EnterBy, WalkTask};
use crate::entry::Entry;
use crate::entry::escape::shown_path;
use crate::entry::overlay::SidecarRecords;
use crate::entry::tree_path::TreePath;
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::monitor::event::Event;
use crate::snapshot::layout::{Layout, LayoutNode};
use crate::source::check_roots::OpenedRoots;
use crate::source::{ListSink, Root, Source};
use crate::threads::lock::lock;
use crate::threads::work_queue::WorkGuard;

/// A folder that the walk has opened again, from the top.
pub(crate) struct Reopened<F> {
    pub(crate) handles: Arc<FolderHandles<F>>,
    /// The source's current description of the folder; `None` when it cannot be opened.
    pub(crate) entry: Option<Entry>,
}

impl<S: Source> WalkState<S> {
    pub(crate) fn top(
        &self,
        node: &LayoutNode,
        partial: bool,
    ) -> Result<Arc<WalkFolder<S::Folder>>, RunError> {
        let found = match &node.path {
            Some(path) => Some(self.root(path, node.root)?),
            None => None,
        };
        let place = TreePath::top(node.path.clone());
        let clone = |dir: &Option<Dir>| dir.as_ref().map(Dir::try_clone).transpose();
        let broken = |error| self.destination("cannot open", &place, c"", error);
        let (base, here) = (
            clone(&self.set.base.top).map_err(broken)?,
            clone(&self.set.here.top).map_err(broken)?,
        );
        let (entry, source, root) = match found {
            Some((found, root)) => (Some(found.entry), Some(found.folder), root),
            None => (None, None, None),
        };
        let dev = entry.as_ref().and_then(|entry| entry.meta.id).map(|id| id.dev);
        let rules = self.rules_at_top(node)?;
        Ok(WalkFolder::new(FolderParts {
            rules,
            entry,
            area: root,
            dev,
            covered: false,
            node: Some(node.clone()),
            whole: node.root,
            fresh: false,
            partial,
            folds_case: self.set.folds_case,
            base_records: self.set.base.kept.load(&place).map_err(broken)?,
            here_records: self.set.here.kept.load(&place).map_err(broken)?,
            place,
            handles: Arc::new(FolderHandles::new(source, base, here, &self.open)),
        }))
    }

    /// Opens a folder of the layout on the source. For a source root, also returns its number.
    pub(crate) fn root(
        &self,
        path: &Path,
        is_root: bool,
    ) -> Result<(Root<S::Folder>, Option<usize>), RunError> {
        let failed = |error| RunError::Root { path: path.to_owned(), error };
        let looked = lock(&self.looked).remove(path);
        let found = looked.map_or_else(|| self.source.root(path), Ok).map_err(failed)?;
        if !is_root {
            return Ok((found, None));
        }
        if found.entry.meta.id == Some(self.set.backups) {
            let (path, backups) = (path.to_owned(), self.set.backups_dir.clone());
            return Err(RunError::InsideBackups { path, backups });
        }
        let mut roots = lock(&self.roots);
        let number = roots.iter().position(|root| root.path == path);
        let first = number.is_some_and(|number| roots[number].file_system.is_none());
        if found.was_link && first {
            self.event(&Event::RootIsLink { path: shown_path(path) });
        }
        if let Some(root) = number.and_then(|number| roots.get_mut(number)) {
            root.file_system.clone_from(&found.file_system);
            root.inode = found.entry.meta.id.map(|id| id.ino);
        }
        Ok((found, number))
    }

    /// Opens every source root and the folders above them before the walk draws a conclusion from any of them, unless
    /// `opened` has them. The walk then uses the results, because each request over a slow network costs a round trip.
    ///
    /// # Errors
    /// When a source root is missing or cannot be opened.
    pub(crate) fn look_at_roots(
        &self,
        layout: &Layout,
        opened: OpenedRoots<S::Folder>,
    ) -> Result<(), RunError> {
        let mut paths = layout.paths();
        paths.retain(|path| opened.iter().all(|(found, _)| found != path));
        lock(&self.looked).extend(opened);
        let found: Vec<_> = paths.iter().cloned().zip(self.source.roots(&paths)).collect();
        let roots: Vec<_> = lock(&self.roots).iter().map(|root| root.path.clone()).collect();
        for (path, found) in found {
            match found {
                Ok(found) => drop(lock(&self.looked).insert(path, found)),
                Err(error) if roots.contains(&path) => return Err(RunError::Root { path, error }),
                // The walk will report it.
                Err(_) => {}
            }
        }
        for path in roots {
            let (found, _) = self.root(&path, true)?;
            lock(&self.looked).insert(path, found);
        }
        Ok(())
    }

    /// The handles of `folder`. Opens them again from the top if they were closed.
    pub(crate) fn handles(
        &self,
        folder: &WalkFolder<S::Folder>,
    ) -> Result<Arc<FolderHandles<S::Folder>>, RunError> {
        match folder.open_handles() {
            Some(handles) => Ok(handles),
            None => {
                let Reopened { handles, .. } = self.reopen(&folder.place)?;
                folder.set_handles(Some(Arc::clone(&handles)));
                Ok(handles)
            }
        }
    }

    /// Opens `place` from the top, one name at a time.
    pub(crate) fn reopen(&self, place: &Arc<TreePath>) -> Result<Reopened<S::Folder>, RunError> {
        let chain = place.chain();
        let (mut source, mut entry, mut lost) = (None, None, None);
        let clone = |dir: &Option<Dir>| dir.as_ref().map(Dir::try_clone).transpose();
        let broken = |error| self.destination("cannot open again", place, c"", error);
        let mut base = clone(&self.set.base.top).map_err(broken)?;
        let mut here = clone(&self.set.here.top).map_err(broken)?;
        for (depth, place) in chain.iter().enumerate() {
            if depth > 0 {
                base = base.and_then(|base| base.child_if_here(place.name()).ok());
                here =
                    here.map(|here| here.child_here(place.name())).transpose().map_err(broken)?;
            }
            if let Some(path) = place.origin() {
                let (found, _) = self.root(path, false)?;
                (source, entry, lost) = (Some(found.folder), Some(found.entry), None);
            } else if let Some(parent) = source.take() {
                let looked = self.source.look(&parent, place.name());
                let opened = looked.and_then(|looked| {
                    let folder = self.source.folder(&parent, place.name(), &looked.meta)?;
                    Ok((Arc::new(folder), looked))
                });
                match opened {
                    Ok((folder, looked)) => (source, entry) = (Some(folder), Some(looked)),
                    Err(error) => (entry, lost) = (None, Some(error)),
                }
            } else {
                entry = None;
            }
        }
        let handles = FolderHandles::new(source, base, here, &self.open).without_source(lost);
        Ok(Reopened { handles: Arc::new(handles), entry })
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Lists a folder of the source. For a folder above a source root, it takes the entries from the layout.
    pub(crate) fn list(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        hold: Option<WorkGuard<WalkTask<S::Folder>>>,
        confirmed: Option<Box<ConfirmedFolder>>,
    ) -> Result<(), RunError> {
        // On a local disk, looking up rule files costs almost nothing. A source that answers later shows them in the listing.
        if !(self.state.later() && folder.whole && self.state.set.filters.has_rule_files()) {
            self.state.look_for_rules(folder)?;
        }
        if let Some(confirmed) = confirmed.filter(|_| folder.whole) {
            return self.known(folder, *confirmed);
        }
        let source = folder.open_handles().and_then(|handles| handles.source.clone());
        if let Some(source) = source.filter(|_| folder.whole) {
            self.ask(folder, &source, hold, true);
            return Ok(());
        }
        let (walk, folder, arrival) = (Arc::clone(self), Arc::clone(folder), Arrival::new(hold));
        (Box::new(Listing { walk, folder, arrival }) as Box<dyn ListSink>).end(Ok(()));
        Ok(())
    }

    pub(crate) fn enter(
        self: &Arc<Self>,
        parent: &Arc<WalkFolder<S::Folder>>,
        entry: Entry,
        by: EnterBy<S::Folder>,
        beyond: CountedArea,
    ) -> Result<(), RunError> {
        // The request counts as outstanding until the listing is complete.
        let EnterBy { begun, found, confirmed } = by;
        let handles = self.state.handles(parent)?;
        let opened = match &found {
            Some(found) => Ok(Arc::clone(&found.source)),
            None => handles.source().and_then(|source| {
                self.state.source.folder(source, &entry.name, &entry.meta).map(Arc::new)
            }),
        };
        let source = match opened {
            Ok(source) => source,
            Err(error) => {
                self.unread(parent, &entry.name, error)?;
                return self.settle(parent);
            }
        };
        let origin = found.as_ref().and_then(|found| found.node.path.clone());
        let place = parent.place.child(&entry.name, origin);
        let base = handles.base.as_ref().and_then(|base| base.child_if_here(&entry.name).ok());
        let EnteredFolder::Opened(here, fresh) = self.sink.enter(parent, &handles, &entry)? else {
            return self.settle(parent);
        };
        let broken =
            |error| self.state.destination("cannot read what is kept beside", &place, c"", error);
        // A folder of the layout inside a source root belongs to that root, so the walk lists all of it.
        let is_root = found.as_ref().is_some_and(|found| found.node.root);
        let left_out = found.as_ref().is_some_and(|found| found.left_out);
        let rules = self.state.rules_around(parent, place.origin().map(PathBuf::as_path))?;
        let covered = beyond.left_out;
        let whole = !left_out && (is_root || ((found.is_none() || parent.whole) && !covered));
        let dev = entry.meta.id.map(|id| id.dev);
        let (node, area) = match found {
            Some(found) => (Some(found.node), found.root.or(parent.area)),
            None => (None, beyond.area),
        };
        self.state
            .set
            .context
            .progress
            .set_folder(|| crate::entry::escape::shown(&place.source_of(c"")));
        let folder = WalkFolder::new(FolderParts {
            entry: Some(entry),
            rules,
            node,
            area,
            dev,
            covered,
            whole,
            fresh,
            partial: false,
            folds_case: self.state.set.folds_case,
            base_records: self.state.set.base.kept.load(&place).map_err(broken)?,
            here_records: if fresh {
                SidecarRecords::new()
            } else {
                self.state.set.here.kept.load(&place).map_err(broken)?
            },
            place: Arc::clone(&place),
            handles: Arc::new(FolderHandles::new(Some(source), base, here, &self.state.open)),
        });
        drop(handles);
        self.settle(parent)?;
        self.list(&folder, begun, confirmed)?;
        if self.state.open.load(Ordering::Relaxed) > self.state.set.most_open {
            folder.set_handles(None);
        }
        self.state.close_waiting(parent);
        Ok(())
    }
}

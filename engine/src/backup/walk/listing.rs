//! Receives the listing of a folder, and determines at its end which entries are gone.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::walk::Walk;
use crate::backup::walk::expect::known::{BaseNamesLeft, Compared, Confirmation, ConfirmedFolder};
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::renames::deferred::GoneFromFolder;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::tally::Batched;
use crate::backup::walk::state::task::{Arrival, WalkTask};
use crate::entry::tree_path::TreePath;
use crate::entry::{Batch, Kind};
use crate::error::RunError;
use crate::filter::scope::Judging;
use crate::fs::dir::Dir;
use crate::source::{ListSink, Source, SourceError};
use crate::threads::lock::lock;

/// Receives the listing of a folder. Entries from a source that answers at once are processed at once. Those from a source
/// that answers later, on a thread of its own, become tasks for the workers.
pub(crate) struct Listing<S: Source, T: PlanSink<S>> {
    pub(crate) walk: Arc<Walk<S, T>>,
    pub(crate) folder: Arc<WalkFolder<S::Folder>>,
    pub(crate) arrival: Arc<Arrival<S::Folder>>,
}

impl<S: Source, T: PlanSink<S>> ListSink for Listing<S, T> {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        let (walk, arrival) = (&self.walk, &self.arrival);
        arrival.empty.fetch_and(batch.is_empty(), Ordering::Relaxed);
        if self.folder.awaits_rules() {
            lock(&arrival.waiting).batches.push(batch);
            return if walk.state.halted() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        arrival.parts.fetch_add(1, Ordering::Relaxed);
        if walk.state.later() {
            let (folder, arrival) = (Arc::clone(&self.folder), Arc::clone(arrival));
            let waits = walk.state.arrived.acquire(batch.bytes() as u64);
            walk.state.queue.push(WalkTask::Arrived { folder, batch, arrival, waits });
        } else if let Err(error) = walk.arrived(&self.folder, &batch, arrival) {
            walk.state.fail(error);
        }
        if walk.state.halted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn unreadable(&mut self, name: &CStr, error: SourceError) {
        self.arrival.empty.store(false, Ordering::Relaxed);
        if self.folder.awaits_rules() {
            lock(&self.arrival.waiting).unreadable.push((name.to_owned(), error));
        } else if self.walk.state.leaves_out_unseen(&self.folder, name) {
            self.walk.state.tally.count(|counts| counts.left_out += 1);
        } else if let Err(error) = self.walk.unread(&self.folder, name, error) {
            self.walk.state.fail(error);
        }
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        let Self { walk, folder, arrival } = *self;
        if let Err(error) = result {
            arrival.broke_off(error);
        }
        if !arrival.through() {
            return;
        }
        if walk.state.later() {
            walk.state.queue.push(WalkTask::Listed { folder, arrival });
        } else if let Err(error) = walk.listing_ended(&folder, &arrival) {
            walk.state.fail(error);
        }
    }
}

impl<S: Source> WalkState<S> {
    /// Counts the base's entries in the folder `name`, which the source no longer has or the filters now leave out.
    pub(crate) fn gone(
        &self,
        (parent, above): (&Dir, &Arc<TreePath>),
        name: &CStr,
        area: Option<usize>,
        left_out: bool,
    ) -> Result<(), RunError> {
        let Ok(dir) = parent.child_if_here(name).map(Arc::new) else { return Ok(()) };
        let place = above.child(name, None);
        if !left_out {
            self.collect_gone(&place, &dir);
        }
        let (mut batched, mut changes) = (Batched::default(), self.changes.counts(area));
        // Of a base that cannot be read completely, the readable part is counted.
        let _ = dir.names(|entry| {
            batched.counts.deleted += u64::from(!left_out);
            if entry.folder {
                let (parent, name) = (Arc::clone(&dir), entry.name.to_owned());
                let place = Arc::clone(&place);
                self.queue.push(WalkTask::Gone { parent, place, name, area, left_out });
            } else if left_out {
                batched.root.left_out += 1;
            } else {
                batched.root.before += 1;
                changes.gone(entry.name, || place.inside_of(entry.name));
            }
            ControlFlow::Continue(())
        });
        self.tally.add(&batched, area);
        self.changes.add(area, changes);
        Ok(())
    }

    /// Counts the base's entry `name` in `folder`, which the filters now leave out, with all its content.
    pub(crate) fn count_left_out(
        &self,
        folder: &WalkFolder<S::Folder>,
        name: &CStr,
        area: Option<usize>,
    ) -> Result<(), RunError> {
        let handles = self.handles(folder)?;
        let Some(base) = &handles.base else { return Ok(()) };
        match base.find(name) {
            Ok(Some(meta)) if meta.kind == Kind::Folder => {
                let Ok(parent) = base.try_clone().map(Arc::new) else { return Ok(()) };
                let (name, place) = (name.to_owned(), Arc::clone(&folder.place));
                self.queue.push(WalkTask::Gone { parent, place, name, area, left_out: true });
            }
            Ok(Some(_)) => {
                let mut batched = Batched::default();
                batched.root.left_out = 1;
                self.tally.add(&batched, area);
            }
            // An entry that the base does not have, or that cannot be read, is not counted.
            _ => {}
        }
        Ok(())
    }

    /// Checks whether an empty source root is one whose file system is not mounted.
    pub(crate) fn check_empty(&self, folder: &WalkFolder<S::Folder>) -> Result<(), RunError> {
        let roots = lock(&self.roots);
        let Some(root) = folder.area.and_then(|number| roots.get(number)) else { return Ok(()) };
        let is_root = folder.node.as_ref().is_some_and(|node| node.root && node.below.is_empty());
        let moved =
            root.file_system_before.is_some() && root.file_system_before != root.file_system;
        let held_something = folder.open_handles().is_some_and(|handles| {
            [&handles.base, &handles.here].into_iter().flatten().any(|dir| {
                let mut any = false;
                let _ = dir.names(|_| {
                    any = true;
                    ControlFlow::Break(())
                });
                any
            })
        });
        if is_root && moved && held_something && !self.set.accept_empty {
            return Err(RunError::Unmounted { path: root.path.clone() });
        }
        Ok(())
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Processes some entries of a folder. After the last batch, handles the end of the listing.
    pub(crate) fn arrived(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        batch: &Batch,
        arrival: &Arrival<S::Folder>,
    ) -> Result<(), RunError> {
        let handles = self.state.handles(folder)?;
        match handles.source() {
            Ok(source) => self.process(folder, source, batch.iter().map(Compared::from), true)?,
            // The handle was closed meanwhile, and the folder cannot be opened again: the listing counts as failed.
            Err(error) => arrival.broke_off(error),
        }
        drop(handles);
        if arrival.through() { self.listing_ended(folder, arrival) } else { Ok(()) }
    }

    /// Handles the end of the listing of a folder, complete or failed.
    pub(crate) fn listing_ended(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        arrival: &Arrival<S::Folder>,
    ) -> Result<(), RunError> {
        if self.state.halted() {
            return Ok(());
        }
        let mut result = std::mem::replace(&mut *lock(&arrival.result), Ok(()));
        let asked = lock(&arrival.asked).take();
        let (mut listed, mut others) = (true, BaseNamesLeft::Possible);
        if let Some(asked) = asked.filter(|_| result.is_ok()) {
            match self.answered(folder, asked)? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(Confirmation::Listed) => {}
                ControlFlow::Continue(Confirmation::Same(left)) => (listed, others) = (false, left),
                ControlFlow::Continue(Confirmation::Failed(error)) => result = Err(error),
            }
        }
        match result {
            Ok(()) => {
                if listed {
                    self.waited(folder, arrival)?;
                    if arrival.empty.load(Ordering::Relaxed) {
                        self.state.check_empty(folder)?;
                    }
                }
                self.listed(folder, others)?;
            }
            Err(error) => self.unlisted(folder, error)?,
        }
        if self.state.renames.collects() {
            self.state.renames.listed(folder);
        }
        self.state.close_waiting(folder);
        self.settle(folder)
    }

    /// Processes a folder whose content the source confirmed together with that of a folder above it.
    pub(crate) fn known(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        confirmed: ConfirmedFolder,
    ) -> Result<(), RunError> {
        let ConfirmedFolder { folder: known, hold } = confirmed;
        match self.confirmed(folder, known, &hold)? {
            Ok(others) => self.listed(folder, others)?,
            Err(error) => self.unlisted(folder, error)?,
        }
        self.settle(folder)
    }

    /// Reads the rule files that the listing shows, then processes the entries that waited for them.
    fn waited(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        arrival: &Arrival<S::Folder>,
    ) -> Result<(), RunError> {
        if !folder.awaits_rules() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut *lock(&arrival.waiting));
        let handles = self.state.handles(folder)?;
        let mut find = |name: &CStr| Ok(waiting.find(name));
        self.state.read_rules(folder, handles.source.as_ref(), &mut find)?;
        if let Some(source) = &handles.source {
            for batch in &waiting.batches {
                self.process(folder, source, batch.iter().map(Compared::from), true)?;
            }
        }
        for (name, error) in waiting.unreadable {
            if self.state.leaves_out_unseen(folder, &name) {
                self.state.tally.count(|counts| counts.left_out += 1);
            } else {
                self.unread(folder, &name, error)?;
            }
        }
        Ok(())
    }

    /// Handles a complete listing of a folder: the entries of the base and of the incomplete snapshot that it does not have
    /// are gone or left out. `others` says whether the base can have such entries.
    pub(crate) fn listed(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        others: BaseNamesLeft,
    ) -> Result<(), RunError> {
        self.below(folder)?;
        let handles = self.state.handles(folder)?;
        if folder.covered && self.keep_covered(folder, &handles)? {
            return Ok(());
        }
        let planted = |name: &CStr| {
            folder.node.as_ref().is_some_and(|node| node.below.contains_key(name.to_bytes()))
        };
        let base = handles.base.as_ref().filter(|_| others == BaseNamesLeft::Possible);
        if let Some(base) = base.and_then(|dir| dir.try_clone().ok()) {
            let base = Arc::new(base);
            let mut batched = Batched::default();
            let mut changes = self.state.changes.counts(folder.area);
            let mut gone =
                self.state.renames.collects().then(|| self.state.renames.gone_from(&folder.place));
            let mut judging = folder.scope().map(|scope| scope.judging());
            let mut left_out = |name: &CStr, is_folder| {
                let judge =
                    |judging: &mut Judging<'_>| !judging.judge(name.to_bytes(), is_folder).included;
                judging.as_mut().is_some_and(judge)
            };
            let _ = base.names(|entry| {
                if !folder.saw(entry.name) && left_out(entry.name, entry.folder) {
                    // The filters leave it out as the user wants, so it does not count as deleted.
                    self.sink.left_out(folder, entry.name, entry.folder);
                    // An entry of the layout was counted when the walk planned the layout.
                    let counted = planted(entry.name);
                    if entry.folder && !counted {
                        let (parent, name) = (Arc::clone(&base), entry.name.to_owned());
                        let (area, place) = (folder.area, Arc::clone(&folder.place));
                        self.state.queue.push(WalkTask::Gone {
                            parent,
                            place,
                            name,
                            area,
                            left_out: true,
                        });
                    }
                    batched.root.left_out += u64::from(!entry.folder && !counted);
                } else if !folder.saw(entry.name) {
                    batched.counts.deleted += 1;
                    if let Some(items) = &self.state.set.context.items {
                        crate::backup::itemize::deleted(items, folder, entry.name, entry.folder);
                    }
                    self.sink.deleted(folder, entry.name, entry.folder);
                    if entry.folder {
                        if !planted(entry.name) {
                            self.state.note_gone(folder, entry.name);
                        }
                        let (parent, name) = (Arc::clone(&base), entry.name.to_owned());
                        let (area, place) = (folder.area, Arc::clone(&folder.place));
                        self.state.queue.push(WalkTask::Gone {
                            parent,
                            place,
                            name,
                            area,
                            left_out: false,
                        });
                    } else {
                        batched.root.before += 1;
                        changes.gone(entry.name, || folder.place.inside_of(entry.name));
                        let records = &folder.base_records;
                        let look = |it: &mut GoneFromFolder<'_>| {
                            self.state.look_at_gone(&base, records, entry.name, it)
                        };
                        gone.take_if(|it| !look(it));
                    }
                }
                ControlFlow::Continue(())
            });
            self.state.tally.add(&batched, folder.area);
            self.state.changes.add(folder.area, changes);
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
        .map_err(|error| self.state.destination("cannot list", &folder.place, c"", error))?;
        extra.iter().try_for_each(|name| self.sink.superfluous(folder, here, name))
    }
}

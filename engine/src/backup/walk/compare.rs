//! Compares the entries of a folder with the base and the incomplete snapshot, and plans their steps.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::brake::tally::ChangeCounts;
use crate::backup::plan::planned::{PendingEntry, Planned};
use crate::backup::plan::{Action, KnownEntries, Verdict, plan};
use crate::backup::walk::Walk;
use crate::backup::walk::expect::known::Compared;
use crate::backup::walk::folder::overflow::Waits;
use crate::backup::walk::folder::subfolders::{Subfolders, Waiting};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::CountedArea;
use crate::backup::walk::state::tally::Batched;
use crate::backup::walk::state::task::{EnterBy, LayoutFolder, WalkTask};
use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, Kind, ListedEntry, Time};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::monitor::add;
use crate::monitor::event::{Event, Instead};
use crate::source::Source;
use crate::source::files_from::Selection;

/// The most folders of another machine that may wait to be entered. They take about 100 MiB. No real tree has nearly as
/// many.
const WAITING: usize = 1_000_000;

impl<S: Source> WalkState<S> {
    /// Reports an entry whose extended attributes cannot be read.
    fn report_unread_attributes(&self, folder: &WalkFolder<S::Folder>, entry: ListedEntry<'_>) {
        if entry.extra.is_some_and(|extra| extra.xattrs_unread) {
            let what = "its extended attributes cannot be read: their names take more than the 64 KiB that the system lists";
            self.problem(&folder.place.source_of(entry.name), what, Instead::Partly);
        }
    }

    /// Counts the base's entry under the path of `planned`. If that was a folder and is none now, counts its content too.
    fn count_base(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        planned: &Planned<'_>,
        area: Option<usize>,
        batched: &mut Batched,
    ) {
        let Some(base) = &planned.base else { return };
        if base.meta.kind != Kind::Folder {
            batched.root.before += 1;
        } else if planned.entry.meta.kind != Kind::Folder
            && let Some(dir) = handles.base.as_ref().and_then(|dir| dir.try_clone().ok())
        {
            self.note_gone(folder, planned.entry.name);
            let (parent, name) = (Arc::new(dir), planned.entry.name.to_owned());
            let place = Arc::clone(&folder.place);
            self.queue.push(WalkTask::Gone { parent, place, name, area, left_out: false });
        }
    }

    /// Counts an entry of `folder` for the brake on mass changes.
    fn count_change(
        &self,
        folder: &WalkFolder<S::Folder>,
        planned: &Planned<'_>,
        changes: &mut ChangeCounts,
    ) {
        let Planned { entry, base, step, .. } = planned;
        let base = base.as_ref().map(|base| &base.meta);
        changes.entry((entry.name, entry.meta), base, step.verdict, self.set.base_since, || {
            folder.place.source_of(entry.name)
        });
    }

    /// Corrects what was counted of `item`, whose verdict was `planned`.
    pub(crate) fn turned_out(
        &self,
        folder: &WalkFolder<S::Folder>,
        item: &PendingEntry,
        planned: Verdict,
    ) {
        if planned == Verdict::Changed {
            return self.changes.is_unchanged(folder.area);
        }
        let mut changes = ChangeCounts::default();
        self.count_change(folder, &item.planned(), &mut changes);
        self.changes.add(folder.area, changes);
    }

    /// Completes the base's entry of a folder. Its sidecar record is in the file of that folder, not of its parent.
    pub(crate) fn with_own_record(
        &self,
        parent: &Arc<TreePath>,
        name: &CStr,
        base: Option<StoredEntry>,
    ) -> Option<StoredEntry> {
        if !self.set.base.kept.any() {
            return base;
        }
        let place = parent.child(name, None);
        match self.set.base.kept.load(&place).ok().and_then(|mut own| own.remove(c"")) {
            Some(own) => own.complete(base),
            None => base,
        }
    }

    /// Plans an entry. `base` is that of the base, if it was looked up before.
    pub(crate) fn plan<'a>(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: ListedEntry<'a>,
        base: Option<StoredEntry>,
    ) -> Result<Planned<'a>, RunError> {
        // The run copies an entry again if it cannot read the base's.
        let look = |dir: &Option<Dir>, records: &SidecarRecords| match dir {
            Some(dir) => self.held(dir, entry.name, records),
            None => Ok(None),
        };
        let is_folder = entry.meta.kind == Kind::Folder;
        let mut base = base.or_else(|| match look(&handles.base, &folder.base_records) {
            Ok(base) if is_folder => self.with_own_record(&folder.place, entry.name, base),
            Ok(base) => base,
            Err(_) if is_folder => self.with_own_record(&folder.place, entry.name, None),
            Err(_) => None,
        });
        let mut here = if folder.fresh {
            None
        } else {
            look(&handles.here, &folder.here_records).map_err(|error| {
                self.destination("cannot look at", &folder.place, entry.name, error)
            })?
        };
        let damaged = base.take_if(|base| self.is_damaged(folder, entry.name, base));
        if let Some(damaged) = &damaged {
            // An earlier run may have linked the damaged file before the damage was known.
            here = here.filter(|here| here.meta.id != damaged.meta.id);
            self.heals(folder, entry, damaged);
        }
        // An interrupted run may have linked a file to another path before its damage was known.
        here = here
            .filter(|here| here.meta.id.is_none_or(|id| !self.set.damaged_inodes.contains(&id)));
        let trust = self.set.trust;
        let here_durable = here.as_ref().is_none_or(|here| trust.covers(here, base.as_ref()));
        // After a failed sync, the page cache may differ from the disk, so a matching hash proves nothing.
        let worthless = entry.meta.kind == Kind::File && !here_durable && !trust.checkable;
        let known = KnownEntries {
            base: base.as_ref(),
            here: here.as_ref().filter(|_| !worthless),
            here_durable,
            base_since: self.set.base_since,
            here_since: here.as_ref().and_then(|here| self.read_by(here)),
        };
        let mut step = plan(entry, known, &self.set.rules);
        if damaged.is_some() {
            step.verdict = Verdict::Changed;
        }
        Ok(Planned { entry, base, here, step, renamed: None })
    }

    /// The earliest timestamp of a change to the source's file that the copy `here` in the incomplete snapshot may lack.
    pub(crate) fn read_by(&self, here: &StoredEntry) -> Option<Time> {
        // A file that was renamed shares its inode with the base under another path.
        let shared = here.meta.links > 1;
        self.set.begins.of(here.meta.ctime, shared)
    }

    /// Whether a check found the base's file `name` damaged.
    pub(crate) fn is_damaged(
        &self,
        folder: &WalkFolder<S::Folder>,
        name: &CStr,
        base: &StoredEntry,
    ) -> bool {
        let damaged = &self.set.damaged;
        !damaged.is_empty()
            && base.meta.kind == Kind::File
            && damaged.contains(&folder.place.inside_of(name))
    }

    /// Reports and counts a damaged file that this run copies again, if the source's file still has the size and mtime of
    /// the backup.
    fn heals(&self, folder: &WalkFolder<S::Folder>, entry: ListedEntry<'_>, damaged: &StoredEntry) {
        let (now, then) = (entry.meta, &damaged.meta);
        if now.kind == Kind::File && now.size == then.size && now.mtime == then.mtime {
            let path = crate::entry::escape::shown(&folder.place.source_of(entry.name));
            self.event(&Event::Heals { path });
            let mut healed = Batched::default();
            healed.counts.healed = 1;
            self.tally.add(&healed, None);
        }
    }

    /// Queues a task that enters a folder. For a source that answers later it counts as a request if it `asks` for the
    /// listing.
    pub(crate) fn push_enter(&self, enter: WalkTask<S::Folder>, asks: bool) {
        if asks && self.later() {
            self.queue.push_request(enter);
        } else {
            self.queue.push(enter);
        }
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Compares and plans some entries of `folder` that `source` listed, and hands the plan to the sink.
    pub(crate) fn process<'a>(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        source: &Arc<S::Folder>,
        entries: impl Iterator<Item = Compared<'a>>,
        count: bool,
    ) -> Result<(), RunError> {
        let handles = self.state.handles(folder)?;
        let mut steps = Vec::new();
        let (mut enter, mut asks) = (Subfolders::default(), false);
        let mut new_folders = Subfolders::default();
        let mut replaced = self.state.renames.gone_from(&folder.place);
        let collects = self.state.renames.collects();
        let (mut batched, mut changes) = (Batched::default(), ChangeCounts::default());
        let mut judging = folder.scope().map(|scope| scope.judging());
        for Compared { entry, base, confirmed } in entries {
            if self.state.halted() {
                return Ok(());
            }
            if !self.belongs(folder, entry) {
                continue;
            }
            let is_folder = entry.meta.kind == Kind::Folder;
            if let Some(judging) = &mut judging
                && !judging.judge(entry.name.to_bytes(), is_folder).included
            {
                batched.counts.left_out += 1;
                continue;
            }
            let beyond = match is_folder {
                true => self.state.beyond(folder, source, entry),
                false => CountedArea { area: folder.area, left_out: false },
            };
            if beyond.left_out && !self.state.keep().mount_points {
                self.keep_covered_whole(folder, &handles, entry.name)?;
                continue;
            }
            if !folder.see(entry.name) {
                // A folder that changes while it is listed may show a name twice (readdir(3)).
                if self.state.set.folds_case {
                    let what = "the destination treats its name and another name as equal";
                    self.state.problem(&folder.place.source_of(entry.name), what, Instead::Nothing);
                }
                continue;
            }
            if count {
                self.state.report_unread_attributes(folder, entry);
            }
            let planned = self.state.plan(folder, &handles, entry, base)?;
            let put_off = self.puts_off(&planned);
            batched.entry(entry.meta, planned.step.verdict);
            self.state.count_base(folder, &handles, &planned, folder.area, &mut batched);
            if planned.step.verdict.is_other_content() {
                self.state.count_change(folder, &planned, &mut changes);
            }
            if is_folder {
                self.state.report_unmounted(folder, entry.name);
                let is_known =
                    planned.base.as_ref().is_some_and(|base| base.meta.kind == Kind::Folder);
                if collects && !is_known && self.state.may_defer() {
                    new_folders.push(entry, beyond, confirmed);
                } else {
                    asks |= confirmed.is_none();
                    enter.push(entry, beyond, confirmed);
                }
            }
            if collects {
                self.state.replaced(&planned, &mut replaced);
            }
            if put_off {
                self.state.look_later(folder, entry.name);
            } else if self.state.defers(&planned) {
                self.state.renames.defer_file(folder, PendingEntry::to_fetch(&planned));
            } else {
                steps.push(planned);
            }
        }
        if count {
            self.state.tally.add(&batched, folder.area);
            self.state.changes.add(folder.area, changes);
            add(&self.state.set.context.progress.entries, batched.counts.entries);
        }
        drop(replaced);
        self.state.match_renamed(folder, handles.base.is_none(), &mut steps);
        self.apply(folder, &handles, source, &steps);
        let more = new_folders.len() + enter.len();
        if more == 0 {
            return Ok(());
        }
        folder.expect(more);
        let waiting = more + self.state.waiting.fetch_add(more, Ordering::Relaxed);
        if !new_folders.is_empty() {
            self.state.defer_folders(folder, new_folders);
        }
        let parent = Arc::clone(folder);
        if !enter.is_empty() {
            let enter = self.state.overflow.keep(enter, || self.state.file_for_overflow());
            self.state.push_enter(WalkTask::EnterNext { parent, waiting: enter, asks }, asks);
        }
        if self.state.later() && waiting > WAITING {
            Err(RunError::Endless { waiting })
        } else {
            Ok(())
        }
    }

    /// Whether the walk defers a name of a hard-linked file to its end. Another name of the inode may be unchanged, and then
    /// nothing has to be copied.
    fn puts_off(&self, planned: &Planned<'_>) -> bool {
        let (meta, keep) = (planned.entry.meta, self.state.keep());
        let (true, true, Some(id)) = (keep.hard_links, meta.links > 1, meta.id) else {
            return false;
        };
        meta.kind == Kind::File
            && matches!(planned.step.action, Action::Fetch | Action::FetchAndCompare)
            && (planned.step.verdict.is_other_content() || keep.of_snapshot)
            && self.state.set.base.top.is_some()
            && self.state.may_look_later()
            && !self.sink.knows(id, meta)
    }

    /// Enters the next folder of `waiting`, and queues a task for the others.
    pub(crate) fn enter_next(
        self: &Arc<Self>,
        parent: Arc<WalkFolder<S::Folder>>,
        waiting: Waits,
        asks: bool,
    ) -> Result<(), RunError> {
        let begun = (asks && self.state.later()).then(|| self.state.queue.begun());
        let mut waiting = self.state.overflow.take(waiting).map_err(|error| {
            let action = "cannot read back which folders wait to be entered in";
            self.state.destination(action, &parent.place, c"", error)
        })?;
        let Some(Waiting { entry, beyond, confirmed }) = waiting.pop() else { return Ok(()) };
        self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        if !waiting.is_empty() {
            let (parent, waiting) = (Arc::clone(&parent), self.state.overflow.keep_here(waiting));
            self.state.push_enter(WalkTask::EnterNext { parent, waiting, asks }, asks);
        }
        self.enter(&parent, entry, EnterBy { begun, found: None, confirmed }, beyond)
    }

    /// Whether the job backs up this entry from the listing. `false` for an entry that the layout provides, and for the
    /// backups folder itself.
    pub(crate) fn belongs(&self, folder: &WalkFolder<S::Folder>, entry: ListedEntry<'_>) -> bool {
        let keep = self.state.keep();
        let kind = entry.meta.kind;
        if kind == Kind::Folder && entry.meta.id == Some(self.state.set.backups) {
            let path = crate::entry::escape::shown(&folder.place.source_of(entry.name));
            self.state.event(&Event::BackupsInsideSource { path });
            return false;
        }
        let in_layout =
            folder.node.as_ref().is_some_and(|node| node.below.contains_key(entry.name.to_bytes()));
        let selected = |selection: &Arc<Selection>| {
            // The paths of `--files-from` are relative to the only root, which is the top of the snapshot.
            selection.takes(&folder.place.inside_of(entry.name))
        };
        if keep.leaves_out(entry, || folder.place.depth()) {
            // rsync does not prune a folder because of such an entry.
            self.not_empty(folder);
            return false;
        }
        !in_layout && self.state.set.selection.as_ref().is_none_or(selected)
    }

    /// Plans the entries that the layout has directly in `folder`.
    pub(crate) fn below(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
    ) -> Result<(), RunError> {
        let Some(node) = folder.node.clone() else { return Ok(()) };
        for (name, node) in &node.below {
            let Some(path) = &node.path else { continue };
            let (found, root) = self.state.root(path, node.root)?;
            let name = crate::entry::c_name(name.clone()).map_err(|error| {
                self.state.destination("cannot name", &folder.place, c"", error)
            })?;
            let mut entry = Entry { name, ..found.entry };
            if !node.root && !self.state.keep().implied_folders {
                entry = without_attributes(entry);
            }
            let left_out = self.state.leaves_out_planted(folder, node, ListedEntry::from(&entry));
            if left_out {
                self.state.count_left_out(folder, &entry.name, root.or(folder.area))?;
            }
            if left_out && (node.below.is_empty() || entry.meta.kind != Kind::Folder) {
                continue;
            }
            self.planted(folder, ListedEntry::from(&entry), &found.folder, root, true)?;
            if entry.meta.kind == Kind::Folder {
                folder.expect(1);
                let covered = root.is_none()
                    && folder.whole
                    && self.state.keep().one_file_system
                    && folder.crosses(&entry.meta);
                let found =
                    LayoutFolder { node: node.clone(), source: found.folder, root, left_out };
                let parent = Arc::clone(folder);
                self.state.push_enter(WalkTask::Enter { parent, entry, found, covered }, true);
            }
        }
        Ok(())
    }

    /// Plans one entry that the layout puts into `folder`, regardless of the listing of that folder.
    pub(crate) fn planted(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        entry: ListedEntry<'_>,
        source: &Arc<S::Folder>,
        root: Option<usize>,
        count: bool,
    ) -> Result<(), RunError> {
        let handles = self.state.handles(folder)?;
        folder.see(entry.name);
        let planned = self.state.plan(folder, &handles, entry, None)?;
        let mut batched = Batched::default();
        batched.entry(entry.meta, planned.step.verdict);
        let area = root.or(folder.area);
        self.state.count_base(folder, &handles, &planned, area, &mut batched);
        if count {
            self.state.report_unread_attributes(folder, entry);
            self.state.tally.add(&batched, area);
            if planned.step.verdict.is_other_content() {
                let mut changes = ChangeCounts::default();
                self.state.count_change(folder, &planned, &mut changes);
                self.state.changes.add(area, changes);
            }
            add(&self.state.set.context.progress.entries, 1);
        }
        self.apply(folder, &handles, source, &[planned]);
        Ok(())
    }
}

/// The entry of a folder above a source root as this process would create it, for a job that does not preserve the
/// attributes of such folders.
fn without_attributes(mut entry: Entry) -> Entry {
    entry.meta.mode = 0o755;
    entry.meta.uid = rustix::process::geteuid().as_raw();
    entry.meta.gid = rustix::process::getegid().as_raw();
    entry.extra = None;
    entry
}

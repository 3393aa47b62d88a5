//! Collects what is gone, defers what is new, and then matches the two.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backup::plan::planned::{Origin, PendingEntry, Planned, Renamed};
use crate::backup::plan::{Action, Verdict};
use crate::backup::walk::Walk;
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::folder::subfolders::Subfolders;
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::renames::deferred::GoneFromFolder;
use crate::backup::walk::renames::gone_files::{GoneFile, GoneIndex, Wanted};
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::task::WalkTask;
use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, ListedEntry, Meta};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::lookup::find;
use crate::repository::records::report::RenamedPath;
use crate::source::Source;
use crate::threads::lock::lock;

/// The most files of equal size and time whose hashes are compared with that of a new file.
pub(crate) const CANDIDATES: usize = 8;

/// The smallest file, in bytes, for which an older state under another path is looked for. Smaller files are not
/// transferred as deltas.
const WORTH_A_DELTA: u64 = 256 << 10;

/// The end of the times that Nix, OSTree and archives of zip give to files without one: 2 January 1980, when the first day of
/// FAT's calendar is over in all time zones.
const MADE_UP: i64 = 315_619_200 + 14 * 3600;

impl<S: Source> WalkState<S> {
    /// The smallest file that is matched when it was renamed alone, bytes.
    fn smallest(&self) -> u64 {
        self.set.rename_from.unwrap_or(u64::MAX)
    }

    /// Looks at the entry `name` of the base, which is gone, and collects it if it is a file with content. Returns whether
    /// there is room for more.
    pub(crate) fn look_at_gone(
        &self,
        base: &Dir,
        records: &SidecarRecords,
        name: &CStr,
        gone: &mut GoneFromFolder<'_>,
    ) -> bool {
        // A file that cannot be looked at is not matched.
        let Ok(Some(meta)) = find(base, name) else { return true };
        if meta.kind != Kind::File || meta.size == 0 {
            return true;
        }
        let mtime = records.get(name).and_then(|record| record.mtime).unwrap_or(meta.mtime);
        gone.add(name, meta.size, mtime)
    }

    /// Collects the files of a folder of the base that is gone.
    pub(crate) fn collect_gone(&self, place: &Arc<TreePath>, dir: &Dir) {
        if !self.renames.collects() {
            return;
        }
        let records = self.set.base.kept.load(place).unwrap_or_default();
        let mut gone = self.renames.gone_from(place);
        // Of a folder that cannot be read completely, the readable part is matched.
        let _ = dir.names(|entry| {
            if entry.folder || self.look_at_gone(dir, &records, entry.name, &mut gone) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }

    /// Collects a file of the base that has other content at its path now.
    pub(crate) fn replaced(&self, planned: &Planned<'_>, gone: &mut GoneFromFolder<'_>) {
        let Some(base) = planned.base.as_ref().filter(|base| base.on_disk) else { return };
        let is_file = |meta: &Meta| meta.kind == Kind::File;
        let is_replaced = planned.step.verdict == Verdict::Changed || !is_file(planned.entry.meta);
        if is_replaced && is_file(&base.meta) && base.meta.size >= self.smallest() {
            gone.add(planned.entry.name, base.meta.size, base.meta.mtime);
        }
    }

    /// Whether the walk defers a file until it knows what is gone.
    pub(crate) fn defers(&self, planned: &Planned<'_>) -> bool {
        self.renames.collects()
            && may_be_renamed(planned)
            && planned.entry.meta.size >= self.smallest()
            && self.may_defer()
    }

    /// Whether the memory allows to defer something, and for a source that answers later also the number of open folders:
    /// to open a folder of it again takes round trips.
    pub(crate) fn may_defer(&self) -> bool {
        self.renames.has_room() && !(self.later() && self.has_many_open())
    }

    /// Whether the content of a file may be proven by parts of it: they prove less than a hash of all bytes. A time that tools
    /// give to every file distinguishes none.
    fn may_compare_parts(&self, meta: &Meta, origin: &Origin) -> bool {
        let keep = self.keep();
        let may_have_changed = crate::entry::racy::may_have_changed;
        let is_racy = |since| may_have_changed(meta, since, keep.ctime);
        // As for a file under the same path: only the other user could read the content.
        let held = &origin.held.meta;
        let is_taken = keep.owner && held.uid != meta.uid && held.mode & 0o004 == 0;
        let reads_all = keep.checksum || keep.ignore_times;
        let is_made_up = meta.mtime.secs < MADE_UP;
        !reads_all && !is_made_up && !is_taken && !self.set.base_since.is_none_or(is_racy)
    }

    fn has_many_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.set.most_open / 2
    }

    /// Closes a listed folder that waits for deferred files, so that others can be open.
    pub(crate) fn close_waiting(&self, folder: &Arc<WalkFolder<S::Folder>>) {
        if self.renames.collects() && self.has_many_open() && self.renames.waits_for(folder) {
            folder.set_handles(None);
        }
    }

    /// Looks for the files of the base that the new and changed files among `steps` were renamed from.
    pub(crate) fn match_renamed(
        &self,
        folder: &WalkFolder<S::Folder>,
        is_new_folder: bool,
        steps: &mut [Planned<'_>],
    ) {
        let Some(index) = self.renames.index() else { return };
        let is_file = |planned: &&Planned<'_>| planned.entry.meta.kind == Kind::File;
        let of_folder = is_new_folder.then(|| {
            let files = steps.iter().filter(is_file).map(|planned| planned.entry);
            let files = files.map(|entry| (entry.name, entry.meta.size, entry.meta.mtime));
            index.folder_of(files, folder.place.name())
        });
        let of_folder = of_folder.flatten();
        for planned in steps.iter_mut().filter(|planned| may_be_renamed(planned)) {
            planned.renamed = self.origin_of(index, planned.entry, of_folder);
            if matches!(planned.renamed, Some(Renamed::Same(_))) {
                planned.step.action = Action::FetchAndCompare;
            }
        }
    }

    /// Where the base had `entry`. `of_folder` is the folder that held most files of the entry's folder.
    fn origin_of(
        &self,
        index: &GoneIndex,
        entry: ListedEntry<'_>,
        of_folder: Option<u32>,
    ) -> Option<Renamed> {
        let (name, meta, rules) = (entry.name, entry.meta, &self.set.rules);
        let same_time = |mtime| rules.time.same(meta.mtime, mtime, true, rules.keep.window);
        let in_folder = of_folder.and_then(|folder| index.in_folder(folder, name));
        let mut alike = if meta.size >= self.smallest() {
            let slack = rules.time.slack(rules.keep.window);
            let wanted = Wanted { name, size: meta.size, mtime: meta.mtime, slack };
            index.alike(&wanted, same_time, of_folder, CANDIDATES)
        } else {
            let same = |file: &GoneFile| file.size == meta.size && same_time(file.mtime);
            in_folder.filter(same).into_iter().collect()
        };
        let is_exact = self.source.hashes();
        if !is_exact {
            alike.retain(|file| index.name(*file) == name);
            alike.truncate(1);
        }
        let origins = alike.into_iter().filter_map(|file| self.origin(index, file));
        let origins: Vec<_> =
            origins.filter(|origin| is_exact || self.may_compare_parts(meta, origin)).collect();
        if !origins.is_empty() {
            return Some(Renamed::Same(origins));
        }
        let older = || in_folder.or_else(|| index.only_one_of(name));
        let older = if meta.size >= WORTH_A_DELTA { older() } else { None };
        older.and_then(|file| self.origin(index, file)).map(Renamed::Older)
    }

    /// Opens the folder of a file of the base, and looks at the file.
    pub(crate) fn origin(&self, index: &GoneIndex, file: GoneFile) -> Option<Arc<Origin>> {
        let (place, name) = (index.folder(file.folder), index.name(file));
        let damaged = &self.set.damaged;
        if !damaged.is_empty() && damaged.contains(&place.inside_of(name)) {
            return None;
        }
        // A file that cannot be looked at is not matched.
        let folders = self.renames.folders.as_ref()?;
        let dir = folders.open(place).ok()?;
        let records = self.renames.records(file.folder, || self.set.base.kept.load(place).ok())?;
        let held = self.held(&dir, name, &records).ok()??;
        let is_usable = held.on_disk && held.meta.kind == Kind::File && held.meta.size == file.size;
        is_usable.then(|| {
            Arc::new(Origin {
                folders: Arc::clone(folders),
                place: Arc::clone(place),
                name: name.to_owned(),
                held,
                record: records.get(name).cloned(),
            })
        })
    }

    /// Defers new subfolders of `folder`, which waits for them already.
    pub(crate) fn defer_folders(&self, folder: &Arc<WalkFolder<S::Folder>>, some: Subfolders) {
        let waits = self.overflow.keep(some, || self.file_for_overflow());
        self.renames.defer_folders(folder, waits);
    }

    /// The files that the base has under another path, for the report.
    pub(crate) fn renamed(&self) -> Vec<RenamedPath> {
        lock(&self.found_renames).summed_up()
    }

    /// Records that the file `name` at a place was stored from `origin`.
    pub(crate) fn found_renamed(
        &self,
        (area, place): (Option<usize>, &Arc<TreePath>),
        name: &CStr,
        origin: &Origin,
    ) {
        self.tally.count(|counts| counts.renamed += 1);
        self.changes.renamed(area, &origin.name, name);
        lock(&self.found_renames).add(&origin.path(), &place.inside_of(name));
    }
}

/// Whether a file may be found under another path of the base.
fn may_be_renamed(planned: &Planned<'_>) -> bool {
    let Planned { entry, step, here, .. } = planned;
    // The run continues what an interrupted run left of a file.
    let is_begun = |left: &StoredEntry| left.meta.kind == Kind::File && left.meta.links == 1;
    entry.meta.kind == Kind::File
        && entry.meta.size > 0
        && step.action == Action::Fetch
        && step.verdict.is_other_content()
        && !here.as_ref().is_some_and(is_begun)
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Enters the new folders and decides about the files that the walk deferred.
    ///
    /// # Errors
    /// The first error that ended the walk.
    pub(crate) fn match_deferred(self: &Arc<Self>) -> Result<(), RunError> {
        if !self.state.renames.collects() {
            return Ok(());
        }
        let mut deferred = self.state.renames.end_collection();
        for (parent, waiting) in std::mem::take(&mut deferred.folders) {
            self.state.push_enter(WalkTask::EnterNext { parent, waiting, asks: true }, true);
        }
        for (folder, items) in deferred.files() {
            self.state.queue.push(WalkTask::Deferred { folder, items });
        }
        self.work()
    }

    /// Decides about deferred files of one folder.
    pub(crate) fn deferred(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        items: &[PendingEntry],
    ) -> Result<(), RunError> {
        let handles = self.state.handles(folder)?;
        match handles.source() {
            Ok(source) => {
                let mut steps: Vec<_> = items.iter().map(PendingEntry::planned).collect();
                self.state.match_renamed(folder, false, &mut steps);
                self.apply(folder, &handles, source, &steps);
            }
            // The handle was closed meanwhile, and the folder cannot be opened again.
            Err(error) => {
                for item in items {
                    self.unread(folder, &item.entry.name, error.again())?;
                }
            }
        }
        drop(handles);
        if !self.state.later() && self.state.has_many_open() {
            folder.set_handles(None);
        }
        self.settle(folder)
    }
}

//! Carries out plans: builds the incomplete snapshot, folder by folder.

pub(crate) mod built;
pub(crate) mod carry_forward;
pub(crate) mod comparing;
pub(crate) mod copy;
pub(crate) mod link;
pub(crate) mod partial_file;
pub(crate) mod regained;
pub(crate) mod renamed;
pub(crate) mod snapshot_writer;
pub(crate) mod store_files;
pub(crate) mod stored_names;

use std::cmp::Reverse;
use std::ffi::CStr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use crate::backup::apply::snapshot_writer::{
    Applied, OTHER_NAME, SnapshotWriter, clear, here, is, replacing,
};
use crate::backup::apply::store_files::FileReceiver;
use crate::backup::plan::Action;
use crate::backup::plan::planned::{PendingEntry, Planned};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::tally::Batched;
use crate::entry::overlay::SidecarRecord;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, ListedEntry};
use crate::error::{RunError, no_space};
use crate::fs::dir::Dir;
use crate::fs::metadata::stat;
use crate::fs::mount::point::{MountPoint, is_mount_point};
use crate::fs::refusal::{ProbeKind, Refusal, classify};
use crate::monitor::event::{Event, Instead};
use crate::repository::manifest::write::Finished;
use crate::repository::records::report::Holds;
use crate::source::{Source, SourceError};
use crate::threads::lock::lock;

impl<S: Source> SnapshotWriter<S> {
    /// Records a finished folder in the manifest.
    fn record(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        here: &Dir,
    ) {
        // The owner of the backups may change the mode of the snapshot's own folder, so the manifest does not record it.
        let own = folder.entry.as_ref().filter(|_| folder.place.depth() > 0);
        self.manifest.folder(&Finished {
            place: &folder.place,
            here,
            base: handles.base.as_ref(),
            changes: &folder.changes,
            partial: folder.partial,
            seen: folder.count_seen(),
            own: own.and_then(|_| here.meta().ok()),
        });
    }

    /// Whether a folder with this mode would deny access to this process (not root) while the snapshot is built.
    fn locks_out(&self, meta: &crate::entry::Meta) -> bool {
        meta.mode & 0o700 != 0o700
            && self.walk.keep().mode
            && self.metadata_writer.abilities.mode
            && !rustix::process::geteuid().is_root()
    }

    /// Sets the modes that the walk deferred, the deepest folders first. Skips the folders in `gone`.
    ///
    /// # Errors
    /// When a folder cannot be opened or changed.
    pub(crate) fn set_late_modes(self: &Arc<Self>, gone: &[Vec<u8>]) -> Result<(), RunError> {
        let mut late = std::mem::take(&mut *lock(&self.late_modes));
        late.retain(|(place, _)| !gone.contains(&place.inside()));
        late.sort_by_cached_key(|(place, _)| (Reverse(place.chain().len()), place.inside()));
        late.dedup_by_key(|(place, _)| place.inside());
        for (place, mode) in late {
            let result = self.open_here(&place).and_then(|dir| {
                let mtime = dir.meta()?.mtime;
                stat::set_mode(&dir, mode)?;
                stat::set_mtime(&dir, mtime)?;
                self.manifest.set_own(&place, &dir.meta()?);
                Ok(())
            });
            result.map_err(|error| {
                self.walk.destination("cannot set the mode of", &place, c"", error)
            })?;
        }
        Ok(())
    }

    /// Gives the snapshot's own folder the mode of a complete snapshot, and syncs it.
    ///
    /// # Errors
    /// When the mode cannot be changed or synced.
    pub(crate) fn open_up(&self) -> io::Result<()> {
        let Some(top) = self.walk.set.here.top.as_ref() else { return Ok(()) };
        let meta = top.meta()?;
        let mode = self.top_mode.load(Ordering::Relaxed);
        if meta.mode != mode {
            stat::set_mode(top, mode)?;
            stat::set_mtime(top, meta.mtime)?;
            top.sync()?;
        }
        Ok(())
    }

    /// Opens a folder of the incomplete snapshot, one name at a time from its top.
    fn open_here(&self, place: &Arc<TreePath>) -> io::Result<Dir> {
        let top = self.walk.set.here.top.as_ref().ok_or(Errno::NOENT)?.try_clone()?;
        place.chain()[1..].iter().try_fold(top, |dir, place| dir.child_here(place.name()))
    }

    /// Adds `record` to the sidecar of `folder`, unless it is empty.
    fn note(&self, folder: &WalkFolder<S::Folder>, name: &CStr, mut record: SidecarRecord) {
        if record.is_empty() {
            return;
        }
        if std::mem::take(&mut record.no_room) {
            self.walk.kept_beside(
                &folder.place.source_of(name),
                "the destination has no room for its attributes",
            );
        }
        let owner = record.uid.is_some() || record.gid.is_some();
        if owner && !self.owners_said.swap(true, Ordering::Relaxed) {
            let what = "owners cannot be set here (not root, or the file system has none): they are kept beside the snapshot, in .backup_manager/kept".to_owned();
            self.walk.event(&Event::Limited { what });
        }
        folder.records().insert(name.to_owned(), record);
    }

    /// Carries out the step of an entry.
    fn carry_out(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        planned: &Planned<'_>,
        done: &mut Batched,
    ) -> Result<Applied, RunError> {
        let name = planned.entry.name;
        let result = match planned.step.action {
            Action::Enter => Ok(true),
            Action::Keep | Action::Check if self.is_put_back(handles, planned) => {
                let cleared = here(handles).and_then(|here| clear(here, name));
                cleared.map(|()| false)
            }
            Action::Keep => self.keep_stored(folder, handles, planned, done),
            Action::Check => self.check(folder, handles, planned.entry, done),
            Action::UpdateMetadata => self.update_metadata(folder, handles, planned.entry, done),
            Action::Link => self.link(folder, handles, planned, done),
            Action::CopyLocally => match &handles.base {
                Some(base) => {
                    let (from, over) = ((base, name), !folder.fresh);
                    self.copy_locally(folder, handles, from, planned.entry, over, done)
                }
                None => Ok(false),
            },
            Action::Make => self.make(folder, handles, planned.entry, !folder.fresh),
            Action::Fetch | Action::FetchAndCompare => Ok(false),
        };
        let result = match result {
            Ok(true) => {
                self.sampled_kept(folder, handles, planned);
                self.walk.took_up(folder, planned);
                return Ok(Applied::Stored);
            }
            Ok(false) if planned.entry.meta.kind == Kind::File => {
                return Ok(Applied::Fetch(PendingEntry::to_fetch(planned)));
            }
            Ok(false) => {
                self.make(folder, handles, planned.entry, !folder.fresh).map(|_| Applied::Stored)
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.refused(folder, handles, name, error).map(|()| Applied::Refused),
        }
    }

    /// Puts a symlink, fifo, socket or device into the sidecar, because the destination would store it under another name,
    /// which may be the name of another entry.
    fn would_be_renamed(&self, folder: &WalkFolder<S::Folder>, entry: ListedEntry<'_>) {
        folder.changes.alter();
        self.note(folder, entry.name, SidecarRecord::whole(&entry.to_entry()));
        self.walk.problem(&folder.place.source_of(entry.name), OTHER_NAME, Instead::Beside);
    }

    /// Handles an entry that the destination refuses: carries the base's version forward if there is one, and reports it.
    ///
    /// # Errors
    /// When the error is not about this entry alone: the destination is full or fails, which ends the run.
    fn refused(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        name: &CStr,
        error: io::Error,
    ) -> Result<(), RunError> {
        self.only_this(folder, handles, name, &error)?;
        let what = format!("the destination cannot hold it: {error}");
        // Another entry has the name: the file system does not distinguish the two names.
        let instead = if is(&error, Errno::EXIST) {
            Instead::Nothing
        } else {
            self.instead_of_refused(folder, name)?
        };
        self.walk.problem(&folder.place.source_of(name), what, instead);
        Ok(())
    }

    /// Removes the remains of the entry `name` when `error` concerns this entry alone.
    ///
    /// # Errors
    /// When the destination is full or fails.
    fn only_this(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        name: &CStr,
        error: &io::Error,
    ) -> Result<(), RunError> {
        folder.changes.alter();
        let broken = |error| self.walk.destination("cannot create", &folder.place, name, error);
        let here = here(handles).map_err(broken)?;
        // After a failed sync, earlier writes may be lost, so the run must not go on.
        let refusal = match self.sync_failed.load(Ordering::Relaxed) {
            true => Refusal::Broken,
            false => classify(error, here, ProbeKind::File),
        };
        match refusal {
            Refusal::Full => Err(no_space(&self.walk.set.backups_dir)),
            Refusal::Broken => Err(broken(again(error))),
            Refusal::Entry if is(error, Errno::EXIST) => Ok(()),
            Refusal::Entry => clear(here, name).map_err(broken),
        }
    }

    /// Keeps an entry that an earlier run stored. Values of it that are in the sidecar are put on disk if the destination
    /// can hold them now.
    fn keep_stored(
        self: &Arc<Self>,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        planned: &Planned<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let record = folder.here_records.get(planned.entry.name);
        if let (Some(record), Some(held)) = (record, &planned.here) {
            // Nothing records what the destination could hold in that run.
            let stored = (here(handles)?, held, record, Holds::default());
            if let Some(stored) = self.put_on_disk(folder, handles, planned, stored, done) {
                return stored;
            }
        }
        // An entry with more names is the base's, or a name of an inode that the run counts once.
        if let Some(held) = planned.here.as_ref().filter(|held| held.meta.links == 1)
            && held.meta.kind == Kind::File
        {
            done.counts.bytes_stored += held.meta.size.min(held.meta.allocated);
        }
        self.kept(folder, planned.entry, record, done);
        Ok(true)
    }

    /// Counts an entry that an earlier run stored, and keeps its sidecar record.
    fn kept(
        &self,
        folder: &WalkFolder<S::Folder>,
        entry: ListedEntry<'_>,
        record: Option<&SidecarRecord>,
        done: &mut Batched,
    ) {
        if let Some(record) = record {
            folder.records().insert(entry.name.to_owned(), record.clone());
        }
        done.counts.kept += 1;
    }

    /// Creates a symlink, fifo, socket or device. With `over`, it replaces the entry that has the name. Where the
    /// destination cannot hold it, the sidecar records all of it.
    fn make(
        &self,
        folder: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: ListedEntry<'_>,
        over: bool,
    ) -> io::Result<bool> {
        folder.changes.alter();
        let here = here(handles)?;
        let able = &self.metadata_writer.abilities;
        let possible = if entry.meta.kind == Kind::Symlink { able.symlinks } else { able.nodes };
        if !possible {
            self.note(folder, entry.name, SidecarRecord::whole(&entry.to_entry()));
            return Ok(true);
        }
        let make = || match entry.target() {
            Some(target) => here.make_symlink(entry.name, &target),
            None => here.make_node(
                entry.name,
                entry.meta.kind,
                entry.meta.mode & 0o777,
                entry.meta.rdev,
            ),
        };
        let whole = || SidecarRecord::whole(&entry.to_entry());
        let record = match replacing(over, here, entry.name, make) {
            Ok(()) => self.metadata_writer.new_node(here, entry, folder.fresh)?,
            Err(error)
                if is(&error, Errno::PERM)
                    || is(&error, Errno::NOTSUP)
                    || is(&error, Errno::NOSYS) =>
            {
                whole()
            }
            Err(error)
                if !is(&error, Errno::EXIST)
                    && classify(&error, here, ProbeKind::File) == Refusal::Entry =>
            {
                let what = format!("the destination cannot hold it: {error}");
                self.walk.problem(&folder.place.source_of(entry.name), what, Instead::Beside);
                whole()
            }
            Err(error) => return Err(error),
        };
        self.note(folder, entry.name, record);
        Ok(true)
    }

    /// Records that one thing that `folder` waits for has happened. The last one finishes the folder.
    pub(crate) fn settle(&self, folder: &WalkFolder<S::Folder>) -> Result<(), RunError> {
        if self.walk.settles(folder) { self.finish(folder) } else { Ok(()) }
    }

    /// Handles a file that cannot be read: the walk tries it again later, or the run carries it forward.
    fn unread(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        name: &CStr,
        error: SourceError,
    ) -> Result<(), RunError> {
        let Some(error) = self.walk.try_later(folder, name, error)? else { return Ok(()) };
        let instead = self.carry(folder, name)?;
        self.walk.problem(&folder.place.source_of(name), error, instead);
        Ok(())
    }

    /// Requests files from the source, and waits while many are requested, if `waits`. The folder is not finished before
    /// they are stored.
    fn fetch(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        source: &Arc<S::Folder>,
        items: Vec<PendingEntry>,
        waits: bool,
    ) {
        let in_flight = self.walk.in_flight(items.iter().map(|item| &item.entry), waits);
        folder.expect(1);
        FileReceiver::new(self, folder, handles, source, items, in_flight).ask();
    }
}

/// A copy of the error. An error of the system is identified by its errno.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None if is_mount_point(error) => MountPoint.into(),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

//! The writer that carries out plans: its state, which the files of this folder share, and its small functions.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rustix::io::Errno;

use crate::backup::plan::Action;
use crate::backup::plan::planned::{PendingEntry, Planned};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::plan_sink::{EnteredFolder, PlanSink};
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::tally::Batched;
use crate::entry::hard_links::Groups;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, FileId, Kind, ListedEntry, Meta, Time};
use crate::error::{RunError, no_space};
use crate::fs::dir::Dir;
use crate::fs::lookup::find;
use crate::fs::metadata::MetadataWriter;
use crate::fs::metadata::stat;
use crate::fs::metadata::xattrs;
use crate::fs::refusal::{ProbeKind, Refusal, classify, is_no_name, store_elsewhere};
use crate::fs::remove_tree::{Left, remove_or_say};
use crate::monitor::add;
use crate::monitor::event::Instead;
use crate::repository::manifest::write::Writer;
use crate::repository::records::sidecar::Sidecar;
use crate::source::Source;
use crate::threads::lock::lock;

/// The mode of a snapshot's own folder when it is not a source root itself.
pub(crate) const TOP_MODE: u32 = 0o755;

/// Carries out plans in the incomplete snapshot.
pub(crate) struct SnapshotWriter<S: Source> {
    /// Settings, counters, events and cancellation of the walk.
    pub(crate) walk: Arc<WalkState<S>>,
    /// The source of file content.
    pub(crate) source: Arc<S>,
    pub(crate) metadata_writer: MetadataWriter,
    /// The sidecar of this snapshot.
    pub(crate) kept: Sidecar,
    /// The manifest of this snapshot, for a later `verify`.
    pub(crate) manifest: Writer,
    /// Whether each file and folder is synced separately, because the file system cannot be synced as a whole.
    pub(crate) sync_each: bool,
    /// Read-locked while a file gets its final mtime and is synced. A checkpoint waits for all these files.
    pub(crate) in_flight: RwLock<()>,
    pub(crate) groups: Groups<WaitingName<S::Folder>>,
    /// Folder modes that are set at the end, because they would deny an ordinary user access while the snapshot is built.
    pub(crate) late_modes: Mutex<Vec<(Arc<TreePath>, u32)>>,
    /// The mode that the snapshot's own folder gets before the snapshot is sealed.
    pub(crate) top_mode: AtomicU32,
    pub(crate) owners_said: AtomicBool,
    /// Whether it was reported that names of hard-linked files are stored as files of their own.
    pub(crate) apart_said: AtomicBool,
    /// Whether a file could not be synced.
    pub(crate) sync_failed: AtomicBool,
    pub(crate) written: AtomicU64,
    /// The time of the destination since which an inode of the base may have got another name in this snapshot; `None` if it
    /// is not known.
    pub(crate) links_since: Option<Time>,
    /// The same for this walk, if it takes up what an earlier one stored.
    pub(crate) walk_links_since: Option<Time>,
    /// The top folders of complete snapshots, for a walk that takes up what an earlier one stored.
    pub(crate) complete: Vec<Dir>,
    /// The numbers of the base's inodes that files were renamed from, and whether there are any.
    pub(crate) renamed_from: Mutex<HashSet<u64>>,
    pub(crate) has_renamed: AtomicBool,
    /// The entries that were reported because they are stored under other names: a hash of each path.
    pub(crate) reported_names: Mutex<HashSet<u64>>,
}

/// The result of carrying out a step.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
pub(crate) enum Applied {
    /// The snapshot or its sidecar holds the entry, or the entry waits for the first name of its inode.
    Stored,
    /// The file has to be read from the source.
    Fetch(PendingEntry),
    /// The destination refuses the entry. The refusal was reported.
    Refused,
}

/// Whether an interrupted run left more of a file than the source has now. No run goes on with it, and on a full disk the
/// other files need its space, also those that are stored before it.
fn is_too_long(planned: &Planned<'_>) -> bool {
    let is_fetched = matches!(planned.step.action, Action::Fetch | Action::FetchAndCompare);
    let is_longer = |left: &StoredEntry| {
        let meta = &left.meta;
        left.on_disk
            && meta.kind == Kind::File
            && meta.links == 1
            && meta.size > planned.entry.meta.size
    };
    is_fetched && planned.here.as_ref().is_some_and(is_longer)
}

/// A name of a hard-linked inode that waits until the first name is stored.
pub(crate) struct WaitingName<F> {
    pub(crate) folder: Arc<WalkFolder<F>>,
    pub(crate) handles: Arc<FolderHandles<F>>,
    pub(crate) source: Arc<F>,
    pub(crate) item: PendingEntry,
}

/// The report about an entry that is kept in the sidecar because the destination would change its name.
pub(crate) const OTHER_NAME: &str = "the destination would store it under another name";

impl<S: Source> SnapshotWriter<S> {
    pub(crate) fn new(
        walk: &Arc<WalkState<S>>,
        source: &Arc<S>,
        metadata_writer: MetadataWriter,
        kept: Sidecar,
        manifest: Writer,
        sync_each: bool,
        links_since: Option<Time>,
    ) -> Self {
        Self {
            walk: Arc::clone(walk),
            source: Arc::clone(source),
            metadata_writer,
            kept,
            manifest,
            sync_each,
            in_flight: RwLock::new(()),
            groups: Groups::bounded(Box::new({
                let walk = Arc::clone(walk);
                move || walk.file_for_overflow()
            })),
            late_modes: Mutex::default(),
            top_mode: AtomicU32::new(TOP_MODE),
            owners_said: AtomicBool::new(false),
            apart_said: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            links_since,
            walk_links_since: None,
            complete: Vec::new(),
            renamed_from: Mutex::default(),
            has_renamed: AtomicBool::new(false),
            reported_names: Mutex::default(),
        }
    }

    /// Whether a file that an interrupted run left has no recorded hash although the file system can store one: that run did
    /// not store it whole. A whole one is the last good copy if the source's file cannot be read.
    fn is_incomplete(&self, here: &Dir, name: &CStr) -> bool {
        let recorded = || here.open_file(name).and_then(|file| xattrs::recorded(&file));
        self.metadata_writer.abilities.xattrs && recorded().is_ok_and(|hash| hash.is_none())
    }
}

impl<S: Source> PlanSink<S> for SnapshotWriter<S> {
    fn enter(
        &self,
        parent: &WalkFolder<S::Folder>,
        handles: &FolderHandles<S::Folder>,
        entry: &Entry,
    ) -> Result<EnteredFolder, RunError> {
        let broken =
            |action, error| self.walk.destination(action, &parent.place, &entry.name, error);
        let here = here(handles).map_err(|error| broken("cannot enter", error))?;
        let entered = match enter(here, &entry.name, parent.fresh) {
            Err((CREATE, error))
                if store_elsewhere(here, &entry.name, &error)
                    .map_err(|error| broken(CREATE, error))? =>
            {
                enter(here, &entry.name, parent.fresh)
            }
            entered => entered,
        };
        match entered {
            Ok((dir, made)) => Ok(EnteredFolder::Opened(Some(dir), made)),
            Err((action, error)) => {
                let refusal = classify(&error, here, ProbeKind::Folder);
                let is_refused = match is_way_to_root(parent, &entry.name) {
                    true => action == CREATE && !holds_folder(handles, &entry.name),
                    false => true,
                };
                if refusal == Refusal::Entry && is_refused {
                    // If it stayed, it would look like a folder that is empty in the source.
                    let _ = here.remove_folder(&entry.name);
                    parent.changes.alter();
                    let what = format!(
                        "the destination refuses the folder and so all that is in it: {error}"
                    );
                    self.walk.problem(&parent.place.source_of(&entry.name), what, Instead::Nothing);
                    return Ok(EnteredFolder::Refused);
                }
                Err(if refusal == Refusal::Full {
                    no_space(&self.walk.set.backups_dir)
                } else {
                    broken(action, error)
                })
            }
        }
    }

    fn apply(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    ) {
        let mut wanted = Vec::new();
        let mut done = Batched::default();
        let mut settled = 0;
        let is_folder = |held: &StoredEntry| held.meta.kind == Kind::Folder && held.on_disk;
        for planned in steps {
            if planned.step.action == Action::Enter {
                if !planned.base.as_ref().is_some_and(is_folder) {
                    folder.changes.alter();
                }
                continue;
            }
            if self.walk.halted() {
                return;
            }
            let mut planned = planned;
            let without_left;
            if is_too_long(planned)
                && let Some(here) = &handles.here
                && self.is_incomplete(here, planned.entry.name)
            {
                if let Err(error) = self.superfluous(folder, here, planned.entry.name) {
                    return self.walk.fail(error);
                }
                // A file that is created next may get the number of its inode.
                without_left = planned.without_left();
                planned = &without_left;
            }
            if self.walk.is_full() {
                continue;
            }
            let is_file = planned.entry.meta.kind == Kind::File;
            if !is_file && self.metadata_writer.abilities.changes(planned.entry.name) {
                self.would_be_renamed(folder, planned.entry);
                continue;
            }
            if planned.is_apart() {
                folder.changes.alter();
            }
            let item = PendingEntry::of(self.walk.keep(), planned);
            let result = match item {
                Some(item) => self.grouped(folder, handles, source, item, &mut done),
                None => self.carry_out(folder, handles, planned, &mut done),
            };
            match result {
                Ok(Applied::Fetch(item)) => wanted.push(item),
                Ok(Applied::Stored | Applied::Refused) => settled += planned.entry.file_size(),
                Err(error) => return self.walk.fail(error),
            }
        }
        self.walk.tally.add(&done, None);
        add(&self.walk.set.context.progress.linked, done.counts.linked);
        add(&self.walk.set.context.progress.bytes, settled);
        if !wanted.is_empty() && !self.walk.is_full() {
            self.fetch(folder, handles, source, wanted, true);
        }
    }

    fn knows(&self, id: FileId, meta: &Meta) -> bool {
        self.groups.knows(id, meta)
    }

    fn deleted(&self, folder: &WalkFolder<S::Folder>, _: &CStr, _: bool) {
        folder.changes.alter();
    }

    fn left_out(&self, folder: &WalkFolder<S::Folder>, _: &CStr, _: bool) {
        folder.changes.alter();
    }

    fn superfluous(
        &self,
        folder: &WalkFolder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError> {
        folder.changes.alter();
        add(&self.walk.freed, 1);
        match remove_or_say(here, name, 1, &AtomicU64::new(0), &|| false) {
            Err(Left { path, error }) if error.kind() != io::ErrorKind::NotFound => {
                let path = crate::entry::c_name(path).unwrap_or_else(|_| name.to_owned());
                Err(self.walk.destination("cannot remove", &folder.place, &path, error))
            }
            _ => Ok(()),
        }
    }

    fn carry_forward(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        self.carry(folder, name)
    }

    fn finish(&self, folder: &WalkFolder<S::Folder>) -> Result<(), RunError> {
        let broken = |action, error| self.walk.destination(action, &folder.place, c"", error);
        let handles = self.walk.handles(folder)?;
        let here = here(&handles).map_err(|error| broken("cannot finish", error))?;
        self.remove_strays(folder, here)?;
        self.report_stored_names(folder, here)
            .map_err(|error| broken("cannot read the names in", error))?;
        if let Some(entry) = &folder.entry {
            let late = self.locks_out(&entry.meta);
            let open = late.then(|| {
                let mut entry = entry.clone();
                entry.meta.mode |= 0o700;
                entry
            });
            let entry = ListedEntry::from(open.as_ref().unwrap_or(entry));
            let record = self
                .metadata_writer
                .existing(here, entry)
                .map_err(|error| broken("cannot set the attributes of", error))?;
            self.note(folder, c"", record);
        }
        let mode = folder.entry.as_ref().map(|entry| entry.meta.mode);
        let top = folder.place.chain().len() == 1;
        if top {
            self.top_mode.store(mode.unwrap_or(TOP_MODE), Ordering::Relaxed);
        } else if folder.entry.as_ref().is_some_and(|entry| self.locks_out(&entry.meta)) {
            let late = (Arc::clone(&folder.place), mode.unwrap_or(TOP_MODE));
            lock(&self.late_modes).push(late);
        }
        if top {
            // Other users must not read an unfinished snapshot, or block runs by a lock on its folder.
            stat::set_mode(here, 0o700).map_err(|error| broken("cannot set the mode of", error))?;
        }
        let records = folder.records();
        if !records.is_empty() || !folder.fresh {
            self.kept
                .store(&folder.place, &records, self.sync_each)
                .map_err(|error| broken("cannot keep what is beside", error))?;
        }
        self.record(folder, &handles, here);
        if self.sync_each {
            here.sync().map_err(|error| RunError::Sync {
                path: self.walk.set.backups_dir.clone(),
                error,
            })?;
        }
        Ok(())
    }
}

/// Whether `name` in `parent` is a source root or a folder above one. A snapshot without it would replace good ones in the
/// history, so it counts as refused only when the destination cannot have the name.
fn is_way_to_root<F>(parent: &WalkFolder<F>, name: &CStr) -> bool {
    parent.node.as_ref().is_some_and(|node| node.below.contains_key(name.to_bytes()))
}

/// Whether the base has the folder `name`, so that the destination can have it.
fn holds_folder<F>(handles: &FolderHandles<F>, name: &CStr) -> bool {
    let base = || handles.base.as_ref()?.find(name).ok()?;
    base().is_some_and(|meta| meta.kind == Kind::Folder)
}

/// The action of [`enter`] at which the destination refuses a name.
const CREATE: &str = "cannot create";

/// Opens the folder `name` of an incomplete snapshot, and creates it if it is missing. Returns whether it was created.
/// An error comes with the action that failed.
pub(crate) fn enter(
    here: &Dir,
    name: &CStr,
    fresh: bool,
) -> Result<(Dir, bool), (&'static str, io::Error)> {
    let made = match here.make_folder(name, 0o700) {
        Err(error) if is(&error, Errno::EXIST) => {
            let meta = here.stat(name).map_err(|error| ("cannot look at", error))?;
            if meta.kind != Kind::Folder {
                clear(here, name)
                    .and_then(|()| here.make_folder(name, 0o700))
                    .map_err(|error| ("cannot replace", error))?;
            }
            meta.kind != Kind::Folder
        }
        made => made.map(|()| true).map_err(|error| (CREATE, error))?,
    };
    let dir = match !made || !fresh {
        true => in_progress(here, name),
        false => here.child_here(name),
    };
    dir.map(|dir| (dir, made)).map_err(|error| ("cannot open", error))
}

pub(crate) fn here<F>(handles: &FolderHandles<F>) -> io::Result<&Dir> {
    handles.here.as_ref().ok_or_else(|| Errno::NOENT.into())
}

pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// Creates an entry under `name` by `make`. With `over`, it replaces an existing entry, which an earlier run or a failed
/// link left. Without `over`, EEXIST is an error: in a folder that this walk created, an existing name belongs to another
/// entry, and the file system does not distinguish the two names.
pub(crate) fn replacing<T>(
    over: bool,
    here: &Dir,
    name: &CStr,
    make: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match make() {
        Err(error) if over && is(&error, Errno::EXIST) => {
            clear(here, name)?;
            make()
        }
        result => result,
    }
}

/// Opens a folder of an incomplete snapshot, and denies access to all other users until it is finished, so that they
/// cannot replace a name in it. Removes the setgid bit and the default ACL, which may come from the parent, so that the
/// entries created in the folder do not inherit them.
pub(crate) fn in_progress(here: &Dir, name: &CStr) -> io::Result<Dir> {
    let dir = here.child_opened_up(name, 0o700)?;
    let (meta, own) = (dir.meta()?, rustix::process::geteuid());
    if own.is_root() && meta.uid != own.as_raw() {
        // This fails on a file system without owners, and on a server that does not trust root. Both are harmless.
        let _ = stat::set_owner(&dir, Some(own.as_raw()), None);
    }
    if meta.mode != 0o700 {
        stat::set_mode(&dir, 0o700)?;
    }
    xattrs::remove_acls(&dir);
    Ok(dir)
}

/// Removes the entry `name` of an incomplete snapshot, of any type. A missing one is no error, and neither is a name that
/// the destination cannot have.
pub(crate) fn clear(here: &Dir, name: &CStr) -> io::Result<()> {
    match crate::fs::remove_tree::remove(here, name, 1, &AtomicU64::new(0), &|| false) {
        Err(error) if is_no_name(&error) && find(here, name)?.is_none() => Ok(()),
        result => result,
    }
}

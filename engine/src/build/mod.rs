//! Carries out plans: builds the incomplete snapshot, folder by folder.

mod carry;
mod comparing;
mod content;
mod copy;
mod groups;
mod link;
mod marks;
mod metadata;
mod regained;
mod writing;

use std::cmp::Reverse;
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::io::Errno;

use crate::attrs;
use crate::dir::{self, Dir};
use crate::entry::{Entry, FileId, Kind, Listed, Meta};
use crate::error::{RunError, no_space};
use crate::event::{Event, Instead};
use crate::folder::{Folder, Handles};
use crate::kept::{Kept, Record};
use crate::manifest::{Finished, Writer};
use crate::monitor::add;
use crate::place::Place;
use crate::plan::{Action, Held};
use crate::refusal::{Refusal, Tried, classify, is_no_name};
use crate::report::Holds;
use crate::source::Source;
use crate::tally::Batched;
use crate::walk::{Entered, Planned, Target, Walk};

use content::{Item, Store};
pub(crate) use groups::{Groups, Leader, Role};
pub(crate) use metadata::{Dresser, entry_of, exchanged};

/// The mode of a snapshot's own folder, when that is no source root.
const TOP_MODE: u32 = 0o755;

/// Builds the incomplete snapshot.
pub(crate) struct Build<S: Source> {
    pub(crate) dresser: Dresser,
    /// Where this snapshot's records are kept beside it.
    pub(crate) kept: Kept,
    /// What it holds, for those who check it later.
    pub(crate) manifest: Writer,
    /// Every file and folder is synced by itself, because the file system cannot be synced as a whole.
    pub(crate) sync_each: bool,
    /// Held while a file gets its final time and is synced; a checkpoint waits for all of them.
    pub(crate) in_flight: RwLock<()>,
    groups: Groups<Waiting<S::Folder>>,
    /// Modes that would lock an ordinary user out of its own snapshot while it is built.
    late_modes: Mutex<Vec<(Arc<Place>, u32)>>,
    /// The mode that the snapshot's own folder gets when it is sealed.
    top_mode: AtomicU32,
    owners_said: AtomicBool,
    /// A file could not be synced.
    pub(crate) sync_failed: AtomicBool,
    pub(crate) written: AtomicU64,
}

/// How carrying out a step ended.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
enum Outcome {
    /// The entry stands in the snapshot, or beside it.
    Stored,
    /// It has to be read from the source.
    Fetch(Item),
    /// The destination refuses it, which was told.
    Refused,
}

/// A name of a hard-linked inode that waits for the first one to be stored.
struct Waiting<F> {
    folder: Arc<Folder<F>>,
    handles: Arc<Handles<F>>,
    source: Arc<F>,
    item: Item,
}

/// Why an entry is not stored whose name is not UTF-8.
const OTHER_NAME: &str =
    "the destination would store it under another name, as this one is not UTF-8";

type BuildWalk<S> = Arc<Walk<S, Build<S>>>;

impl<S: Source> Build<S> {
    pub(crate) fn new(dresser: Dresser, kept: Kept, manifest: Writer, sync_each: bool) -> Self {
        Self {
            dresser,
            kept,
            manifest,
            sync_each,
            in_flight: RwLock::new(()),
            groups: Groups::new(),
            late_modes: Mutex::default(),
            top_mode: AtomicU32::new(TOP_MODE),
            owners_said: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
            written: AtomicU64::new(0),
        }
    }
}

impl<S: Source> Target<S> for Build<S> {
    fn enter(
        walk: &BuildWalk<S>,
        parent: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: &Entry,
    ) -> Result<Entered, RunError> {
        if walk.target.dresser.abilities.changes(&entry.name) {
            parent.changes.alter();
            let what = format!("{OTHER_NAME}, and so all that is in it");
            walk.problem(&parent.place.source_of(&entry.name), what, Instead::Nothing);
            return Ok(Entered::Refused);
        }
        let broken = |action, error| walk.destination(action, &parent.place, &entry.name, error);
        let here = here(handles).map_err(|error| broken("cannot enter", error))?;
        match enter(here, &entry.name, parent.fresh) {
            Ok((dir, made)) => Ok(Entered::Opened(Some(dir), made)),
            Err((action, error)) => {
                let refusal = classify(&error, here, Tried::Folder);
                if refusal == Refusal::Entry {
                    // An empty one would look like a folder that was empty in the source.
                    let _ = here.remove_folder(&entry.name);
                    parent.changes.alter();
                    let what = format!(
                        "the destination refuses the folder and so all that is in it: {error}"
                    );
                    walk.problem(&parent.place.source_of(&entry.name), what, Instead::Nothing);
                    return Ok(Entered::Refused);
                }
                Err(if refusal == Refusal::Full {
                    no_space(&walk.set.backups_dir)
                } else {
                    broken(action, error)
                })
            }
        }
    }

    fn apply(
        walk: &BuildWalk<S>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    ) {
        walk.itemize(folder, steps);
        Self::release(
            walk,
            walk.note_empty(folder, steps, |planned| (walk.item(folder, planned), None)),
        );
        let mut wanted = Vec::new();
        let mut done = Batched::default();
        let is_folder = |held: &Held| held.meta.kind == Kind::Folder && held.on_disk;
        for planned in steps {
            if planned.step.action == Action::Enter {
                if !planned.base.as_ref().is_some_and(is_folder) {
                    folder.changes.alter();
                }
                continue;
            }
            if walk.halted() || walk.is_full() {
                return;
            }
            if walk.target.dresser.abilities.changes(planned.entry.name) {
                walk.would_be_renamed(folder, planned.entry);
                continue;
            }
            if planned.is_apart() {
                folder.changes.alter();
            }
            let item = Item::of(walk, planned);
            let result = match item {
                Some(item) => walk.grouped(folder, handles, source, item, &mut done),
                None => walk.carry_out(folder, handles, planned, &mut done),
            };
            match result {
                Ok(Outcome::Fetch(item)) => wanted.push(item),
                Ok(Outcome::Stored | Outcome::Refused) => {}
                Err(error) => return walk.fail(error),
            }
        }
        walk.tally.add(&done, None);
        add(&walk.set.context.progress.linked, done.counts.linked);
        if !wanted.is_empty() {
            walk.fetch(folder, handles, source, wanted);
        }
    }

    fn knows(&self, id: FileId, meta: &Meta) -> bool {
        self.groups.knows(id, meta)
    }

    fn deleted(walk: &BuildWalk<S>, folder: &Folder<S::Folder>, name: &CStr, is_folder: bool) {
        folder.changes.alter();
        if let Some(items) = &walk.set.context.items {
            crate::itemize::deleted(items, folder, name, is_folder);
        }
    }

    fn left_out(_: &BuildWalk<S>, folder: &Folder<S::Folder>, _: &CStr, _: bool) {
        folder.changes.alter();
    }

    fn superfluous(
        walk: &BuildWalk<S>,
        folder: &Folder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError> {
        folder.changes.alter();
        add(&walk.freed, 1);
        clear(here, name)
            .map_err(|error| walk.destination("cannot remove", &folder.place, name, error))
    }

    fn unread(
        walk: &BuildWalk<S>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        walk.carry_forward(folder, name)
    }

    fn finish(walk: &BuildWalk<S>, folder: &Folder<S::Folder>) -> Result<(), RunError> {
        let broken = |action, error| walk.destination(action, &folder.place, c"", error);
        let handles = walk.handles(folder)?;
        let here = here(&handles).map_err(|error| broken("cannot finish", error))?;
        if let Some(entry) = &folder.entry {
            let late = walk.locks_out(&entry.meta);
            let open = late.then(|| {
                let mut entry = entry.clone();
                entry.meta.mode |= 0o700;
                entry
            });
            let entry = Listed::from(open.as_ref().unwrap_or(entry));
            let record = walk
                .target
                .dresser
                .existing(here, entry)
                .map_err(|error| broken("cannot set the attributes of", error))?;
            walk.note(folder, c"", record);
        }
        let mode = folder.entry.as_ref().map(|entry| entry.meta.mode);
        let top = folder.place.chain().len() == 1;
        if top {
            walk.target.top_mode.store(mode.unwrap_or(TOP_MODE), Ordering::Relaxed);
        } else if folder.entry.as_ref().is_some_and(|entry| walk.locks_out(&entry.meta)) {
            let late = (Arc::clone(&folder.place), mode.unwrap_or(TOP_MODE));
            lock(&walk.target.late_modes).push(late);
        }
        if top {
            // Nobody else looks into a snapshot that is being built, or keeps runs off it by a lock.
            dir::set_mode(here, 0o700).map_err(|error| broken("cannot set the mode of", error))?;
        }
        let records = folder.records();
        if !records.is_empty() || !folder.fresh {
            walk.target
                .kept
                .store(&folder.place, &records, walk.target.sync_each)
                .map_err(|error| broken("cannot keep what is beside", error))?;
        }
        walk.record(folder, &handles, here);
        if walk.target.sync_each {
            here.sync()
                .map_err(|error| RunError::Sync { path: walk.set.backups_dir.clone(), error })?;
        }
        Ok(())
    }
}

impl<S: Source> Walk<S, Build<S>> {
    /// Records a folder that is as it will be in the manifest.
    fn record(&self, folder: &Folder<S::Folder>, handles: &Handles<S::Folder>, here: &Dir) {
        // The top of the snapshot is its owner's to open to others or to close.
        let own = folder.entry.as_ref().filter(|_| folder.place.depth() > 0);
        self.target.manifest.folder(&Finished {
            place: &folder.place,
            here,
            base: handles.base.as_ref(),
            changes: &folder.changes,
            partial: folder.partial,
            seen: folder.count_seen(),
            own: own.and_then(|_| here.meta().ok()),
        });
    }

    /// Whether a folder of that mode would lock us out while the snapshot is built.
    fn locks_out(&self, meta: &crate::entry::Meta) -> bool {
        meta.mode & 0o700 != 0o700
            && self.keep().mode
            && self.target.dresser.abilities.mode
            && !rustix::process::geteuid().is_root()
    }

    /// Sets the modes that had to wait, the deepest folders first; not of those that are `gone`.
    ///
    /// # Errors
    /// When a folder cannot be opened or changed.
    pub(crate) fn set_late_modes(self: &Arc<Self>, gone: &[Vec<u8>]) -> Result<(), RunError> {
        let mut late = std::mem::take(&mut *lock(&self.target.late_modes));
        late.retain(|(place, _)| !gone.contains(&place.inside()));
        late.sort_by_cached_key(|(place, _)| (Reverse(place.chain().len()), place.inside()));
        late.dedup_by_key(|(place, _)| place.inside());
        for (place, mode) in late {
            let result = self.open_here(&place).and_then(|dir| {
                let mtime = dir.meta()?.mtime;
                dir::set_mode(&dir, mode)?;
                dir::set_mtime(&dir, mtime)?;
                self.target.manifest.set_own(&place, &dir.meta()?);
                Ok(())
            });
            result
                .map_err(|error| self.destination("cannot set the mode of", &place, c"", error))?;
        }
        Ok(())
    }

    /// Opens the snapshot's own folder to those who may look into a complete one; durably.
    ///
    /// # Errors
    /// When it cannot be changed.
    pub(crate) fn open_up(&self) -> io::Result<()> {
        let Some(top) = self.set.here.top.as_ref() else { return Ok(()) };
        let meta = top.meta()?;
        let mode = self.target.top_mode.load(Ordering::Relaxed);
        if meta.mode != mode {
            dir::set_mode(top, mode)?;
            dir::set_mtime(top, meta.mtime)?;
            top.sync()?;
        }
        Ok(())
    }

    /// Opens a folder of the incomplete snapshot, a name at a time from its top.
    fn open_here(&self, place: &Arc<Place>) -> io::Result<Dir> {
        let top = self.set.here.top.as_ref().ok_or(Errno::NOENT)?.try_clone()?;
        place.chain()[1..].iter().try_fold(top, |dir, place| dir.child(place.name()))
    }

    /// Keeps `record` beside `folder`, unless there is nothing to keep.
    fn note(&self, folder: &Folder<S::Folder>, name: &CStr, mut record: Record) {
        if record.is_empty() {
            return;
        }
        if std::mem::take(&mut record.no_room) {
            self.kept_beside(
                &folder.place.source_of(name),
                "the destination has no room for its attributes",
            );
        }
        let owner = record.uid.is_some() || record.gid.is_some();
        if owner && !self.target.owners_said.swap(true, Ordering::Relaxed) {
            let what = "owners cannot be set here (not root, or the file system has none): they are kept beside the snapshot, in .backup_manager/kept".to_owned();
            self.event(&Event::Limited { what });
        }
        folder.records().insert(name.to_owned(), record);
    }

    /// Carries out the step of an entry.
    fn carry_out(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        planned: &Planned<'_>,
        done: &mut Batched,
    ) -> Result<Outcome, RunError> {
        let name = planned.entry.name;
        let result = match planned.step.action {
            Action::Enter => Ok(true),
            Action::Keep => self.keep_stored(folder, handles, planned, done),
            Action::Check => self.check(folder, handles, planned.entry, done),
            Action::Mend => self.mend(folder, handles, planned.entry, done),
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
            Ok(true) => return Ok(Outcome::Stored),
            Ok(false) if planned.entry.meta.kind == Kind::File => {
                return Ok(Outcome::Fetch(Item::to_fetch(planned)));
            }
            Ok(false) => {
                self.make(folder, handles, planned.entry, !folder.fresh).map(|_| Outcome::Stored)
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.refused(folder, handles, name, error).map(|()| Outcome::Refused),
        }
    }

    /// Lists an entry that the destination would store under another name, which another entry may have; what is no file is
    /// kept beside the snapshot.
    fn would_be_renamed(&self, folder: &Folder<S::Folder>, entry: Listed<'_>) {
        folder.changes.alter();
        let instead = if entry.meta.kind == Kind::File {
            Instead::Nothing
        } else {
            self.note(folder, entry.name, Record::whole(&entry.to_entry()));
            Instead::Beside
        };
        self.problem(&folder.place.source_of(entry.name), OTHER_NAME, instead);
    }

    /// The destination refuses an entry: the base's version takes its place if there is one. A destination that is full or
    /// fails ends the run.
    ///
    /// # Errors
    /// When it is not the entry alone.
    fn refused(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        name: &CStr,
        error: io::Error,
    ) -> Result<(), RunError> {
        self.only_this(folder, handles, name, &error)?;
        let what = format!("the destination cannot hold it: {error}");
        // What has the name is another entry, which the file system does not tell from this one.
        let instead = if is(&error, Errno::EXIST) {
            Instead::Nothing
        } else {
            self.instead_of_refused(folder, name)?
        };
        self.problem(&folder.place.source_of(name), what, instead);
        Ok(())
    }

    /// Goes on when `error` concerns the entry `name` alone, and leaves nothing of it behind.
    ///
    /// # Errors
    /// When the destination is full or fails.
    fn only_this(
        self: &Arc<Self>,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        name: &CStr,
        error: &io::Error,
    ) -> Result<(), RunError> {
        folder.changes.alter();
        let broken = |error| self.destination("cannot create", &folder.place, name, error);
        let here = here(handles).map_err(broken)?;
        // After a sync that failed nothing is certain of what was written before.
        let refusal = match self.target.sync_failed.load(Ordering::Relaxed) {
            true => Refusal::Broken,
            false => classify(error, here, Tried::File),
        };
        match refusal {
            Refusal::Full => Err(no_space(&self.set.backups_dir)),
            Refusal::Broken => Err(broken(again(error))),
            Refusal::Entry if is(error, Errno::EXIST) => Ok(()),
            Refusal::Entry => match clear(here, name) {
                // What cannot be looked for under a name is not there either.
                Err(error) if !is_no_name(&error) => Err(broken(error)),
                _ => Ok(()),
            },
        }
    }

    /// Keeps what an earlier run stored, with what was beside it put on disk as far as that is possible now.
    fn keep_stored(
        self: &Arc<Self>,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        planned: &Planned<'_>,
        done: &mut Batched,
    ) -> io::Result<bool> {
        let record = folder.here_records.get(planned.entry.name);
        if let (Some(record), Some(held)) = (record, &planned.here) {
            // What that run could hold is not known.
            let stored = (here(handles)?, held, record, Holds::default());
            if let Some(stored) = self.put_on_disk(folder, handles, planned, stored, done) {
                return stored;
            }
        }
        self.kept(folder, planned.entry, record, done);
        Ok(true)
    }

    /// Counts an entry that an earlier run had stored already.
    fn kept(
        &self,
        folder: &Folder<S::Folder>,
        entry: Listed<'_>,
        record: Option<&Record>,
        done: &mut Batched,
    ) {
        if let Some(record) = record {
            folder.records().insert(entry.name.to_owned(), record.clone());
        }
        done.counts.kept += 1;
    }

    /// Makes a symlink, fifo, socket or device, `over` what has its name; keeps it beside the snapshot where that is impossible.
    fn make(
        &self,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: Listed<'_>,
        over: bool,
    ) -> io::Result<bool> {
        folder.changes.alter();
        let here = here(handles)?;
        let able = &self.target.dresser.abilities;
        let possible = if entry.meta.kind == Kind::Symlink { able.symlinks } else { able.nodes };
        if !possible {
            self.note(folder, entry.name, Record::whole(&entry.to_entry()));
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
        let whole = || Record::whole(&entry.to_entry());
        let record = match replacing(over, here, entry.name, make) {
            Ok(()) => self.target.dresser.new_node(here, entry, folder.fresh)?,
            Err(error)
                if is(&error, Errno::PERM)
                    || is(&error, Errno::NOTSUP)
                    || is(&error, Errno::NOSYS) =>
            {
                whole()
            }
            Err(error)
                if !is(&error, Errno::EXIST)
                    && classify(&error, here, Tried::File) == Refusal::Entry =>
            {
                let what = format!("the destination cannot hold it: {error}");
                self.problem(&folder.place.source_of(entry.name), what, Instead::Beside);
                whole()
            }
            Err(error) => return Err(error),
        };
        self.note(folder, entry.name, record);
        Ok(true)
    }

    /// Sends files to be read; the folder waits for them.
    fn fetch(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        source: &Arc<S::Folder>,
        items: Vec<Item>,
    ) {
        let in_flight = self.in_flight(items.len());
        folder.expect(1);
        Store::new(self, folder, handles, source, items, in_flight).ask();
    }
}

/// Opens the folder `name` of an incomplete snapshot, makes it if need be; whether it was made. Of what failed: what was tried.
fn enter(here: &Dir, name: &CStr, fresh: bool) -> Result<(Dir, bool), (&'static str, io::Error)> {
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
        made => made.map(|()| true).map_err(|error| ("cannot create", error))?,
    };
    let dir = match !made || !fresh {
        true => in_progress(here, name),
        false => here.child(name),
    };
    dir.map(|dir| (dir, made)).map_err(|error| ("cannot open", error))
}

/// The same error once more: the system's are told by their numbers.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn here<F>(handles: &Handles<F>) -> io::Result<&Dir> {
    handles.here.as_ref().ok_or_else(|| Errno::NOENT.into())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// Makes something under `name`, `over` what has it: what an earlier run or a link that failed left there. Otherwise nothing
/// is replaced: in a folder that was made just now the name is another entry's, which this file system does not tell apart.
fn replacing<T>(
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

/// Opens a folder of an incomplete snapshot and closes it to everybody else until it is finished: nobody may
/// exchange a name in it meanwhile. A setgid bit or default ACL, its own or its parent's, must not reach what
/// is made in it either.
pub(crate) fn in_progress(here: &Dir, name: &CStr) -> io::Result<Dir> {
    let dir = here.child_opened_up(name, 0o700)?;
    let (meta, own) = (dir.meta()?, rustix::process::geteuid());
    if own.is_root() && meta.uid != own.as_raw() {
        // A file system without owners, or of a server that trusts no root, has nothing to take.
        let _ = dir::set_owner(&dir, Some(own.as_raw()), None);
    }
    if meta.mode != 0o700 {
        dir::set_mode(&dir, 0o700)?;
    }
    attrs::remove_acls(&dir);
    Ok(dir)
}

/// Removes `name` of an incomplete snapshot, whatever it is.
fn clear(here: &Dir, name: &CStr) -> io::Result<()> {
    match crate::tree::remove(here, name, 1, &AtomicU64::new(0), &|| false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

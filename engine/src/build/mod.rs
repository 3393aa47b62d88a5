//! Carries out plans: builds the incomplete snapshot, folder by folder.

mod carry;
mod comparing;
mod content;
mod copy;
mod groups;
mod link;
mod marks;
mod metadata;
mod writing;

use std::cmp::Reverse;
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::io::Errno;

use crate::attrs;
use crate::dir::{self, Dir};
use crate::entry::{Entry, FileId, Kind, Listed, Meta};
use crate::error::RunError;
use crate::event::{Event, Instead};
use crate::folder::{Folder, Handles};
use crate::kept::{Kept, Record};
use crate::monitor::add;
use crate::place::Place;
use crate::plan::Action;
use crate::source::Source;
use crate::tally::Batched;
use crate::walk::{Planned, Target, Walk};

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
    /// Every file and folder is synced by itself, because the file system cannot be synced as a whole.
    pub(crate) sync_each: bool,
    /// Held while a file gets its final time and is synced; a checkpoint waits for all of them.
    pub(crate) in_flight: RwLock<()>,
    groups: Groups<Waiting<S::Folder>>,
    /// Modes that would lock an ordinary user out of its own snapshot while it is built.
    late_modes: Mutex<Vec<(Arc<Place>, u32)>>,
    owners_said: AtomicBool,
    /// A file could not be synced.
    pub(crate) sync_failed: AtomicBool,
    pub(crate) written: AtomicU64,
}

/// A name of a hard-linked inode that waits for the first one to be stored.
struct Waiting<F> {
    folder: Arc<Folder<F>>,
    handles: Arc<Handles<F>>,
    source: Arc<F>,
    item: Item,
}

type BuildWalk<S> = Arc<Walk<S, Build<S>>>;

impl<S: Source> Build<S> {
    pub(crate) fn new(dresser: Dresser, kept: Kept, sync_each: bool) -> Self {
        Self {
            dresser,
            kept,
            sync_each,
            in_flight: RwLock::new(()),
            groups: Groups::new(),
            late_modes: Mutex::default(),
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
    ) -> Result<(Option<Dir>, bool), RunError> {
        let broken = |action, error| walk.destination(action, &parent.place, &entry.name, error);
        let here = here(handles).map_err(|error| broken("cannot enter", error))?;
        let name = &entry.name;
        let made = match here.make_folder(name, 0o700) {
            Err(error) if is(&error, Errno::EXIST) => {
                let meta = here.stat(name).map_err(|error| broken("cannot look at", error))?;
                if meta.kind != Kind::Folder {
                    clear(here, name)
                        .and_then(|()| here.make_folder(name, 0o700))
                        .map_err(|error| broken("cannot replace", error))?;
                }
                meta.kind != Kind::Folder
            }
            made => made.map(|()| true).map_err(|error| broken("cannot create", error))?,
        };
        let dir = match !made || !parent.fresh {
            true => in_progress(here, name),
            false => here.child(name),
        };
        let dir = dir.map_err(|error| broken("cannot open", error))?;
        Ok((Some(dir), made))
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
        for planned in steps.iter().filter(|planned| planned.step.action != Action::Enter) {
            if walk.halted() || walk.is_full() {
                return;
            }
            let item = Item::of(walk, planned);
            let result = match item {
                Some(item) => walk.grouped(folder, handles, source, item, &mut done),
                None => walk.carry_out(folder, handles, planned, &mut done),
            };
            match result {
                Ok(Some(item)) => wanted.push(item),
                Ok(None) => {}
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
        if let Some(items) = &walk.set.context.items {
            items.deleted(folder, name, is_folder);
        }
    }

    fn left_out(_: &BuildWalk<S>, _: &Folder<S::Folder>, _: &CStr, _: bool) {}

    fn superfluous(
        walk: &BuildWalk<S>,
        folder: &Folder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError> {
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
        if top || folder.entry.as_ref().is_some_and(|entry| walk.locks_out(&entry.meta)) {
            let late = (Arc::clone(&folder.place), mode.unwrap_or(TOP_MODE));
            lock(&walk.target.late_modes).push(late);
        }
        if top {
            // Nobody else looks into a snapshot that is being built.
            dir::set_mode(here, 0o700).map_err(|error| broken("cannot set the mode of", error))?;
        }
        let records = folder.records();
        if !records.is_empty() || !folder.fresh {
            walk.target
                .kept
                .store(&folder.place, &records, walk.target.sync_each)
                .map_err(|error| broken("cannot keep what is beside", error))?;
        }
        if walk.target.sync_each {
            here.sync()
                .map_err(|error| RunError::Sync { path: walk.set.backups_dir.clone(), error })?;
        }
        Ok(())
    }
}

impl<S: Source> Walk<S, Build<S>> {
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
                dir::set_mtime(&dir, mtime)
            });
            result
                .map_err(|error| self.destination("cannot set the mode of", &place, c"", error))?;
        }
        Ok(())
    }

    /// Opens a folder of the incomplete snapshot, a name at a time from its top.
    fn open_here(&self, place: &Arc<Place>) -> io::Result<Dir> {
        let top = self.set.here.top.as_ref().ok_or(Errno::NOENT)?.try_clone()?;
        place.chain()[1..].iter().try_fold(top, |dir, place| dir.child(place.name()))
    }

    /// Keeps `record` beside `folder`, unless there is nothing to keep.
    fn note(&self, folder: &Folder<S::Folder>, name: &CStr, record: Record) {
        if record.is_empty() {
            return;
        }
        let owner = record.uid.is_some() || record.gid.is_some();
        if owner && !self.target.owners_said.swap(true, Ordering::Relaxed) {
            let what = "owners cannot be set here (not root, or the file system has none): they are kept beside the snapshot, in .backup_manager/kept".to_owned();
            self.event(&Event::Limited { what });
        }
        folder.records().insert(name.to_owned(), record);
    }

    /// Carries out the step of an entry; what is returned has to be read from the source.
    fn carry_out(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        planned: &Planned<'_>,
        done: &mut Batched,
    ) -> Result<Option<Item>, RunError> {
        let name = planned.entry.name;
        let result = match planned.step.action {
            Action::Enter => Ok(true),
            Action::Keep => {
                self.kept(folder, planned.entry, folder.here_records.get(name), done);
                Ok(true)
            }
            Action::Check => self.check(folder, handles, planned.entry, done),
            Action::Mend => self.mend(folder, handles, planned.entry, done),
            Action::Link => self.link(folder, handles, planned, done),
            Action::CopyLocally => match &handles.base {
                Some(base) => self.copy_locally(folder, handles, (base, name), planned.entry, done),
                None => Ok(false),
            },
            Action::Make => self.make(folder, handles, planned.entry),
            Action::Fetch | Action::FetchAndCompare => Ok(false),
        };
        match result {
            Ok(true) => Ok(None),
            Ok(false) if planned.entry.meta.kind == Kind::File => Ok(Some(Item::to_fetch(planned))),
            Ok(false) => self
                .make(folder, handles, planned.entry)
                .map(|_| None)
                .or_else(|error| self.impossible(folder, name, error)),
            Err(error) => self.impossible(folder, name, error),
        }
    }

    /// An error that concerns one name only is told and passed over: nothing of it stays under its name, and
    /// the base's version takes its place. Any other error ends the run.
    fn impossible<T>(
        self: &Arc<Self>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
        error: io::Error,
    ) -> Result<Option<T>, RunError> {
        let own = matches!(
            Errno::from_io_error(&error),
            Some(Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ | Errno::EXIST | Errno::FBIG)
        );
        if !own {
            return Err(self.destination("cannot create", &folder.place, name, error));
        }
        let instead = self.instead_of_refused(folder, name)?;
        let what = format!("the destination cannot hold it: {error}");
        self.problem(&folder.place.source_of(name), what, instead);
        Ok(None)
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

    /// Makes a symlink, fifo, socket or device; keeps it beside the snapshot where that is impossible.
    fn make(
        &self,
        folder: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: Listed<'_>,
    ) -> io::Result<bool> {
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
        match replacing(folder.fresh, here, entry.name, make) {
            Ok(()) => {
                let record = self.target.dresser.new_node(here, entry, folder.fresh)?;
                self.note(folder, entry.name, record);
            }
            Err(error)
                if is(&error, Errno::PERM)
                    || is(&error, Errno::NOTSUP)
                    || is(&error, Errno::NOSYS) =>
            {
                self.note(folder, entry.name, Record::whole(&entry.to_entry()));
            }
            Err(error) => return Err(error),
        }
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

fn here<F>(handles: &Handles<F>) -> io::Result<&Dir> {
    handles.here.as_ref().ok_or_else(|| Errno::NOENT.into())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// Makes something under `name`, in the place of what an earlier run left there. In a `fresh` folder
/// nothing is replaced: what is there has the same name for this file system, but is another entry.
fn replacing<T>(
    fresh: bool,
    here: &Dir,
    name: &CStr,
    make: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match make() {
        Err(error) if !fresh && is(&error, Errno::EXIST) => {
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

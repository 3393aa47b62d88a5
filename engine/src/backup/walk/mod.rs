//! Walks the source and, beside it, the base and the incomplete snapshot: lists a folder, compares,
//! plans, and hands the plan to a target that builds it or tells it.

pub(crate) mod compare;
pub(crate) mod filters;
pub(crate) mod folder;
pub(crate) mod listing;
pub(crate) mod mounts;
pub(crate) mod open_folders;
pub(crate) mod prune_empty;
pub(crate) mod setting;
pub(crate) mod subfolders;
pub(crate) mod tally;
pub(crate) mod task;
pub(crate) mod unreadable;
pub(crate) mod vanished;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use crate::backup::plan::Planned;
use crate::backup::walk::folder::{Folder, Handles};
use crate::backup::walk::setting::{Beyond, MountSeen, RootSeen, Setting};
use crate::backup::walk::tally::Tally;
use crate::backup::walk::task::{InFlight, Retry, Task, lock};
use crate::backup::withheld::Untold;
use crate::entry::overlay::Records;
use crate::entry::preserve::Keep;
use crate::entry::stored::Held;
use crate::entry::tree_path::Place;
use crate::entry::{Entry, FileId, Meta};
use crate::error::RunError;
use crate::filter::scope::Scope;
use crate::fs::dir::Dir;
use crate::fs::traverse::most_open_folders;
use crate::fs::xattrs::Asked;
use crate::job::Job;
use crate::monitor::Phase;
use crate::monitor::event::{Event, Instead};
use crate::monitor::items::Item;
use crate::repository::records::coverage::{Coverage, Noted};
use crate::source::{Answers, Root, Source};
use crate::threads::semaphore::Semaphore;
use crate::threads::work_queue::{Queue, workers};

/// How many entries of a source that answers later may wait for a worker: about 10 MiB.
const ARRIVED: usize = 64 * 1024;

/// How many folders of another machine may wait to be entered: about 100 MiB. No tree that people
/// have comes near it.
const WAITING: usize = 1_000_000;

/// How going into a folder of the incomplete snapshot ended.
pub(crate) enum Entered {
    /// It is open (there is none in a dry run); whether it was made just now.
    Opened(Option<Dir>, bool),
    /// The destination refuses it, which was told: nothing below it is stored.
    Refused,
}

/// What becomes of a plan.
pub(crate) trait Target<S: Source>: Sized + Send + Sync + 'static {
    /// Opens the incomplete snapshot's folder for `entry` in `parent`.
    fn enter(
        walk: &Arc<Walk<S, Self>>,
        parent: &Folder<S::Folder>,
        handles: &Handles<S::Folder>,
        entry: &Entry,
    ) -> Result<Entered, RunError>;

    /// Carries out the steps of some entries of one folder. Folders among them are entered afterwards.
    fn apply(
        walk: &Arc<Walk<S, Self>>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        source: &Arc<S::Folder>,
        steps: &[Planned<'_>],
    );

    /// Whether a name of the hard-linked inode `id`, which is as `meta` says, was dealt with already.
    fn knows(&self, id: FileId, meta: &Meta) -> bool;

    /// Something was found in folders about which nothing was told so far.
    fn release(walk: &Walk<S, Self>, untold: Vec<Untold>) {
        untold.into_iter().for_each(|untold| walk.tell_item(untold.item));
    }

    /// `name` is in the base and no longer in the source.
    fn deleted(walk: &Arc<Walk<S, Self>>, folder: &Folder<S::Folder>, name: &CStr, is_folder: bool);

    /// `name` is in the base and left out now by the filters.
    fn left_out(
        walk: &Arc<Walk<S, Self>>,
        folder: &Folder<S::Folder>,
        name: &CStr,
        is_folder: bool,
    );

    /// `name` is in the incomplete snapshot and no longer in the source.
    fn superfluous(
        walk: &Arc<Walk<S, Self>>,
        folder: &Folder<S::Folder>,
        here: &Dir,
        name: &CStr,
    ) -> Result<(), RunError>;

    /// `name` could not be read, this time or for good; what the snapshot holds instead.
    fn unread(
        walk: &Arc<Walk<S, Self>>,
        folder: &Arc<Folder<S::Folder>>,
        name: &CStr,
    ) -> Result<Instead, RunError>;

    /// Everything directly in the folder has happened.
    fn finish(walk: &Arc<Walk<S, Self>>, folder: &Folder<S::Folder>) -> Result<(), RunError>;
}

/// A walk in progress, shared by its threads.
pub(crate) struct Walk<S: Source, T> {
    pub(crate) source: Arc<S>,
    pub(crate) target: T,
    pub(crate) set: Setting,
    pub(crate) tally: Tally,
    /// The filters as they stand above everything; `None` when nothing is left out of anything.
    scope: Option<Arc<Scope>>,
    queue: Arc<Queue<Task<S::Folder>>>,
    /// How many files may be asked for at once of a source that answers later.
    gate: Arc<Semaphore>,
    /// How many entries may have arrived that no worker has come to.
    arrived: Arc<Semaphore>,
    /// Folders that were listed and wait to be entered.
    waiting: AtomicUsize,
    fatal: Mutex<Option<RunError>>,
    halted: AtomicBool,
    full: Mutex<Option<RunError>>,
    is_full: AtomicBool,
    /// Entries that were in the incomplete snapshot and no longer in the source.
    pub(crate) freed: AtomicU64,
    last_try: AtomicBool,
    again: Mutex<Vec<Retry>>,
    /// Names that were gone when they were looked for the second time.
    gone: Mutex<Vec<Retry>>,
    /// How long files that others hold a lease on are waited for.
    patience: OnceLock<Instant>,
    roots: Mutex<Vec<RootSeen>>,
    /// Mount points below them, in the order of their areas.
    mounts: Mutex<Vec<MountSeen>>,
    gone_mounts: Mutex<BTreeSet<Vec<u8>>>,
    /// Rule files and tags of the source, for the report.
    noted: Mutex<Noted>,
    /// Folders of the layout that were opened and that the walk has not come to.
    looked: Mutex<HashMap<PathBuf, Root<S::Folder>>>,
    pub(crate) open: Arc<AtomicUsize>,
    most_open: usize,
}

impl<S: Source, T: Target<S>> Walk<S, T> {
    pub(crate) fn new(source: Arc<S>, target: T, set: Setting) -> Arc<Self> {
        let (folders, files) = match source.answers() {
            Answers::AtOnce => (0, usize::MAX),
            Answers::Later { folders, files } => (folders.max(1), files),
        };
        Arc::new(Self {
            source,
            target,
            tally: Tally::new(set.roots.len()),
            scope: (!set.filters.is_empty()).then(|| set.filters.scope()),
            queue: Arc::new(Queue::new(folders)),
            gate: Semaphore::new(files),
            arrived: Semaphore::new(ARRIVED),
            waiting: AtomicUsize::new(0),
            fatal: Mutex::new(None),
            halted: AtomicBool::new(false),
            full: Mutex::new(None),
            is_full: AtomicBool::new(false),
            freed: AtomicU64::new(0),
            last_try: AtomicBool::new(false),
            again: Mutex::default(),
            gone: Mutex::default(),
            patience: OnceLock::new(),
            roots: Mutex::new(set.roots.clone()),
            mounts: Mutex::default(),
            gone_mounts: Mutex::default(),
            noted: Mutex::default(),
            looked: Mutex::default(),
            open: Arc::default(),
            most_open: most_open_folders(),
            set,
        })
    }

    /// Walks everything below `job`'s layout.
    ///
    /// # Errors
    /// The first thing that ended the walk.
    pub(crate) fn walk(self: &Arc<Self>, job: &Job) -> Result<(), RunError> {
        let top = self.top(job.layout.top(), false)?;
        self.list(&top, self.later().then(|| self.queue.hold()))?;
        self.work()?;
        self.set.context.progress.enter(Phase::Retrying);
        self.retry()?;
        self.tell_missing(job);
        Ok(())
    }

    /// Tells what a list names that the source does not have.
    fn tell_missing(&self, job: &Job) {
        let Some(selection) = &self.set.selection else { return };
        let root = job.layout.roots().into_iter().next().map(|(path, _)| path).unwrap_or_default();
        for path in selection.missing() {
            use std::os::unix::ffi::OsStrExt;
            let path = root.join(std::ffi::OsStr::from_bytes(&path));
            let what = "it is listed (--files-from) and does not exist";
            self.problem(path.as_os_str().as_bytes(), what, Instead::Nothing);
        }
    }

    /// What the walk found at each root.
    pub(crate) fn roots(&self) -> Vec<RootSeen> {
        lock(&self.roots).clone()
    }

    /// What the walk leaves out, for the report; `None` when that is too long.
    pub(crate) fn coverage(&self, job: &Job) -> Option<Coverage> {
        Coverage::of(job, &lock(&self.noted))
    }

    fn work(self: &Arc<Self>) -> Result<(), RunError> {
        self.queue.work(workers(), |task| {
            if !self.halted() {
                let result = match task {
                    Task::Enter { parent, entry, found, covered } => {
                        let beyond = Beyond { area: parent.area, left_out: covered };
                        self.enter(&parent, entry, Some(found), beyond)
                    }
                    Task::EnterNext { parent, waiting } => self.enter_next(parent, waiting),
                    Task::Arrived { folder, batch, arrival, waits } => {
                        drop(waits);
                        self.arrived(&folder, &batch, &arrival)
                    }
                    Task::Listed { folder, arrival } => self.listing_ended(&folder, &arrival),
                    Task::Again { retries } => self.again(retries),
                    Task::Carry { folder, name } => {
                        T::unread(self, &folder, &name).and_then(|_| self.settle(&folder))
                    }
                    Task::Gone { parent, name, area, left_out } => {
                        self.gone(&parent, &name, area, left_out)
                    }
                };
                if let Err(error) = result {
                    self.fail(error);
                }
            }
        });
        let fatal = lock(&self.fatal).take();
        match fatal.or_else(|| lock(&self.full).take()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Ends the walk; the first error counts. On a full disk it goes on without storing anything, as
    /// removing what is no longer in the source may make room.
    pub(crate) fn fail(&self, error: RunError) {
        if matches!(error, RunError::NoSpace { .. }) {
            lock(&self.full).get_or_insert(error);
            self.is_full.store(true, Ordering::Relaxed);
            return;
        }
        lock(&self.fatal).get_or_insert(error);
        self.halted.store(true, Ordering::Relaxed);
        self.queue.close();
    }

    /// Whether the walk is about to end.
    pub(crate) fn halted(&self) -> bool {
        if self.halted.load(Ordering::Relaxed) {
            return true;
        }
        if self.set.context.stop.asked() {
            self.fail(RunError::Stopped);
            return true;
        }
        false
    }

    /// Whether the destination is full.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// `Break` when nothing more is stored.
    pub(crate) fn goes_on(&self) -> ControlFlow<()> {
        if self.halted() || self.is_full() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether what cannot be read now will not be tried again.
    pub(crate) fn last_try(&self) -> bool {
        self.last_try.load(Ordering::Relaxed)
    }

    pub(crate) fn event(&self, event: &Event) {
        self.set.context.monitor.event(event);
    }

    /// Tells of planned entries with rsync's letters, if somebody wants to know.
    pub(crate) fn itemize(&self, folder: &Folder<S::Folder>, steps: &[Planned<'_>]) {
        if let Some(items) = &self.set.context.items {
            let now = steps.iter().filter(|planned| !self.is_held_back(folder, planned));
            items.tell(now.filter_map(|planned| self.item(folder, planned)).collect());
        }
    }

    /// The line about an entry, if somebody wants to know.
    pub(crate) fn item(&self, folder: &Folder<S::Folder>, planned: &Planned<'_>) -> Option<Item> {
        crate::backup::itemize::item(
            self.set.context.items.as_ref()?,
            folder,
            planned,
            &self.set.rules,
        )
    }

    /// Tells a line that was held back.
    pub(crate) fn tell_item(&self, item: Option<Item>) {
        if let Some(items) = &self.set.context.items {
            items.tell(item.into_iter().collect());
        }
    }

    /// Whether the source answers from threads of its own.
    pub(crate) fn later(&self) -> bool {
        self.source.answers() != Answers::AtOnce
    }

    /// Takes places for `files` that are to be asked for, and waits for them if need be. Nothing, for
    /// a source that answers at once.
    pub(crate) fn in_flight(&self, files: usize) -> Option<InFlight<S::Folder>> {
        self.later().then(|| InFlight { _pass: self.gate.acquire(files), _hold: self.queue.hold() })
    }

    /// Has `name` in `folder` carried forward by a worker; the folder waits for it.
    pub(crate) fn carry_later(&self, folder: &Arc<Folder<S::Folder>>, name: CString) {
        folder.expect(1);
        self.queue.push(Task::Carry { folder: Arc::clone(folder), name });
    }

    pub(crate) fn keep(&self) -> Keep {
        self.set.rules.keep
    }

    pub(crate) fn asked(&self) -> Asked {
        Asked { xattrs: self.keep().xattrs, acls: self.keep().acls }
    }

    /// What `dir` holds under `name`, as it is meant.
    pub(crate) fn held(
        &self,
        dir: &Dir,
        name: &CStr,
        records: &Records,
    ) -> io::Result<Option<Held>> {
        let held = crate::fs::lookup::held(dir, name, records, self.asked())?;
        Ok(if self.keep().fake_super {
            crate::fs::fake_super::complete(dir, name, held)
        } else {
            held
        })
    }

    /// An error of the backups folder at `name` in `folder`.
    pub(crate) fn destination(
        &self,
        action: &'static str,
        place: &Arc<Place>,
        name: &CStr,
        error: io::Error,
    ) -> RunError {
        use std::os::unix::ffi::OsStringExt;
        let inside = std::ffi::OsString::from_vec(place.inside_of(name));
        crate::error::destination(
            action,
            &self.set.backups_dir,
            self.set.backups_dir.join(inside),
            error,
        )
    }

    /// One thing that `folder` waited for has happened; the last one finishes it.
    pub(crate) fn settle(self: &Arc<Self>, folder: &Folder<S::Folder>) -> Result<(), RunError> {
        if folder.settle() && !self.halted() { T::finish(self, folder) } else { Ok(()) }
    }
}

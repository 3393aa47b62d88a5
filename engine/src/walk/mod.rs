//! Walks the source and, beside it, the base and the incomplete snapshot: lists a folder, compares,
//! plans, and hands the plan to a target that builds it or tells it.

mod compare;
mod listing;
mod mounts;
mod open;
mod retry;
mod rules;
mod setting;
mod subfolders;
mod vanished;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::attrs::Asked;
use crate::coverage::{Coverage, Noted};
use crate::dir::Dir;
use crate::empty::Untold;
use crate::entry::{Batch, Entry, FileId, Listed, Meta};
use crate::error::RunError;
use crate::event::{Event, Instead};
use crate::filter::Scope;
use crate::folder::{Folder, Handles};
use crate::gate::{Gate, Pass};
use crate::itemize::Item;
use crate::job::{Job, Keep};
use crate::kept::Records;
use crate::layout::Node;
use crate::monitor::Phase;
use crate::place::Place;
use crate::plan::{Action, Held, Step};
use crate::queue::{Hold, Queue, workers};
use crate::source::{Answers, Root, Source};
use crate::tally::Tally;

use listing::Arrival;
use mounts::Beyond;
pub(crate) use mounts::MountSeen;
pub(crate) use open::most_open_folders;
use retry::Retry;
pub(crate) use rules::Rules;
pub(crate) use setting::{Beside, RootSeen, Setting, Trust, gather};
use subfolders::Subfolders;

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

/// An entry of the source with what is known and decided about it.
pub(crate) struct Planned<'a> {
    pub(crate) entry: Listed<'a>,
    pub(crate) base: Option<Held>,
    pub(crate) here: Option<Held>,
    pub(crate) step: Step,
}

impl Planned<'_> {
    /// Whether the snapshot is going to hold another inode than the base, as far as the plan tells.
    pub(crate) fn is_apart(&self) -> bool {
        let id = |held: &Option<Held>| held.as_ref().and_then(|held| held.meta.id);
        match self.step.action {
            Action::Link | Action::FetchAndCompare | Action::Enter => false,
            Action::Keep | Action::Check => {
                id(&self.here).is_none() || id(&self.here) != id(&self.base)
            }
            Action::Mend | Action::CopyLocally | Action::Make | Action::Fetch => true,
        }
    }
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
    gate: Arc<Gate>,
    /// How many entries may have arrived that no worker has come to.
    arrived: Arc<Gate>,
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

enum Task<F> {
    /// Go into a folder that the layout puts there.
    Enter { parent: Arc<Folder<F>>, entry: Entry, found: Found<F>, covered: bool },
    /// Go into the next one of some folders that were listed.
    EnterNext { parent: Arc<Folder<F>>, waiting: Subfolders },
    /// Some entries of a folder have arrived.
    Arrived { folder: Arc<Folder<F>>, batch: Batch, arrival: Arc<Arrival<F>>, waits: Pass },
    /// All entries of a folder have arrived and are through.
    Listed { folder: Arc<Folder<F>>, arrival: Arc<Arrival<F>> },
    /// Look again at entries of one folder.
    Again { retries: Vec<Retry> },
    /// Carry forward what the base has under a name in a folder that could not be read.
    Carry { folder: Arc<Folder<F>>, name: CString },
    /// Count what was below a folder of the base that is gone, or left out now by the filters.
    Gone { parent: Arc<Dir>, name: CString, area: Option<usize>, left_out: bool },
}

/// Files that were asked for and have not all come: the walk waits for them, others for their places.
pub(crate) struct InFlight<F> {
    _pass: Pass,
    _hold: Hold<Task<F>>,
}

/// A folder of the layout, found on the source.
struct Found<F> {
    node: Node,
    source: Arc<F>,
    root: Option<usize>,
    /// The filters leave it out: it only leads to what the layout has below.
    left_out: bool,
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
            gate: Gate::new(files),
            arrived: Gate::new(ARRIVED),
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
        crate::itemize::item(self.set.context.items.as_ref()?, folder, planned, &self.set.rules)
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
        self.later().then(|| InFlight { _pass: self.gate.pass(files), _hold: self.queue.hold() })
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
        let held = crate::folder::held(dir, name, records, self.asked())?;
        Ok(if self.keep().fake_super { crate::fake::complete(dir, name, held) } else { held })
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

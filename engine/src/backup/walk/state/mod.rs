//! The state that the threads and the sink of a walk share: settings, counters, events, cancellation, and pending work.

pub(crate) mod setting;
pub(crate) mod tally;
pub(crate) mod task;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use crate::backup::brake::tally::ChangeTally;
use crate::backup::plan::planned::Planned;
use crate::backup::walk::expect::known::Guesses;
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::folder::overflow::Overflow;
use crate::backup::walk::renames::deferred::Renames;
use crate::backup::walk::renames::found::FoundRenames;
use crate::backup::walk::state::setting::{MountSeen, RootSeen, WalkSetting};
use crate::backup::walk::state::tally::Tally;
use crate::backup::walk::state::task::{InFlight, Retry, WalkTask};
use crate::entry::Entry;
use crate::entry::overlay::SidecarRecords;
use crate::entry::preserve::Preserve;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::error::RunError;
use crate::filter::scope::Scope;
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs::XattrSelection;
use crate::fs::unnamed::unnamed_file;
use crate::job::Job;
use crate::monitor::event::Event;
use crate::monitor::items::ItemizedChange;
use crate::repository::records::coverage::{Coverage, FoundRules};
use crate::source::{Answers, Root, Source};
use crate::threads::lock::lock;
use crate::threads::semaphore::Semaphore;
use crate::threads::work_queue::Queue;

/// The most memory of entries of a source that answers later that may wait for a worker, bytes.
const ARRIVED: u64 = 10 << 20;

/// Bytes of attributes that count as one more file in flight.
const A_FILE: usize = 4096;

/// The state that the threads of a walk share. The sink uses the settings, counters, events and cancellation. Only the
/// walk uses the pending work.
pub(crate) struct WalkState<S: Source> {
    pub(super) source: Arc<S>,
    pub(crate) set: WalkSetting,
    pub(crate) tally: Tally,
    /// What changed below the roots, for the brake on mass changes.
    pub(crate) changes: ChangeTally,
    /// The filters of the whole job; `None` when it has none.
    pub(super) scope: Option<Arc<Scope>>,
    pub(super) queue: Arc<Queue<WalkTask<S::Folder>>>,
    /// Limits how many files may be requested at a time from a source that answers later.
    gate: Arc<Semaphore>,
    /// Limits how many entries may wait for a worker.
    pub(super) arrived: Arc<Semaphore>,
    /// The number of listed folders that wait to be entered.
    pub(super) waiting: AtomicUsize,
    pub(super) fatal: Mutex<Option<RunError>>,
    halted: AtomicBool,
    pub(super) full: Mutex<Option<RunError>>,
    is_full: AtomicBool,
    /// The number of entries removed from the incomplete snapshot because the source no longer has them.
    pub(crate) freed: AtomicU64,
    pub(super) last_try: AtomicBool,
    pub(super) again: Mutex<Vec<Retry>>,
    /// Names that did not exist when the walk looked at them a second time.
    pub(super) gone: Mutex<Vec<Retry>>,
    /// Until when the walk waits for files on which other programs hold a lease.
    pub(super) patience: OnceLock<Instant>,
    pub(super) roots: Mutex<Vec<RootSeen>>,
    /// The mount points below the roots, in the order of their areas.
    pub(super) mounts: Mutex<Vec<MountSeen>>,
    pub(super) gone_mounts: Mutex<BTreeSet<Vec<u8>>>,
    /// Rule files and tags of the source, for the report.
    pub(super) noted: Mutex<FoundRules>,
    /// Folders of the layout that are open and that the walk has not reached yet.
    pub(super) looked: Mutex<HashMap<PathBuf, Root<S::Folder>>>,
    pub(super) guesses: Guesses,
    pub(super) renames: Renames<S::Folder>,
    pub(super) found_renames: Mutex<FoundRenames>,
    /// The number of folders that are open.
    pub(crate) open: Arc<AtomicUsize>,
    /// The listed folders that wait to be entered.
    pub(crate) overflow: Overflow,
}

impl<S: Source> WalkState<S> {
    pub(crate) fn new(source: Arc<S>, set: WalkSetting) -> Arc<Self> {
        let (folders, files) = match source.answers() {
            Answers::AtOnce => (0, usize::MAX),
            Answers::Later { folders, files } => (folders.min(set.most_listings).max(1), files),
        };
        // Without a handle of its own, nothing is matched.
        let base = set.base.top.as_ref().and_then(|top| top.try_clone().ok());
        Arc::new(Self {
            source,
            tally: Tally::new(set.roots.len()),
            changes: ChangeTally::default(),
            scope: (!set.filters.is_empty()).then(|| set.filters.scope()),
            queue: Arc::new(Queue::new(folders)),
            gate: Semaphore::new(files as u64),
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
            guesses: Guesses::default(),
            renames: Renames::new(set.rename_from.and(base)),
            found_renames: Mutex::default(),
            open: Arc::default(),
            overflow: Overflow::default(),
            set,
        })
    }

    /// A file without a name: on the destination, or for a dry run where temporary files are.
    pub(crate) fn file_for_overflow(&self) -> Option<File> {
        let on_destination = || {
            let top = self.set.here.top.as_ref().filter(|_| self.set.writes)?;
            unnamed_file(top.as_fd()).ok()
        };
        let temporary = || unnamed_file(File::open(std::env::temp_dir()).ok()?).ok();
        on_destination().or_else(temporary)
    }

    /// What the walk found at each root.
    pub(crate) fn roots(&self) -> Vec<RootSeen> {
        lock(&self.roots).clone()
    }

    /// What the walk leaves out, for the report; `None` when the description is too long.
    pub(crate) fn coverage(&self, job: &Job) -> Option<Coverage> {
        Coverage::of(job, &lock(&self.noted))
    }

    /// Ends the walk with the first error. On a full disk the walk continues and stores nothing, because it may free space
    /// when it removes entries that the source no longer has.
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

    /// Whether the walk has to end: it failed, or the run was asked to stop.
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

    /// `Break` when the walk stores nothing more.
    pub(crate) fn goes_on(&self) -> ControlFlow<()> {
        if self.halted() || self.is_full() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether this is the last attempt to read unreadable entries.
    pub(super) fn last_try(&self) -> bool {
        self.last_try.load(Ordering::Relaxed)
    }

    pub(crate) fn event(&self, event: &Event) {
        self.set.context.monitor.event(event);
    }

    /// Reports planned entries with rsync's letters, when the job asks for them.
    pub(super) fn itemize(&self, folder: &WalkFolder<S::Folder>, steps: &[Planned<'_>]) {
        if let Some(items) = &self.set.context.items {
            let now = steps.iter().filter(|planned| !self.is_held_back(folder, planned));
            items.report(now.filter_map(|planned| self.item(folder, planned)).collect());
        }
    }

    /// The itemized line of an entry; `None` when the job does not ask for such lines.
    pub(crate) fn item(
        &self,
        folder: &WalkFolder<S::Folder>,
        planned: &Planned<'_>,
    ) -> Option<ItemizedChange> {
        crate::backup::itemize::item(
            self.set.context.items.as_ref()?,
            folder,
            planned,
            &self.set.rules,
        )
    }

    /// Reports an itemized line.
    pub(crate) fn report_item(&self, item: Option<ItemizedChange>) {
        if let Some(items) = &self.set.context.items {
            items.report(item.into_iter().collect());
        }
    }

    /// Whether the source answers later, from threads of its own.
    pub(crate) fn later(&self) -> bool {
        self.source.answers() != Answers::AtOnce
    }

    /// Takes permits to request files with these entries, and waits until they are free, if `waits`. Attributes count as
    /// further files: few files can have much of them. `None` for a source that answers at once.
    pub(crate) fn in_flight<'a>(
        &self,
        files: impl Iterator<Item = &'a Entry>,
        waits: bool,
    ) -> Option<InFlight<S::Folder>> {
        let attributes = |entry: &Entry| entry.extra.as_ref().map_or(0, |extra| extra.bytes());
        let permits = || files.map(|entry| 1 + (attributes(entry) / A_FILE) as u64).sum();
        let pass = || match waits {
            true => self.gate.acquire(permits()),
            false => self.gate.acquire_at_once(permits()),
        };
        self.later().then(|| InFlight { _pass: pass(), _hold: self.queue.hold() })
    }

    /// Queues a task that carries `name` in `folder` forward. The folder waits for the task.
    pub(crate) fn carry_later(&self, folder: &Arc<WalkFolder<S::Folder>>, name: CString) {
        folder.expect(1);
        self.queue.push(WalkTask::Carry { folder: Arc::clone(folder), name });
    }

    /// Records that one thing that `folder` waits for has happened. Returns whether the caller has to finish the folder now.
    pub(crate) fn settles(&self, folder: &WalkFolder<S::Folder>) -> bool {
        folder.settle() && !self.halted()
    }

    pub(crate) fn keep(&self) -> Preserve {
        self.set.rules.keep
    }

    pub(crate) fn asked(&self) -> XattrSelection {
        XattrSelection { xattrs: self.keep().xattrs, acls: self.keep().acls }
    }

    /// The entry that `dir` holds under `name`, with the values of its sidecar record in `records` and of `--fake-super`.
    pub(crate) fn held(
        &self,
        dir: &Dir,
        name: &CStr,
        records: &SidecarRecords,
    ) -> io::Result<Option<StoredEntry>> {
        let held = crate::fs::lookup::held(dir, name, records, self.asked())?;
        Ok(if self.keep().fake_super {
            crate::fs::metadata::fake_super::complete(dir, name, held)
        } else {
            held
        })
    }

    /// An error of the backups folder at `name` in the folder `place`.
    pub(crate) fn destination(
        &self,
        action: &'static str,
        place: &Arc<TreePath>,
        name: &CStr,
        error: io::Error,
    ) -> RunError {
        use std::os::unix::ffi::OsStringExt;
        let inside = std::ffi::OsString::from_vec(place.inside_of(name));
        crate::error::destination(
            action,
            &self.set.backups_dir,
            self.set.snapshot_dir.join(inside),
            error,
        )
    }

    /// Reports the paths that `--files-from` names and the source does not have.
    pub(super) fn report_missing(&self, job: &Job) {
        let Some(selection) = &self.set.selection else { return };
        let root = job.layout.roots().into_iter().next().map(|(path, _)| path).unwrap_or_default();
        for path in selection.missing() {
            use std::os::unix::ffi::OsStrExt;
            let path = root.join(std::ffi::OsStr::from_bytes(&path));
            let what = "it is listed (--files-from) and does not exist";
            self.problem(
                path.as_os_str().as_bytes(),
                what,
                crate::monitor::event::Instead::Nothing,
            );
        }
    }
}

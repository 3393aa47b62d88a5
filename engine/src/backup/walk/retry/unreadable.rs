//! Entries that could not be read. The walk tries them again at its end, then gives up.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::backup::walk::Walk;
use crate::backup::walk::expect::known::Compared;
use crate::backup::walk::folder::open::Reopened;
use crate::backup::walk::folder::{FolderFilter, FolderParts, WalkFolder};
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::task::{Retry, WalkTask};
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, Extra, ListedEntry, check_name};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;
use crate::monitor::event::{Event, Instead, Problem};
use crate::source::{Source, SourceError};
use crate::threads::lock::lock;

/// The most unreadable entries that the walk tries again at its end. It carries further ones forward at once.
const RETRIES: usize = 50_000;

/// How long the walk waits for files on which other programs hold a lease. The kernel breaks a lease after 45 seconds
/// (`/proc/sys/fs/lease-break-time`).
const LEASE: Duration = Duration::from_secs(60);

/// The pause before the walk opens leased files again.
const LEASE_PAUSE: Duration = Duration::from_millis(200);

/// Groups the entries by folder.
fn by_folder(all: Vec<Retry>) -> Vec<Vec<Retry>> {
    let mut folders: HashMap<*const TreePath, Vec<Retry>> = HashMap::new();
    for retry in all {
        folders.entry(Arc::as_ptr(&retry.place)).or_default().push(retry);
    }
    folders.into_values().collect()
}

/// Whether a file cannot be opened because of a lease on it (fcntl(2), `F_SETLEASE`).
fn is_leased(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl<S: Source> WalkState<S> {
    /// Decides what to do about an entry that cannot be read. Returns `None` if the walk tries it again later or has reported
    /// it, otherwise the error with which the walk gives it up.
    pub(crate) fn try_later(
        &self,
        folder: &WalkFolder<S::Folder>,
        name: &CStr,
        error: SourceError,
    ) -> Result<Option<SourceError>, RunError> {
        // A hostile source could make the program follow such a name. The walk only reports it.
        if matches!(error, SourceError::BadName(_)) || check_name(name.to_bytes()).is_err() {
            self.problem(&folder.place.source_of(name), error, Instead::Nothing);
            return Ok(None);
        }
        let counted = !folder.see(name);
        match error {
            SourceError::Lost(_) => return Err(RunError::SourceLost(error)),
            // The walk believes that a name has vanished only when a second listing does not have it.
            SourceError::Vanished if self.last_try() => {
                let mut gone = lock(&self.gone);
                if gone.len() < RETRIES {
                    gone.push(Retry::of(folder, name, counted));
                    return Ok(None);
                }
            }
            SourceError::Unreadable { action: "open", error: ref lease }
                if self.last_try() && is_leased(lease) && self.waits_for_leases() =>
            {
                lock(&self.again).push(Retry::of(folder, name, counted));
                return Ok(None);
            }
            _ => {}
        }
        let mut again = lock(&self.again);
        if !self.last_try() && !error.is_final() && again.len() < RETRIES {
            again.push(Retry::of(folder, name, counted));
            return Ok(None);
        }
        Ok(Some(error))
    }

    /// Defers an entry that was listed and counted to the end of the walk.
    pub(crate) fn look_later(&self, folder: &WalkFolder<S::Folder>, name: &CStr) {
        lock(&self.again).push(Retry::of(folder, name, true));
    }

    /// Whether the walk can defer one more entry to its end.
    pub(crate) fn may_look_later(&self) -> bool {
        !self.last_try() && lock(&self.again).len() < RETRIES
    }

    /// Whether the walk still waits for files on which other programs hold a lease.
    fn waits_for_leases(&self) -> bool {
        *self.patience.get_or_init(|| Instant::now() + LEASE) > Instant::now()
    }

    /// Reports and counts an entry that could not be backed up completely. `path` is its path on the source.
    pub(crate) fn problem(&self, path: &[u8], what: impl std::fmt::Display, instead: Instead) {
        self.problem_at(crate::entry::escape::shown(path), what, instead);
    }

    /// Reports an entry with values in the sidecar. It is not counted as a problem, because `restore` restores all of it.
    pub(crate) fn kept_beside(&self, path: &[u8], what: &str) {
        let (path, what) = (crate::entry::escape::shown(path), what.to_owned());
        self.event(&Event::Problem(Problem { path, what, instead: Instead::Beside, since: None }));
    }

    /// As [`Self::problem`], with a place that is already in printable form.
    pub(crate) fn problem_at(&self, place: String, what: impl std::fmt::Display, instead: Instead) {
        self.tally.count(|counts| {
            counts.problems += 1;
            counts.carried_forward += u64::from(instead == Instead::CarriedForward);
        });
        let what = what.to_string();
        self.event(&Event::Problem(Problem { path: place, what, instead, since: None }));
    }

    /// Opens a folder to look again at some of its entries.
    pub(crate) fn folder_again(
        &self,
        retry: &Retry,
    ) -> Result<Arc<WalkFolder<S::Folder>>, RunError> {
        let Retry { place, area, dev, scope, .. } = retry;
        let Reopened { handles, entry } = self.reopen(place)?;
        let broken = |error| self.destination("cannot read what is kept beside", place, c"", error);
        let entry = match (entry, &handles.here) {
            (None, Some(here)) if place.chain().len() > 1 => {
                Some(self.as_it_stands(here).map_err(broken)?)
            }
            (entry, _) => entry,
        };
        Ok(WalkFolder::new(FolderParts {
            place: Arc::clone(place),
            entry,
            node: None,
            area: *area,
            dev: *dev,
            covered: false,
            whole: false,
            fresh: false,
            partial: true,
            folds_case: self.set.folds_case,
            base_records: self.set.base.kept.load(place).map_err(broken)?,
            here_records: self.set.here.kept.load(place).map_err(broken)?,
            rules: scope.clone().map(FolderFilter::known),
            handles,
        }))
    }

    /// The metadata of a folder of the incomplete snapshot, for a folder that keeps it.
    fn as_it_stands(&self, here: &Dir) -> io::Result<Entry> {
        let xattrs = xattrs::read_own(here, self.asked())?;
        let extra = Some(Box::new(Extra { target: None, xattrs, xattrs_unread: false }));
        Ok(Entry { name: CString::default(), meta: here.meta()?, extra })
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Handles an entry that cannot be read: the walk tries it again later, or has the sink carry it forward.
    pub(crate) fn unread(
        &self,
        folder: &Arc<WalkFolder<S::Folder>>,
        name: &CStr,
        error: SourceError,
    ) -> Result<(), RunError> {
        let Some(error) = self.state.try_later(folder, name, error)? else { return Ok(()) };
        let instead = self.sink.carry_forward(folder, name)?;
        self.state.problem(&folder.place.source_of(name), error, instead);
        Ok(())
    }

    /// Looks again at all entries that could not be read, and at those deferred to the end of the walk.
    pub(crate) fn retry(self: &Arc<Self>) -> Result<(), RunError> {
        self.state.last_try.store(true, Ordering::Relaxed);
        let mut again = std::mem::take(&mut *lock(&self.state.again));
        while !again.is_empty() {
            for retries in by_folder(again) {
                self.state.queue.push(WalkTask::Again { retries });
            }
            self.work()?;
            again = std::mem::take(&mut *lock(&self.state.again));
            // The remaining files are leased. Each attempt to open one makes the kernel ask the holder to release the lease.
            if !again.is_empty() && !self.state.halted() {
                std::thread::sleep(LEASE_PAUSE);
            }
        }
        // The entries of a folder precede the folder itself, so the deepest folders come first.
        let mut gone = by_folder(std::mem::take(&mut *lock(&self.state.gone)));
        gone.sort_by_key(|retries| retries.first().map(|retry| Reverse(retry.place.depth())));
        for retries in gone {
            if !self.state.halted() {
                self.list_again(&retries)?;
            }
        }
        self.work()
    }

    /// Looks again at entries of one folder that could not be read or were deferred.
    pub(crate) fn again(self: &Arc<Self>, retries: Vec<Retry>) -> Result<(), RunError> {
        let Some(first) = retries.first() else { return Ok(()) };
        let folder = self.state.folder_again(first)?;
        let handles = self.state.handles(&folder)?;
        for Retry { name, counted, planted, .. } in &retries {
            if let Some((path, is_root)) = planted {
                let (found, root) = self.state.root(path, *is_root)?;
                let entry = Entry { name: name.clone(), ..found.entry };
                self.planted(&folder, ListedEntry::from(&entry), &found.folder, root, !counted)?;
                continue;
            }
            let looked = handles.source().and_then(|source| {
                self.state.source.look(source, name).map(|entry| (Arc::clone(source), entry))
            });
            match looked {
                Ok((source, entry)) => {
                    let entries = std::iter::once(Compared::from(ListedEntry::from(&entry)));
                    self.process(&folder, &source, entries, !counted)?;
                }
                Err(error) => self.unread(&folder, name, error)?,
            }
        }
        self.settle(&folder)
    }

    /// Handles a folder whose listing ended with an error: the walk tries the whole folder again as an entry of its parent,
    /// or has the sink carry it forward.
    pub(crate) fn unlisted(
        self: &Arc<Self>,
        folder: &Arc<WalkFolder<S::Folder>>,
        error: SourceError,
    ) -> Result<(), RunError> {
        if let Some(node) = &folder.node {
            let path = node.path.clone().unwrap_or_default();
            return Err(RunError::Root { path, error });
        }
        if matches!(error, SourceError::Lost(_)) {
            return Err(RunError::SourceLost(error));
        }
        let chain = folder.place.chain();
        let [.., parent, _] = &chain[..] else { return Ok(()) };
        let name = folder.place.name();
        let mut again = lock(&self.state.again);
        if !self.state.last_try() && !error.is_final() && again.len() < RETRIES {
            let (place, name) = (Arc::clone(parent), name.to_owned());
            // The retry meets the folder as an entry of its parent and compares its device with this one.
            let (area, dev) = (folder.area, folder.dev);
            let scope = folder.rules.as_ref().map(|rules| Arc::clone(rules.outer()));
            again.push(Retry { place, name, area, dev, scope, counted: true, planted: None });
            return Ok(());
        }
        drop(again);
        let instead = self.sink.carry_forward(folder, c"")?;
        self.state.problem(&folder.place.source_of(c""), error, instead);
        Ok(())
    }
}

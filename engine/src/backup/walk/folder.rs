//! A folder that is being walked: the source's, and beside it the base's and the incomplete snapshot's.

use std::collections::HashSet;
use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

use crate::entry::overlay::SidecarRecords;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, FileId, Kind, Meta};
use crate::filter::scope::{Scope, Texts};
use crate::fs::dir::Dir;
use crate::repository::manifest::changes::Changes;
use crate::snapshot::layout::LayoutNode;
use crate::source::SourceError;
use crate::threads::lock::{lock, unpoisoned};

/// One folder on its way from listed to finished.
pub(crate) struct Folder<F> {
    pub(crate) place: Arc<TreePath>,
    /// What the source says of the folder itself; `None` at a top that is no source root.
    pub(crate) entry: Option<Entry>,
    /// What the layout says, on the way to a source root and at one.
    pub(crate) node: Option<LayoutNode>,
    /// Where its files are counted: the number of a source root, or behind those of a mount point below one.
    pub(crate) area: Option<usize>,
    /// The device that it lies on, where the source tells one.
    pub(crate) dev: Option<u64>,
    /// Another file system is mounted on it, and left out (`-x`).
    pub(crate) covered: bool,
    /// Whether the source's folder is listed; on the way to a source root only the layout counts.
    pub(crate) whole: bool,
    /// Whether the incomplete snapshot's folder was made by this walk and so held nothing.
    pub(crate) fresh: bool,
    pub(crate) base_records: SidecarRecords,
    pub(crate) here_records: SidecarRecords,
    /// Only some of its entries are looked at, again.
    pub(crate) partial: bool,
    /// What is not as the base has it, for the manifest.
    pub(crate) changes: Changes,
    /// What this walk keeps beside the folder.
    records: Mutex<SidecarRecords>,
    seen: Mutex<HashSet<u64>>,
    hasher: RandomState,
    folds_case: bool,
    /// What is left out of it; `None` when nothing is left out of anything.
    pub(crate) rules: Option<FolderFilter>,
    /// What still has to happen before the folder is finished: its listing, its copies, its subfolders' start.
    pending: AtomicUsize,
    handles: RwLock<Option<Arc<Handles<F>>>>,
}

/// The open handles of a folder.
pub(crate) struct Handles<F> {
    /// `None` on the way to a source root, and where it could not be opened again.
    pub(crate) source: Option<Arc<F>>,
    /// Why it could not be opened again.
    lost: Option<SourceError>,
    /// `None` when the base has no such folder.
    pub(crate) base: Option<Dir>,
    /// `None` when there is no incomplete snapshot to look into.
    pub(crate) here: Option<Dir>,
    counted: Option<Arc<AtomicUsize>>,
}

impl<F> Handles<F> {
    pub(crate) fn new(
        source: Option<Arc<F>>,
        base: Option<Dir>,
        here: Option<Dir>,
        open: &Arc<AtomicUsize>,
    ) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { source, lost: None, base, here, counted: Some(Arc::clone(open)) }
    }

    /// The same, with the reason why there is no source.
    pub(crate) fn without_source(mut self, why: Option<SourceError>) -> Self {
        self.lost = why;
        self
    }

    /// The source's folder, or why it cannot be read.
    pub(crate) fn source(&self) -> Result<&Arc<F>, SourceError> {
        let why = || self.lost.as_ref().map_or(SourceError::Vanished, SourceError::again);
        self.source.as_ref().ok_or_else(why)
    }
}

impl<F> Drop for Handles<F> {
    fn drop(&mut self) {
        if let Some(open) = self.counted.take() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What a folder is made from.
pub(crate) struct Opened<F> {
    pub(crate) place: Arc<TreePath>,
    pub(crate) entry: Option<Entry>,
    pub(crate) node: Option<LayoutNode>,
    pub(crate) area: Option<usize>,
    pub(crate) dev: Option<u64>,
    pub(crate) covered: bool,
    pub(crate) whole: bool,
    pub(crate) fresh: bool,
    /// Only some entries are looked at again; what is kept beside the others stays.
    pub(crate) partial: bool,
    /// Names that differ only in case are one.
    pub(crate) folds_case: bool,
    pub(crate) base_records: SidecarRecords,
    pub(crate) here_records: SidecarRecords,
    pub(crate) rules: Option<FolderFilter>,
    pub(crate) handles: Arc<Handles<F>>,
}

impl<F> Folder<F> {
    /// A folder with one thing pending, which the caller settles with [`Folder::settle`].
    pub(crate) fn new(from: Opened<F>) -> Arc<Self> {
        let records = if from.partial { from.here_records.clone() } else { SidecarRecords::new() };
        Arc::new(Self {
            place: from.place,
            entry: from.entry,
            node: from.node,
            area: from.area,
            dev: from.dev,
            covered: from.covered,
            whole: from.whole,
            fresh: from.fresh,
            base_records: from.base_records,
            here_records: from.here_records,
            partial: from.partial,
            changes: Changes::default(),
            records: Mutex::new(records),
            seen: Mutex::default(),
            hasher: RandomState::new(),
            folds_case: from.folds_case,
            rules: from.rules,
            pending: AtomicUsize::new(1),
            handles: RwLock::new(Some(from.handles)),
        })
    }

    /// The filters as they stand in it; `None` when there are none or its rule files are not read yet.
    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.rules.as_ref()?.own()
    }

    /// Whether the filters leave out `name`, as far as they are known.
    pub(crate) fn leaves_out(&self, name: &CStr, is_folder: bool) -> bool {
        let judge =
            |scope: &Arc<Scope>| !scope.judging().judge(name.to_bytes(), is_folder).included;
        self.scope().is_some_and(judge)
    }

    /// The filters for a folder in it whose own rule files cannot be read.
    pub(crate) fn rules_below(&self, place: &Arc<TreePath>) -> Option<FolderFilter> {
        let (inside, path) = (place.inside(), place.source_of(c""));
        let entered = self.scope()?.enter(inside, path, &Texts::new());
        Some(FolderFilter::known(entered.scope))
    }

    /// Whether its entries cannot be judged yet.
    pub(crate) fn awaits_rules(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.own().is_none())
    }

    /// The handles, while they are open.
    pub(crate) fn open_handles(&self) -> Option<Arc<Handles<F>>> {
        unpoisoned(self.handles.read()).clone()
    }

    /// Takes `handles`, or closes them with `None`.
    pub(crate) fn set_handles(&self, handles: Option<Arc<Handles<F>>>) {
        *unpoisoned(self.handles.write()) = handles;
    }

    /// Says that `count` more things have to happen before the folder is finished.
    pub(crate) fn expect(&self, count: usize) {
        self.pending.fetch_add(count, Ordering::Relaxed);
    }

    /// One thing has happened; whether it was the last.
    pub(crate) fn settle(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Notes that `name` is in the source; `false` when it was noted before.
    pub(crate) fn see(&self, name: &CStr) -> bool {
        let fingerprint = self.fingerprint(name);
        self.seen().insert(fingerprint)
    }

    /// How many names are in the source.
    pub(crate) fn count_seen(&self) -> usize {
        self.seen().len()
    }

    /// Whether `name` is in the source. 64 bits of a keyed hash stand for it.
    pub(crate) fn saw(&self, name: &CStr) -> bool {
        let fingerprint = self.fingerprint(name);
        self.seen().contains(&fingerprint)
    }

    fn fingerprint(&self, name: &CStr) -> u64 {
        if self.folds_case {
            self.hasher.hash_one(name.to_string_lossy().to_lowercase())
        } else {
            self.hasher.hash_one(name)
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.seen)
    }

    /// What this walk keeps beside the folder.
    pub(crate) fn records(&self) -> MutexGuard<'_, SidecarRecords> {
        lock(&self.records)
    }

    /// Whether `meta` is a folder on another device than this one.
    pub(crate) fn crosses(&self, meta: &Meta) -> bool {
        meta.kind == Kind::Folder
            && matches!((self.dev, meta.id), (Some(dev), Some(FileId { dev: other, .. })) if dev != other)
    }
}

/// The filters as they stand around a folder and in it.
pub(crate) struct FolderFilter {
    /// Those that its own entry was judged by.
    pub(crate) outer: Arc<Scope>,
    /// Those that its entries are judged by; set when its rule files were read.
    pub(crate) own: OnceLock<Arc<Scope>>,
}

impl FolderFilter {
    /// For a folder whose rule files are not read yet.
    pub(crate) fn around(outer: Arc<Scope>) -> Self {
        Self { outer, own: OnceLock::new() }
    }

    /// For a folder in which `own` holds.
    pub(crate) fn known(own: Arc<Scope>) -> Self {
        Self { outer: Arc::clone(&own), own: OnceLock::from(own) }
    }

    pub(crate) fn outer(&self) -> &Arc<Scope> {
        &self.outer
    }

    pub(crate) fn own(&self) -> Option<&Arc<Scope>> {
        self.own.get()
    }
}

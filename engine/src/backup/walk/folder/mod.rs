//! A folder during a walk, with its counterparts in the source, the base and the incomplete snapshot.

pub(crate) mod open;
pub(crate) mod overflow;
pub(crate) mod subfolders;

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};

use crate::entry::overlay::SidecarRecords;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, FileId, Kind, Meta};
use crate::filter::scope::{Scope, Texts};
use crate::fs::dir::Dir;
use crate::repository::manifest::changes::FolderChanges;
use crate::snapshot::layout::LayoutNode;
use crate::source::SourceError;
use crate::threads::lock::{lock, unpoisoned};

/// One folder, from its listing until it is finished.
pub(crate) struct WalkFolder<F> {
    pub(crate) place: Arc<TreePath>,
    /// The source's description of the folder itself; `None` at a top that is not a source root.
    pub(crate) entry: Option<Entry>,
    /// The node of the layout, for a source root and for a folder above one.
    pub(crate) node: Option<LayoutNode>,
    /// The area that counts its files. The first numbers are those of the source roots; those of the mount points below
    /// them follow.
    pub(crate) area: Option<usize>,
    /// The device number, if the source reports one.
    pub(crate) dev: Option<u64>,
    /// Whether another file system is mounted on it and is left out (`-x`).
    pub(crate) covered: bool,
    /// Whether the walk lists the source's folder. For a folder above a source root, only the layout counts.
    pub(crate) whole: bool,
    /// Whether this walk created the folder in the incomplete snapshot, so that it was empty.
    pub(crate) fresh: bool,
    pub(crate) base_records: SidecarRecords,
    pub(crate) here_records: SidecarRecords,
    /// Whether the walk looks again at only some of its entries.
    pub(crate) partial: bool,
    /// The differences from the base, for the manifest.
    pub(crate) changes: FolderChanges,
    /// The sidecar records that this walk writes for the folder.
    records: Mutex<SidecarRecords>,
    /// Keyed hashes of the names that the source has. A tree of them takes half the memory of a hash table that has just grown,
    /// and less time for ordinary folders.
    seen: Mutex<BTreeSet<u64>>,
    hasher: RandomState,
    folds_case: bool,
    /// The filters for the folder; `None` when the job has no filters.
    pub(crate) rules: Option<FolderFilter>,
    /// How many things have to happen before the folder is finished: its listing, its copies, the start of its subfolders.
    pending: AtomicUsize,
    handles: RwLock<Option<Arc<FolderHandles<F>>>>,
}

/// The open handles of a folder.
pub(crate) struct FolderHandles<F> {
    /// `None` above a source root, and when the folder could not be opened again.
    pub(crate) source: Option<Arc<F>>,
    /// Why the source's folder could not be opened again.
    lost: Option<SourceError>,
    /// `None` when the base has no such folder.
    pub(crate) base: Option<Dir>,
    /// `None` when there is no incomplete snapshot.
    pub(crate) here: Option<Dir>,
    counted: Option<Arc<AtomicUsize>>,
}

impl<F> FolderHandles<F> {
    pub(crate) fn new(
        source: Option<Arc<F>>,
        base: Option<Dir>,
        here: Option<Dir>,
        open: &Arc<AtomicUsize>,
    ) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { source, lost: None, base, here, counted: Some(Arc::clone(open)) }
    }

    /// Sets the reason why there is no source folder.
    pub(crate) fn without_source(mut self, why: Option<SourceError>) -> Self {
        self.lost = why;
        self
    }

    /// The source's folder, or the reason why it cannot be read.
    pub(crate) fn source(&self) -> Result<&Arc<F>, SourceError> {
        let why = || self.lost.as_ref().map_or(SourceError::Vanished, SourceError::again);
        self.source.as_ref().ok_or_else(why)
    }
}

impl<F> Drop for FolderHandles<F> {
    fn drop(&mut self) {
        if let Some(open) = self.counted.take() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The parts from which [`WalkFolder::new`] builds a folder.
pub(crate) struct FolderParts<F> {
    pub(crate) place: Arc<TreePath>,
    pub(crate) entry: Option<Entry>,
    pub(crate) node: Option<LayoutNode>,
    pub(crate) area: Option<usize>,
    pub(crate) dev: Option<u64>,
    pub(crate) covered: bool,
    pub(crate) whole: bool,
    pub(crate) fresh: bool,
    /// The walk looks again at only some entries. The sidecar records of the others stay.
    pub(crate) partial: bool,
    /// The destination treats names that differ only in case as one.
    pub(crate) folds_case: bool,
    pub(crate) base_records: SidecarRecords,
    pub(crate) here_records: SidecarRecords,
    pub(crate) rules: Option<FolderFilter>,
    pub(crate) handles: Arc<FolderHandles<F>>,
}

impl<F> WalkFolder<F> {
    /// A folder that waits for one thing, which the caller settles with [`WalkFolder::settle`].
    pub(crate) fn new(from: FolderParts<F>) -> Arc<Self> {
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
            changes: FolderChanges::default(),
            records: Mutex::new(records),
            seen: Mutex::default(),
            hasher: RandomState::new(),
            folds_case: from.folds_case,
            rules: from.rules,
            pending: AtomicUsize::new(1),
            handles: RwLock::new(Some(from.handles)),
        })
    }

    /// The filters for its entries; `None` when there are none or its rule files are not read yet.
    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.rules.as_ref()?.own()
    }

    /// Whether the filters leave out `name`. `false` while the filters are not known.
    pub(crate) fn leaves_out(&self, name: &CStr, is_folder: bool) -> bool {
        let judge =
            |scope: &Arc<Scope>| !scope.judging().judge(name.to_bytes(), is_folder).included;
        self.scope().is_some_and(judge)
    }

    /// The filters for a subfolder whose own rule files cannot be read.
    pub(crate) fn rules_below(&self, place: &Arc<TreePath>) -> Option<FolderFilter> {
        let (inside, path) = (place.inside(), place.source_of(c""));
        let entered = self.scope()?.enter(inside, path, &Texts::new());
        Some(FolderFilter::known(entered.scope))
    }

    /// Whether its rule files are not read yet, so that its entries cannot be judged.
    pub(crate) fn awaits_rules(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.own().is_none())
    }

    /// The handles; `None` while they are closed.
    pub(crate) fn open_handles(&self) -> Option<Arc<FolderHandles<F>>> {
        unpoisoned(self.handles.read()).clone()
    }

    /// Sets the handles. `None` closes them.
    pub(crate) fn set_handles(&self, handles: Option<Arc<FolderHandles<F>>>) {
        *unpoisoned(self.handles.write()) = handles;
    }

    /// Makes the folder wait for `count` more things before it is finished.
    pub(crate) fn expect(&self, count: usize) {
        self.pending.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that one thing has happened. Returns whether it was the last.
    pub(crate) fn settle(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Records that the source has `name`. Returns `false` if it was recorded before.
    pub(crate) fn see(&self, name: &CStr) -> bool {
        let fingerprint = self.fingerprint(name);
        self.seen().insert(fingerprint)
    }

    /// The number of names that the source has, as recorded so far.
    pub(crate) fn count_seen(&self) -> usize {
        self.seen().len()
    }

    /// Whether the source has `name`. The folder stores 64 bits of a keyed hash for each name.
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

    fn seen(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        lock(&self.seen)
    }

    /// The sidecar records that this walk writes for the folder.
    pub(crate) fn records(&self) -> MutexGuard<'_, SidecarRecords> {
        lock(&self.records)
    }

    /// Whether `meta` is a folder on another device than this one.
    pub(crate) fn crosses(&self, meta: &Meta) -> bool {
        meta.kind == Kind::Folder
            && matches!((self.dev, meta.id), (Some(dev), Some(FileId { dev: other, .. })) if dev != other)
    }
}

/// The filters for a folder itself and for its entries.
pub(crate) struct FolderFilter {
    /// The filters that judged the folder itself.
    pub(crate) outer: Arc<Scope>,
    /// The filters that judge its entries. Set when its rule files have been read.
    pub(crate) own: OnceLock<Arc<Scope>>,
}

impl FolderFilter {
    /// For a folder whose rule files are not read yet.
    pub(crate) fn around(outer: Arc<Scope>) -> Self {
        Self { outer, own: OnceLock::new() }
    }

    /// For a folder whose entries `own` judges.
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

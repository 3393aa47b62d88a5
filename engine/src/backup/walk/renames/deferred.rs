//! What a walk collects and defers until it knows which files of the base are gone: those files, new and changed files of
//! the source, and new folders.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::backup::plan::planned::{OriginFolder, PendingEntry};
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::folder::overflow::Waits;
use crate::backup::walk::renames::gone_files::{GoneFiles, GoneIndex};
use crate::entry::Time;
use crate::entry::tree_path::TreePath;
use crate::threads::lock::lock;

/// The most memory of deferred files and of the folders that wait for them, bytes. Further ones are not deferred.
const MOST_MEMORY: usize = 8 << 20;

/// Approximate memory of a folder that cannot be finished yet, without its names, bytes.
const FOLDER: usize = 1 << 10;

/// Approximate memory of each name that a folder remembers, bytes.
const NAME: usize = 16;

/// The most folders of the base that stay open because files were renamed from them.
const MOST_OPEN: usize = 16;

/// The state of rename detection in a walk.
pub(crate) struct Renames<F> {
    /// Whether the walk still collects and defers. Before and after that, and without rename detection, it does not.
    collects: AtomicBool,
    gone: Mutex<GoneFiles>,
    deferred: Mutex<Deferred<F>>,
    index: OnceLock<GoneIndex>,
    /// Folders of the base, by their numbers in the index.
    open: Mutex<HashMap<u32, Arc<OriginFolder>>>,
}

/// What waits until the walk can match it.
pub(crate) struct Deferred<F> {
    /// Files of a folder, by the address of the folder.
    files: HashMap<usize, (Arc<WalkFolder<F>>, Vec<PendingEntry>)>,
    /// Subfolders, and their parent.
    pub(crate) folders: Vec<(Arc<WalkFolder<F>>, Waits)>,
    /// The addresses of all folders that wait.
    waiting: HashSet<usize>,
    bytes: usize,
}

impl<F> Deferred<F> {
    /// Counts a folder that waits.
    fn waits(&mut self, folder: &Arc<WalkFolder<F>>) {
        if self.waiting.insert(Arc::as_ptr(folder).addr()) {
            self.bytes += FOLDER + NAME * folder.count_seen();
        }
    }

    /// The files, grouped by their folder.
    pub(crate) fn files(
        &mut self,
    ) -> impl Iterator<Item = (Arc<WalkFolder<F>>, Vec<PendingEntry>)> {
        std::mem::take(&mut self.files).into_values()
    }
}

impl<F> Default for Deferred<F> {
    fn default() -> Self {
        let waiting = HashSet::new();
        Self { files: HashMap::new(), folders: Vec::new(), waiting, bytes: 0 }
    }
}

impl<F> Renames<F> {
    pub(crate) fn new(collects: bool) -> Self {
        Self {
            collects: AtomicBool::new(collects),
            gone: Mutex::default(),
            deferred: Mutex::default(),
            index: OnceLock::new(),
            open: Mutex::default(),
        }
    }

    /// Whether the walk collects what is gone, and defers what is new.
    pub(crate) fn collects(&self) -> bool {
        self.collects.load(Ordering::Relaxed)
    }

    /// The files that are gone, once all of them are known; `None` before, and when there are none.
    pub(crate) fn index(&self) -> Option<&GoneIndex> {
        self.index.get().filter(|index| !index.is_empty())
    }

    /// Adds files of the folder `place` that are gone: name, size and modification time of each.
    pub(crate) fn add_gone(&self, place: &Arc<TreePath>, files: &[(CString, u64, Time)]) {
        if !files.is_empty() {
            lock(&self.gone).add(place, files);
        }
    }

    /// Whether the memory allows to defer something in `folder`.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.deferred).bytes < MOST_MEMORY
    }

    /// Defers a file. The folder waits for it.
    pub(crate) fn defer_file(&self, folder: &Arc<WalkFolder<F>>, file: PendingEntry) {
        let mut deferred = lock(&self.deferred);
        deferred.bytes += file.bytes();
        let address = Arc::as_ptr(folder).addr();
        if let Some((_, files)) = deferred.files.get_mut(&address) {
            return files.push(file);
        }
        deferred.waits(folder);
        folder.expect(1);
        deferred.files.insert(address, (Arc::clone(folder), vec![file]));
    }

    /// Defers subfolders, for which the folder waits already.
    pub(crate) fn defer_folders(&self, folder: &Arc<WalkFolder<F>>, waits: Waits) {
        let mut deferred = lock(&self.deferred);
        deferred.waits(folder);
        deferred.folders.push((Arc::clone(folder), waits));
    }

    /// Ends the collection. Returns what was deferred.
    pub(crate) fn end_collection(&self) -> Deferred<F> {
        self.collects.store(false, Ordering::Relaxed);
        // A walk ends its collection once.
        let _ = self.index.set(std::mem::take(&mut *lock(&self.gone)).sorted());
        std::mem::take(&mut *lock(&self.deferred))
    }

    /// Whether something in `folder` is deferred.
    pub(crate) fn waits_for(&self, folder: &Arc<WalkFolder<F>>) -> bool {
        lock(&self.deferred).waiting.contains(&Arc::as_ptr(folder).addr())
    }

    /// The open folder `number` of the base.
    pub(crate) fn opened(&self, number: u32) -> Option<Arc<OriginFolder>> {
        lock(&self.open).get(&number).cloned()
    }

    /// Keeps a folder of the base open for further files.
    pub(crate) fn keep_open(&self, number: u32, folder: &Arc<OriginFolder>) {
        let mut open = lock(&self.open);
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        open.insert(number, Arc::clone(folder));
    }
}

//! What a walk collects and defers until it knows which files of the base are gone: those files, new and changed files of
//! the source, and new folders.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::backup::plan::planned::{OriginFolders, PendingEntry};
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::folder::overflow::Waits;
use crate::backup::walk::renames::gone_files::{GoneFiles, GoneIndex};
use crate::backup::walk::renames::taken_up::AllTakenUp;
use crate::entry::Time;
use crate::entry::overlay::SidecarRecords;
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::source::BATCH;
use crate::threads::lock::lock;
use crate::threads::share_of;

/// The most memory of deferred files and of the folders that wait for them, bytes. Further ones are not deferred.
const MOST_MEMORY: usize = 6 << 20;

/// Approximate memory of a folder that cannot be finished yet, without its names, bytes.
const FOLDER: usize = 1 << 10;

/// Approximate memory of each name that a folder remembers, bytes.
const NAME: usize = 16;

/// Approximate memory of a sidecar record and of a recorded hash that a folder holds, bytes.
const RECORD: usize = 250;
const HASH: usize = 80;

/// The most files of a folder that are matched at a time: each takes more memory then.
const TOGETHER: usize = 512;

/// The state of rename detection in a walk.
pub(crate) struct Renames<F> {
    /// Whether the walk still collects and defers. Before and after that, and without rename detection, it does not.
    collects: AtomicBool,
    gone: Mutex<GoneFiles>,
    deferred: Mutex<Deferred<F>>,
    index: OnceLock<GoneIndex>,
    /// The folders of the base; `None` without a base.
    pub(crate) folders: Option<Arc<OriginFolders>>,
    /// Files of the incomplete snapshot that an interrupted run may have renamed.
    pub(crate) taken_up: Mutex<AllTakenUp>,
    /// The sidecar records of the folder of the base that was used last, by its number in the index.
    records: Mutex<Option<(u32, Arc<SidecarRecords>)>>,
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
            self.bytes += FOLDER + held_by(folder);
        }
    }

    /// The files, in groups of one folder. The folder waits for each group.
    pub(crate) fn files(
        &mut self,
    ) -> impl Iterator<Item = (Arc<WalkFolder<F>>, Vec<PendingEntry>)> {
        std::mem::take(&mut self.files).into_values().flat_map(|(folder, mut files)| {
            let mut groups = Vec::new();
            while files.len() > TOGETHER {
                folder.expect(1);
                groups.push((Arc::clone(&folder), files.split_off(files.len() - TOGETHER)));
            }
            groups.push((folder, files));
            groups
        })
    }
}

/// Approximate memory of what a folder holds until it is finished, bytes.
fn held_by<F>(folder: &WalkFolder<F>) -> usize {
    let records = folder.base_records.len() + folder.here_records.len() + folder.records().len();
    NAME * folder.count_seen() + RECORD * records + HASH * folder.changes.origins().len()
}

impl<F> Default for Deferred<F> {
    fn default() -> Self {
        let waiting = HashSet::new();
        Self { files: HashMap::new(), folders: Vec::new(), waiting, bytes: 0 }
    }
}

impl<F> Renames<F> {
    /// `base` is the top folder of the base, if the walk matches files with it.
    pub(crate) fn new(base: Option<Dir>) -> Self {
        Self {
            collects: AtomicBool::new(base.is_some()),
            gone: Mutex::default(),
            deferred: Mutex::default(),
            index: OnceLock::new(),
            folders: base.map(OriginFolders::new).map(Arc::new),
            taken_up: Mutex::default(),
            records: Mutex::default(),
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

    /// Collects files of the folder `place` that are gone.
    pub(crate) fn gone_from(&self, place: &Arc<TreePath>) -> GoneFromFolder<'_> {
        GoneFromFolder {
            gone: &self.gone,
            place: Arc::clone(place),
            number: None,
            files: Vec::new(),
        }
    }

    /// Whether the memory allows to defer something in `folder`.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.deferred).bytes < share_of(MOST_MEMORY)
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

    /// Counts what a folder that waits holds at the end of its listing.
    pub(crate) fn listed(&self, folder: &Arc<WalkFolder<F>>) {
        let mut deferred = lock(&self.deferred);
        if deferred.waiting.contains(&Arc::as_ptr(folder).addr()) {
            deferred.bytes += held_by(folder);
        }
    }

    /// The sidecar records of the folder `number` of the base. `load` reads them.
    pub(crate) fn records(
        &self,
        number: u32,
        load: impl FnOnce() -> Option<SidecarRecords>,
    ) -> Option<Arc<SidecarRecords>> {
        let mut last = lock(&self.records);
        if let Some((_, records)) = last.as_ref().filter(|(last, _)| *last == number) {
            return Some(Arc::clone(records));
        }
        let records = Arc::new(load()?);
        *last = Some((number, Arc::clone(&records)));
        Some(records)
    }
}

/// Collects the files of a folder of the base that are gone, some at a time.
pub(crate) struct GoneFromFolder<'a> {
    gone: &'a Mutex<GoneFiles>,
    place: Arc<TreePath>,
    number: Option<u32>,
    files: Vec<(CString, u64, Time)>,
}

impl GoneFromFolder<'_> {
    /// Adds a file: name, size and modification time. Returns whether there is room for more.
    pub(crate) fn add(&mut self, name: &CStr, size: u64, mtime: Time) -> bool {
        self.files.push((name.to_owned(), size, mtime));
        if self.files.len() < BATCH { true } else { self.flush() }
    }

    fn flush(&mut self) -> bool {
        lock(self.gone).add(&self.place, &mut self.number, &std::mem::take(&mut self.files))
    }
}

impl Drop for GoneFromFolder<'_> {
    fn drop(&mut self) {
        if !self.files.is_empty() {
            self.flush();
        }
    }
}

//! A folder that is being restored: the snapshot's and the target's, side by side.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::CString;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::tree_path::TreePath;
use crate::entry::{Entry, FileId};
use crate::fs::dir::Dir;
use crate::restore::targets::FileSystem;
use crate::threads::lock::lock;

/// One folder on its way from listed to finished.
pub(crate) struct RestoreFolder<F> {
    /// Where it stands in the snapshot; `None` on the way to what is restored.
    pub(crate) from: Option<Arc<TreePath>>,
    /// Where it stands in the target.
    pub(crate) to: Arc<TreePath>,
    pub(crate) parent: Option<Arc<RestoreFolder<F>>>,
    /// What it is given when all in it is done; `None` for one that keeps what it has.
    pub(crate) entry: Option<Entry>,
    /// Whether this restore made it.
    pub(crate) new: bool,
    /// Whether what the snapshot does not hold may be removed from it.
    pub(crate) whole: bool,
    /// Which folder of the target it is, from when it was made or first entered.
    id: OnceLock<Option<FileId>>,
    /// Where what is surplus may be removed: the file system of the target's folder, as far as it is told.
    pub(crate) file_system: OnceLock<Option<FileSystem>>,
    /// Whether it, or a folder above it, lacks entries in the snapshot that its run had stored.
    pub(crate) is_lacking: AtomicBool,
    /// What has to happen before it is finished: its listing, its entries, all that lies below it.
    pending: AtomicUsize,
    open: Mutex<Option<Arc<Open<F>>>>,
}

/// Its handles, and what is kept beside it.
pub(crate) struct Open<F> {
    /// `None` on the way to what is restored.
    pub(crate) from: Option<Dir>,
    pub(crate) to: F,
    pub(crate) records: SidecarRecords,
    counted: Counted,
}

impl<F> Open<F> {
    pub(crate) fn new(
        from: Option<Dir>,
        to: F,
        records: SidecarRecords,
        open: &Arc<AtomicUsize>,
    ) -> Self {
        Self { from, to, records, counted: Counted::new(open) }
    }

    /// How many are open now.
    pub(crate) fn count(&self) -> usize {
        self.counted.load(Ordering::Relaxed)
    }
}

/// Counts while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Deref for Counted {
    type Target = AtomicUsize;

    fn deref(&self) -> &AtomicUsize {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F> RestoreFolder<F> {
    /// The target's top.
    pub(crate) fn top(from: Option<Arc<TreePath>>, whole: bool) -> Arc<Self> {
        Self::new(from, TreePath::top(None), None, None, false, whole)
    }

    /// A folder in `parent`, which waits for it; one thing is pending in it.
    pub(crate) fn below(
        parent: &Arc<Self>,
        from: Option<Arc<TreePath>>,
        to: Arc<TreePath>,
        entry: Option<Entry>,
        new: bool,
        whole: bool,
    ) -> Arc<Self> {
        parent.expect();
        Self::new(from, to, Some(Arc::clone(parent)), entry, new, whole)
    }

    fn new(
        from: Option<Arc<TreePath>>,
        to: Arc<TreePath>,
        parent: Option<Arc<Self>>,
        entry: Option<Entry>,
        new: bool,
        whole: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            from,
            to,
            parent,
            entry,
            new,
            whole,
            id: OnceLock::new(),
            file_system: OnceLock::new(),
            is_lacking: AtomicBool::new(false),
            pending: AtomicUsize::new(1),
            open: Mutex::default(),
        })
    }

    /// Whether the target's folder `id`, which was just made or entered, is the same one as each time before:
    /// others may exchange its name meanwhile.
    pub(crate) fn is(&self, id: Option<FileId>) -> bool {
        *self.id.get_or_init(|| id) == id
    }

    /// One more thing has to happen before it is finished.
    pub(crate) fn expect(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// One thing has happened; whether it was the last.
    pub(crate) fn settle(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Its handles, unless they are closed.
    pub(crate) fn opened(&self) -> MutexGuard<'_, Option<Arc<Open<F>>>> {
        lock(&self.open)
    }
}

impl<F> Drop for RestoreFolder<F> {
    // A chain of a hundred thousand folders must not be dropped by recursion.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut folder) = next.and_then(Arc::into_inner) {
            next = folder.parent.take();
        }
    }
}

/// One entry on its way.
pub(crate) struct One<F> {
    /// The folder that it goes into.
    pub(crate) folder: Arc<RestoreFolder<F>>,
    /// Where it stands in the snapshot.
    pub(crate) from: Arc<TreePath>,
    /// What it is to be.
    pub(crate) entry: Entry,
    /// The same as the snapshot holds it.
    pub(crate) wanted: StoredEntry,
    /// The inode that stands in its place in the target: the one that was there, then the one that was stored.
    pub(crate) inode: Cell<Option<FileId>>,
}

impl<F> One<F> {
    pub(crate) fn new(
        folder: Arc<RestoreFolder<F>>,
        from: Arc<TreePath>,
        entry: Entry,
        wanted: StoredEntry,
    ) -> Self {
        Self { folder, from, entry, wanted, inode: Cell::new(None) }
    }

    pub(crate) fn path(&self) -> Vec<u8> {
        self.folder.to.inside_of(&self.entry.name)
    }
}

/// Folders that have more rights than before, by their paths below the target's top, with the modes they had.
pub(crate) struct OpenedUp<F>(Mutex<HashMap<Vec<u8>, (F, u32)>>);

impl<F> Default for OpenedUp<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<F> OpenedUp<F> {
    pub(crate) fn all(&self) -> MutexGuard<'_, HashMap<Vec<u8>, (F, u32)>> {
        lock(&self.0)
    }
}

/// Work for one thread.
pub(crate) enum RestoreTask<F> {
    List(Arc<RestoreFolder<F>>),
    Restore(Arc<RestoreFolder<F>>, Vec<CString>),
}

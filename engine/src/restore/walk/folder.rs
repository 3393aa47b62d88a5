//! A folder during its restore: its handles in the snapshot and in the target.

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
use crate::restore::targets::MountedFileSystem;
use crate::threads::lock::lock;

/// One folder, from its listing until it is finished.
pub(crate) struct RestoreFolder<F> {
    /// The place in the snapshot; `None` for a parent folder of the restored paths.
    pub(crate) from: Option<Arc<TreePath>>,
    /// The place in the target.
    pub(crate) to: Arc<TreePath>,
    pub(crate) parent: Option<Arc<RestoreFolder<F>>>,
    /// The metadata to set when everything in the folder is done; `None` when the folder keeps its own.
    pub(crate) entry: Option<Entry>,
    /// Whether this restore created the folder.
    pub(crate) new: bool,
    /// Whether entries that the snapshot does not contain may be removed from the folder.
    pub(crate) whole: bool,
    /// The inode of the target's folder, set when it was created or first entered.
    id: OnceLock<Option<FileId>>,
    /// The file system on which surplus entries may be removed: that of the target's folder, if known.
    pub(crate) file_system: OnceLock<Option<MountedFileSystem>>,
    /// Whether the snapshot's folder, or one above it, lacks entries that the run had stored.
    pub(crate) is_lacking: AtomicBool,
    /// The number of steps that must happen before the folder is finished: its listing, its entries, everything
    /// below it.
    pending: AtomicUsize,
    open: Mutex<Option<Arc<OpenFolder<F>>>>,
}

/// The handles of a folder, and its sidecar records.
pub(crate) struct OpenFolder<F> {
    /// `None` for a parent folder of the restored paths.
    pub(crate) from: Option<Dir>,
    pub(crate) to: F,
    pub(crate) records: SidecarRecords,
    counted: OpenCount,
}

impl<F> OpenFolder<F> {
    pub(crate) fn new(
        from: Option<Dir>,
        to: F,
        records: SidecarRecords,
        open: &Arc<AtomicUsize>,
    ) -> Self {
        Self { from, to, records, counted: OpenCount::new(open) }
    }

    /// The number of folders that are open now.
    pub(crate) fn count(&self) -> usize {
        self.counted.load(Ordering::Relaxed)
    }
}

/// Increments a counter while it lives.
struct OpenCount(Arc<AtomicUsize>);

impl OpenCount {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Deref for OpenCount {
    type Target = AtomicUsize;

    fn deref(&self) -> &AtomicUsize {
        &self.0
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F> RestoreFolder<F> {
    /// The target's top folder.
    pub(crate) fn top(from: Option<Arc<TreePath>>, whole: bool) -> Arc<Self> {
        Self::new(from, TreePath::top(None), None, None, false, whole)
    }

    /// Creates a folder below `parent`, which then waits for it. The folder starts with one pending step.
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

    /// Whether `id`, the inode of the target's folder just created or entered, is the same as before. Another
    /// process can exchange the folder meanwhile.
    pub(crate) fn is(&self, id: Option<FileId>) -> bool {
        *self.id.get_or_init(|| id) == id
    }

    /// Adds one pending step.
    pub(crate) fn expect(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Completes one pending step. Returns whether it was the last one.
    pub(crate) fn settle(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The handles, unless they are closed.
    pub(crate) fn opened(&self) -> MutexGuard<'_, Option<Arc<OpenFolder<F>>>> {
        lock(&self.open)
    }
}

impl<F> Drop for RestoreFolder<F> {
    // Iterative, because a recursive drop of a chain of a hundred thousand folders overflows the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut folder) = next.and_then(Arc::into_inner) {
            next = folder.parent.take();
        }
    }
}

/// One entry during its restore.
pub(crate) struct EntryInProgress<F> {
    /// The target folder of the entry.
    pub(crate) folder: Arc<RestoreFolder<F>>,
    /// The place in the snapshot.
    pub(crate) from: Arc<TreePath>,
    /// The entry to create.
    pub(crate) entry: Entry,
    /// The entry as the snapshot holds it.
    pub(crate) wanted: StoredEntry,
    /// The inode of this name in the target: first the existing one, then the stored one.
    pub(crate) inode: Cell<Option<FileId>>,
}

impl<F> EntryInProgress<F> {
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

/// Folders with temporarily added permissions, by their paths below the target's top folder, each with its
/// original mode.
pub(crate) struct RelaxedModes<F>(Mutex<HashMap<Vec<u8>, (F, u32)>>);

impl<F> Default for RelaxedModes<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<F> RelaxedModes<F> {
    pub(crate) fn all(&self) -> MutexGuard<'_, HashMap<Vec<u8>, (F, u32)>> {
        lock(&self.0)
    }
}

/// Work for one thread.
pub(crate) enum RestoreTask<F> {
    List(Arc<RestoreFolder<F>>),
    Restore(Arc<RestoreFolder<F>>, Vec<CString>),
}

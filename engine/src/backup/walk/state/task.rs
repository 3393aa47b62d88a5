//! The tasks of a walk's worker threads.

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::backup::plan::planned::PendingEntry;
use crate::backup::walk::expect::known::{Asked, ConfirmedFolder};
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::folder::overflow::Waits;
use crate::entry::tree_path::TreePath;
use crate::entry::{Batch, Entry, ListedEntry};
use crate::filter::scope::Scope;
use crate::fs::dir::Dir;
use crate::snapshot::layout::LayoutNode;
use crate::source::SourceError;
use crate::threads::lock::lock;
use crate::threads::semaphore::Permit;
use crate::threads::work_queue::WorkGuard;

pub(crate) enum WalkTask<F> {
    /// Enter a folder that the layout puts into `parent`.
    Enter { parent: Arc<WalkFolder<F>>, entry: Entry, found: LayoutFolder<F>, covered: bool },
    /// Enter the next one of some listed folders. It `asks` the source for the listing, unless that is known.
    EnterNext { parent: Arc<WalkFolder<F>>, waiting: Waits, asks: bool },
    /// Process some entries of a folder that have arrived.
    Arrived { folder: Arc<WalkFolder<F>>, batch: Batch, arrival: Arc<Arrival<F>>, waits: Permit },
    /// Handle the end of a listing: all entries have arrived and are processed.
    Listed { folder: Arc<WalkFolder<F>>, arrival: Arc<Arrival<F>> },
    /// Decide about files of one folder that the walk deferred until it knew what is gone.
    Deferred { folder: Arc<WalkFolder<F>>, items: Vec<PendingEntry> },
    /// Look again at some entries of one folder.
    Again { retries: Vec<Retry> },
    /// Carry forward the base's entry `name` in a folder that could not be read.
    Carry { folder: Arc<WalkFolder<F>>, name: CString },
    /// Count the content of a folder of the base that is gone, or that the filters now leave out.
    /// `place` is the parent.
    Gone {
        parent: Arc<Dir>,
        place: Arc<TreePath>,
        name: CString,
        area: Option<usize>,
        left_out: bool,
    },
}

/// Permits for requested files that have not all arrived. The walk does not end before they are dropped, and further
/// requests wait for them.
pub(crate) struct InFlight<F> {
    pub(crate) _pass: Permit,
    pub(crate) _hold: WorkGuard<WalkTask<F>>,
}

/// A folder of the layout, opened on the source.
pub(crate) struct LayoutFolder<F> {
    pub(crate) node: LayoutNode,
    pub(crate) source: Arc<F>,
    pub(crate) root: Option<usize>,
    /// Whether the filters leave it out. The walk then enters it only to reach the layout's folders below it.
    pub(crate) left_out: bool,
}

/// How the walk comes to a folder.
pub(crate) struct EnterBy<F> {
    /// The request for its listing, if there is one.
    pub(crate) begun: Option<WorkGuard<WalkTask<F>>>,
    /// The folder, if the layout puts it there.
    pub(crate) found: Option<LayoutFolder<F>>,
    /// Its content, if the source has confirmed it.
    pub(crate) confirmed: Option<Box<ConfirmedFolder>>,
}

/// An entry that the walk tries again, because it could not be read or was deferred.
pub(crate) struct Retry {
    pub(crate) place: Arc<TreePath>,
    pub(crate) name: CString,
    pub(crate) area: Option<usize>,
    pub(crate) dev: Option<u64>,
    /// The filters for the entries of that folder.
    pub(crate) scope: Option<Arc<Scope>>,
    /// Whether the entry was listed, and so is counted already.
    pub(crate) counted: bool,
    /// For an entry that the layout provides: its path on the source, and whether it is a source root.
    pub(crate) planted: Option<(PathBuf, bool)>,
}

impl Retry {
    pub(crate) fn of<F>(folder: &WalkFolder<F>, name: &CStr, counted: bool) -> Self {
        let below = folder.node.as_ref().and_then(|node| node.below.get(name.to_bytes()));
        Self {
            place: Arc::clone(&folder.place),
            name: name.to_owned(),
            area: folder.area,
            dev: folder.dev,
            scope: folder.scope().cloned(),
            counted,
            planted: below.and_then(|node| Some((node.path.clone()?, node.root))),
        }
    }
}

/// The part of a listing that arrived before the folder's rule files were known.
#[derive(Default)]
pub(crate) struct UnfilteredListing {
    pub(crate) batches: Vec<crate::entry::Batch>,
    pub(crate) unreadable: Vec<(CString, SourceError)>,
}

impl UnfilteredListing {
    /// The entry `name`, if it was listed.
    pub(crate) fn find(&self, name: &CStr) -> Option<Entry> {
        let mut listed = self.batches.iter().flat_map(|batch| batch.iter());
        listed.find(|entry| entry.name == name).map(ListedEntry::to_entry)
    }
}

/// The progress of the listing of a folder.
pub(crate) struct Arrival<F> {
    /// The number of unfinished parts: the batches, and one for the listing itself.
    pub(crate) parts: AtomicUsize,
    pub(crate) empty: AtomicBool,
    pub(crate) result: Mutex<Result<(), SourceError>>,
    /// The entries that arrived before the folder's rule files were known.
    pub(crate) waiting: Mutex<UnfilteredListing>,
    /// What the source was asked to confirm.
    pub(crate) asked: Mutex<Option<Asked>>,
    pub(crate) _hold: Option<WorkGuard<WalkTask<F>>>,
}

impl<F> Arrival<F> {
    /// A listing that was just requested. It counts as outstanding until `hold` is dropped.
    pub(crate) fn new(hold: Option<WorkGuard<WalkTask<F>>>) -> Arc<Self> {
        Arc::new(Self {
            parts: AtomicUsize::new(1),
            empty: AtomicBool::new(true),
            result: Mutex::new(Ok(())),
            waiting: Mutex::default(),
            asked: Mutex::default(),
            _hold: hold,
        })
    }

    /// Records that the listing is incomplete, even if the source reports a successful end.
    pub(crate) fn broke_off(&self, error: SourceError) {
        let mut result = lock(&self.result);
        if result.is_ok() {
            *result = Err(error);
        }
    }

    /// Records that one part is finished. Returns whether it was the last.
    pub(crate) fn through(&self) -> bool {
        self.parts.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

//! What the threads of a walk do next.

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::backup::walk::folder::Folder;
use crate::backup::walk::subfolders::Subfolders;
use crate::entry::tree_path::TreePath;
use crate::entry::{Batch, Entry, Listed};
use crate::filter::scope::Scope;
use crate::fs::dir::Dir;
use crate::snapshot::layout::LayoutNode;
use crate::source::SourceError;
use crate::threads::lock::lock;
use crate::threads::semaphore::Permit;
use crate::threads::work_queue::WorkGuard;

pub(crate) enum WalkTask<F> {
    /// Go into a folder that the layout puts there.
    Enter { parent: Arc<Folder<F>>, entry: Entry, found: LayoutFolder<F>, covered: bool },
    /// Go into the next one of some folders that were listed.
    EnterNext { parent: Arc<Folder<F>>, waiting: Subfolders },
    /// Some entries of a folder have arrived.
    Arrived { folder: Arc<Folder<F>>, batch: Batch, arrival: Arc<Arrival<F>>, waits: Permit },
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
    pub(crate) _pass: Permit,
    pub(crate) _hold: WorkGuard<WalkTask<F>>,
}

/// A folder of the layout, found on the source.
pub(crate) struct LayoutFolder<F> {
    pub(crate) node: LayoutNode,
    pub(crate) source: Arc<F>,
    pub(crate) root: Option<usize>,
    /// The filters leave it out: it only leads to what the layout has below.
    pub(crate) left_out: bool,
}

/// An entry that could not be read and will be tried again.
pub(crate) struct Retry {
    pub(crate) place: Arc<TreePath>,
    pub(crate) name: CString,
    pub(crate) area: Option<usize>,
    pub(crate) dev: Option<u64>,
    /// The filters as they stand in that folder.
    pub(crate) scope: Option<Arc<Scope>>,
    /// It was listed, and so is counted already.
    pub(crate) counted: bool,
    /// The layout puts it there: where it is on the source, and whether it is a source root.
    pub(crate) planted: Option<(PathBuf, bool)>,
}

impl Retry {
    pub(crate) fn of<F>(folder: &Folder<F>, name: &CStr, counted: bool) -> Self {
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

/// What a listing brought while the folder's rule files were not known.
#[derive(Default)]
pub(crate) struct UnfilteredListing {
    pub(crate) batches: Vec<crate::entry::Batch>,
    pub(crate) unreadable: Vec<(CString, SourceError)>,
}

impl UnfilteredListing {
    /// The entry `name`, if it was listed.
    pub(crate) fn find(&self, name: &CStr) -> Option<Entry> {
        let mut listed = self.batches.iter().flat_map(|batch| batch.iter());
        listed.find(|entry| entry.name == name).map(Listed::to_entry)
    }
}

/// How far the listing of a folder has arrived.
pub(crate) struct Arrival<F> {
    /// Parts that are not through: batches, and one for the listing itself.
    pub(crate) parts: AtomicUsize,
    pub(crate) empty: AtomicBool,
    pub(crate) result: Mutex<Result<(), SourceError>>,
    /// What came before the folder's rule files were known.
    pub(crate) waiting: Mutex<UnfilteredListing>,
    pub(crate) _hold: Option<WorkGuard<WalkTask<F>>>,
}

impl<F> Arrival<F> {
    /// A listing that was just asked for; `hold` keeps its place until all of it is through.
    pub(crate) fn new(hold: Option<WorkGuard<WalkTask<F>>>) -> Arc<Self> {
        Arc::new(Self {
            parts: AtomicUsize::new(1),
            empty: AtomicBool::new(true),
            result: Mutex::new(Ok(())),
            waiting: Mutex::default(),
            _hold: hold,
        })
    }

    /// The listing is not whole, whatever is told of its end.
    pub(crate) fn broke_off(&self, error: SourceError) {
        let mut result = lock(&self.result);
        if result.is_ok() {
            *result = Err(error);
        }
    }

    /// One part is through; whether it was the last.
    pub(crate) fn through(&self) -> bool {
        self.parts.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

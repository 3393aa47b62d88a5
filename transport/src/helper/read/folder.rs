//! Folders of the far end, as the near end names them.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::helper::protocol::copy::{CopyRequest, SentSnapshot};
use crate::helper::protocol::entry::sent_id;
use crate::helper::protocol::message::Request;
use engine::entry::FileId;

/// A folder of the far end.
pub struct HelperFolder(pub(crate) Arc<FolderHandle>);

/// The longest path below a root, bytes. Without it a far end could report nested folders without end. Linux
/// opens no path of more than 4,096 bytes at once, but trees can be deeper. The number of folders in it is limited too:
/// each takes the longer the deeper it is.
const LONGEST: usize = 64 * 1024;
const DEEPEST: usize = 4096;

/// Receives the number of each folder that is no longer needed.
pub(crate) type Forget = Arc<dyn Fn(u64) + Send + Sync>;

/// A folder, and how each channel that works on it opens it at the far end.
pub(crate) struct FolderHandle {
    pub(crate) number: u64,
    pub(crate) way: Way,
    id: Option<FileId>,
    /// The length of its path below the root, bytes, and the number of folders in it.
    length: usize,
    depth: usize,
    /// Whether a far end knows the folder.
    named: AtomicBool,
    forget: Forget,
}

/// How the far end opens a folder.
pub(crate) enum Way {
    /// A source root: its absolute path.
    Root(PathBuf),
    /// The folder of a snapshot that is copied.
    Snapshot(Arc<NamedSnapshot>),
    /// A folder in another one.
    Child { parent: Arc<FolderHandle>, name: CString },
}

/// A snapshot of the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedSnapshot {
    /// Its backups folder.
    pub(crate) dir: Vec<u8>,
    pub(crate) prefix: String,
    /// The seconds in its name, and in that of the one before it.
    pub(crate) stamp: i64,
    pub(crate) previous: Option<i64>,
}

impl NamedSnapshot {
    pub(crate) fn sent(&self) -> SentSnapshot<'_> {
        let Self { dir, prefix, stamp, previous } = self;
        SentSnapshot { dir, prefix, stamp: *stamp, previous: *previous }
    }
}

/// Gives folders their numbers.
#[derive(Default)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl FolderHandle {
    /// A source root, or the folder of a snapshot.
    pub(crate) fn root(number: u64, way: Way, id: Option<FileId>, forget: Forget) -> Self {
        Self { number, way, id, length: 0, depth: 0, named: AtomicBool::new(true), forget }
    }

    /// The folder `name` in `parent`; `None` if its path is too long.
    pub(crate) fn child(
        number: u64,
        parent: &Arc<Self>,
        name: &CStr,
        id: Option<FileId>,
    ) -> Option<Self> {
        let length = parent.length + name.count_bytes() + 1;
        let depth = parent.depth + 1;
        let way = Way::Child { parent: Arc::clone(parent), name: name.to_owned() };
        let forget = Arc::clone(&parent.forget);
        let named = AtomicBool::new(false);
        let fits = length <= LONGEST && depth <= DEEPEST;
        fits.then_some(Self { number, way, id, length, depth, named, forget })
    }

    /// Records that a far end knows the folder.
    pub(crate) fn is_named(&self) {
        self.named.store(true, Ordering::Relaxed);
    }

    /// The message that opens the folder on a channel on which its parent is open.
    pub(crate) fn request(&self) -> Request<'_> {
        let id = self.id.map(sent_id);
        match &self.way {
            Way::Root(path) => {
                Request::Root { folder: self.number, path: path.as_os_str().as_bytes(), id }
            }
            Way::Snapshot(snapshot) => {
                let (folder, snapshot) = (self.number, snapshot.sent());
                Request::Copy(CopyRequest::Open { folder, snapshot, id })
            }
            Way::Child { parent, name } => Request::Folder {
                folder: self.number,
                parent: parent.number,
                name: name.to_bytes(),
                id,
            },
        }
    }

    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        match &self.way {
            Way::Root(_) | Way::Snapshot(_) => None,
            Way::Child { parent, .. } => Some(parent),
        }
    }
}

impl Drop for FolderHandle {
    fn drop(&mut self) {
        // Most folders of an unchanged tree are confirmed together with one above them, and never named.
        if *self.named.get_mut() {
            (self.forget)(self.number);
        }
        // Drops a long chain of folders one by one: each call takes space on the stack.
        let root = || Way::Root(PathBuf::new());
        let mut next = std::mem::replace(&mut self.way, root());
        while let Way::Child { parent, .. } = next {
            let Ok(mut parent) = Arc::try_unwrap(parent) else { return };
            next = std::mem::replace(&mut parent.way, root());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many folders below each other there may be, with names of this length.
    fn deepest(length: usize) -> usize {
        let root = FolderHandle::root(1, Way::Root(PathBuf::from("/r")), None, Arc::new(|_| {}));
        let name = std::ffi::CString::new(vec![b'd'; length]).unwrap();
        let deeper =
            |folder: &Arc<FolderHandle>| FolderHandle::child(2, folder, &name, None).map(Arc::new);
        std::iter::successors(deeper(&Arc::new(root)), deeper).count()
    }

    #[test]
    fn folders_below_each_other_end_at_a_length_and_at_a_number() {
        assert_eq!((deepest(1), deepest(255)), (4096, 256));
    }
}

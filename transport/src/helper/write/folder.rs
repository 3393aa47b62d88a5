//! Folders of the far end that a restore writes to.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use engine::entry::FileId;
use engine::restore::MountedFileSystem;
use engine::threads::lock;

use crate::helper::protocol::entry::{file_id, sent_id};
use crate::helper::protocol::write::{SentFolder, WriteRequest};

/// Receives the number of each folder that is no longer needed.
pub(crate) type Forget = Arc<dyn Fn(u64) + Send + Sync>;

/// A folder, and how each channel that works on it opens it at the far end.
pub(crate) struct FolderHandle {
    pub(crate) number: u64,
    way: Way,
    id: Option<FileId>,
    forget: Forget,
}

/// How the far end opens a folder.
enum Way {
    /// The folder to restore to: its real path.
    Top(Arc<[u8]>),
    /// A folder in another one.
    Child { parent: Arc<FolderHandle>, name: CString },
}

impl FolderHandle {
    /// The message that opens the folder on a channel on which its parent is open.
    pub(crate) fn request(&self) -> WriteRequest<'_> {
        let (folder, id) = (self.number, self.id.map(sent_id));
        match &self.way {
            Way::Top(path) => WriteRequest::Target { folder, path, make: false, id },
            Way::Child { parent, name } => {
                WriteRequest::Name { folder, parent: parent.number, name: name.to_bytes(), id }
            }
        }
    }

    /// The folder that holds it; `None` for the top.
    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        match &self.way {
            Way::Top(_) => None,
            Way::Child { parent, .. } => Some(parent),
        }
    }
}

impl Drop for FolderHandle {
    /// Drops a long chain of folders one by one.
    fn drop(&mut self) {
        (self.forget)(self.number);
        let mut next = std::mem::replace(&mut self.way, Way::Top(Arc::from(&b""[..])));
        while let Way::Child { parent, .. } = next {
            next = match Arc::try_unwrap(parent) {
                Ok(mut parent) => std::mem::replace(&mut parent.way, Way::Top(Arc::from(&b""[..]))),
                Err(_) => return,
            };
        }
    }
}

/// A folder of the far end.
pub struct RestoredFolder {
    pub(crate) handle: Arc<FolderHandle>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    file_system: Option<MountedFileSystem>,
    /// For a folder that this restore made: the hashes of the names that it has made in it. No other user may enter
    /// it, so nothing else is there.
    made_in: Option<Mutex<HashSet<u64>>>,
    hasher: RandomState,
    /// Folders that were made in it and not entered yet.
    entered: Mutex<HashMap<CString, SentFolder>>,
}

impl RestoredFolder {
    fn new(handle: FolderHandle, found: SentFolder, is_new: bool) -> Self {
        let SentFolder { mode, uid, file_system, .. } = found;
        Self {
            handle: Arc::new(handle),
            mode,
            uid,
            file_system: file_system.map(|(device, mount)| MountedFileSystem { device, mount }),
            made_in: is_new.then(Mutex::default),
            hasher: RandomState::new(),
            entered: Mutex::default(),
        }
    }

    /// The folder to restore to.
    pub(crate) fn top(number: u64, path: Arc<[u8]>, found: SentFolder, forget: Forget) -> Self {
        let handle = FolderHandle { number, way: Way::Top(path), id: file_id(found.id), forget };
        Self::new(handle, found, false)
    }

    /// The folder `name` in it.
    pub(crate) fn child(&self, number: u64, name: &CStr, found: SentFolder, is_new: bool) -> Self {
        let way = Way::Child { parent: Arc::clone(&self.handle), name: name.to_owned() };
        let forget = Arc::clone(&self.handle.forget);
        Self::new(FolderHandle { number, way, id: file_id(found.id), forget }, found, is_new)
    }

    /// The same folder with another mode.
    pub(crate) fn with_mode(&self, mode: u32) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            mode,
            uid: self.uid,
            file_system: self.file_system,
            made_in: None,
            hasher: RandomState::new(),
            entered: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> Option<FileId> {
        self.handle.id
    }

    pub(crate) fn file_system(&self) -> Option<MountedFileSystem> {
        self.file_system
    }

    /// Records that an entry is made in it.
    pub(crate) fn makes(&self, name: &CStr) {
        if let Some(made) = &self.made_in {
            lock(made).insert(self.hasher.hash_one(name));
        }
    }

    /// Whether the folder is known to hold no entry of this name.
    pub(crate) fn lacks(&self, name: &CStr) -> bool {
        let made = self.made_in.as_ref();
        made.is_some_and(|made| !lock(made).contains(&self.hasher.hash_one(name)))
    }

    /// Records a folder that was made in it.
    pub(crate) fn made_folder(&self, name: &CStr, found: SentFolder) {
        lock(&self.entered).insert(name.to_owned(), found);
    }

    /// A folder that was made in it and not entered yet.
    pub(crate) fn take_made(&self, name: &CStr) -> Option<SentFolder> {
        lock(&self.entered).remove(name)
    }
}

//! The folders that the near end has named. A folder is opened when a request first needs it.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex};

use engine::SourceError;
use engine::entry::{FileId, c_name, check_name};
use engine::threads::lock;
use rustix::io::Errno;

/// The most folders that the near end may name at a time. Each takes a few hundred bytes, and a handle once it
/// is open.
const MOST: usize = 60_000;

/// What opens folders below others.
pub(crate) trait Opener {
    /// An opened folder.
    type Folder;

    /// Opens the folder `name` of `parent`, which must be the inode `id` if there is one.
    fn open_child(
        &self,
        parent: &Self::Folder,
        name: &CStr,
        id: Option<FileId>,
    ) -> Result<Self::Folder, SourceError>;
}

/// The folders by the numbers that the near end gave them.
pub(crate) struct Folders<T: Opener>(Mutex<HashMap<u64, Arc<NamedFolder<T>>>>);

impl<T: Opener> Default for Folders<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A folder, opened or not.
pub(crate) struct NamedFolder<T: Opener> {
    way: Way<T>,
    /// Its handle, while there are enough of them.
    opened: Mutex<Option<Arc<T::Folder>>>,
}

/// How a folder is opened.
enum Way<T: Opener> {
    /// A folder that was opened by its path, and stays open; the error if it could not be opened.
    Root(Result<Arc<T::Folder>, SourceError>),
    /// A folder in another one, as it was listed.
    Child { parent: Arc<NamedFolder<T>>, name: CString, id: Option<FileId> },
    /// Nothing: its chain of folders is being dropped.
    Dropped,
}

/// The near end broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) &'static str);

pub(crate) const NO_NAME: Violation = Violation("a name that no entry can have");

/// A name as a single path component.
///
/// # Errors
/// It is none.
pub(crate) fn checked(name: &[u8]) -> Result<CString, Violation> {
    check_name(name).map_err(|_| NO_NAME)?;
    c_name(name).map_err(|_| NO_NAME)
}

impl<T: Opener> Folders<T> {
    /// Adds a folder that was opened by its path.
    ///
    /// # Errors
    /// The number is in use, or there are too many folders.
    pub(crate) fn add_root(
        &self,
        number: u64,
        folder: Result<Arc<T::Folder>, SourceError>,
    ) -> Result<(), Violation> {
        self.insert(number, Way::Root(folder))
    }

    /// Adds a child folder, without opening it.
    ///
    /// # Errors
    /// Those of [`Folders::add_root`], and an unknown parent.
    pub(crate) fn add_child(
        &self,
        number: u64,
        parent: u64,
        name: CString,
        id: Option<FileId>,
    ) -> Result<(), Violation> {
        let parent = self.get(parent)?;
        self.insert(number, Way::Child { parent, name, id })
    }

    fn insert(&self, number: u64, way: Way<T>) -> Result<(), Violation> {
        let folder = NamedFolder { way, opened: Mutex::default() };
        let mut folders = lock(&self.0);
        if folders.len() >= MOST {
            return Err(Violation("too many folders at a time"));
        }
        match folders.insert(number, Arc::new(folder)) {
            None => Ok(()),
            Some(_) => Err(Violation("two folders with one number")),
        }
    }

    pub(crate) fn get(&self, number: u64) -> Result<Arc<NamedFolder<T>>, Violation> {
        lock(&self.0).get(&number).cloned().ok_or(Violation("an unknown folder"))
    }

    /// Forgets a folder. Its handle is closed when no request and no folder in it needs it.
    pub(crate) fn forget(&self, number: u64) {
        let folder = lock(&self.0).remove(&number);
        drop(folder);
    }

    /// Opens a folder. When the process has too many open handles, closes those that no request uses and opens the
    /// folder again; a closed folder is opened again when it is needed.
    ///
    /// # Errors
    /// It, or a folder above it, cannot be opened or is another one now.
    pub(crate) fn open(
        &self,
        folder: &NamedFolder<T>,
        opener: &T,
    ) -> Result<Arc<T::Folder>, SourceError> {
        match folder.open(opener) {
            Err(SourceError::Unreadable { error, .. })
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) =>
            {
                self.close_all();
                folder.open(opener)
            }
            opened => opened,
        }
    }

    /// Closes the handles that no request uses. A folder is opened again when it is needed.
    pub(crate) fn close_all(&self) {
        let all: Vec<_> = lock(&self.0).values().cloned().collect();
        all.iter().for_each(|folder| drop(lock(&folder.opened).take()));
    }
}

impl<T: Opener> NamedFolder<T> {
    /// Replaces the handle by one that was opened again.
    pub(crate) fn reopened(&self, folder: T::Folder) {
        *lock(&self.opened) = Some(Arc::new(folder));
    }

    fn open(&self, opener: &T) -> Result<Arc<T::Folder>, SourceError> {
        // A chain of folders can be longer than the stack of a thread allows calls.
        let (mut closed, mut next) = (Vec::new(), self);
        let mut opened = loop {
            if let Some(opened) = &*lock(&next.opened) {
                break Arc::clone(opened);
            }
            match &next.way {
                Way::Root(Ok(root)) => break Arc::clone(root),
                Way::Root(Err(error)) => return Err(error.again()),
                Way::Child { parent, name, id } => {
                    closed.push((next, name, *id));
                    next = parent;
                }
                Way::Dropped => return Err(SourceError::Replaced),
            }
        };
        for (folder, name, id) in closed.into_iter().rev() {
            opened = Arc::new(opener.open_child(&opened, name, id)?);
            *lock(&folder.opened) = Some(Arc::clone(&opened));
        }
        Ok(opened)
    }
}

impl<T: Opener> Drop for NamedFolder<T> {
    /// Drops a long chain of folders one by one.
    fn drop(&mut self) {
        let mut next = std::mem::replace(&mut self.way, Way::Dropped);
        while let Way::Child { parent, .. } = next {
            next = match Arc::try_unwrap(parent) {
                Ok(mut parent) => std::mem::replace(&mut parent.way, Way::Dropped),
                Err(_) => return,
            };
        }
    }
}

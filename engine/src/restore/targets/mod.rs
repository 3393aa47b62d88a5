//! What restored entries are written to: a folder of this machine or of another one. The snapshot is
//! always here.

pub mod local;
pub mod preview;
pub(crate) mod private;
mod spared;
pub mod temporary;

use std::ffi::{CStr, CString};
use std::io;

use crate::entry::stored::StoredEntry;
use crate::entry::{Entry, FileId, Listed};
use crate::repository::content::{Content, StoreError};

/// What a target can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Owners can be set.
    pub owners: bool,
    /// Attributes and ACLs can be set.
    pub xattrs: bool,
    /// How fine modification times are, nanoseconds.
    pub granularity_ns: u32,
    /// The earliest and the latest modification time, seconds since 1970; others become the nearer one.
    pub seconds: (i64, i64),
    /// How many threads are worth while: a distant one is waited for most of the time.
    pub threads: usize,
    /// How many entries of one folder a thread does at a time.
    pub batch: usize,
    /// Up to this size, bytes, files of one folder are worth storing together.
    pub together: Option<u64>,
}

/// The error of a target that is gone as a whole: it ends a restore.
#[must_use]
pub fn lost(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, why)
}

/// Whether an error means that the target is gone as a whole.
#[must_use]
pub fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

/// What a target could not give an entry. All empty: nothing is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent property")]
pub struct Shortfall {
    /// Its owner or group.
    pub owner: bool,
    /// Its mode, or a part of it.
    pub mode: bool,
    /// Its modification time.
    pub time: bool,
    /// Attributes of these names.
    pub xattrs: Vec<Vec<u8>>,
    /// That it is another name of the same inode.
    pub link: bool,
}

impl Shortfall {
    /// Whether it was given all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A file that is to be stored, and is opened only then.
pub trait ToStore {
    /// What it is to be.
    fn entry(&self) -> &Entry;

    /// Whether it takes the place of what is there.
    fn replace(&self) -> bool;

    /// Opens it for `with`.
    ///
    /// # Errors
    /// When it cannot be opened; those of `with`.
    fn open(
        &self,
        with: &mut dyn FnMut(&Content<'_>) -> Result<Stored, StoreError>,
    ) -> Result<Stored, StoreError>;
}

/// What happened to a file that was stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// What it could not be given.
    pub shortfall: Shortfall,
    /// Its content has another hash than the recorded one, and was accepted.
    pub damaged: bool,
    /// Which inode it has, where that can be told.
    pub id: Option<FileId>,
}

/// A file system, and where it is mounted: a part of one may be mounted in another place of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Which one.
    pub device: u64,
    /// Which of its mounts; 0 where a target tells none.
    pub mount: u64,
}

/// Whether an entry has to stay, by its path below the folder that is to be removed.
pub type Spared<'a> = dyn Fn(&[u8], Listed<'_>) -> bool + Sync + 'a;

/// A place for restored entries. Names are single components; nothing follows a symlink at any of them.
///
/// What is made appears under its name whole or not at all. With `replace` it takes the place of
/// anything but a folder; without, it fails with [`io::ErrorKind::AlreadyExists`] when something is there.
/// `ENOSPC` and `EDQUOT` mean that the target is full, which it has checked, and end the restore.
pub trait Target: Send + Sync {
    /// A folder in it.
    type Folder: Send + Sync;

    /// What it can hold.
    fn facts(&self) -> Facts;

    /// The folder that everything goes into.
    ///
    /// # Errors
    /// The system's, as of all that follow.
    fn top(&self) -> io::Result<Self::Folder>;

    /// Goes into the folder `name`.
    fn enter(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Self::Folder>;

    /// What `name` is; `None` when there is nothing.
    fn look(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Option<StoredEntry>>;

    /// All names in the folder; `None` when a target that is not trusted tells more than `most`.
    fn names(&self, folder: &Self::Folder, most: usize) -> io::Result<Option<Vec<CString>>>;

    /// Gives its owner, who this process is, all rights to a folder that lacks some of them. The same folder opened with
    /// them, and the mode that it had; `None` where nothing was changed.
    fn open_up(&self, _: &Self::Folder) -> Option<(Self::Folder, u32)> {
        None
    }

    /// Sets the mode of a folder: that which it had before [`Target::open_up`].
    fn set_mode(&self, _: &Self::Folder, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Which folder it is, where that can be told; asked each time it is entered again.
    fn id(&self, _: &Self::Folder) -> io::Result<Option<FileId>> {
        Ok(None)
    }

    /// Makes a folder that only its owner may enter until it is dressed; which one it is, as [`Target::id`].
    fn make_folder(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Option<FileId>>;

    /// Stores a file with all that belongs to it.
    fn store(
        &self,
        folder: &Self::Folder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<Stored, StoreError>;

    /// Stores files of one folder, each as [`Target::store`] would; what became of each, in their order.
    fn store_all(
        &self,
        folder: &Self::Folder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<Stored, StoreError>> {
        let store = |file: &&dyn ToStore| {
            file.open(&mut |content| self.store(folder, file.entry(), content, file.replace()))
        };
        files.iter().map(store).collect()
    }

    /// Makes a symlink, fifo, socket or device.
    fn make(&self, folder: &Self::Folder, entry: &Entry, replace: bool) -> io::Result<Stored>;

    /// Makes `name` another name of the file `to`, which is of that inode where one is given; fails with
    /// [`io::ErrorKind::Unsupported`] where that cannot be.
    fn link(
        &self,
        folder: &Self::Folder,
        name: &CStr,
        to: (&Self::Folder, &CStr, Option<FileId>),
        replace: bool,
    ) -> io::Result<()>;

    /// Sets what belongs to a file whose content is right, and which was seen to be of the inode `id`. Fails
    /// with `EMLINK` when it has to be stored anew instead: it has other names, or another owner.
    fn dress_file(
        &self,
        folder: &Self::Folder,
        entry: &Entry,
        id: Option<FileId>,
    ) -> io::Result<Shortfall>;

    /// Sets what belongs to a folder, after all in it is done. `new` when this restore made it.
    fn dress_folder(
        &self,
        folder: &Self::Folder,
        entry: &Entry,
        new: bool,
    ) -> io::Result<Shortfall>;

    /// Removes anything but a folder.
    fn remove(&self, folder: &Self::Folder, name: &CStr) -> io::Result<()>;

    /// Which file system a folder lies on, and where that is mounted; `None` where that cannot be told.
    fn file_system(&self, folder: &Self::Folder) -> io::Result<Option<FileSystem>>;

    /// Whether all of the folder `name` may be removed: it can be looked at, nothing below it is `spared`,
    /// and it reaches neither into another file system nor into a backups folder.
    fn may_remove(
        &self,
        folder: &Self::Folder,
        name: &CStr,
        spared: &Spared<'_>,
    ) -> io::Result<bool>;

    /// Removes a folder with all it holds, when [`Target::may_remove`] has said that it may.
    fn remove_folder(&self, folder: &Self::Folder, name: &CStr) -> io::Result<()>;

    /// Makes all that was written durable.
    fn sync(&self) -> io::Result<()>;
}

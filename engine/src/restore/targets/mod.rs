//! The targets of a restore: a folder of this machine or of a remote one. The snapshot is always local.

pub(crate) mod local;
pub(crate) mod new_file;
pub(crate) mod place_error;
pub(crate) mod preview;
pub(crate) mod private;
mod spared;
pub(crate) mod temporary;

use std::ffi::{CStr, CString};
use std::io;

use crate::entry::stored::StoredEntry;
use crate::entry::{Entry, FileId, ListedEntry};
use crate::repository::content::{Content, StoreError};
use crate::restore::targets::temporary::CreatorProcess;

/// The properties of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetFacts {
    /// The target can set owners.
    pub owners: bool,
    /// The target can set attributes and ACLs.
    pub xattrs: bool,
    /// The granularity of modification times, nanoseconds.
    pub granularity_ns: u32,
    /// The earliest and the latest modification time, seconds since 1970. The target clamps others to this
    /// range.
    pub seconds: (i64, i64),
    /// The number of threads to use. A remote target uses more, because each thread mostly waits.
    pub threads: usize,
    /// The number of entries of one folder per task.
    pub batch: usize,
    /// The maximum size, bytes, of files that are stored in batches; `None` for a target without batches.
    pub together: Option<u64>,
}

/// The error that means that the whole target is gone. It ends a restore.
#[must_use]
pub fn lost(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, why)
}

/// Whether an error means that the whole target is gone.
#[must_use]
pub fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

/// The metadata that a target could not set on an entry. The default value means that nothing is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent property")]
pub struct Shortfall {
    /// The owner or group.
    pub owner: bool,
    /// The mode, or a part of it.
    pub mode: bool,
    /// The modification time.
    pub time: bool,
    /// The names of the missing attributes.
    pub xattrs: Vec<Vec<u8>>,
    /// The hard link to the same inode.
    pub link: bool,
}

impl Shortfall {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A file to store. It is opened only when its turn comes.
pub trait ToStore {
    /// The entry to create.
    fn entry(&self) -> &Entry;

    /// Whether the file replaces an existing entry.
    fn replace(&self) -> bool;

    /// Opens the file and passes its content to `with`.
    ///
    /// # Errors
    /// The file cannot be opened; any error of `with`.
    fn open(
        &self,
        with: &mut dyn FnMut(&Content<'_>) -> Result<StoreOutcome, StoreError>,
    ) -> Result<StoreOutcome, StoreError>;
}

/// The result for a stored file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreOutcome {
    /// The metadata that could not be set.
    pub shortfall: Shortfall,
    /// The hash of the content differs from the recorded one, and the caller accepted that.
    pub damaged: bool,
    /// The inode of the file, if known.
    pub id: Option<FileId>,
}

/// A file system and one of its mounts. A part of a file system can be mounted at a second location in the same
/// file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountedFileSystem {
    /// The device number of the file system.
    pub device: u64,
    /// The mount ID; 0 for a target that does not report it.
    pub mount: u64,
}

/// Whether an entry must stay, by its path below the folder to remove.
pub type MustStay<'a> = dyn Fn(&[u8], ListedEntry<'_>) -> bool + Sync + 'a;

/// A location for restored entries. Each name is a single component. No method follows a symlink.
///
/// An entry appears under its name only when it is complete. With `replace` it replaces any existing entry
/// except a folder. Without `replace` the call fails with [`io::ErrorKind::AlreadyExists`] when the name
/// exists. `ENOSPC` and `EDQUOT` mean that the target has verified that it is full; they end the restore.
pub trait Target: Send + Sync {
    /// A folder of the target.
    type Folder: Send + Sync;

    /// The properties of the target.
    fn facts(&self) -> TargetFacts;

    /// The top folder, which contains everything restored.
    ///
    /// # Errors
    /// Any I/O error. The same applies to all methods below.
    fn top(&self) -> io::Result<Self::Folder>;

    /// Opens the subfolder `name`.
    fn enter(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Self::Folder>;

    /// The metadata of `name`; `None` when it does not exist.
    fn look(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Option<StoredEntry>>;

    /// Looks at several names of a folder. Calls `each` with the result of each name, in order.
    fn look_each(
        &self,
        folder: &Self::Folder,
        names: &[&CStr],
        each: &mut dyn FnMut(io::Result<Option<StoredEntry>>),
    ) {
        names.iter().for_each(|name| each(self.look(folder, name)));
    }

    /// The process that creates the entry `name`; `None` when this is no temporary name of a restore.
    fn creator(&self, name: &CStr) -> Option<CreatorProcess> {
        temporary::maker(name.to_bytes())
    }

    /// All names in the folder; `None` when an untrusted target lists more than `most`.
    fn names(&self, folder: &Self::Folder, most: usize) -> io::Result<Option<Vec<CString>>>;

    /// Adds all permissions for the owner of a folder that lacks some of them, when this process is the owner.
    /// Returns the folder, opened with them, and its original mode. `None` when nothing was changed.
    fn open_up(&self, _: &Self::Folder) -> Option<(Self::Folder, u32)> {
        None
    }

    /// Sets the mode of a folder to the value before [`Target::open_up`].
    fn set_mode(&self, _: &Self::Folder, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// The inode of a folder, if known. The restore checks it each time it enters the folder again.
    fn id(&self, _: &Self::Folder) -> io::Result<Option<FileId>> {
        Ok(None)
    }

    /// Creates a folder that only its owner may enter until its metadata is set. Returns its inode, as
    /// [`Target::id`].
    fn make_folder(&self, folder: &Self::Folder, name: &CStr) -> io::Result<Option<FileId>>;

    /// Stores a file with its content and metadata.
    fn store(
        &self,
        folder: &Self::Folder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError>;

    /// Stores files of one folder, each as with [`Target::store`]. Returns their results in the same order.
    fn store_all(
        &self,
        folder: &Self::Folder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<StoreOutcome, StoreError>> {
        let store = |file: &&dyn ToStore| {
            file.open(&mut |content| self.store(folder, file.entry(), content, file.replace()))
        };
        files.iter().map(store).collect()
    }

    /// Creates a symlink, fifo, socket or device.
    fn make(&self, folder: &Self::Folder, entry: &Entry, replace: bool)
    -> io::Result<StoreOutcome>;

    /// Makes `name` a hard link to the file `to`, which must have the given inode, if there is one. Fails with
    /// [`io::ErrorKind::Unsupported`] where the hard link is not possible.
    fn link(
        &self,
        folder: &Self::Folder,
        name: &CStr,
        to: (&Self::Folder, &CStr, Option<FileId>),
        replace: bool,
    ) -> io::Result<()>;

    /// Sets the metadata of a file whose content is already equal. `id` is the inode that was compared. Fails
    /// with `EMLINK` when the file has other hard links or another owner; the caller must then store it as a
    /// new file.
    fn set_file_metadata(
        &self,
        folder: &Self::Folder,
        entry: &Entry,
        id: Option<FileId>,
    ) -> io::Result<Shortfall>;

    /// Sets the metadata of a folder, after everything in it is done. `new` is true when this restore created
    /// the folder.
    fn set_folder_metadata(
        &self,
        folder: &Self::Folder,
        entry: &Entry,
        new: bool,
    ) -> io::Result<Shortfall>;

    /// Removes any entry except a folder.
    fn remove(&self, folder: &Self::Folder, name: &CStr) -> io::Result<()>;

    /// The file system and the mount of a folder; `None` where they are unknown.
    fn file_system(&self, folder: &Self::Folder) -> io::Result<Option<MountedFileSystem>>;

    /// Whether the folder `name` may be removed with its content. It may when it can be read, nothing below it
    /// is `spared`, and it contains neither another file system nor a backups folder.
    fn may_remove(
        &self,
        folder: &Self::Folder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> io::Result<bool>;

    /// Removes a folder with its content, after [`Target::may_remove`] returned true.
    fn remove_folder(&self, folder: &Self::Folder, name: &CStr) -> io::Result<()>;

    /// Makes everything written durable.
    fn sync(&self) -> io::Result<()>;
}

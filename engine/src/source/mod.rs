//! The source interface: what the engine asks of a folder tree somewhere. `transport` answers.
//!
//! Asking and answering are apart, so that one interface fits a disk and a long line: an answer goes
//! into a sink, on the asking thread before the call returns (local folders) or later on a thread of
//! the source's (SFTP, with many requests in flight). Folders are held as handles; below a root only
//! single name components are asked for.

pub mod check_roots;
pub mod files_from;
pub mod mapped;
pub mod metadata_map;
pub mod rate_limit;
pub(crate) mod rule_files;

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{BadName, Batch, Entry, Meta, Time};

/// How many entries a batch holds at the most.
pub const BATCH: usize = 1024;

/// How a source answers [`Source::list`] and [`Source::fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// On the asking thread, before the call returns.
    AtOnce,
    /// Later, from a thread of the source's, to as many requests at once as it bears.
    Later {
        /// Folders that may be asked for at once.
        folders: usize,
        /// Files that may be asked for at once.
        files: usize,
    },
}

/// A tree of folders that can be listed and read.
pub trait Source: Send + Sync + 'static {
    /// A folder, held open or otherwise pinned as far as the source can.
    type Folder: Send + Sync + 'static;

    /// When it answers; the same for as long as it lives.
    fn answers(&self) -> Answers;

    /// How fine its modification times are, nanoseconds: 1, or 1,000,000,000 for whole seconds.
    fn time_granularity_ns(&self) -> u32;

    /// What the clock says that stamps its files, if that can be told: this machine's, unless it says otherwise.
    fn clock(&self) -> Option<Time> {
        Some(crate::entry::racy::clock())
    }

    /// Opens the tree at `path` (absolute). A symlink that leads to a folder or a file is followed here, and only here; of a
    /// local source only one that no other user can have put there.
    ///
    /// # Errors
    /// When it does not exist or cannot be opened.
    fn root(&self, path: &Path) -> Result<Root<Self::Folder>, SourceError>;

    /// Opens several trees as [`Source::root`] does, in the order of `paths`: all at once where each
    /// answer takes its time. Required, so that no wrapper asks one by one what its source answers at once.
    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<Self::Folder>, SourceError>>;

    /// Opens the child folder `name`, which was listed as `listed`. Never follows a symlink.
    ///
    /// # Errors
    /// [`SourceError::Replaced`] when it is not the folder that was listed.
    fn folder(
        &self,
        parent: &Self::Folder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<Self::Folder, SourceError>;

    /// Looks at one entry again.
    ///
    /// # Errors
    /// [`SourceError::Vanished`] when it is gone.
    fn look(&self, folder: &Self::Folder, name: &CStr) -> Result<Entry, SourceError>;

    /// What begins at the folder `name` of `parent`, which lies on another device than that.
    fn crossing(&self, parent: &Self::Folder, name: &CStr) -> Crossing;

    /// Lists a folder into `sink`, in batches of at most [`BATCH`] entries, in any order.
    fn list(&self, folder: &Arc<Self::Folder>, sink: Box<dyn ListSink>);

    /// Reads `files` of a folder into `sink`, in any order, pieces of several files mixed if it likes;
    /// the bytes of one file in their order. Of a file that is no longer as it was listed, what its
    /// handle tells now goes to [`ContentSink::file_end`]; when that is found before its first byte,
    /// none is told.
    fn fetch(&self, folder: &Arc<Self::Folder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>);
}

/// A source root, opened.
pub struct Root<F> {
    /// What it is: name empty.
    pub entry: Entry,
    /// The folder, or the folder that holds it when the root is no folder itself.
    pub folder: Arc<F>,
    /// Whether the path was a symlink that was followed.
    pub was_link: bool,
    /// Identity of the file system, as far as the system tells one.
    pub file_system: Option<String>,
}

/// A file system, or a part of one with a device number of its own, that begins at a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossing {
    /// Its identity, as far as the system tells one.
    pub file_system: Option<String>,
    /// What kind of a subvolume it is, when it is one of the file system that its parent lies on.
    pub subvolume: Option<Subvolume>,
}

/// A subvolume of a file system that has such (btrfs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subvolume {
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Whether it is a snapshot of another one.
    pub snapshot: bool,
    /// Whether the folder that it was met in lies in it too, by another way: it would be listed again.
    pub encloses: bool,
}

impl Subvolume {
    /// Whether it belongs to the source around it: then its user writes there, and knows of no boundary.
    #[must_use]
    pub fn is_part(self) -> bool {
        !self.read_only && !self.snapshot && !self.encloses
    }

    /// Why it does not.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self { encloses: true, .. } => "the subvolume that the source itself lies in",
            Self { snapshot: true, .. } => "a snapshot of another subvolume",
            _ => "a read-only subvolume",
        }
    }
}

/// A file to read.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As it was listed.
    pub entry: Entry,
    /// Where to begin, bytes: what lies before was read by an earlier run, when the file had this size
    /// and time.
    pub from: u64,
    /// It was other than listed when it was read a moment ago, and `entry` is what was found then: it may be
    /// another file, also one elsewhere if names are followed to it.
    pub again: bool,
}

/// Takes the listing of one folder.
pub trait ListSink: Send {
    /// Some entries; `Break` when no more are wanted.
    fn batch(&mut self, batch: Batch) -> ControlFlow<()>;

    /// An entry that is there but cannot be described. With [`SourceError::BadName`] `name` is only for
    /// people, and may be a part of what was told.
    fn unreadable(&mut self, name: &CStr, error: SourceError);

    /// The listing ended: whole, or broken off.
    fn end(self: Box<Self>, result: Result<(), SourceError>);
}

/// Takes the content of some files. `index` counts the files that were asked for.
pub trait ContentSink: Send {
    /// The next bytes of a file; `Break` when no more of it are wanted.
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()>;

    /// The next `length` bytes of a file are a hole: zeros that take no room.
    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()>;

    /// All of a file was read; `after` is what its open handle told after the last byte.
    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>);

    /// All files are through.
    fn end(self: Box<Self>);
}

/// What a source answered instead of what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is no longer there.
    #[error("it does not exist")]
    Vanished,
    /// It is something else now than what was listed.
    #[error("it was replaced while it was read")]
    Replaced,
    /// It is there but cannot be read.
    #[error("cannot {action}: {error}")]
    Unreadable {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        error: io::Error,
    },
    /// It has a name that no entry can have. It is told so that it is listed, and never looked at again:
    /// such a name leads anywhere.
    #[error("cannot take the name: {0}")]
    BadName(BadName),
    /// A symlink on the way to a source root is not followed.
    #[error(transparent)]
    UntrustedLink(crate::fs::dir::resolve::UntrustedLink),
    /// The whole source is gone: nothing more can be read.
    #[error("{0}")]
    Lost(String),
}

impl SourceError {
    /// Whether another look can tell nothing else: a name or path is what it is.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::BadName(_) => true,
            Self::Unreadable { error, .. } => error.kind() == io::ErrorKind::InvalidFilename,
            Self::Vanished | Self::Replaced | Self::UntrustedLink(_) | Self::Lost(_) => false,
        }
    }

    /// The same error, for another entry that it concerns as well.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Vanished => Self::Vanished,
            Self::Replaced => Self::Replaced,
            Self::BadName(error) => Self::BadName(*error),
            Self::UntrustedLink(link) => Self::UntrustedLink(link.clone()),
            Self::Lost(why) => Self::Lost(why.clone()),
            Self::Unreadable { action, error } => {
                let same = error.raw_os_error().map(io::Error::from_raw_os_error);
                Self::Unreadable { action, error: same.unwrap_or_else(|| error.kind().into()) }
            }
        }
    }

    /// What `error` means that the system gave when `action` was tried on an entry.
    #[must_use]
    pub fn from_io(action: &'static str, error: io::Error) -> Self {
        use rustix::io::Errno;
        if let Some(link) = crate::fs::dir::resolve::untrusted(&error) {
            return Self::UntrustedLink(link.clone());
        }
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Self::Vanished,
            // O_NOFOLLOW on a symlink, O_DIRECTORY on something else, a socket or a device without driver.
            Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => Self::Replaced,
            _ => Self::Unreadable { action, error },
        }
    }
}

//! The source interface: the requests that the engine sends to a folder tree. `transport`
//! implements it.
//!
//! A request and its answer are separate, so that one interface fits both a local disk and a
//! network connection. An answer goes into a sink: on the calling thread before the call returns
//! (local folders), or later on a thread of the source (SFTP, with many requests in flight).
//! Folders are handles; below a root, a request names only single path components.

pub(crate) mod check_roots;
pub(crate) mod connection;
pub(crate) mod expected;
pub(crate) mod files_from;
pub(crate) mod mapped;
pub(crate) mod metadata_map;
pub(crate) mod rate_limit;
pub(crate) mod rule_files;

pub use self::connection::{ConnectionReport, Transport};
pub use self::expected::{Confirmed, DEEPEST, Expected, Found, Reply, SeveralNames, Terms};
pub use self::files_from::Selection;
pub use self::metadata_map::{Chmod, Ids, Mapping, MetadataMap};
pub use self::rate_limit::RateLimit;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::folder_digest::DigestKey;
use crate::entry::preserve::Preserve;
use crate::entry::{BadName, Batch, Entry, Meta, Time};

/// The highest number of entries in a batch.
pub const BATCH: usize = 1024;

/// When a source answers [`Source::list`] and [`Source::fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// On the calling thread, before the call returns.
    AtOnce,
    /// Later, on a thread of the source, with several requests in flight.
    Later {
        /// The number of folders that may be in flight.
        folders: usize,
        /// The number of files that may be in flight.
        files: usize,
    },
}

/// A folder tree that can be listed and read.
pub trait Source: Send + Sync + 'static {
    /// A folder, held open or identified as firmly as the source allows.
    type Folder: Send + Sync + 'static;

    /// When it answers. Constant for the lifetime of the source.
    fn answers(&self) -> Answers;

    /// The granularity of its modification times, nanoseconds: 1, or 1,000,000,000 for whole
    /// seconds.
    fn time_granularity_ns(&self) -> u32;

    /// The part of `keep` that this source can report. There is no default, because a wrapper that
    /// forgot to forward it would promise too much.
    fn reports(&self, keep: Preserve) -> Preserve;

    /// The clock that sets the times of its files; `None` if it cannot be read. The default is this
    /// machine's clock.
    fn clock(&self) -> Option<Time> {
        Some(crate::entry::racy::clock())
    }

    /// How a remote host is reached, and the bytes on the line so far; `None` for folders of this
    /// machine. There is no default, because a wrapper that forgot to forward it would report none.
    fn connection(&self) -> Option<ConnectionReport>;

    /// Opens the tree at the absolute path `path`. A symlink to a folder or file is followed here
    /// and nowhere else. A local source follows it only when no other user can have created it.
    ///
    /// # Errors
    /// The root does not exist or cannot be opened.
    fn root(&self, path: &Path) -> Result<Root<Self::Folder>, SourceError>;

    /// Opens several trees like [`Source::root`], in the order of `paths`; a source with latency
    /// sends all requests at once. There is no default, because a wrapper that forgot to forward it
    /// would send them one by one.
    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<Self::Folder>, SourceError>>;

    /// Opens the child folder `name`, which was listed with the metadata `listed`. Never follows a
    /// symlink.
    ///
    /// # Errors
    /// [`SourceError::Replaced`] when it is no longer the listed folder.
    fn folder(
        &self,
        parent: &Self::Folder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<Self::Folder, SourceError>;

    /// Reads the metadata of one entry again.
    ///
    /// # Errors
    /// [`SourceError::Vanished`] when it is gone.
    fn look(&self, folder: &Self::Folder, name: &CStr) -> Result<Entry, SourceError>;

    /// Describes the file system or subvolume that begins at the folder `name` of `parent`, which
    /// is on another device.
    fn crossing(&self, parent: &Self::Folder, name: &CStr) -> Crossing;

    /// Whether the hash of a whole file proves that the base has its content, see [`OfBase::Same`]. Otherwise it may be
    /// random parts of the file. There is no default, because a wrapper that forgot to forward it would claim too much.
    fn hashes(&self) -> bool;

    /// Lists a folder into `sink`, in batches of at most [`BATCH`] entries, in any order.
    fn list(&self, folder: &Arc<Self::Folder>, sink: Box<dyn ListSink>);

    /// The key of the digests by which it confirms folders that have not changed; `None` if it lists every folder.
    fn confirms(&self) -> Option<DigestKey> {
        None
    }

    /// Lists a folder like [`Source::list`], unless its entries are as `expected`: then it sets `reply` and ends the
    /// listing without entries. If `expected` covers what is below the folder, it may set `reply` to
    /// [`Found::Differs`] instead of listing the folder.
    fn confirm(
        &self,
        folder: &Arc<Self::Folder>,
        _expected: Expected,
        _reply: Arc<Reply>,
        sink: Box<dyn ListSink>,
    ) {
        self.list(folder, sink);
    }

    /// Reads `files` of a folder into `sink`. Files may arrive in any order and interleaved; the
    /// bytes of one file arrive in order. If a file is no longer as listed,
    /// [`ContentSink::file_end`] receives its current metadata from the open handle; if that is
    /// found before the first byte, no data is sent.
    fn fetch(&self, folder: &Arc<Self::Folder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>);
}

/// A source root, opened.
pub struct Root<F> {
    /// Its metadata; the name is empty.
    pub entry: Entry,
    /// The folder, or the parent folder when the root is not a folder.
    pub folder: Arc<F>,
    /// Whether the path is a symlink that was followed.
    pub was_link: bool,
    /// The identity of the file system, if the system provides one.
    pub file_system: Option<String>,
}

/// A file system, or a part of one with its own device number, that begins at a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossing {
    /// Its identity, if the system provides one.
    pub file_system: Option<String>,
    /// The kind of subvolume, when it belongs to the same file system as its parent.
    pub subvolume: Option<Subvolume>,
}

/// A subvolume of a file system that has subvolumes (btrfs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subvolume {
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether it is a snapshot of another subvolume.
    pub snapshot: bool,
    /// Whether it also contains the folder in which it was found. Entering it would list the same
    /// tree again.
    pub encloses: bool,
}

impl Subvolume {
    /// Whether it is part of the source: an ordinary subvolume, which its user sees as a folder.
    #[must_use]
    pub fn is_part(self) -> bool {
        !self.read_only && !self.snapshot && !self.encloses
    }

    /// Why it is not part of the source.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self { encloses: true, .. } => "the subvolume that the source itself lies in",
            Self { snapshot: true, .. } => "a snapshot of another subvolume",
            _ => "a read-only subvolume",
        }
    }
}

/// A request for the content of a file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The entry as it was listed.
    pub entry: Entry,
    /// The offset to start at, bytes. An earlier run stored the part before it, when the file had
    /// the same size and time.
    pub from: u64,
    /// The file differed from its listing when it was read a moment ago, and `entry` is what was
    /// found then. It may be another file, even one elsewhere if the source follows names.
    pub again: bool,
    /// What the base has of the file.
    pub base: Option<OfBase>,
}

/// A file of the base that has to do with a requested one.
#[derive(Debug, Clone)]
pub enum OfBase {
    /// An older state of the file, which a source may use to transfer only what differs.
    Older(Arc<dyn BaseFile>),
    /// A file that probably has the same content: it has the same size and time. A source may confirm that by
    /// [`ContentSink::same`] instead of sending the content.
    Same(Arc<dyn BaseFile>),
}

/// What shows that a file has the content of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentProof {
    /// The hash of the whole file as the source has it, see [`Method`].
    ///
    /// [`Method`]: crate::Method
    Hash([u8; 32]),
    /// Random parts of both files are equal.
    Samples,
}

/// A file of the base. It is opened when a source first needs it, by its name in a folder that is held open.
pub trait BaseFile: std::fmt::Debug + Send + Sync {
    /// Opens it for reading.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    fn open(&self) -> io::Result<File>;
}

/// Receives the listing of one folder.
pub trait ListSink: Send {
    /// Receives entries. Returns `Break` when no more are wanted.
    fn batch(&mut self, batch: Batch) -> ControlFlow<()>;

    /// Receives an entry that exists but cannot be described. With [`SourceError::BadName`], `name`
    /// is only for display and may be truncated.
    fn unreadable(&mut self, name: &CStr, error: SourceError);

    /// The listing ended, either complete or with an error.
    fn end(self: Box<Self>, result: Result<(), SourceError>);
}

/// Receives the content of files. `index` is the position of the file in the request.
pub trait ContentSink: Send {
    /// Receives the next bytes of a file. Returns `Break` when no more of it are wanted.
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()>;

    /// Receives a hole: the next `length` bytes of the file are zeros without disk blocks.
    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()>;

    /// Receives the next bytes of a file, which the source took from the older state in [`Wanted::base`]. Returns
    /// `Break` when no more of it are wanted.
    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()>;

    /// The source read so many bytes of a file, to compare them with [`OfBase::Same`], and does not pass them on.
    fn compared(&mut self, _index: usize, _bytes: usize) {}

    /// Receives the hash of the whole file as the source has it, see [`Method`]. A file of which
    /// parts came from the base is accepted only with this hash. It arrives before
    /// [`ContentSink::file_end`].
    ///
    /// [`Method`]: crate::Method
    fn hashed(&mut self, index: usize, hash: [u8; 32]);

    /// The file has the content of [`OfBase::Same`], or its hash shows whether it has. No content was sent, and
    /// [`ContentSink::file_end`] follows.
    fn same(&mut self, index: usize, proof: ContentProof);

    /// The file was read to its end. `after` is the metadata of the open handle after the last
    /// byte.
    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>);

    /// All files of the request are finished.
    fn end(self: Box<Self>);
}

/// The error of a request to a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The entry no longer exists.
    #[error("it does not exist")]
    Vanished,
    /// The entry is no longer the one that was listed.
    #[error("it was replaced during the run")]
    Replaced,
    /// The entry exists but cannot be read.
    #[error("cannot {action}: {error}")]
    Unreadable {
        /// The action that failed.
        action: &'static str,
        /// The error of the system call.
        error: io::Error,
    },
    /// The entry has a name that no entry can have. It is reported and never opened, because such a
    /// name can point anywhere.
    #[error("invalid name: {0}")]
    BadName(BadName),
    /// The content of a snapshot's file is not what was backed up.
    #[error("its content is not what was backed up")]
    Damaged,
    /// A symlink on the path to a source root is not followed.
    #[error(transparent)]
    UntrustedLink(crate::fs::dir::resolve::UntrustedLink),
    /// The connection to the source is lost; nothing more can be read.
    #[error("{0}")]
    Lost(String),
}

impl SourceError {
    /// Whether a second attempt cannot succeed, because the name or path itself is invalid.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::BadName(_) | Self::Damaged => true,
            Self::Unreadable { error, .. } => error.kind() == io::ErrorKind::InvalidFilename,
            Self::Vanished | Self::Replaced | Self::UntrustedLink(_) | Self::Lost(_) => false,
        }
    }

    /// A copy of the error, for another entry that it also concerns.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Vanished => Self::Vanished,
            Self::Replaced => Self::Replaced,
            Self::BadName(error) => Self::BadName(*error),
            Self::Damaged => Self::Damaged,
            Self::UntrustedLink(link) => Self::UntrustedLink(link.clone()),
            Self::Lost(why) => Self::Lost(why.clone()),
            Self::Unreadable { action, error } => {
                let error = match (error.raw_os_error(), error.get_ref()) {
                    (Some(errno), _) => io::Error::from_raw_os_error(errno),
                    (None, Some(said)) => io::Error::new(error.kind(), said.to_string()),
                    (None, None) => error.kind().into(),
                };
                Self::Unreadable { action, error }
            }
        }
    }

    /// Converts the error of the system call that performs `action` on an entry.
    #[must_use]
    pub fn from_io(action: &'static str, error: io::Error) -> Self {
        use rustix::io::Errno;
        if let Some(link) = crate::fs::dir::resolve::untrusted(&error) {
            return Self::UntrustedLink(link.clone());
        }
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Self::Vanished,
            // O_NOFOLLOW on a symlink, O_DIRECTORY on something else, a socket, or a device without
            // a driver.
            Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => Self::Replaced,
            _ => Self::Unreadable { action, error },
        }
    }
}

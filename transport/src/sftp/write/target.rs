//! The state of a restore to a remote host, shared by its threads.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine::threads::Semaphore;

use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::handles::WriteHandles;
use crate::sftp::write::link::request_batch::ChannelId;
use crate::sftp::write::link::session::Session;
use crate::sftp::write::top_dir::Top;

/// A folder on a remote host.
pub struct SftpTarget {
    pub(super) session: Session,
    pub(super) top: Top,
    /// Used as the access time, which version 3 sets together with the modification time.
    pub(super) now: u32,
    pub(super) memory: Arc<Semaphore>,
    pub(super) handles: WriteHandles,
    /// Bytes of the kept listings.
    pub(super) kept: Arc<AtomicUsize>,
    /// Held while a tree with a large folder is removed.
    pub(super) long: Mutex<()>,
    /// Bytes of the names of folders that wait for their removal.
    pub(super) waiting: AtomicUsize,
    /// Number of large files that are being uploaded.
    pub(super) uploads: AtomicUsize,
    /// Owners that the server refused to set.
    pub(super) refused: Mutex<HashSet<(u32, u32)>>,
    /// Folders with changes that are not synced to the disk.
    pub(super) unsynced: Mutex<HashSet<Arc<[u8]>>>,
    /// Extensions that were offered and turned out to be unsupported.
    pub(super) no_rename: AtomicBool,
    pub(super) no_sync: AtomicBool,
    /// The order of SYMLINK's arguments on the current connection.
    pub(super) tried: Mutex<Option<ProbedOrder>>,
    pub(super) follows: Follows,
}

/// Requests for a symlink that the server was found to apply to the symlink's target.
#[derive(Default)]
pub(super) struct Follows {
    pub(super) set_link: AtomicBool,
    pub(super) link: AtomicBool,
}

impl Follows {
    pub(super) fn set_link(&self, follows: bool) {
        self.set_link.store(follows, Ordering::Relaxed);
    }

    pub(super) fn link(&self, follows: bool) {
        self.link.store(follows, Ordering::Relaxed);
    }
}

/// The first argument of SYMLINK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The target, as in OpenSSH (its file PROTOCOL, section 4.1).
    Target,
    /// The path of the link, as in the draft, section 6.10.
    Link,
}

impl Order {
    /// The request that creates a symlink to `target` at `path`.
    pub(crate) fn symlink<'a>(self, target: &'a [u8], path: &'a [u8]) -> Change<'a> {
        match self {
            Self::Target => Change::Symlink { first: target, second: path },
            Self::Link => Change::Symlink { first: path, second: target },
        }
    }
}

/// What was found out about the server on one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbedOrder {
    /// The channel that was tried: symlinks are created on this channel only.
    pub(crate) channel: ChannelId,
    pub(crate) order: Order,
}

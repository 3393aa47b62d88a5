//! The state of a restore to another machine, shared by its threads.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine::threads::semaphore::Semaphore;

use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::link::request_batch::Lane;
use crate::sftp::write::link::session::Session;
use crate::sftp::write::top_dir::Top;

/// A folder of another machine.
pub struct SftpTarget {
    pub(super) session: Session,
    pub(super) top: Top,
    /// For times of access, which version 3 sets together with those of modification.
    pub(super) now: u32,
    pub(super) memory: Arc<Semaphore>,
    pub(super) handles: Arc<Semaphore>,
    /// Bytes of listings that are kept.
    pub(super) kept: Arc<AtomicUsize>,
    /// Held while a tree is removed that holds a folder of many names.
    pub(super) long: Mutex<()>,
    /// Bytes that names of folders take that wait for their removal.
    pub(super) waiting: AtomicUsize,
    /// Large files that are being sent.
    pub(super) uploads: AtomicUsize,
    /// Users and groups that nothing may be given to.
    pub(super) refused: Mutex<HashSet<(u32, u32)>>,
    /// Folders with changes that are not on the disk.
    pub(super) unsynced: Mutex<HashSet<Arc<[u8]>>>,
    /// Extensions that were offered and turned out to be unknown.
    pub(super) no_rename: AtomicBool,
    pub(super) no_sync: AtomicBool,
    /// How SYMLINK is meant on the connection that there is.
    pub(super) tried: Mutex<Option<Tried>>,
    pub(super) follows: Follows,
}

/// Requests about a symlink that were found to be about what it leads to.
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

/// Which argument of SYMLINK is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As in OpenSSH (its file PROTOCOL, section 4.1).
    Target,
    /// As in the draft, section 6.10.
    Link,
}

impl Order {
    /// The request that makes a symlink to `target` at `path`.
    pub(crate) fn symlink<'a>(self, target: &'a [u8], path: &'a [u8]) -> Change<'a> {
        match self {
            Self::Target => Change::Symlink { first: target, second: path },
            Self::Link => Change::Symlink { first: path, second: target },
        }
    }
}

/// What was found out of the server at the end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    /// A channel of that connection: symlinks are made over it and no other.
    pub(crate) lane: Lane,
    pub(crate) order: Order,
}

//! A folder on a remote host as a restore target: the writing requests of SFTP version 3, with OpenSSH's
//! extensions if the server offers them.
//!
//! Many engine threads send requests and wait for the answers. One network thread (the `network` of the
//! reading side, with `link::dispatch` instead of the scheduler) sends them over several channels. Each wait
//! is limited: if an answer takes too long, the thread ends the connection and the requests are sent again
//! over the next one.
//!
//! Version 3 has only paths, and each path is sent whole. Before a folder is entered, LSTAT and REALPATH must
//! report that it is a folder at its place. New files are opened with `O_EXCL`, and important attributes are
//! set by handle. A short race remains between such a check and the request that relies on it.

pub(crate) mod content;
pub(crate) mod entries;
pub(crate) mod folder;
pub(crate) mod handles;
pub(crate) mod link;
pub(crate) mod remove_tree;
pub(crate) mod target;
pub(crate) mod top_dir;

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::StoredEntry;
use engine::entry::{Entry, FileId};
use engine::repository::{Content, StoreError};
use engine::restore::PlaceError;
use engine::restore::{
    MountedFileSystem, MustStay, Shortfall, StoreOutcome, Target, TargetFacts, ToStore,
};
use engine::threads::Semaphore;
use engine::threads::lock;
use rustix::io::Errno;

use crate::sftp::protocol::packet::{Offers, Request};
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::handles::WriteHandles;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{Requests, Via};
use crate::sftp::write::link::session::Session;
use crate::sftp::write::target::{Follows, ProbedOrder};
use crate::ssh::again::again;
use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::options::Options;

pub use crate::sftp::write::folder::TargetFolder;
pub use crate::sftp::write::target::SftpTarget;

/// Memory for bytes that are read and sent, in bytes.
const MEMORY: u64 = 96 << 20;

/// Number of threads nearby and on the longest connection. Each thread covers `PER_THREAD` of round trip.
const THREADS: (u128, u128) = (12, 256);
const PER_THREAD: Duration = Duration::from_micros(200);

/// Number of entries that a thread processes at a time, and the maximum size in bytes of files that are
/// stored together.
const BATCH: usize = 32;
const TOGETHER: u64 = 64 << 10;

/// A connected host to restore to.
pub struct SftpHost(Session);

impl SftpHost {
    /// Connects. `stopped` is polled several times a second; when it returns true, now or later, the
    /// connection ends.
    ///
    /// # Errors
    /// If no connection can be made, or the host offers no SFTP.
    pub fn connect(
        address: Address,
        options: Options,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        Session::open(address, options, stopped).map(Self)
    }

    /// Opens the folder `dir`, and creates it with its parents if it is missing. Symlinks in it are followed.
    /// A relative path, or one that starts with `~/`, starts in the user's home on the host.
    ///
    /// # Errors
    /// If the folder cannot be created, or is inside a backups folder.
    pub fn make(self, dir: &[u8], now: SystemTime) -> Result<SftpTarget, PlaceError> {
        let top = crate::sftp::write::top_dir::make(&self.0, dir)?;
        Ok(SftpTarget::new(self.0, top, now))
    }

    /// Like [`SftpHost::make`], but only for reading; the folder need not exist.
    ///
    /// # Errors
    /// If the folder is inside a backups folder or cannot be opened.
    pub fn look_at(self, dir: &[u8], now: SystemTime) -> Result<SftpTarget, PlaceError> {
        let top = crate::sftp::write::top_dir::look_at(&self.0, dir)?;
        Ok(SftpTarget::new(self.0, top, now))
    }
}

impl SftpTarget {
    fn new(session: Session, top: crate::sftp::write::top_dir::Top, now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let channels = session.server().channels.max(1) as u64;
        let handles = WriteHandles::new(session.handles * channels);
        Self {
            session,
            top,
            now: u32::try_from(seconds).unwrap_or(u32::MAX),
            memory: Semaphore::new(MEMORY),
            handles,
            kept: Arc::default(),
            long: Mutex::default(),
            waiting: AtomicUsize::new(0),
            uploads: AtomicUsize::new(0),
            refused: Mutex::default(),
            unsynced: Mutex::default(),
            no_rename: AtomicBool::new(false),
            no_sync: AtomicBool::new(false),
            tried: Mutex::default(),
            follows: Follows::default(),
        }
    }

    /// The path on the host, without symlinks as far as it exists.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.top.path
    }

    /// Whether files are synced to the host's disk before they get their final names.
    #[must_use]
    pub fn syncs(&self) -> bool {
        self.offers().fsync
    }

    /// The extensions that the server offers and that have not failed as unsupported.
    fn offers(&self) -> Offers {
        let offers = self.session.server().offers;
        let known = |no: &AtomicBool| !no.load(Ordering::Relaxed);
        Offers {
            posix_rename: offers.posix_rename && known(&self.no_rename),
            fsync: offers.fsync && known(&self.no_sync),
            lsetstat: offers.lsetstat && known(&self.follows.set_link),
            links_symlinks: offers.hard_link && known(&self.follows.link),
            ..offers
        }
    }

    /// Ends the connection and waits until `ssh` and all threads have ended.
    pub fn close(&self) {
        self.session.close();
    }

    fn facts_owners(&self) -> bool {
        self.session.is_root
    }

    fn tried(&self) -> MutexGuard<'_, Option<ProbedOrder>> {
        lock(&self.tried)
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<(u32, u32)>> {
        lock(&self.refused)
    }

    fn unsynced(&self) -> MutexGuard<'_, HashSet<Arc<[u8]>>> {
        lock(&self.unsynced)
    }

    /// Records that an entry of a folder changes.
    fn changed(&self, folder: &TargetFolder) {
        if !folder.changed.swap(true, Ordering::Relaxed) {
            self.unsynced().insert(Arc::clone(&folder.path));
        }
    }

    /// Records that the changes in a folder are synced to the disk.
    fn synced(&self, folder: &TargetFolder) {
        folder.changed.store(false, Ordering::Relaxed);
        self.unsynced().remove(&folder.path);
    }

    /// Syncs a folder to the disk, if the server can open folders.
    fn sync_folder(&self, path: &[u8]) -> Result<(), RequestError> {
        let mut answers = self.session.ask(Requests::new().ask(Request::Open(path)))?;
        let channel = answers.channel;
        let handle = match answers.next().handle() {
            Err(fault) if fault.is_refusal() => return Ok(()),
            handle => handle?,
        };
        let sync = Requests::new().change(Change::Sync(&handle)).ask(Request::Close(&handle));
        self.session.requester.ask(Via::Same(channel), sync)?.next().done()
    }
}

impl Target for SftpTarget {
    type Folder = TargetFolder;

    fn facts(&self) -> TargetFacts {
        let (near, far) = THREADS;
        let threads = self.session.round_trip().as_micros() / PER_THREAD.as_micros();
        TargetFacts {
            owners: self.session.is_root,
            xattrs: false,
            granularity_ns: 1_000_000_000,
            seconds: (0, u32::MAX.into()),
            threads: usize::try_from(threads.clamp(near, far)).unwrap_or(1),
            batch: BATCH,
            together: Some(TOGETHER),
        }
    }

    fn top(&self) -> io::Result<TargetFolder> {
        if !self.top.is_there {
            return Err(io::ErrorKind::NotFound.into());
        }
        let top = TargetFolder::new(Arc::clone(&self.top.path), &self.kept);
        if self.top.is_new {
            top.is_empty();
        }
        Ok(top)
    }

    fn enter(&self, folder: &TargetFolder, name: &CStr) -> io::Result<TargetFolder> {
        Ok(self.enter_folder(folder, name)?)
    }

    fn look(&self, folder: &TargetFolder, name: &CStr) -> io::Result<Option<StoredEntry>> {
        Ok(self.look_at(folder, name)?)
    }

    fn names(&self, folder: &TargetFolder, most: usize) -> io::Result<Option<Vec<CString>>> {
        Ok(self.list(folder, most)?)
    }

    fn make_folder(&self, folder: &TargetFolder, name: &CStr) -> io::Result<Option<FileId>> {
        self.mkdir(folder, name)?;
        Ok(None)
    }

    fn store(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        self.store_file(folder, entry, content, replace)
    }

    fn store_all(
        &self,
        folder: &TargetFolder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<StoreOutcome, StoreError>> {
        self.store_together(folder, files)
    }

    fn make(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        replace: bool,
    ) -> io::Result<StoreOutcome> {
        let shortfall = self.symlink(folder, entry, replace)?;
        Ok(StoreOutcome { shortfall, damaged: false, id: None })
    }

    fn link(
        &self,
        folder: &TargetFolder,
        name: &CStr,
        to: (&TargetFolder, &CStr, Option<FileId>),
        replace: bool,
    ) -> io::Result<()> {
        Ok(self.hard_link(folder, name, &to.0.child(to.1)?, replace)?)
    }

    fn set_file_metadata(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        _: Option<FileId>,
    ) -> io::Result<Shortfall> {
        // The engine then stores the file again, as it does for a file with several names.
        again(|_| self.set_file_attrs(folder, entry))?.ok_or(Errno::MLINK.into())
    }

    fn set_folder_metadata(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        _: bool,
    ) -> io::Result<Shortfall> {
        Ok(again(|_| self.set_folder_attrs(folder, entry))?)
    }

    fn remove(&self, folder: &TargetFolder, name: &CStr) -> io::Result<()> {
        Ok(self.unlink(folder, name)?)
    }

    /// SFTP reports no mounts, so a second mount of a part of the same file system is not detected.
    fn file_system(&self, folder: &TargetFolder) -> io::Result<Option<MountedFileSystem>> {
        let device = self.file_system_of(&folder.path)?;
        Ok(device.map(|device| MountedFileSystem { device, mount: 0 }))
    }

    fn may_remove(
        &self,
        folder: &TargetFolder,
        name: &CStr,
        spared: &MustStay<'_>,
    ) -> io::Result<bool> {
        Ok(self.may_remove_tree(folder, name, spared)?)
    }

    fn remove_folder(&self, folder: &TargetFolder, name: &CStr) -> io::Result<()> {
        Ok(self.remove_tree(folder, name)?)
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs() {
            for path in std::mem::take(&mut *self.unsynced()) {
                again(|_| self.sync_folder(&path))?;
            }
        }
        Ok(())
    }
}

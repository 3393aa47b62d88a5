//! Prevents two concurrent runs of one prefix: with flock(2), or with a lease file where the file system has no
//! locks.

pub(crate) mod read_lock;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::entry::{FileId, c_name};
use crate::error::{RunError, destination};
use crate::fs::dir::Dir;
use crate::fs::small_file::create_state;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::store::Store;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::threads::cancel::Stop;

/// How often a lease is renewed.
const BEAT: Duration = Duration::from_secs(5);
/// A run that did not renew its lease for this long was suspended. It looks at its lease before it goes on. Shorter than `LOOKS`.
const SUSPENDED: Duration = Duration::from_secs(12);
/// The owner of a lease is gone when the lease did not change during this number of checks, one per second.
const LOOKS: u32 = 20;
/// When several processes take over an abandoned lease at the same time, the owner is settled after this time.
/// Shorter than `BEAT`.
const SETTLING: Duration = Duration::from_secs(2);

/// A lock, held until this value is dropped.
pub(crate) struct Lock {
    spot: LockFile,
    held: HeldFile,
}

enum HeldFile {
    /// flock(2). The kernel releases it when the process ends for any reason.
    Kernel { _file: File },
    /// A lease file that is renewed, and the error that flock(2) returned.
    Lease { _lease: Lease, why: io::Error },
}

/// The result of taking a lock.
pub(crate) enum Locked {
    Mine(Lock),
    Busy,
}

impl Lock {
    /// The error of flock(2), when this lock is a lease.
    pub(crate) fn is_lease(&self) -> Option<&io::Error> {
        match &self.held {
            HeldFile::Kernel { .. } => None,
            HeldFile::Lease { why, .. } => Some(why),
        }
    }

    /// Whether the lock file still exists as the same inode. Otherwise another run may be active. After a long
    /// suspend, a machine can find that another run has taken its lease.
    pub(crate) fn is_mine(&self) -> bool {
        self.spot.is_there()
    }
}

/// The file of a lock or a lease.
struct LockFile {
    locks: Dir,
    name: CString,
    id: Option<FileId>,
}

impl LockFile {
    fn new(locks: Dir, name: &CStr, file: &File) -> io::Result<Self> {
        Ok(Self { locks, name: name.to_owned(), id: crate::fs::metadata::stat::meta(file)?.id })
    }

    fn is_there(&self) -> bool {
        let found = self.locks.find(&self.name);
        found.is_ok_and(|found| found.is_some_and(|meta| meta.id == self.id))
    }
}

impl Repository {
    /// Takes the lock of `prefix`, which prevents two concurrent runs of one prefix. Requests `stop` when the
    /// lock is lost later.
    ///
    /// # Errors
    /// The lock file cannot be created; [`RunError::Stopped`] when stopped while watching a lease.
    pub(crate) fn lock(&self, prefix: &Prefix, stop: &Arc<Stop>) -> Result<Locked, RunError> {
        let locks = || self.store(Store::Locks).ok_or(io::ErrorKind::NotFound);
        let take = || -> io::Result<Locked> {
            let name = c_name(format!("{prefix}.lock"))?;
            loop {
                let locks = locks()?;
                let file = match create_state(&locks, &name) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        // Open for reading and writing: NFS maps flock to byte-range locks, which need both
                        // (flock(2)).
                        match locks.open_to_write(&name) {
                            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                            file => file?,
                        }
                    }
                    Err(error) => return Err(error),
                };
                match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => {}
                    Err(Errno::WOULDBLOCK) => return Ok(Locked::Busy),
                    Err(why) => {
                        let name = c_name(format!("{prefix}.lease"))?;
                        return Lock::by_lease(&locks, &name, why.into(), stop);
                    }
                }
                // Another process may have replaced the file between open and flock.
                let spot = LockFile::new(locks, &name, &file)?;
                if !spot.is_there() {
                    continue;
                }
                // Another machine may use a lease because it has no locks, or a killed run may have left one.
                let lease = c_name(format!("{prefix}.lease"))?;
                // An unreadable lease may belong to an active run, so an error here fails the call.
                return match free(&spot.locks, &lease, stop)? {
                    false => Ok(Locked::Busy),
                    true => Ok(Locked::Mine(Lock { spot, held: HeldFile::Kernel { _file: file } })),
                };
            }
        };
        take().map_err(|error| {
            if stop.asked() {
                return RunError::Stopped;
            }
            let path = self.path.join(crate::snapshot::name::OWN).join("locks");
            destination("cannot lock", &self.path, path, error)
        })
    }

    /// Whether another run of `prefix` is active. Writes nothing. Takes up to `LOOKS` seconds, or until `stop`
    /// is requested, when a killed run left a lease.
    pub(crate) fn is_locked(&self, prefix: &Prefix, stop: &Stop) -> bool {
        let locks = match self.store_if_any(Store::Locks) {
            Ok(Some(locks)) => locks,
            Ok(None) => return false,
            // An unreadable folder counts as locked.
            Err(_) => return true,
        };
        let name = |kind| c_name(format!("{prefix}.{kind}"));
        match name("lock").and_then(|name| locks.open_file(&name)) {
            Ok(file) => {
                let tried = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
                if tried == Err(Errno::WOULDBLOCK) {
                    return true;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return true,
        }
        match name("lease").and_then(|name| watch(&locks, &name, stop)) {
            Ok(seen) => matches!(seen, SeenLease::Renewed),
            Err(_) => !stop.asked(),
        }
    }

    /// Locks the folder of an incomplete snapshot while the returned handle is open. This also excludes a run
    /// that got the lock of the prefix because a user removed or replaced the lock file.
    ///
    /// # Errors
    /// [`RunError::Taken`] when another run holds the folder.
    pub(crate) fn claim(&self, snapshot: &SnapshotName) -> Result<Option<Dir>, RunError> {
        // A later step that needs the folder reports why it cannot be opened. Some file systems cannot lock
        // folders.
        let Ok(dir) = folder_name(snapshot).and_then(|name| self.dir.child(&name)) else {
            return Ok(None);
        };
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                Err(RunError::Taken { path: self.path.join(snapshot.to_string()) })
            }
            Err(_) => Ok(None),
            Ok(()) => Ok(Some(dir)),
        }
    }
}

impl Lock {
    /// Takes the lease `name` unless its owner is active. Needs `LOOKS` seconds to find that an owner is gone.
    fn by_lease(locks: &Dir, name: &CStr, why: io::Error, stop: &Arc<Stop>) -> io::Result<Locked> {
        let mut left_by_another = false;
        loop {
            match create_state(locks, name) {
                Ok(file) => {
                    let spot = || LockFile::new(locks.try_clone()?, name, &file);
                    let (spot, its) = (spot()?, spot()?);
                    let lease = Lease::begin(its, file, Arc::clone(stop))?;
                    if left_by_another {
                        std::thread::sleep(SETTLING);
                        if !spot.is_there() {
                            continue;
                        }
                    }
                    return Ok(Locked::Mine(Self {
                        spot,
                        held: HeldFile::Lease { _lease: lease, why },
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if !free(locks, name, stop)? {
                return Ok(Locked::Busy);
            }
            left_by_another = true;
        }
    }
}

/// Removes an abandoned lease. Returns whether the name is free now.
fn free(locks: &Dir, name: &CStr, stop: &Stop) -> io::Result<bool> {
    let before = match watch(locks, name, stop)? {
        SeenLease::Gone => return Ok(true),
        SeenLease::Renewed => return Ok(false),
        SeenLease::Left(before) => before,
    };
    // When several processes find the same abandoned lease, one renames it. The others find no file, or rename
    // a new lease and move it back. Each process uses its own name for the renamed file, so that none removes
    // the file of another.
    let aside = c_name([name.to_bytes(), b".", identity().replace(' ', "-").as_bytes()].concat())?;
    match locks.rename_over(name, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        renamed => renamed?,
    }
    let left = read(locks, &aside)? == Some(before);
    if !left {
        match locks.rename_new(&aside, name) {
            // A new lease exists already. The owner of the renamed one detects the loss at its next renewal.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            back => return back.map(|()| false),
        }
    }
    locks.unlink(&aside)?;
    Ok(left)
}

/// The result of watching a lease.
enum SeenLease {
    /// The lease does not exist.
    Gone,
    /// The owner renewed the lease.
    Renewed,
    /// The owner is gone. Holds the content of the lease.
    Left(Vec<u8>),
}

/// Watches a lease until it changes, for `LOOKS` seconds at most.
fn watch(locks: &Dir, name: &CStr, stop: &Stop) -> io::Result<SeenLease> {
    let Some(before) = read(locks, name)? else { return Ok(SeenLease::Gone) };
    for _ in 0..LOOKS {
        if stop.asked() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        std::thread::sleep(Duration::from_secs(1));
        match read(locks, name)? {
            None => return Ok(SeenLease::Gone),
            Some(now) if now != before => return Ok(SeenLease::Renewed),
            Some(_) => {}
        }
    }
    Ok(SeenLease::Left(before))
}

/// A file that its owner renews. Other processes watch whether it changes, which needs no common clock.
struct Lease {
    beats: Option<(Sender<()>, JoinHandle<()>)>,
    stop: Arc<Stop>,
}

impl Lease {
    /// Renews the file at `spot` until dropped. Requests `stop` when the file no longer belongs to this
    /// process.
    fn begin(spot: LockFile, file: File, stop: Arc<Stop>) -> io::Result<Self> {
        let owner = identity();
        renew(&file, &owner, 0)?;
        let (sender, ended) = channel();
        let (spot, renewed) = (Arc::new(spot), Arc::new(AtomicI64::new(since_boot())));
        let (its, last) = (Arc::clone(&spot), Arc::clone(&renewed));
        // The thread that renews the lease may run later than the others after the machine has slept.
        stop.ask_when(Some(Box::new(move || {
            let now = since_boot();
            let slept = now - last.load(Ordering::Relaxed) > SUSPENDED.as_secs().cast_signed();
            let is_lost = slept && !its.is_there();
            if slept && !is_lost {
                last.store(now, Ordering::Relaxed);
            }
            is_lost
        })));
        let its = Arc::clone(&stop);
        let beat = move || beat(&spot, &file, (&owner, &renewed), &ended, &its);
        let thread = std::thread::Builder::new().name("lease".to_owned()).spawn(beat)?;
        Ok(Self { beats: Some((sender, thread)), stop })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.beats.take() {
            drop(sender);
            let _ = thread.join();
        }
        self.stop.ask_when(None);
    }
}

/// Renews a lease until the sender of `ended` is dropped, then removes the file. Each renewal overwrites the
/// same length, so a full disk does not prevent it.
fn beat(
    spot: &LockFile,
    file: &File,
    (owner, renewed): (&str, &AtomicI64),
    ended: &Receiver<()>,
    stop: &Stop,
) {
    let mut number = 0;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(BEAT) {
        if !spot.is_there() {
            return stop.ask();
        }
        number += 1;
        let _ = renew(file, owner, number);
        renewed.store(since_boot(), Ordering::Relaxed);
    }
    if spot.is_there() {
        let _ = spot.locks.unlink(&spot.name);
    }
}

/// Seconds since the start of the machine, with those in which it slept (clock_gettime(2)).
fn since_boot() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec
}

/// An identity that is unique among all processes on all machines.
fn identity() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{} {}", std::process::id(), since.as_nanos())
}

fn renew(file: &File, owner: &str, number: u64) -> io::Result<()> {
    file.write_all_at(format!("{owner} {number:020}\n").as_bytes(), 0)?;
    // Over a network file system other machines see the change only after a sync.
    file.sync_all()
}

/// The content of a lease; `None` when the file does not exist.
fn read(locks: &Dir, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let read = locks.open_file(name).and_then(|file| {
        let mut bytes = vec![0; 128];
        let length = file.read_at(&mut bytes, 0)?;
        bytes.truncate(length);
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        // No run creates a folder under this name, so a folder is not a lease.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reports that a lease replaces the lock.
pub(crate) fn report_lease(lock: &Lock, context: &Context) {
    if let Some(why) = lock.is_lease() {
        let what = format!(
            "the destination has no locks ({why}): a file that is renewed every few seconds keeps two runs of one prefix apart"
        );
        context.monitor.event(&Event::Limited { what });
    }
}

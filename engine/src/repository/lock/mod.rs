//! Keeps two runs of one prefix apart: by a lock of the kernel's, where the file system has none by a lease.

pub(crate) mod read_lock;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
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
use crate::repository::store::Store;
use crate::repository::{Repository, folder_name};
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::threads::cancel::Stop;

/// How often a lease is renewed.
const BEAT: Duration = Duration::from_secs(5);
/// A lease that was not renewed for so many looks, one a second, was left by a run that is no more.
const LOOKS: u32 = 20;
/// Several who found such a lease at the same time know after this who has the new one; less than a `BEAT`.
const SETTLING: Duration = Duration::from_secs(2);

/// A lock that is held while this value lives.
pub(crate) struct Lock {
    spot: Spot,
    held: HeldFile,
}

enum HeldFile {
    /// By the kernel, which lets go of it when the process ends, however it ends.
    Kernel { _file: File },
    /// By a file that is renewed; and why the kernel does not hold it.
    Lease { _lease: Lease, why: io::Error },
}

/// How asking for a lock ended.
pub(crate) enum Locked {
    Mine(Lock),
    Busy,
}

impl Lock {
    /// Why this is no lock of the kernel's, if it is none.
    pub(crate) fn is_lease(&self) -> Option<&io::Error> {
        match &self.held {
            HeldFile::Kernel { .. } => None,
            HeldFile::Lease { why, .. } => Some(why),
        }
    }

    /// Whether its file is still there: else another run may be at work by now. A machine that slept too long
    /// finds that its lease is another one's.
    pub(crate) fn is_mine(&self) -> bool {
        self.spot.is_there()
    }
}

/// Where the file of a lock or a lease lies.
struct Spot {
    locks: Dir,
    name: CString,
    id: Option<FileId>,
}

impl Spot {
    fn new(locks: Dir, name: &CStr, file: &File) -> io::Result<Self> {
        Ok(Self { locks, name: name.to_owned(), id: crate::fs::metadata::stat::meta(file)?.id })
    }

    fn is_there(&self) -> bool {
        let found = self.locks.find(&self.name);
        found.is_ok_and(|found| found.is_some_and(|meta| meta.id == self.id))
    }
}

impl Repository {
    /// Asks for the lock of `prefix`, which keeps two runs of one prefix apart. `stop` is asked for when it is lost.
    ///
    /// # Errors
    /// When the lock file cannot be made; [`RunError::Stopped`] when stopped while it waits for what a lease tells.
    pub(crate) fn lock(&self, prefix: &Prefix, stop: &Arc<Stop>) -> Result<Locked, RunError> {
        let locks = || self.store(Store::Locks).ok_or(io::ErrorKind::NotFound);
        let take = || -> io::Result<Locked> {
            let name = c_name(format!("{prefix}.lock"))?;
            loop {
                let locks = locks()?;
                let file = match create_state(&locks, &name) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        // Read and write: over NFS a lock becomes one of bytes, which asks for both (flock(2)).
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
                // Somebody may have replaced the file between opening and locking it.
                let spot = Spot::new(locks, &name, &file)?;
                if !spot.is_there() {
                    continue;
                }
                // Another machine may have no locks where this one has them, or had none when a run was killed.
                let lease = c_name(format!("{prefix}.lease"))?;
                // What cannot be read may be the word of a run.
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

    /// Whether another run of `prefix` is at work, found out without writing anything. It takes `LOOKS` seconds, or until
    /// `stop` is asked for, where a run without locks was killed.
    pub(crate) fn is_locked(&self, prefix: &Prefix, stop: &Stop) -> bool {
        let locks = match self.store_if_any(Store::Locks) {
            Ok(Some(locks)) => locks,
            Ok(None) => return false,
            // What cannot be read may be locked.
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

    /// Keeps others off an incomplete snapshot while what is returned is open: also those who found no lock because
    /// somebody removed or replaced its file.
    ///
    /// # Errors
    /// [`RunError::Taken`] when another run has it.
    pub(crate) fn claim(&self, snapshot: &SnapshotName) -> Result<Option<Dir>, RunError> {
        // What cannot be opened is told by those who need it. Not every file system locks folders.
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
    /// Takes the lease `name` unless its owner is at work, which takes `LOOKS` seconds to see if it is not.
    fn by_lease(locks: &Dir, name: &CStr, why: io::Error, stop: &Arc<Stop>) -> io::Result<Locked> {
        let mut left_by_another = false;
        loop {
            match create_state(locks, name) {
                Ok(file) => {
                    let spot = || Spot::new(locks.try_clone()?, name, &file);
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

/// Removes a lease that nobody renews; whether nobody has one now.
fn free(locks: &Dir, name: &CStr, stop: &Stop) -> io::Result<bool> {
    let before = match watch(locks, name, stop)? {
        SeenLease::Gone => return Ok(true),
        SeenLease::Renewed => return Ok(false),
        SeenLease::Left(before) => before,
    };
    // Of several who saw that, one renames what they saw; the others find nothing, or a new one, which they put back.
    // Each has a name of his own for it, so that none removes what another one holds in his hands.
    let aside = c_name([name.to_bytes(), b".", identity().replace(' ', "-").as_bytes()].concat())?;
    match locks.rename_over(name, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        renamed => renamed?,
    }
    let left = read(locks, &aside)? == Some(before);
    if !left {
        match locks.rename_new(&aside, name) {
            // Its owner finds that he has lost it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            back => return back.map(|()| false),
        }
    }
    locks.unlink(&aside)?;
    Ok(left)
}

/// What became of a lease while it was looked at.
enum SeenLease {
    /// There is none.
    Gone,
    /// Its owner is at work.
    Renewed,
    /// Its owner is no more; what it says.
    Left(Vec<u8>),
}

/// Looks at a lease until it changes, for `LOOKS` seconds at most.
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

/// A file that its owner renews. Others look whether it changes: that needs no clock that all agree on.
struct Lease {
    beats: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Renews the file at `spot` until dropped. When it is another one's by then, `stop` is asked for.
    fn begin(spot: Spot, file: File, stop: Arc<Stop>) -> io::Result<Self> {
        let owner = identity();
        renew(&file, &owner, 0)?;
        let (sender, ended) = channel();
        let beat = move || beat(&spot, &file, &owner, &ended, &stop);
        let thread = std::thread::Builder::new().name("lease".to_owned()).spawn(beat)?;
        Ok(Self { beats: Some((sender, thread)) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.beats.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// Renews a lease until the other end of `ended` is gone, and then gives it back. On a full disk the old length
/// has its room.
fn beat(spot: &Spot, file: &File, owner: &str, ended: &Receiver<()>, stop: &Stop) {
    let mut number = 0;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(BEAT) {
        if !spot.is_there() {
            return stop.ask();
        }
        number += 1;
        let _ = renew(file, owner, number);
    }
    if spot.is_there() {
        let _ = spot.locks.unlink(&spot.name);
    }
}

/// What no two processes are called, wherever they run.
fn identity() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{} {}", std::process::id(), since.as_nanos())
}

fn renew(file: &File, owner: &str, number: u64) -> io::Result<()> {
    file.write_all_at(format!("{owner} {number:020}\n").as_bytes(), 0)?;
    // Over a network others see it when it is there.
    file.sync_all()
}

/// What a lease says; `None` when it is not there.
fn read(locks: &Dir, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let read = locks.open_file(name).and_then(|file| {
        let mut bytes = vec![0; 128];
        let length = file.read_at(&mut bytes, 0)?;
        bytes.truncate(length);
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        // A folder is no lease: no run makes one there.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Says what stands in for a lock.
pub(crate) fn tell_of_a_lease(lock: &Lock, context: &Context) {
    if let Some(why) = lock.is_lease() {
        let what = format!(
            "the destination has no locks ({why}): a file that is renewed every few seconds keeps two runs of one prefix apart"
        );
        context.monitor.event(&Event::Limited { what });
    }
}

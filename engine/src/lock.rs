//! Keeps two runs of one prefix apart: by a lock of the kernel's, where the file system has none by a lease.

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

use crate::backups::{Backups, folder_name};
use crate::dir::{Dir, c_name};
use crate::entry::FileId;
use crate::error::{RunError, destination};
use crate::name::{Prefix, SnapshotName};
use crate::run::Stop;

/// How often a lease is renewed.
const BEAT: Duration = Duration::from_secs(5);
/// A lease that was not renewed for so many looks, one a second, was left by a run that is no more.
const LOOKS: u32 = 20;

/// A lock that is held while this value lives.
pub(crate) struct Lock {
    spot: Spot,
    held: Held,
}

enum Held {
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
            Held::Kernel { .. } => None,
            Held::Lease { why, .. } => Some(why),
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
        Ok(Self { locks, name: name.to_owned(), id: crate::dir::meta(file)?.id })
    }

    fn is_there(&self) -> bool {
        let found = self.locks.find(&self.name);
        found.is_ok_and(|found| found.is_some_and(|meta| meta.id == self.id))
    }
}

impl Backups {
    /// Asks for the lock of `prefix`, which keeps two runs of one prefix apart. `stop` is asked for when it is lost.
    ///
    /// # Errors
    /// When the lock file cannot be made; [`RunError::Stopped`] when stopped while it waits for what a lease tells.
    pub(crate) fn lock(&self, prefix: &Prefix, stop: &Arc<Stop>) -> Result<Locked, RunError> {
        let locks = || self.own(c"locks").ok_or(io::ErrorKind::NotFound);
        let take = || -> io::Result<Locked> {
            let name = c_name(format!("{prefix}.lock"))?;
            loop {
                let locks = locks()?;
                let file = match locks.create_file(&name, 0o600) {
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
                if spot.is_there() {
                    return Ok(Locked::Mine(Lock { spot, held: Held::Kernel { _file: file } }));
                }
            }
        };
        take().map_err(|error| {
            if stop.asked() {
                return RunError::Stopped;
            }
            let path = self.path.join(crate::backups::OWN).join("locks");
            destination("cannot lock", &self.path, path, error)
        })
    }

    /// Whether another run of `prefix` is at work, found out without writing anything.
    pub(crate) fn is_locked(&self, prefix: &Prefix) -> bool {
        let file = self
            .own(c"locks")
            .and_then(|locks| locks.open_file(&c_name(format!("{prefix}.lock")).ok()?).ok());
        file.is_some_and(|file| {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)
                == Err(Errno::WOULDBLOCK)
        })
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
        loop {
            match locks.create_file(name, 0o600) {
                Ok(file) => {
                    let spot = || Spot::new(locks.try_clone()?, name, &file);
                    let (spot, its) = (spot()?, spot()?);
                    let held =
                        Held::Lease { _lease: Lease::begin(its, file, Arc::clone(stop))?, why };
                    return Ok(Locked::Mine(Self { spot, held }));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let before = read(locks, name)?;
            let mut now = before.clone();
            for _ in 0..LOOKS {
                if stop.asked() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                std::thread::sleep(Duration::from_secs(1));
                now = read(locks, name)?;
                if now != before {
                    break;
                }
            }
            if now.is_some() && now != before {
                return Ok(Locked::Busy);
            }
            // Of several who saw that, one renames what they saw; the others find nothing, or a new one.
            let stale = c_name([name.to_bytes(), b".stale"].concat())?;
            match locks.rename_over(name, &stale) {
                Ok(()) if read(locks, &stale)? == before => locks.unlink(&stale)?,
                Ok(()) => {
                    locks.rename_new(&stale, name)?;
                    return Ok(Locked::Busy);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that its owner renews. Others look whether it changes: that needs no clock that all agree on.
struct Lease {
    beats: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Renews the file at `spot` until dropped. When it is another one's by then, `stop` is asked for.
    fn begin(spot: Spot, file: File, stop: Arc<Stop>) -> io::Result<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let owner = format!("{} {}", std::process::id(), since.as_nanos());
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

fn renew(file: &File, owner: &str, number: u64) -> io::Result<()> {
    file.write_all_at(format!("{owner} {number:020}\n").as_bytes(), 0)?;
    // Over a network others see it when it is there.
    file.sync_all()
}

/// What a lease says; `None` when it is not there.
fn read(locks: &Dir, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    match locks.open_file(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = vec![0; 128];
            let length = file.read_at(&mut bytes, 0)?;
            bytes.truncate(length);
            Ok(Some(bytes))
        }
    }
}

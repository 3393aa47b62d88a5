//! Makes what was written durable, and remembers how far that has come: the journal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backups::{read_small, write_whole};
use crate::dir::Dir;
use crate::entry::Time;
use crate::name::Prefix;

/// Syncs the file system that an open folder lies on, as `syncfs(2)` does, and reports its errors.
pub type SyncFileSystem = fn(BorrowedFd<'_>) -> io::Result<()>;

/// `syncfs(2)` on the calling thread, which then cannot be interrupted.
///
/// # Errors
/// What the kernel could not write since the folder was opened (Linux 5.8).
pub fn sync_file_system(folder: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Whether `syncfs` reaches the disk: not on FUSE and network file systems, where it answers 0 and
/// does nothing (measured); there every file and folder is synced by itself.
pub(crate) fn syncs_as_a_whole(dir: &Dir) -> bool {
    // linux/magic.h and the file systems' own headers.
    const LOCAL: [u64; 14] = [
        0xEF53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683E, // btrfs
        0xF2F5_2010, // f2fs
        0xCA45_1A4E, // bcachefs
        0x2FC1_2FC1, // zfs
        0x4D44,      // FAT
        0x2011_BAB0, // exFAT
        0x7366_746E, // ntfs3
        0x794C_7630, // overlayfs
        0x0102_1994, // tmpfs
        0x3153_464A, // jfs
        0x5265_4973, // reiserfs
        0x482B,      // HFS+
    ];
    rustix::fs::fstatfs(dir).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64)))
}

/// What is certain about the files of an incomplete snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    version: u32,
    /// The incomplete snapshot's folder name.
    snapshot: String,
    /// What was changed before this time of the destination's clock is on disk.
    durable_before: Option<Time>,
}

/// The journal of one job's incomplete snapshot.
pub(crate) struct Checkpoints {
    dir: Dir,
    file: String,
    snapshot: String,
    destination: Dir,
    sync: SyncFileSystem,
    whole: bool,
    failed: AtomicBool,
    writing: Mutex<()>,
}

impl Checkpoints {
    /// Takes up the journal of `snapshot`; `destination` is to stay open as long as its sync errors matter.
    pub(crate) fn new(
        dir: Dir,
        prefix: &Prefix,
        snapshot: String,
        destination: Dir,
        sync: SyncFileSystem,
    ) -> Self {
        let whole = syncs_as_a_whole(&destination);
        let file = format!("{prefix}.json");
        let (failed, writing) = (AtomicBool::new(false), Mutex::new(()));
        Self { dir, file, snapshot, destination, sync, whole, failed, writing }
    }

    /// Whether the file system can be synced as a whole.
    pub(crate) fn whole(&self) -> bool {
        self.whole
    }

    /// Before which time of the destination's clock everything is durable, as an earlier run left it.
    pub(crate) fn durable_before(&self) -> Option<Time> {
        let journal: Journal = serde_json::from_slice(&read_small(&self.dir, &self.file)?).ok()?;
        (journal.version == 1 && journal.snapshot == self.snapshot)
            .then_some(journal.durable_before)?
    }

    /// The destination's own clock: file systems stamp with it, and a server's may differ from ours.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn clock(&self) -> io::Result<Time> {
        let name = crate::dir::c_name(format!("{}.clock", self.file))?;
        let file = match self.dir.create_file(&name, 0o600) {
            // The file stays: on a full disk there may be no room for another one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.dir.open_to_write(&name)?
            }
            created => created?,
        };
        // Any change will do: each sets the change time.
        crate::dir::set_mode(&file, 0o600)?;
        Ok(crate::dir::meta(&file)?.ctime)
    }

    /// Notes that nothing written so far is certain.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn distrust(&self) -> io::Result<()> {
        self.note(None)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// When the system could not write everything. A kernel reports that once and then forgets it, so
    /// it stays an error here.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync had failed"));
        }
        let synced = if self.whole {
            (self.sync)(self.destination.as_fd())
        } else {
            self.destination.sync()
        };
        synced.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }

    /// The journal has served: its snapshot is complete.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match self.dir.unlink(&crate::dir::c_name(self.file.as_str())?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes that everything changed before `durable_before` is on disk.
    ///
    /// # Errors
    /// When the journal cannot be written; what it said before stays true.
    pub(crate) fn note(&self, durable_before: Option<Time>) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = Journal { version: 1, snapshot: self.snapshot.clone(), durable_before };
        write_whole(&self.dir, &self.file, &serde_json::to_vec(&journal)?)
    }
}

/// Wakes a thread now and then until it is told to end.
#[derive(Default)]
pub(crate) struct Ticker {
    ended: Mutex<bool>,
    wake: Condvar,
}

impl Ticker {
    /// Waits for `time`; `false` when it is over.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(ended, time, |ended| !*ended);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }
}

/// How far the wall clock runs ahead of the time since boot: it only falls when the clock is set back.
pub(crate) fn clock_offset() -> i128 {
    use rustix::time::{ClockId, clock_gettime};
    let nanos = |clock| {
        let time = clock_gettime(clock);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    nanos(ClockId::Realtime) - nanos(ClockId::Boottime)
}

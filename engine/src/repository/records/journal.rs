//! Makes written data durable, and records in a journal up to which time it is durable.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::entry::racy::ReadStart;
use crate::fs::dir::Dir;
use crate::fs::file_system::{SyncFileSystem, stamps_changes, syncs_as_a_whole};
use crate::fs::small_file::{create_state, read_small, write_whole};
use crate::repository::store::file_of;
use crate::snapshot::host::Host;
use crate::snapshot::name::Prefix;
use crate::threads::lock::{lock, unpoisoned};

/// What is known to be durable in an incomplete snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Journal {
    pub(crate) version: u32,
    /// The incomplete snapshot's folder name.
    pub(crate) snapshot: String,
    /// Every change before this time of the destination's clock is on disk.
    pub(crate) durable_before: Option<Time>,
    /// A sync failed. Data that is not on disk can look complete while the kernel still caches it.
    pub(crate) sync_failed: bool,
    /// Source roots, escaped, and the identity of the file system of each; an empty identity where it is
    /// unknown.
    pub(crate) roots: BTreeMap<String, String>,
    /// When each run began that worked on the snapshot, the oldest first.
    pub(crate) begins: Vec<ReadStart>,
    /// The machine of the source roots.
    pub(crate) host: Option<Host>,
}

const VERSION: u32 = 1;

/// The maximum number of stored run starts, for a snapshot that is resumed repeatedly.
const MOST_BEGINS: usize = 1000;

/// The journal of one job's incomplete snapshot.
pub(crate) struct Checkpoints {
    dir: Dir,
    file: String,
    destination: Dir,
    sync: SyncFileSystem,
    whole: bool,
    stamps: bool,
    failed: AtomicBool,
    journal: Mutex<Journal>,
}

impl Checkpoints {
    /// Reads the journal of `snapshot`, or begins a new one. `destination` must stay open as long as its sync
    /// errors matter.
    pub(crate) fn new(
        dir: Dir,
        prefix: &Prefix,
        snapshot: String,
        destination: Dir,
        sync: SyncFileSystem,
    ) -> Self {
        let (whole, stamps) = (syncs_as_a_whole(&destination), stamps_changes(&destination));
        let file = file_of(prefix);
        let left = read_small(&dir, &file).and_then(|left| serde_json::from_slice(&left).ok());
        let journal = left
            .filter(|left: &Journal| left.version == VERSION && left.snapshot == snapshot)
            .unwrap_or_else(|| Journal { version: VERSION, snapshot, ..Journal::default() });
        let (failed, journal) = (AtomicBool::new(false), Mutex::new(journal));
        Self { dir, file, destination, sync, whole, stamps, failed, journal }
    }

    /// Whether the destination's change times can be trusted.
    pub(crate) fn stamps(&self) -> bool {
        self.stamps
    }

    /// Whether one call can sync the whole file system.
    pub(crate) fn whole(&self) -> bool {
        self.whole
    }

    /// The time of the destination's clock before which everything is durable, and whether a sync has failed.
    pub(crate) fn state(&self) -> (Option<Time>, bool) {
        let journal = self.journal();
        (journal.durable_before, journal.sync_failed)
    }

    /// The file systems of the source roots when this snapshot was begun.
    pub(crate) fn roots(&self) -> BTreeMap<String, String> {
        let mut roots = self.journal().roots.clone();
        roots.retain(|_, file_system| !file_system.is_empty());
        roots
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// The time of the destination's clock. File systems use it for time stamps, and the clock of a server can
    /// differ from the local one.
    ///
    /// # Errors
    /// Nothing can be written to the destination.
    pub(crate) fn clock(&self) -> io::Result<Time> {
        let name = crate::entry::c_name(format!("{}.clock", self.file))?;
        let file = match create_state(&self.dir, &name) {
            // The file stays, because a full disk may have no room for a new one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.dir.open_to_write(&name)?
            }
            created => created?,
        };
        // Any metadata change updates the change time.
        crate::fs::metadata::stat::set_mode(&file, 0o600)?;
        Ok(crate::fs::metadata::stat::meta(&file)?.ctime)
    }

    /// Records that nothing written so far is known to be durable.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) fn distrust(&self) -> io::Result<()> {
        self.change(|journal| journal.durable_before = None)
    }

    /// Records that every change before `time` is on disk.
    ///
    /// # Errors
    /// The journal cannot be written. Its previous content stays true.
    pub(crate) fn note(&self, time: Time) -> io::Result<()> {
        self.change(|journal| journal.durable_before = self.stamps.then_some(time))
    }

    /// Records the machine and the source roots.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) fn note_roots(
        &self,
        roots: BTreeMap<String, String>,
        host: &Host,
    ) -> io::Result<()> {
        let same =
            |journal: &Journal| journal.roots == roots && journal.host.as_ref() == Some(host);
        if same(&self.journal()) {
            return Ok(());
        }
        self.change(|journal| {
            journal.roots = roots;
            journal.host = Some(host.clone());
        })
    }

    /// Records that a run begins to read the source, whose clock shows `source`. Repeated calls with the same
    /// time have no effect.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) fn note_begin(&self, source: Time) -> io::Result<()> {
        if self.journal().begins.last().is_some_and(|last| last.source == source) {
            return Ok(());
        }
        let destination = self.clock()?;
        self.change(|journal| {
            if journal.begins.len() >= MOST_BEGINS {
                journal.begins.remove(1);
            }
            journal.begins.push(ReadStart { destination, source });
        })
    }

    /// When each run began that worked on the snapshot. Where change times are unreliable, only the first
    /// start, which then applies to every file.
    pub(crate) fn begins(&self) -> Vec<ReadStart> {
        let journal = self.journal();
        let count = if self.stamps { journal.begins.len() } else { journal.begins.len().min(1) };
        journal.begins[..count].to_vec()
    }

    /// Records that a sync failed. An error here is ignored, because the run fails anyway.
    pub(crate) fn note_failure(&self) {
        self.failed.store(true, Ordering::Relaxed);
        let _ = self.change(|journal| journal.sync_failed = true);
    }

    fn change(&self, change: impl FnOnce(&mut Journal)) -> io::Result<()> {
        let mut journal = self.journal();
        change(&mut journal);
        write_whole(&self.dir, &self.file, &serde_json::to_vec(&*journal)?)
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// The system could not write everything. A kernel reports such an error once and then forgets it.
    /// Therefore every later call fails too, and the journal records the failure for the next run.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync had failed"));
        }
        let synced = if self.whole {
            (self.sync)(self.destination.as_fd())
        } else {
            self.destination.sync()
        };
        synced.inspect_err(|_| self.note_failure())
    }

    /// Makes everything so far durable, and records that.
    ///
    /// # Errors
    /// The system could not write everything.
    pub(crate) fn checkpoint(&self) -> io::Result<()> {
        let time = self.clock()?;
        self.sync()?;
        self.note(time)
    }

    /// Removes the journal after its snapshot is complete.
    pub(crate) fn forget(&self) -> io::Result<()> {
        match self.dir.unlink(&crate::entry::c_name(self.file.as_str())?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Wakes a thread at intervals until it has to end.
#[derive(Default)]
pub(crate) struct CheckpointTimer {
    ended: Mutex<bool>,
    wake: Condvar,
}

impl CheckpointTimer {
    /// Waits for `time`. Returns `false` when the thread has to end.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let ended = lock(&self.ended);
        let waited = self.wake.wait_timeout_while(ended, time, |ended| !*ended);
        !*unpoisoned(waited).0
    }

    /// Ends the ticker when the returned value is dropped.
    pub(crate) fn until_dropped(&self) -> impl Drop {
        struct End<'a>(&'a CheckpointTimer);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        End(self)
    }

    fn end(&self) {
        *lock(&self.ended) = true;
        self.wake.notify_all();
    }
}

/// The wall clock minus the time since boot, nanoseconds. It decreases only when the wall clock is set back.
pub(crate) fn clock_offset() -> i128 {
    use rustix::time::ClockId;
    use rustix::time::clock_gettime;
    let nanos = |clock| {
        let time = clock_gettime(clock);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    nanos(ClockId::Realtime) - nanos(ClockId::Boottime)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoints(folder: &std::path::Path) -> Checkpoints {
        let dir = || Dir::at(folder).unwrap();
        let prefix = Prefix::new("p").unwrap();
        Checkpoints::new(dir(), &prefix, "snapshot".to_owned(), dir(), |_| Ok(()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_journal_is_taken_up_as_it_was_noted(
            secs in any::<i32>(), nanos in 0_u32..1_000_000_000, roots in prop::collection::btree_map(".*", ".+", 0..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let time = Time { secs: secs.into(), nanos };
            let journal = Journal {
                host: None,
                version: VERSION,
                snapshot: "snapshot".to_owned(),
                durable_before: Some(time),
                sync_failed: false,
                roots: roots.clone(),
                begins: Vec::new(),
            };
            std::fs::write(folder.path().join("p.json"), serde_json::to_vec(&journal).unwrap()).unwrap();
            let taken = checkpoints(folder.path());
            prop_assert_eq!(taken.state(), (Some(time), false));
            prop_assert_eq!(taken.roots(), roots);
        }

        #[test]
        fn a_journal_that_is_none_says_that_nothing_is_certain(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("p.json"), &text).unwrap();
            prop_assert_eq!(checkpoints(folder.path()).state(), (None, false));
        }

        #[test]
        fn a_damaged_journal_does_no_harm(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..8)) {
            let folder = tempfile::tempdir().unwrap();
            checkpoints(folder.path()).note(Time { secs: 1_700_000_000, nanos: 5 }).unwrap();
            let path = folder.path().join("p.json");
            let mut text = std::fs::read(&path).unwrap();
            let at = at.index(text.len());
            let to = (at + bytes.len()).min(text.len());
            text.splice(at..to, bytes);
            std::fs::write(&path, text).unwrap();
            let taken = checkpoints(folder.path());
            taken.checkpoint().unwrap();
            prop_assert!(taken.state().0.is_some());
        }
    }
}

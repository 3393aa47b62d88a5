//! Answers what a copy asks of the snapshots in a backups folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use engine::copy::SnapshotStore;
use engine::source::Root;
use engine::{Prefix, RunError, SnapshotName, Source, SourceError, Stop};

use crate::helper::protocol::copy::{
    HOLDS_PART, RECORD_PART, RUN_MAX, RUNS, SNAPSHOTS_MAX, SentPlace, SentRefusal, SentSnapshots,
    snapshot_name, stamp,
};
use crate::helper::serve::confine::{OUTSIDE, Roots};
use crate::helper::serve::place::absolute;
use crate::helper::serve::served::ServedFolder;
use crate::snapshots::LocalStore;

/// The interval at which this end reports that it works on a request.
const BEAT: Duration = Duration::from_secs(1);

/// The snapshots that the other end may copy.
pub(crate) enum Copies {
    /// Those of any backups folder in the roots.
    OfRoots,
    /// Those of one history: this end has offered them.
    Offered(Offer),
    /// None: the far end was started with `--append-only`.
    None,
}

/// Receives a report. Returns whether the copy goes on.
pub(crate) type Told = dyn Fn(&[u8]) -> bool + Send + Sync;

/// The bytes per second that may be read at the moment; `None`: no limit.
pub type Rate = dyn Fn() -> Option<u64> + Send + Sync;

/// A history that this end has offered to the other one.
pub(crate) struct Offer {
    pub(crate) dir: PathBuf,
    pub(crate) prefix: Prefix,
    pub(crate) fake_super: bool,
    /// Receives what the other end reports.
    pub(crate) told: Box<Told>,
    pub(crate) rate: Arc<Rate>,
    pub(crate) stop: Arc<Stop>,
}

/// The history that a request names.
pub(crate) struct History {
    store: LocalStore,
    dir: PathBuf,
    prefix: Prefix,
}

/// The words of a far end that only adds snapshots.
const ONLY_ADDS: &str = "serve was started with --append-only there: it only receives snapshots";

impl Copies {
    /// Why other folders than those of snapshots may not be opened, if they may not.
    pub(crate) fn no_other_folders(&self) -> Option<&'static str> {
        match self {
            Self::OfRoots => None,
            Self::Offered(_) => Some("only the offered snapshots can be read"),
            Self::None => Some(ONLY_ADDS),
        }
    }

    pub(crate) fn offer(&self) -> Option<&Offer> {
        match self {
            Self::Offered(offer) => Some(offer),
            Self::OfRoots | Self::None => None,
        }
    }

    /// The history with this prefix in the backups folder `dir`.
    pub(crate) fn place(
        &self,
        roots: &Roots,
        dir: &[u8],
        prefix: &str,
    ) -> Result<History, SentRefusal> {
        let prefix = Prefix::new(prefix).map_err(SentRefusal::new)?;
        let (dir, fake_super, stop) = match self {
            Self::None => return Err(SentRefusal::new(ONLY_ADDS)),
            Self::Offered(offer) if offer.prefix == prefix => {
                (offer.dir.clone(), offer.fake_super, Arc::clone(&offer.stop))
            }
            Self::Offered(_) => return Err(SentRefusal::new("only one history was offered")),
            // The far end cannot know whether the history is one of `--fake-super`. Nothing else stores these attributes.
            Self::OfRoots => (in_roots(roots, &absolute(dir))?, true, Arc::default()),
        };
        let store = LocalStore::open(&dir, fake_super, stop);
        let store = store.map_err(|error| SentRefusal::from(&error.error))?;
        Ok(History { store, dir, prefix })
    }
}

impl History {
    /// The history with this prefix in the backups folder `dir` of this machine.
    pub(crate) fn of(dir: &Path, prefix: &Prefix, fake_super: bool) -> Result<Self, SentRefusal> {
        let store = LocalStore::open(dir, fake_super, Arc::default());
        let store = store.map_err(|error| SentRefusal::from(&error.error))?;
        Ok(Self { store, dir: dir.to_owned(), prefix: prefix.clone() })
    }
}

/// The folder without symlinks, if it lies in the roots.
fn in_roots(roots: &Roots, path: &Path) -> Result<PathBuf, SentRefusal> {
    let refused = || SentRefusal::new(OUTSIDE);
    if !Roots::is_plain(path) || !roots.concerns(path) {
        return Err(refused());
    }
    let real = path.canonicalize().map_err(|error| SentRefusal::from(&error))?;
    if roots.hold(&real) { Ok(real) } else { Err(refused()) }
}

fn refusal(error: RunError) -> SentRefusal {
    match error {
        RunError::Destination { error, .. } => SentRefusal::from(&error),
        other => SentRefusal::new(other),
    }
}

impl History {
    /// The complete snapshots.
    pub(crate) fn snapshots(&self) -> Result<SentSnapshots, SentRefusal> {
        let names = self.names()?;
        let run = |name: &SnapshotName| {
            let run = serde_json::to_vec(&self.store.identity(name).ok()?).ok()?;
            (run.len() <= RUN_MAX).then(|| (stamp(name), run))
        };
        Ok(SentSnapshots {
            stamps: names.iter().map(stamp).collect(),
            place: SentPlace::of(&self.dir),
            runs: names.iter().rev().take(RUNS).filter_map(run).collect(),
            holds: part(&self.all_holds(&names)?, 0, HOLDS_PART),
        })
    }

    fn names(&self) -> Result<Vec<SnapshotName>, SentRefusal> {
        let mut names = self.store.snapshots(&self.prefix).map_err(refusal)?;
        names.drain(..names.len().saturating_sub(SNAPSHOTS_MAX));
        Ok(names)
    }

    fn all_holds(&self, names: &[SnapshotName]) -> Result<Vec<u8>, SentRefusal> {
        let holds = self.store.holds(names).map_err(refusal)?;
        let holds: Vec<_> = holds.iter().map(|(name, hold)| (stamp(name), hold)).collect();
        serde_json::to_vec(&holds).map_err(SentRefusal::new)
    }

    /// The holds of the snapshots: their length, and those from the byte `from` on.
    pub(crate) fn holds(&self, from: u64) -> Result<(u64, Vec<u8>), SentRefusal> {
        Ok(part(&self.all_holds(&self.names()?)?, from, RECORD_PART))
    }

    /// The records beside a snapshot: their length, and those from the byte `from` on.
    pub(crate) fn beside(&self, stamp: i64, from: u64) -> Result<(u64, Vec<u8>), SentRefusal> {
        let name = snapshot_name(&self.prefix, stamp).ok_or_else(none)?;
        let beside = self.store.beside(&name).map_err(refusal)?;
        let all = serde_json::to_vec(&beside).map_err(SentRefusal::new)?;
        Ok(part(&all, from, RECORD_PART))
    }

    /// Opens a snapshot beside the one before it.
    pub(crate) fn open(
        &self,
        stamp: i64,
        previous: Option<i64>,
    ) -> Result<Root<ServedFolder>, SentRefusal> {
        let name = |stamp| snapshot_name(&self.prefix, stamp).ok_or_else(none);
        let previous = previous.map(name).transpose()?;
        let source = self.store.open(&name(stamp)?, previous.as_ref()).map_err(refusal)?;
        let root = source.root(Path::new("/")).map_err(|error| match error {
            SourceError::Unreadable { error, .. } => SentRefusal::from(&error),
            other => SentRefusal::new(other),
        })?;
        let Root { entry, folder, was_link, file_system } = root;
        let folder = Arc::new(ServedFolder::Snapshot(source, folder));
        Ok(Root { entry, folder, was_link, file_system })
    }
}

/// The length of a record, and at most `most` of its bytes from `from` on.
fn part(all: &[u8], from: u64, most: usize) -> (u64, Vec<u8>) {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
    let end = all.len().min(from.saturating_add(most));
    (all.len() as u64, all[from..end].to_vec())
}

fn none() -> SentRefusal {
    SentRefusal::new("no snapshot has such a name")
}

/// Does `work`, and calls `beat` every second until it is done.
pub(crate) fn while_working<T: Send>(work: impl FnOnce() -> T + Send, beat: impl Fn()) -> T {
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            let _done = done;
            work()
        });
        while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(BEAT) {
            beat();
        }
        match work.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

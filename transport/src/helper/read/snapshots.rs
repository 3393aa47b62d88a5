//! The snapshots of the other end, as a copy reads them.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use chrono::{TimeDelta, Utc};
use engine::copy::{Beside, RunTimes, SnapshotStore};
use engine::entry::folder_digest::DigestKey;
use engine::entry::{Entry, Meta, Time};
use engine::repository::Hold;
use engine::source::{
    Answers, ConnectionReport, ContentSink, Crossing, Expected, ListSink, RateLimit, Reply, Root,
    Wanted,
};
use engine::threads::lock;
use engine::{Event, Monitor, Prefix, Preserve, RunError, SnapshotName, Source, SourceError};
use serde::de::DeserializeOwned;

use crate::helper::protocol::copy::{
    CopyAnswer, HOLDS_MAX, RECORD_MAX, RUN_MAX, RUNS, SNAPSHOTS_MAX, SentPlace, SentRefusal,
    SentSnapshots, snapshot_name, stamp,
};
use crate::helper::protocol::message::Answer;
use crate::helper::read::HelperSource;
use crate::helper::read::command::{Query, gone};
use crate::helper::read::folder::{HelperFolder, NamedSnapshot, Way};

/// A backups folder of the other end.
pub struct RemoteSnapshots {
    source: Arc<HelperSource>,
    dir: Vec<u8>,
    name: String,
    monitor: Option<Arc<dyn Monitor>>,
    limit: Option<Arc<RateLimit>>,
    /// Where the folder is. Known from the first answer.
    place: OnceLock<Option<SentPlace>>,
    /// The snapshots that the other end offered before it was asked.
    offered: Mutex<Option<SentSnapshots>>,
    /// What came with the snapshots.
    listed: Mutex<Listed>,
}

/// What an answer about the snapshots says of them.
#[derive(Default)]
struct Listed {
    /// The times of the runs that made some of them.
    runs: BTreeMap<i64, Option<RunTimes>>,
    /// The length of their holds, and the first bytes.
    holds: (u64, Vec<u8>),
}

/// A snapshot of the other end. Its only root is `/`.
pub struct RemoteSnapshot {
    source: Arc<HelperSource>,
    snapshot: Arc<NamedSnapshot>,
    limit: Option<Arc<RateLimit>>,
}

impl RemoteSnapshots {
    /// The backups folder `dir`, which messages call `name`.
    #[must_use]
    pub fn new(source: Arc<HelperSource>, dir: Vec<u8>, name: String) -> Self {
        Self {
            source,
            dir,
            name,
            monitor: None,
            limit: None,
            place: OnceLock::new(),
            offered: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    /// Does not ask for the snapshots at first: the other end has offered these.
    #[must_use]
    pub(crate) fn offering(self, offered: SentSnapshots) -> Self {
        Self { offered: Mutex::new(Some(offered)), ..self }
    }

    /// Reads content no faster than `limit` allows.
    #[must_use]
    pub fn limited(self, limit: Option<RateLimit>) -> Self {
        Self { limit: limit.map(Arc::new), ..self }
    }

    /// Reports to `monitor` which snapshots are left out.
    #[must_use]
    pub fn reporting(self, monitor: Arc<dyn Monitor>) -> Self {
        Self { monitor: Some(monitor), ..self }
    }

    /// Whether the copy may have this snapshot. One from the future would stay the newest, and the retention rules would remove
    /// the others in its favour.
    fn is_possible(&self, name: &SnapshotName) -> bool {
        let is_possible = name.stamp.time() <= Utc::now() + TimeDelta::days(1);
        if !is_possible && let Some(monitor) = &self.monitor {
            let what = format!("{name} is not copied: its name is more than a day in the future");
            monitor.event(&Event::Aside { what });
        }
        is_possible
    }

    /// The connection.
    #[must_use]
    pub fn source(&self) -> &Arc<HelperSource> {
        &self.source
    }

    fn named(&self, name: &SnapshotName, previous: Option<&SnapshotName>) -> Arc<NamedSnapshot> {
        let (dir, prefix) = (self.dir.clone(), name.prefix.to_string());
        let (stamp, previous) = (stamp(name), previous.map(stamp));
        Arc::new(NamedSnapshot { dir, prefix, stamp, previous })
    }

    /// The error for a request that the other end refuses.
    fn refused(&self, refusal: SentRefusal) -> RunError {
        self.unreadable(SourceError::from(refusal))
    }

    fn unreadable(&self, error: SourceError) -> RunError {
        let action = "cannot read the snapshots of";
        let path = PathBuf::from(&self.name);
        match error {
            SourceError::Unreadable { error, .. } => RunError::Destination { action, path, error },
            lost @ SourceError::Lost(_) => RunError::SourceLost(lost),
            other => RunError::Destination { action, path, error: io::Error::other(other) },
        }
    }

    /// Asks for the parts of a record, behind those that are in `part` already.
    fn whole<T: DeserializeOwned>(
        &self,
        first: Option<(u64, Vec<u8>)>,
        most: usize,
        query: impl Fn(u64) -> Query,
    ) -> Result<T, RunError> {
        let mut all = Vec::new();
        let mut first = first;
        loop {
            let (length, part) = match first.take() {
                Some(first) => first,
                None => match self.ask(query(all.len() as u64))? {
                    CopyAnswer::Beside(part) | CopyAnswer::Holds(part) => {
                        part.map_err(|refusal| self.refused(refusal))?
                    }
                    _ => return Err(RunError::SourceLost(gone())),
                },
            };
            let is_last = (all.len() + part.len()) as u64 >= length;
            if (part.is_empty() && !is_last) || length > most as u64 {
                return Err(self.refused(SentRefusal::new("its records are not valid")));
            }
            all.extend(part);
            if is_last {
                let invalid = |error| self.refused(SentRefusal::new(error));
                return serde_json::from_slice(&all).map_err(invalid);
            }
        }
    }

    fn ask(&self, query: Query) -> Result<CopyAnswer, RunError> {
        match self.source.ask(query).wait() {
            Ok(Answer::Copy(answer)) => Ok(answer),
            Ok(_) => Err(RunError::SourceLost(gone())),
            Err(error) => Err(self.unreadable(error)),
        }
    }
}

impl HelperSource {
    /// Reports on a copy to the end that has the snapshots. Returns the rate at which it wants the copy to go on; `None` if
    /// the copy is to end.
    pub(crate) fn tell(&self, what: Vec<u8>) -> Option<Option<u64>> {
        match self.ask(Query::Tell(what)).wait() {
            Ok(Answer::Copy(CopyAnswer::Told(true, rate))) => Some(rate),
            _ => None,
        }
    }
}

impl SnapshotStore for RemoteSnapshots {
    type Source = RemoteSnapshot;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn snapshots(&self, prefix: &Prefix) -> Result<Vec<SnapshotName>, RunError> {
        let offered = lock(&self.offered).take();
        let found = match offered {
            Some(offered) => offered,
            None => {
                let query = Query::Snapshots(self.dir.clone(), prefix.to_string());
                let CopyAnswer::Snapshots(found) = self.ask(query)? else {
                    return Err(RunError::SourceLost(gone()));
                };
                found.map_err(|refusal| self.refused(refusal))?
            }
        };
        let SentSnapshots { mut stamps, place, runs, holds } = found;
        let _ = self.place.set(place);
        let run = |(stamp, run): (i64, Vec<u8>)| {
            let is_possible = run.len() <= RUN_MAX;
            Some((stamp, is_possible.then(|| serde_json::from_slice(&run).ok())??))
        };
        let runs = runs.into_iter().take(RUNS).filter_map(run).collect();
        *lock(&self.listed) = Listed { runs, holds };
        stamps.truncate(SNAPSHOTS_MAX);
        stamps.sort_unstable();
        stamps.dedup();
        let names = stamps.into_iter().filter_map(|stamp| snapshot_name(prefix, stamp));
        Ok(names.filter(|name| self.is_possible(name)).collect())
    }

    fn open(
        &self,
        snapshot: &SnapshotName,
        previous: Option<&SnapshotName>,
    ) -> Result<Arc<RemoteSnapshot>, RunError> {
        let (source, snapshot) = (Arc::clone(&self.source), self.named(snapshot, previous));
        Ok(Arc::new(RemoteSnapshot { source, snapshot, limit: self.limit.clone() }))
    }

    fn beside(&self, snapshot: &SnapshotName) -> Result<Beside, RunError> {
        let snapshot = self.named(snapshot, None);
        self.whole(None, RECORD_MAX, |from| Query::Beside(Arc::clone(&snapshot), from))
    }

    /// Known of the newest ones after the snapshots were listed.
    fn identity(&self, snapshot: &SnapshotName) -> Result<Option<RunTimes>, RunError> {
        let known = lock(&self.listed).runs.get(&stamp(snapshot)).cloned();
        known.map_or_else(|| Ok(self.beside(snapshot)?.identity()), Ok)
    }

    /// Known after the snapshots were listed, unless the holds are long.
    fn holds(&self, snapshots: &[SnapshotName]) -> Result<Vec<(SnapshotName, Hold)>, RunError> {
        let Some(newest) = snapshots.last() else { return Ok(Vec::new()) };
        let first = lock(&self.listed).holds.clone();
        let (dir, prefix) = (self.dir.clone(), newest.prefix.to_string());
        let query = |from| Query::Holds(dir.clone(), prefix.clone(), from);
        let holds: Vec<(i64, Hold)> = self.whole(Some(first), HOLDS_MAX, query)?;
        let holds: BTreeMap<_, _> = holds.into_iter().collect();
        let hold = |name: &SnapshotName| Some((name.clone(), holds.get(&stamp(name))?.clone()));
        Ok(snapshots.iter().filter_map(hold).collect())
    }

    /// Known after the snapshots were listed.
    fn overlaps(&self, path: &Path) -> bool {
        self.place.get().and_then(Option::as_ref).is_some_and(|place| place.overlaps(path))
    }
}

impl Source for RemoteSnapshot {
    type Folder = HelperFolder;

    fn answers(&self) -> Answers {
        self.source.answers()
    }

    fn time_granularity_ns(&self) -> u32 {
        self.source.time_granularity_ns()
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        self.source.reports(keep)
    }

    fn clock(&self) -> Option<Time> {
        self.source.clock()
    }

    fn connection(&self) -> Option<ConnectionReport> {
        self.source.connection()
    }

    fn hashes(&self) -> bool {
        self.source.hashes()
    }

    fn root(&self, path: &Path) -> Result<Root<HelperFolder>, SourceError> {
        if path != Path::new("/") {
            return Err(SourceError::Vanished);
        }
        let number = self.source.numbers.next();
        let answer = self.source.ask(Query::Open(number, Arc::clone(&self.snapshot)));
        self.source.opened(Way::Snapshot(Arc::clone(&self.snapshot)), (number, answer))
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<HelperFolder>, SourceError>> {
        paths.iter().map(|path| self.root(path)).collect()
    }

    fn folder(
        &self,
        parent: &HelperFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<HelperFolder, SourceError> {
        self.source.folder(parent, name, listed)
    }

    fn look(&self, folder: &HelperFolder, name: &CStr) -> Result<Entry, SourceError> {
        self.source.look(folder, name)
    }

    fn crossing(&self, parent: &HelperFolder, name: &CStr) -> Crossing {
        self.source.crossing(parent, name)
    }

    fn list(&self, folder: &Arc<HelperFolder>, sink: Box<dyn ListSink>) {
        self.source.list(folder, sink);
    }

    fn confirms(&self) -> Option<DigestKey> {
        self.source.confirms()
    }

    fn confirm(
        &self,
        folder: &Arc<HelperFolder>,
        expected: Expected,
        reply: Arc<Reply>,
        sink: Box<dyn ListSink>,
    ) {
        self.source.confirm(folder, expected, reply, sink);
    }

    fn fetch(&self, folder: &Arc<HelperFolder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        self.source.fetch(folder, files, RateLimit::before(self.limit.as_ref(), sink));
    }
}

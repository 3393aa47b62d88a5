//! The near end: a source whose folders are on another host, where this program runs too.
//!
//! The network thread asks the scheduler what to send; two threads of `delivery` pass listings and contents to the
//! sinks; one of `delta` builds changed files from those of the base.

pub(crate) mod asked;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod delta;
pub(crate) mod files;
pub(crate) mod folder;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod listing;
pub(crate) mod ranges;
pub(crate) mod scheduler;
pub(crate) mod service;
pub mod snapshots;

pub use self::asked::Asked;

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use engine::entry::folder_digest::DigestKey;
use engine::entry::{Entry, Kind, Meta, Time};
use engine::source::{
    Answers, ConnectionReport, ContentSink, Crossing, Expected, ListSink, Reply, Root, Subvolume,
    Transport, Wanted,
};
use engine::threads::lock;
use engine::{Preserve, Source, SourceError};
use tokio::sync::mpsc::unbounded_channel;

use crate::delivery::Delivery;
use crate::helper::protocol::error::said;
use crate::helper::protocol::message::{Answer, SentRoot};
use crate::helper::read::command::{Command, PendingQuery, Query, gone};
use crate::helper::read::delta::worker;
use crate::helper::read::folder::{FolderHandle, Forget, HelperFolder, Numbers, Way as FolderWay};
use crate::helper::read::listing::Awaited;
use crate::helper::read::scheduler::HelperScheduler;
use crate::helper::read::service::Helper;
use crate::helper::version::Version;
use crate::ssh::connect::connection::NotOpened;
use crate::ssh::connected::Connected;
use crate::ssh::event_loop::{Network, Quit};
use crate::ssh::line::{Streams, Way};
use crate::ssh::options::{ChannelLimit, Options};
use crate::ssh::service::Service;
use crate::ssh::{Address, ConnectError};

/// The folders and files that may be in flight.
const FOLDERS: usize = 512;
const FILES: usize = 4096;

/// The longest path that is opened, bytes (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;

/// Folders on a host where this program runs.
pub struct HelperSource {
    asked: Arc<Asked>,
    connected: Connected<Command>,
    numbers: Numbers,
    version: Version,
    /// Whether both ends compress.
    pub(crate) is_compressed: bool,
    /// Whether the far end answers the requests of a copy.
    pub(crate) copies: bool,
    /// Whether it only receives snapshots.
    pub(crate) only_adds: bool,
    /// What the log says of it.
    pub(crate) note: Option<String>,
    /// The key of the digests; `None` if digests cannot be used.
    key: Option<DigestKey>,
    /// The first question about the clock. It is asked with the first roots, which saves a round trip. An earlier time only
    /// makes the run trust fewer files.
    clock: Mutex<Option<PendingAnswer>>,
}

impl HelperSource {
    /// Connects to a host and starts `command` there, a line for the login shell of the user. `stopped` is polled
    /// several times a second; when it returns true, the connection ends.
    ///
    /// # Errors
    /// No connection can be made, or the command starts no far end that this program understands
    /// ([`ConnectError::is_about_service`]).
    pub fn connect(
        address: Address,
        options: Options,
        command: String,
        asked: Asked,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        Self::start(address.into(), options, command, asked, stopped)
    }

    /// Greets the other end of `streams`, which has snapshots to copy. `stopped` as above.
    ///
    /// # Errors
    /// It does not answer as such an end.
    pub(crate) fn over(
        streams: Streams,
        options: Options,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let one = Options { channels_given: Some(1), ..options };
        let way = Way::Streams(Some(streams));
        Self::start(way, one, String::new(), Asked::of_snapshots(), stopped)
    }

    fn start(
        way: Way,
        options: Options,
        command: String,
        asked: Asked,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let local = |error| ConnectError::Local { action: "start a thread", error };
        let asked = Arc::new(asked);
        let (to_network, commands) = unbounded_channel();
        let (delivery, threads) = Delivery::start(&to_network).map_err(local)?;
        let (deltas, builder) = worker::start(&delivery, to_network.clone()).map_err(local)?;
        let threads = threads.into_iter().chain([builder]);
        let wake = Arc::clone(&delivery.backlog.less);
        let compression = options.compression.level();
        let service = Helper { command, asked: Arc::clone(&asked), compression };
        let (to_scheduler, under_way) = (Arc::clone(&asked), options.under_way);
        let scheduler =
            Box::new(move || HelperScheduler::new(to_scheduler, delivery, deltas, under_way));
        let quit = Quit::new(stopped);
        let network = Network { way, options, service, commands, quit, scheduler, wake };
        // An entry that is followed to elsewhere is none of the folder.
        let key = (!asked.follow.any()).then(random_key).transpose();
        let key =
            key.map_err(|error| ConnectError::Local { action: "make a random key", error })?;
        let (connected, greeting) =
            Connected::start("helper-network", network, to_network, threads)?;
        let this = Self {
            asked,
            connected,
            numbers: Numbers::default(),
            version: greeting.version,
            is_compressed: greeting.compression.is_some(),
            copies: greeting.copies,
            only_adds: greeting.only_adds,
            note: None,
            key,
            clock: Mutex::default(),
        };
        *lock(&this.clock) = Some(this.ask(Query::Clock));
        Ok(this)
    }

    /// The version of the far end.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The number of channels that the host was observed to accept.
    #[must_use]
    pub fn channel_limit(&self) -> &ChannelLimit {
        self.connected.channel_limit()
    }

    /// Ends the connection; any thread may call it. Later calls get [`SourceError::Lost`].
    pub fn stop(&self) {
        self.connected.stop();
    }

    /// Ends the connection and waits until `ssh` has ended. A sink must not call it.
    pub fn close(&self) {
        self.connected.close();
    }

    /// Asks another service of the host on this connection; see [`Connected::ask`].
    pub(crate) fn ask_aside<S: Service + Send>(&self, service: S) -> Result<S::Offers, NotOpened> {
        self.connected.ask(service)
    }

    fn send(&self, command: Command) {
        self.connected.send(command, Command::refuse);
    }

    fn ask(&self, query: Query) -> PendingAnswer {
        let (reply, answer) = sync_channel(1);
        self.send(Command::Ask(PendingQuery { query, reply }));
        PendingAnswer(answer)
    }

    fn ask_for_root(&self, path: &Path) -> Result<(u64, PendingAnswer), SourceError> {
        use std::os::unix::ffi::OsStrExt;
        if path.as_os_str().as_bytes().len() >= PATH_MAX {
            return Err(too_long());
        }
        let number = self.numbers.next();
        Ok((number, self.ask(Query::Root(number, path.to_owned()))))
    }

    fn opened(
        &self,
        way: FolderWay,
        (number, answer): (u64, PendingAnswer),
    ) -> Result<Root<HelperFolder>, SourceError> {
        let Answer::Root(root) = answer.wait()? else { return Err(gone()) };
        let SentRoot { entry, was_link, file_system } = root?;
        let name = CString::new(entry.name.clone()).map_err(|_| SourceError::Replaced)?;
        let entry = entry.entry(name, |name| self.asked.keeps(name)).map_err(|_| broken())?;
        let is_folder = entry.meta.kind == Kind::Folder;
        // A file root has the name of the entry in its parent folder.
        let named = engine::entry::check_name(entry.name.to_bytes()).is_ok();
        if is_folder == named || is_folder != entry.name.is_empty() {
            return Err(broken());
        }
        let commands = self.connected.commands().ok_or_else(gone)?.clone();
        let forget: Forget = Arc::new(move |folder| {
            // The network thread may have ended, and the far end with it.
            let _ = commands.send(Command::Forget(folder));
        });
        let folder = FolderHandle::root(number, way, entry.meta.id, forget);
        let folder = Arc::new(HelperFolder(Arc::new(folder)));
        let file_system = file_system.map(|id| said(&id));
        Ok(Root { entry, folder, was_link, file_system })
    }
}

/// Random bytes from the system.
fn random_key() -> std::io::Result<DigestKey> {
    let mut key = [0; 32];
    let mut filled = 0;
    while filled < key.len() {
        match rustix::rand::getrandom(&mut key[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(DigestKey::new(key))
}

fn too_long() -> SourceError {
    let error = std::io::Error::new(std::io::ErrorKind::InvalidFilename, "its path is too long");
    SourceError::Unreadable { action: "open", error }
}

fn broken() -> SourceError {
    let error = std::io::Error::other("the far end described no entry that can exist");
    SourceError::Unreadable { action: "look at", error }
}

/// An answer that is awaited.
struct PendingAnswer(Receiver<Result<Answer, SourceError>>);

impl PendingAnswer {
    fn wait(self) -> Result<Answer, SourceError> {
        self.0.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Source for HelperSource {
    type Folder = HelperFolder;

    fn answers(&self) -> Answers {
        Answers::Later { folders: FOLDERS, files: FILES }
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn connection(&self) -> Option<ConnectionReport> {
        Some(self.connected.report(Transport::Helper))
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        keep
    }

    fn clock(&self) -> Option<Time> {
        let asked = lock(&self.clock).take();
        match asked.unwrap_or_else(|| self.ask(Query::Clock)).wait().ok()? {
            Answer::Clock(time) => time.filter(|time| time.nanos < 1_000_000_000),
            _ => None,
        }
    }

    fn hashes(&self) -> bool {
        true
    }

    fn root(&self, path: &Path) -> Result<Root<HelperFolder>, SourceError> {
        self.opened(FolderWay::Root(path.to_owned()), self.ask_for_root(path)?)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<HelperFolder>, SourceError>> {
        let asked: Vec<_> = paths.iter().map(|path| self.ask_for_root(path)).collect();
        let opened = |(path, asked): (&PathBuf, Result<_, SourceError>)| {
            self.opened(FolderWay::Root(path.clone()), asked?)
        };
        paths.iter().zip(asked).map(opened).collect()
    }

    /// Sends nothing: the listing reports whether it is still the listed folder.
    fn folder(
        &self,
        parent: &HelperFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<HelperFolder, SourceError> {
        if listed.kind != Kind::Folder {
            return Err(SourceError::Replaced);
        }
        match FolderHandle::child(self.numbers.next(), &parent.0, name, listed.id) {
            Some(folder) => Ok(HelperFolder(Arc::new(folder))),
            None => Err(too_long()),
        }
    }

    fn look(&self, folder: &HelperFolder, name: &CStr) -> Result<Entry, SourceError> {
        let query = Query::Look(Arc::clone(&folder.0), name.to_owned());
        let Answer::Look(entry) = self.ask(query).wait()? else { return Err(gone()) };
        entry?.entry(name.to_owned(), |name| self.asked.keeps(name)).map_err(|_| broken())
    }

    fn crossing(&self, parent: &HelperFolder, name: &CStr) -> Crossing {
        let query = Query::Crossing(Arc::clone(&parent.0), name.to_owned());
        let Ok(Answer::Crossing(found)) = self.ask(query).wait() else {
            return Crossing::default();
        };
        let subvolume = found.subvolume.map(|(read_only, snapshot, encloses)| Subvolume {
            read_only,
            snapshot,
            encloses,
        });
        Crossing { file_system: found.file_system.map(|id| said(&id)), subvolume }
    }

    fn list(&self, folder: &Arc<HelperFolder>, sink: Box<dyn ListSink>) {
        self.send(Command::List(Arc::clone(&folder.0), None, sink));
    }

    fn confirms(&self) -> Option<DigestKey> {
        self.key
    }

    fn confirm(
        &self,
        folder: &Arc<HelperFolder>,
        expected: Expected,
        reply: Arc<Reply>,
        sink: Box<dyn ListSink>,
    ) {
        self.send(Command::List(Arc::clone(&folder.0), Some(Awaited { expected, reply }), sink));
    }

    fn fetch(&self, folder: &Arc<HelperFolder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        self.send(Command::Fetch(Arc::clone(&folder.0), files, sink));
    }
}

//! The near end: a source whose folders are on another host, where this program runs too.
//!
//! The network thread asks the scheduler what to send; two threads of `delivery` pass listings and contents to the
//! sinks.

pub(crate) mod asked;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod listing;
pub(crate) mod scheduler;
pub(crate) mod service;

pub use self::asked::Asked;

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use engine::entry::{Entry, Kind, Meta, Time};
use engine::source::{Answers, ContentSink, Crossing, ListSink, Root, Subvolume, Wanted};
use engine::threads::{lock, unpoisoned};
use engine::{Preserve, Source, SourceError};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::delivery::Delivery;
use crate::helper::protocol::error::said;
use crate::helper::protocol::message::{Answer, SentRoot};
use crate::helper::read::command::{Command, PendingQuery, Query, gone};
use crate::helper::read::folder::{FolderHandle, Forget, HelperFolder, Numbers};
use crate::helper::read::scheduler::HelperScheduler;
use crate::helper::read::service::Helper;
use crate::ssh::event_loop::{Network, Quit};
use crate::ssh::options::{ChannelLimit, Options};
use crate::ssh::{Address, ConnectError};

/// The folders and files that may be in flight.
const FOLDERS: usize = 512;
const FILES: usize = 4096;

/// The longest path that is opened, bytes (`PATH_MAX`, limits.h).
const PATH_MAX: usize = 4096;

/// Folders on a host where this program runs.
pub struct HelperSource {
    asked: Arc<Asked>,
    commands: Option<UnboundedSender<Command>>,
    numbers: Numbers,
    quit: Arc<Notify>,
    limit: ChannelLimit,
    /// The network thread is the first.
    threads: Mutex<Vec<JoinHandle<()>>>,
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
        let local = |error| ConnectError::Local { action: "start a thread", error };
        let asked = Arc::new(asked);
        let (to_network, commands) = unbounded_channel();
        let (delivery, threads) = Delivery::start(&to_network).map_err(local)?;
        let notify = Arc::new(Notify::new());
        let quit = Quit { notify: Arc::clone(&notify), stopped: Box::new(stopped) };
        let wake = Arc::clone(&delivery.backlog.less);
        let service = Helper { command, asked: Arc::clone(&asked) };
        let to_scheduler = Arc::clone(&asked);
        let scheduler = Box::new(move || HelperScheduler::new(to_scheduler, delivery));
        let limit = options.channel_limit.clone();
        let network = Network { address, options, service, commands, quit, scheduler, wake };
        let (ready, connected) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("helper-network".to_owned())
            .spawn(move || network.run(&ready))
            .map_err(local)?;
        let mut threads = Vec::from(threads);
        threads.insert(0, thread);
        let source = Self {
            asked,
            commands: Some(to_network),
            numbers: Numbers::default(),
            quit: notify,
            limit,
            threads: Mutex::new(threads),
        };
        match connected.recv() {
            Ok(result) => result.map(|_| source),
            Err(_) => Err(local(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The number of channels that the host was observed to accept.
    #[must_use]
    pub fn channel_limit(&self) -> &ChannelLimit {
        &self.limit
    }

    /// Ends the connection; any thread may call it. Later calls get [`SourceError::Lost`].
    pub fn stop(&self) {
        self.quit.notify_one();
    }

    /// Ends the connection and waits until `ssh` has ended. A sink must not call it.
    pub fn close(&self) {
        self.stop();
        let mut threads = lock(&self.threads);
        let network = (!threads.is_empty()).then(|| threads.remove(0));
        drop(threads);
        let _ = network.map(JoinHandle::join);
    }

    fn send(&self, command: Command) {
        let Some(commands) = &self.commands else { return };
        if let Err(refused) = commands.send(command) {
            // The network thread has ended because it was stopped.
            refused.0.refuse();
        }
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
        path: &Path,
        (number, answer): (u64, PendingAnswer),
    ) -> Result<Root<HelperFolder>, SourceError> {
        let Answer::Root(root) = answer.wait()? else { return Err(gone()) };
        let SentRoot { entry, was_link, file_system } = root?;
        let name = CString::new(entry.name.clone()).map_err(|_| SourceError::Replaced)?;
        let entry = entry.entry(name, |name| self.asked.keeps(name)).map_err(|_| broken())?;
        let is_folder = entry.meta.kind == Kind::Folder;
        // A file root has the name of the entry in its parent folder.
        let named = engine::entry::check_name(entry.name.to_bytes()).is_ok();
        if is_folder == named {
            return Err(broken());
        }
        let commands = self.commands.as_ref().ok_or_else(gone)?.clone();
        let forget: Forget = Arc::new(move |folder| {
            // The network thread may have ended, and the far end with it.
            let _ = commands.send(Command::Forget(folder));
        });
        let folder = FolderHandle::root(number, path.to_owned(), entry.meta.id, forget);
        let folder = Arc::new(HelperFolder(Arc::new(folder)));
        let file_system = file_system.map(|id| said(&id));
        Ok(Root { entry, folder, was_link, file_system })
    }
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

    fn reports(&self, keep: Preserve) -> Preserve {
        keep
    }

    fn clock(&self) -> Option<Time> {
        match self.ask(Query::Clock).wait().ok()? {
            Answer::Clock(time) => time.filter(|time| time.nanos < 1_000_000_000),
            _ => None,
        }
    }

    fn root(&self, path: &Path) -> Result<Root<HelperFolder>, SourceError> {
        self.opened(path, self.ask_for_root(path)?)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<HelperFolder>, SourceError>> {
        let asked: Vec<_> = paths.iter().map(|path| self.ask_for_root(path)).collect();
        paths.iter().zip(asked).map(|(path, asked)| self.opened(path, asked?)).collect()
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
        self.send(Command::List(Arc::clone(&folder.0), sink));
    }

    fn fetch(&self, folder: &Arc<HelperFolder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        self.send(Command::Fetch(Arc::clone(&folder.0), files, sink));
    }
}

impl Drop for HelperSource {
    fn drop(&mut self) {
        self.quit.notify_one();
        self.commands = None;
        let this = std::thread::current().id();
        // If a sink holds the last reference, one of these threads runs this code and must not join itself.
        let threads = unpoisoned(self.threads.get_mut());
        if threads.iter().all(|thread| thread.thread().id() != this) {
            for thread in threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

//! Implements the engine's source interface on an SFTP connection.

pub(crate) mod command;
pub(crate) mod file;
pub(crate) mod handle_limit;
pub(crate) mod listing;
pub(crate) mod location;
pub(crate) mod purpose;
pub(crate) mod query;
pub(crate) mod samples;
pub(crate) mod scheduler;

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use engine::entry::{Entry, Extra, Kind, Meta, Time};
use engine::source::{
    Answers, ConnectionReport, ContentSink, Crossing, ListSink, Root, Transport, Wanted,
};
use engine::{Preserve, Source, SourceError};
use tokio::sync::mpsc::unbounded_channel;

use crate::delivery::Delivery;
use crate::sftp::protocol::attributes::target;
use crate::sftp::protocol::remote_path::{child, is_at};
use crate::sftp::protocol::service::Sftp;
use crate::sftp::read::command::{Command, gone};
use crate::sftp::read::query::{PendingQuery, Query, QueryAnswer};
use crate::sftp::read::samples::{Fetch, sampled};
use crate::sftp::read::scheduler::ReadScheduler;
use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connection::NotOpened;
use crate::ssh::connected::Connected;
use crate::ssh::event_loop::{Network, Quit};
use crate::ssh::options::{ChannelLimit, Options};
use crate::ssh::service::Service;

/// How many folders and files the engine may request at once. Both are somewhat more than the scheduler sends
/// on a long connection, so that it always has something to send.
const FOLDERS: usize = 768;
const FILES: usize = 4096;

/// Maximum length of a path that is sent. A Linux server opens no longer path (path_resolution(7)), and
/// without a limit a server could report nested folders without end.
const PATH_MAX: usize = 4096;

/// Maximum number of symlinks that lead from one to the next (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Folders on a remote host.
pub struct SftpSource {
    connected: Connected<Command>,
}

/// A folder, by its path: SFTP has no folder handles in which something could be opened. The path is a source
/// root with single names appended.
#[derive(Debug)]
pub struct SftpFolder {
    path: Arc<[u8]>,
    /// The real path that the server must report: that of the root, with the same names appended.
    real: Option<Arc<[u8]>>,
}

impl SftpSource {
    /// Connects to a host. `stopped` is polled several times a second; when it returns true, now or later,
    /// the connection ends as with [`SftpSource::stop`].
    ///
    /// # Errors
    /// If no connection can be made, or the host offers no SFTP.
    pub fn connect(
        address: Address,
        options: Options,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let local = |error| ConnectError::Local { action: "start a thread", error };
        let (to_network, commands) = unbounded_channel();
        let (delivery, threads) = Delivery::start(&to_network).map_err(local)?;
        let (wake, under_way) = (Arc::clone(&delivery.backlog.less), options.under_way);
        let scheduler = Box::new(move || ReadScheduler::new(delivery).limited(under_way));
        let quit = Quit::new(stopped);
        let way = address.into();
        let network = Network { way, options, service: Sftp, commands, quit, scheduler, wake };
        let (connected, _) = Connected::start("sftp-network", network, to_network, threads)?;
        Ok(Self { connected })
    }

    /// The number of channels that the host was observed to accept.
    #[must_use]
    pub fn channel_limit(&self) -> &ChannelLimit {
        self.connected.channel_limit()
    }

    /// Ends the connection; any thread may call it. PendingAnswer threads and later calls get
    /// [`SourceError::Lost`].
    pub fn stop(&self) {
        self.connected.stop();
    }

    /// Ends the connection and waits until `ssh` and all threads have ended. A sink must not call it.
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

    /// Sends one query; the caller waits for the answer.
    fn ask(&self, query: Query) -> PendingAnswer {
        let [answer] = self.ask_in_order([query]);
        answer
    }

    /// Sends several queries on one channel; the server answers them in this order.
    fn ask_in_order<const MANY: usize>(&self, queries: [Query; MANY]) -> [PendingAnswer; MANY] {
        let mut asked = Vec::new();
        let waiting = queries.map(|query| {
            let (reply, answer) = sync_channel(1);
            asked.push(PendingQuery { query, reply });
            PendingAnswer(answer)
        });
        self.send(Command::Ask(asked));
        waiting
    }

    fn meta(&self, query: Query) -> Result<Meta, SourceError> {
        self.ask(query).meta()
    }

    fn bytes(&self, query: Query) -> Result<Vec<u8>, SourceError> {
        match self.ask(query).wait()? {
            QueryAnswer::Bytes(bytes) => Ok(bytes),
            _ => Err(gone()),
        }
    }

    /// Adds the target to the `meta` of the entry at `path`, if it is a symlink.
    fn with_target(
        &self,
        path: &[u8],
        mut meta: Meta,
    ) -> Result<(Meta, Option<Box<Extra>>), SourceError> {
        if meta.kind != Kind::Symlink {
            return Ok((meta, None));
        }
        let target = target(&self.bytes(Query::ReadLink(path.to_vec()))?)?;
        meta.size = target.len() as u64;
        Ok((meta, Some(Box::new(Extra { target: Some(target), ..Extra::default() }))))
    }

    /// Sends the queries for the type, file system and real path of a root.
    fn ask_for_root(&self, path: &Path) -> Result<AskedRoot, SourceError> {
        let path = checked(path.as_os_str().as_bytes().to_vec())?;
        let meta = self.ask(Query::LStat(path.clone()));
        let file_system = self.ask(Query::FileSystem(path.clone()));
        let real = self.ask(Query::RealPath(path.clone()));
        Ok(AskedRoot { path, meta, file_system, real })
    }

    /// The folder to which the symlink at `path` leads. REALPATH of some servers only cleans the text (SFTPGo,
    /// paramiko), so the symlink is followed here.
    fn resolved(&self, path: Vec<u8>) -> Result<Vec<u8>, SourceError> {
        let mut path = checked(self.bytes(Query::RealPath(path))?)?;
        for _ in 0..LINKS_MAX {
            let meta = self.meta(Query::LStat(path.clone()))?;
            let (_, Some(extra)) = self.with_target(&path, meta)? else { return Ok(path) };
            let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let next = match extra.target.unwrap_or_default() {
                target if target.starts_with(b"/") => target,
                target => child(&path[..parent], &target),
            };
            path = checked(self.bytes(Query::RealPath(next))?)?;
        }
        let error = std::io::Error::other("too many symlinks; write the path of the folder itself");
        Err(SourceError::Unreadable { action: "open", error })
    }

    fn opened(&self, asked: AskedRoot) -> Result<Root<SftpFolder>, SourceError> {
        let AskedRoot { path, meta, file_system, real } = asked;
        let (meta, extra) = self.with_target(&path, meta.meta()?)?;
        let was_link = meta.kind == Kind::Symlink;
        let leads_to =
            if was_link { self.meta(Query::Stat(path.clone())) } else { Ok(meta.clone()) };
        let leads_to = leads_to.ok();
        if let Some(folder) = leads_to.clone().filter(|found| found.kind == Kind::Folder) {
            let path = if was_link { self.resolved(path)? } else { path };
            let entry = Entry { name: CString::default(), meta: folder, extra: None };
            // A server that does not support REALPATH can still be backed up.
            let real = match real.wait() {
                Ok(QueryAnswer::Bytes(_)) if was_link => Some(path.as_slice().into()),
                Ok(QueryAnswer::Bytes(real)) => checked(real).ok().map(Arc::from),
                _ => None,
            };
            let folder = Arc::new(SftpFolder { path: path.into(), real });
            return Ok(Root { entry, folder, was_link, file_system: file_system.file_system() });
        }
        // A file root is backed up as one entry of its parent folder. For a symlink to a file, OPEN reads the
        // target.
        let file = leads_to.filter(|found| was_link && found.kind == Kind::File);
        let was_link = file.is_some();
        let (meta, extra) = match file {
            Some(file) => (file, None),
            None => (meta, extra),
        };
        let shown = Path::new(std::ffi::OsStr::from_bytes(&path));
        let (Some(parent), Some(name)) = (shown.parent(), shown.file_name()) else {
            return Err(SourceError::Replaced);
        };
        let name = CString::new(name.as_bytes()).map_err(|_| SourceError::Vanished)?;
        let parent = parent.as_os_str().as_bytes();
        let file_system = self.ask(Query::FileSystem(parent.to_vec())).file_system();
        let folder = Arc::new(SftpFolder { path: parent.into(), real: None });
        Ok(Root { entry: Entry { name, meta, extra }, folder, was_link, file_system })
    }
}

/// A pending answer.
struct PendingAnswer(Receiver<Result<QueryAnswer, SourceError>>);

impl PendingAnswer {
    fn wait(self) -> Result<QueryAnswer, SourceError> {
        self.0.recv().unwrap_or_else(|_| Err(gone()))
    }

    fn meta(self) -> Result<Meta, SourceError> {
        match self.wait()? {
            QueryAnswer::Meta(meta) => Ok(meta),
            _ => Err(gone()),
        }
    }

    /// Checks that the folder is at `real`, as reported by the server.
    fn lies_at(self, real: &[u8]) -> Result<(), SourceError> {
        match self.wait() {
            Ok(QueryAnswer::Bytes(reported)) => is_at(&reported, real),
            Err(error @ (SourceError::Lost(_) | SourceError::Vanished)) => Err(error),
            // A server may refuse REALPATH; that proves nothing.
            _ => Ok(()),
        }
    }

    fn file_system(self) -> Option<String> {
        match self.wait().ok()? {
            QueryAnswer::FileSystem(id) => Some(format!("sftp:{id:016x}")),
            _ => None,
        }
    }
}

/// The pending answers for a root. For a symlink, the file system of its target counts.
struct AskedRoot {
    path: Vec<u8>,
    meta: PendingAnswer,
    file_system: PendingAnswer,
    real: PendingAnswer,
}

fn checked(path: Vec<u8>) -> Result<Vec<u8>, SourceError> {
    if path.starts_with(b"/") && path.len() < PATH_MAX && !path.contains(&0) {
        return Ok(path);
    }
    let error = match path.len() < PATH_MAX {
        true => std::io::Error::other("it is no absolute path"),
        false => {
            let why = "its path is longer than 4,095 bytes";
            std::io::Error::new(std::io::ErrorKind::InvalidFilename, why)
        }
    };
    Err(SourceError::Unreadable { action: "open", error })
}

impl Source for SftpSource {
    type Folder = SftpFolder;

    fn answers(&self) -> Answers {
        Answers::Later { folders: FOLDERS, files: FILES }
    }

    fn time_granularity_ns(&self) -> u32 {
        1_000_000_000
    }

    /// SFTP version 3 has no device numbers, inodes, extended attributes or mount points
    /// (draft-ietf-secsh-filexfer-02).
    fn connection(&self) -> Option<ConnectionReport> {
        Some(self.connected.report(Transport::Sftp))
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        Preserve {
            devices: false,
            hard_links: false,
            acls: false,
            xattrs: false,
            one_file_system: false,
            ..keep
        }
    }

    /// SFTP has no request for the server's time, so this reads the modification time of a virtual file in
    /// `/proc`. Linux sets it to the time of the first lookup, which is this one for the folder of a new
    /// server process.
    fn clock(&self) -> Option<Time> {
        self.meta(Query::Stat(b"/proc/self/fdinfo".to_vec())).ok().map(|meta| meta.mtime)
    }

    fn hashes(&self) -> bool {
        false
    }

    fn root(&self, path: &Path) -> Result<Root<SftpFolder>, SourceError> {
        self.opened(self.ask_for_root(path)?)
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<SftpFolder>, SourceError>> {
        let asked: Vec<_> = paths.iter().map(|path| self.ask_for_root(path)).collect();
        asked.into_iter().map(|asked| self.opened(asked?)).collect()
    }

    fn folder(
        &self,
        parent: &SftpFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<SftpFolder, SourceError> {
        // The listing checks whether it is still a folder.
        if listed.kind != Kind::Folder {
            return Err(SourceError::Replaced);
        }
        let path = checked(child(&parent.path, name.to_bytes()))?;
        let real = parent.real.as_ref().map(|real| child(real, name.to_bytes()).into());
        Ok(SftpFolder { path: path.into(), real })
    }

    fn look(&self, folder: &SftpFolder, name: &CStr) -> Result<Entry, SourceError> {
        let path = child(&folder.path, name.to_bytes());
        // LSTAT follows symlinks in the folders above the entry.
        let location = || Query::RealPath(folder.path.to_vec());
        let found = match &folder.real {
            None => self.ask(Query::LStat(path.clone())).meta()?,
            Some(real) => {
                let queries = [location(), Query::LStat(path.clone()), location()];
                let [before, found, after] = self.ask_in_order(queries);
                before.lies_at(real)?;
                after.lies_at(real)?;
                found.meta()?
            }
        };
        let (meta, extra) = self.with_target(&path, found)?;
        Ok(Entry { name: name.to_owned(), meta, extra })
    }

    /// SFTP reports no device numbers, so no folder is reported as a mount point.
    fn crossing(&self, _: &SftpFolder, _: &CStr) -> Crossing {
        Crossing::default()
    }

    fn list(&self, folder: &Arc<SftpFolder>, sink: Box<dyn ListSink>) {
        self.send(Command::List(Arc::clone(&folder.path), folder.real.clone(), sink));
    }

    fn fetch(&self, folder: &Arc<SftpFolder>, files: Vec<Wanted>, sink: Box<dyn ContentSink>) {
        let (path, real) = (Arc::clone(&folder.path), folder.real.clone());
        let again: Fetch = {
            let commands = self.connected.commands().cloned();
            let (path, real) = (Arc::clone(&path), real.clone());
            Arc::new(move |parts, sink| {
                let command = Command::Fetch(Arc::clone(&path), real.clone(), parts, sink);
                let refused = match &commands {
                    Some(commands) => commands.send(command).map_err(|refused| refused.0),
                    None => Err(command),
                };
                refused.unwrap_or_else(Command::refuse);
            })
        };
        let (parts, sink) = sampled(files, sink, again);
        self.send(Command::Fetch(path, real, parts, sink));
    }
}

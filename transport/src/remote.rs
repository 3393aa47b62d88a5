//! Folders on a remote host, read in the best way that the host offers: through this program at the far end, or
//! over SFTP.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::entry::folder_digest::DigestKey;
use engine::entry::{Entry, Meta, Time};
use engine::source::{
    Answers, ConnectionReport, ContentSink, Crossing, Expected, ListSink, Reply, Root, Wanted,
};
use engine::{Preserve, Source, SourceError};

use crate::helper::install::binaries::Binaries;
use crate::helper::install::place::Question;
use crate::helper::install::{HelperPlace, NotInstalled, install};
use crate::helper::read::folder::HelperFolder;
use crate::helper::read::{Asked, HelperSource};
use crate::helper::version::Version;
use crate::sftp::read::{SftpFolder, SftpSource};
use crate::ssh::connect::connection::NotOpened;
use crate::ssh::options::{ChannelLimit, Options};
use crate::ssh::{Address, ConnectError};

/// Which program is started at the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteHelper {
    /// None: the host is read over SFTP.
    Off,
    /// The one that the host has in its `PATH`, or in the folder where this program installs it.
    Auto,
    /// The same. If there is none, or an older one than this program, this program first copies itself to that folder.
    Install,
    /// What [`RemoteHelper::Install`] would use, as far as the host has it: nothing is copied there.
    Present,
    /// What this command line starts; this program appends the command `serve`.
    Command(String),
}

/// What the far end of a source is asked to be.
const SERVE: &str = "serve --read-only";

impl RemoteHelper {
    /// The same helper for a command that writes nothing to the host.
    #[must_use]
    pub fn without_copying(&self) -> Self {
        match self {
            Self::Install => Self::Present,
            other => other.clone(),
        }
    }

    /// The line for the login shell of the user; `None` for [`RemoteHelper::Off`]. Every shell, also csh and fish,
    /// reads a text in single quotes alike. `serve` is the command and its options.
    pub(crate) fn line(&self, serve: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Auto | Self::Install => Some(found(&[], serve)),
            Self::Present => Some(found(&Binaries::find().names().collect::<Vec<_>>(), serve)),
            Self::Command(command) => Some(format!("{command} {serve}")),
        }
    }
}

/// The line that starts one of the copies `names`, the helper in `PATH` or in the folder for helpers, or the last copy
/// in that folder. The shell says that it does not find `backup_manager` where there is none.
pub(crate) fn found(names: &[String], serve: &str) -> String {
    let copies = match names {
        [] => String::new(),
        names => format!(
            "for f in {}; do [ -x \"$d/$f\" ] && exec \"$d/$f\" {serve}; done; ",
            names.join(" ")
        ),
    };
    format!(
        "sh -c 'd=$HOME/.cache/backup_manager; {copies}b=backup_manager; \
         for f in \"$d\"/$b-*; do [ -x \"$f\" ] && c=$f; done; \
         PATH=$PATH:$d; command -v $b >/dev/null || b=${{c:-$b}}; exec \"$b\" {serve}'"
    )
}

/// The reason why a host offers neither a helper, because of `no_helper`, nor SFTP, because of `error`.
pub(crate) fn neither(no_helper: Option<&NoHelper>, error: ConnectError) -> ConnectError {
    match no_helper {
        Some(why) if error.is_about_service() => {
            ConnectError::Neither { no_helper: why.to_string(), no_sftp: Box::new(error) }
        }
        _ => error,
    }
}

/// Why a host starts no helper.
#[derive(Debug, thiserror::Error)]
pub enum NoHelper {
    /// What the host starts does not answer as a helper.
    #[error(transparent)]
    NotStarted(ConnectError),
    /// There is none, and nothing could be copied there.
    #[error(transparent)]
    NotInstalled(NotInstalled),
}

impl NoHelper {
    /// The reason for which the host is reached over SFTP instead.
    ///
    /// # Errors
    /// There is no connection at all.
    pub(crate) fn or_sftp(self) -> Result<Self, ConnectError> {
        match self {
            Self::NotStarted(error) if !error.is_about_service() => Err(error),
            why => Ok(why),
        }
    }
}

/// A connection to the helper of a host to which this program copies itself where that is needed.
pub(crate) enum Installed<T> {
    /// The host had one that is not older than this program.
    Before(T),
    /// This program was copied there, under this name.
    Now(T, String),
    /// The host has an older one, and nothing could be copied there.
    Older(T, NotInstalled),
}

/// Connects through `connect`, which gets the line for the shell, to a helper that is not older than this program; copies
/// this program to the host where there is none. `serve` is the command and its options.
///
/// # Errors
/// See [`NoHelper`].
pub(crate) fn installed<T>(
    (connect, is_older): (impl Fn(String) -> Result<T, ConnectError>, impl Fn(&T) -> bool),
    serve: &str,
    address: &Address,
    options: &Options,
    stopped: impl Fn() -> bool + Send + 'static,
) -> Result<Installed<T>, NoHelper> {
    let binaries = Binaries::find();
    let names: Vec<_> = binaries.names().collect();
    let older = match connect(found(&names, serve)) {
        Ok(connection) if !is_older(&connection) => return Ok(Installed::Before(connection)),
        Ok(connection) => Some(connection),
        Err(error) if error.is_about_service() => None,
        Err(error) => return Err(NoHelper::NotStarted(error)),
    };
    let copied = install(address, &options.compressed_by_ssh(), &binaries, stopped);
    match (copied, older) {
        (Ok(name), older) => {
            drop(older);
            let connection = connect(found(std::slice::from_ref(&name), serve));
            Ok(Installed::Now(connection.map_err(NoHelper::NotStarted)?, name))
        }
        (Err(NotInstalled::Stopped), _) => Err(NoHelper::NotStarted(ConnectError::Stopped)),
        (Err(why), Some(older)) => Ok(Installed::Older(older, why)),
        (Err(why), None) => Err(NoHelper::NotInstalled(why)),
    }
}

/// The source of a host to which this program copies itself, with a note about what was done.
fn noted(installed: Installed<HelperSource>) -> HelperSource {
    let (mut source, note) = match installed {
        Installed::Before(source) => return source,
        Installed::Now(source, name) => {
            (source, format!("backup_manager was copied there: ~/.cache/backup_manager/{name}"))
        }
        Installed::Older(source, why) => {
            (source, format!("its backup_manager is older than this one, and stays: {why}"))
        }
    };
    source.note = Some(note);
    source
}

/// Folders on a remote host.
pub enum RemoteSource {
    /// Through this program at the far end.
    Helper(HelperSource),
    /// Over SFTP; why not through a helper, unless that is not wanted.
    Sftp(SftpSource, Option<NoHelper>),
}

/// A folder on a remote host.
pub enum RemoteFolder {
    /// A folder of [`RemoteSource::Helper`].
    Helper(Arc<HelperFolder>),
    /// A folder of [`RemoteSource::Sftp`].
    Sftp(Arc<SftpFolder>),
}

impl RemoteSource {
    /// Connects to a host and starts the helper there. Without one, the host is read over SFTP. `stopped` is polled
    /// several times a second; when it returns true, the connection ends.
    ///
    /// # Errors
    /// If no connection can be made, or the host offers neither.
    pub fn connect(
        address: &Address,
        options: Options,
        helper: &RemoteHelper,
        asked: Asked,
        stopped: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let mut why_not = None;
        if let Some(line) = helper.line(SERVE) {
            let with = |options, line| {
                let address = address.clone();
                HelperSource::connect(address, options, line, asked.clone(), stopped.clone())
            };
            let connect = |line: String| match with(options.clone(), line.clone())? {
                // A far end of an older version leaves the compression to ssh.
                source if options.compression.level().is_some() && !source.is_compressed => {
                    drop(source);
                    with(options.compressed_by_ssh(), line)
                }
                source => Ok(source),
            };
            let started = match helper {
                RemoteHelper::Install => {
                    let is_older = |source: &HelperSource| source.version() < Version::own();
                    installed((connect, is_older), SERVE, address, &options, stopped.clone())
                        .map(noted)
                }
                _ => connect(line).map_err(NoHelper::NotStarted),
            };
            match started {
                Ok(source) => return Ok(Self::Helper(source)),
                Err(no_helper) => why_not = Some(no_helper.or_sftp()?),
            }
        }
        let options = options.compressed_by_ssh();
        let source = SftpSource::connect(address.clone(), options, stopped);
        let source = source.map_err(|error| neither(why_not.as_ref(), error))?;
        Ok(Self::Sftp(source, why_not))
    }

    /// Why the host is read over SFTP although a helper is wanted.
    #[must_use]
    pub fn no_helper(&self) -> Option<&NoHelper> {
        match self {
            Self::Helper(_) => None,
            Self::Sftp(_, why_not) => why_not.as_ref(),
        }
    }

    /// What the log says of the helper: that it was copied to the host, or why an older one is used.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        match self {
            Self::Helper(source) => source.note.as_deref(),
            Self::Sftp(..) => None,
        }
    }

    /// Asks the shell of the host, on this connection, where the helper is that it starts for [`RemoteHelper::Auto`] or, if
    /// `install`, for [`RemoteHelper::Install`]. `None` if the host accepts no further channel.
    #[must_use]
    pub fn helper_place(&self, install: bool) -> Option<HelperPlace> {
        let question = Question::new(install);
        let answer = match self {
            Self::Helper(source) => source.ask_aside(question),
            Self::Sftp(source, _) => source.ask_aside(question),
        };
        match answer {
            Ok(place) => Some(place.into()),
            Err(NotOpened::Broken) => Some(HelperPlace::Unknown),
            Err(NotOpened::NotKnown | NotOpened::NoWay | NotOpened::Refused) => None,
        }
    }

    /// The number of channels that the host was observed to accept.
    #[must_use]
    pub fn channel_limit(&self) -> &ChannelLimit {
        match self {
            Self::Helper(source) => source.channel_limit(),
            Self::Sftp(source, _) => source.channel_limit(),
        }
    }

    /// Ends the connection; any thread may call it. Later calls get [`SourceError::Lost`].
    pub fn stop(&self) {
        match self {
            Self::Helper(source) => source.stop(),
            Self::Sftp(source, _) => source.stop(),
        }
    }

    /// Ends the connection and waits until `ssh` and all threads have ended. A sink must not call it.
    pub fn close(&self) {
        match self {
            Self::Helper(source) => source.close(),
            Self::Sftp(source, _) => source.close(),
        }
    }
}

fn of_helper(root: Root<HelperFolder>) -> Root<RemoteFolder> {
    let Root { entry, folder, was_link, file_system } = root;
    Root { entry, folder: Arc::new(RemoteFolder::Helper(folder)), was_link, file_system }
}

fn of_sftp(root: Root<SftpFolder>) -> Root<RemoteFolder> {
    let Root { entry, folder, was_link, file_system } = root;
    Root { entry, folder: Arc::new(RemoteFolder::Sftp(folder)), was_link, file_system }
}

/// A folder is only ever passed to the source that made it.
const OTHER: SourceError = SourceError::Replaced;

impl Source for RemoteSource {
    type Folder = RemoteFolder;

    fn answers(&self) -> Answers {
        match self {
            Self::Helper(source) => source.answers(),
            Self::Sftp(source, _) => source.answers(),
        }
    }

    fn time_granularity_ns(&self) -> u32 {
        match self {
            Self::Helper(source) => source.time_granularity_ns(),
            Self::Sftp(source, _) => source.time_granularity_ns(),
        }
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        match self {
            Self::Helper(source) => source.reports(keep),
            Self::Sftp(source, _) => source.reports(keep),
        }
    }

    fn clock(&self) -> Option<Time> {
        match self {
            Self::Helper(source) => source.clock(),
            Self::Sftp(source, _) => source.clock(),
        }
    }

    fn connection(&self) -> Option<ConnectionReport> {
        match self {
            Self::Helper(source) => source.connection(),
            Self::Sftp(source, _) => source.connection(),
        }
    }

    fn hashes(&self) -> bool {
        matches!(self, Self::Helper(_))
    }

    fn root(&self, path: &Path) -> Result<Root<RemoteFolder>, SourceError> {
        match self {
            Self::Helper(source) => source.root(path).map(of_helper),
            Self::Sftp(source, _) => source.root(path).map(of_sftp),
        }
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<RemoteFolder>, SourceError>> {
        match self {
            Self::Helper(source) => {
                source.roots(paths).into_iter().map(|root| root.map(of_helper)).collect()
            }
            Self::Sftp(source, _) => {
                source.roots(paths).into_iter().map(|root| root.map(of_sftp)).collect()
            }
        }
    }

    fn folder(
        &self,
        parent: &RemoteFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<RemoteFolder, SourceError> {
        match (self, parent) {
            (Self::Helper(source), RemoteFolder::Helper(parent)) => {
                source.folder(parent, name, listed).map(Arc::new).map(RemoteFolder::Helper)
            }
            (Self::Sftp(source, _), RemoteFolder::Sftp(parent)) => {
                source.folder(parent, name, listed).map(Arc::new).map(RemoteFolder::Sftp)
            }
            _ => Err(OTHER),
        }
    }

    fn look(&self, folder: &RemoteFolder, name: &CStr) -> Result<Entry, SourceError> {
        match (self, folder) {
            (Self::Helper(source), RemoteFolder::Helper(folder)) => source.look(folder, name),
            (Self::Sftp(source, _), RemoteFolder::Sftp(folder)) => source.look(folder, name),
            _ => Err(OTHER),
        }
    }

    fn crossing(&self, parent: &RemoteFolder, name: &CStr) -> Crossing {
        match (self, parent) {
            (Self::Helper(source), RemoteFolder::Helper(parent)) => source.crossing(parent, name),
            (Self::Sftp(source, _), RemoteFolder::Sftp(parent)) => source.crossing(parent, name),
            _ => Crossing::default(),
        }
    }

    fn list(&self, folder: &Arc<RemoteFolder>, sink: Box<dyn ListSink>) {
        match (self, &**folder) {
            (Self::Helper(source), RemoteFolder::Helper(folder)) => source.list(folder, sink),
            (Self::Sftp(source, _), RemoteFolder::Sftp(folder)) => source.list(folder, sink),
            _ => sink.end(Err(OTHER)),
        }
    }

    fn confirms(&self) -> Option<DigestKey> {
        match self {
            Self::Helper(source) => source.confirms(),
            Self::Sftp(source, _) => source.confirms(),
        }
    }

    fn confirm(
        &self,
        folder: &Arc<RemoteFolder>,
        expected: Expected,
        reply: Arc<Reply>,
        sink: Box<dyn ListSink>,
    ) {
        match (self, &**folder) {
            (Self::Helper(source), RemoteFolder::Helper(folder)) => {
                source.confirm(folder, expected, reply, sink);
            }
            _ => self.list(folder, sink),
        }
    }

    fn fetch(
        &self,
        folder: &Arc<RemoteFolder>,
        files: Vec<Wanted>,
        mut sink: Box<dyn ContentSink>,
    ) {
        match (self, &**folder) {
            (Self::Helper(source), RemoteFolder::Helper(folder)) => {
                source.fetch(folder, files, sink);
            }
            (Self::Sftp(source, _), RemoteFolder::Sftp(folder)) => {
                source.fetch(folder, files, sink)
            }
            _ => {
                (0..files.len()).for_each(|index| sink.file_end(index, Err(OTHER)));
                sink.end();
            }
        }
    }
}

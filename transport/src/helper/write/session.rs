//! The connection of a restore to the far end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use engine::threads::{Permit, lock};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::frame::append;
use crate::helper::protocol::message::Request;
use crate::helper::protocol::write::{WriteAnswer, WriteRequest};
use crate::helper::version::Version;
use crate::helper::write::fault::RequestError;
use crate::helper::write::folder::{FolderHandle, Forget};
use crate::helper::write::request::{Ask, Expected, Part, PendingAnswer, WriteCommand};
use crate::helper::write::scheduler::{RoundTrip, WriteScheduler};
use crate::helper::write::service::WriteHelper;
use crate::ssh::connected::Connected;
use crate::ssh::event_loop::{Network, Quit};
use crate::ssh::options::{ChannelLimit, Options};
use crate::ssh::{Address, ConnectError};

/// A connection to a far end that writes.
pub(crate) struct WriteSession {
    connected: Connected<WriteCommand>,
    commands: UnboundedSender<WriteCommand>,
    round_trip: RoundTrip,
    numbers: AtomicU64,
    /// Whether both ends compress.
    pub(crate) is_compressed: bool,
    /// The version of the far end.
    pub(crate) version: Version,
}

/// The folders that a request uses, what it says, and its content with the memory that this takes.
pub(crate) struct Question<'a> {
    pub(crate) folders: &'a [&'a Arc<FolderHandle>],
    pub(crate) request: &'a WriteRequest<'a>,
    pub(crate) content: &'a [u8],
    pub(crate) room: Option<Permit>,
}

impl<'a> Question<'a> {
    pub(crate) fn new(folders: &'a [&'a Arc<FolderHandle>], request: &'a WriteRequest<'a>) -> Self {
        Self { folders, request, content: &[], room: None }
    }
}

impl WriteSession {
    /// Connects to a host and starts `command` there, a line for the login shell of the user. `stopped` is polled
    /// several times a second; when it returns true, the connection ends.
    ///
    /// # Errors
    /// No connection can be made, or the command starts no far end that writes
    /// ([`ConnectError::is_about_service`]).
    pub(crate) fn connect(
        address: Address,
        options: Options,
        command: String,
        stopped: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let (to_network, commands) = unbounded_channel();
        let round_trip = RoundTrip::default();
        let service = WriteHelper { command, compression: options.compression.level() };
        let shared = Arc::clone(&round_trip);
        let (quit, wake) = (Quit::new(stopped), Arc::new(Notify::new()));
        let scheduler = Box::new(move || WriteScheduler::new(shared));
        let way = address.into();
        let network = Network { way, options, service, commands, quit, scheduler, wake };
        let sender = to_network.clone();
        let (connected, greeting) = Connected::start("helper-network", network, to_network, [])?;
        if !greeting.writes {
            connected.close();
            let said = "backup_manager serve was started with --read-only there".to_owned();
            return Err(ConnectError::CommandFailed { said });
        }
        let is_compressed = greeting.compression.is_some();
        let numbers = AtomicU64::new(1);
        let version = greeting.version;
        Ok(Self { connected, commands: sender, round_trip, numbers, is_compressed, version })
    }

    /// The number of channels that the host was observed to accept.
    pub(crate) fn channel_limit(&self) -> &ChannelLimit {
        self.connected.channel_limit()
    }

    /// The shortest time to an answer.
    pub(crate) fn round_trip(&self) -> Duration {
        lock(&self.round_trip).unwrap_or_default()
    }

    /// A number that nothing else has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the network thread which folders are no longer needed.
    pub(crate) fn forget(&self) -> Forget {
        let commands = self.commands.clone();
        Arc::new(move |folder| {
            // The network thread may have ended, and the far end with it.
            let _ = commands.send(WriteCommand::Forget(folder));
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn send(&self, question: Question<'_>) -> Result<PendingAnswer, RequestError> {
        let Question { folders, request, content, room } = question;
        let expected = Expected::of(request);
        let opens = match request {
            WriteRequest::Target { folder, .. } => Some(*folder),
            _ => None,
        };
        let frame = framed(request, content)?;
        let (reply, events) = channel();
        let id = self.number();
        let folders = folders.iter().map(|folder| Arc::clone(folder)).collect();
        let content = content.len();
        let ask = Ask { id, folders, opens, frame, content, expected, room, reply };
        // If the network thread has ended, the request is dropped, and waiting for it reports the end.
        let _ = self.commands.send(WriteCommand::Ask(Box::new(ask)));
        let commands = self.commands.clone();
        let used = Arc::new(move |channel, bytes| {
            let _ = commands.send(WriteCommand::Used(channel, bytes));
        });
        Ok(PendingAnswer { id, events, used })
    }

    /// Sends a request and waits for its single answer.
    pub(crate) fn ask(&self, question: Question<'_>) -> Result<WriteAnswer, RequestError> {
        self.send(question)?.next()
    }

    /// Sends a part of the large file that the request `file` began, or its end.
    pub(crate) fn part(
        &self,
        file: u64,
        request: &WriteRequest<'_>,
        content: &[u8],
        room: Option<Permit>,
    ) -> Result<(), RequestError> {
        let frame = framed(request, content)?;
        let part = Part { file, frame, content: content.len(), room };
        let _ = self.commands.send(WriteCommand::Part(part));
        Ok(())
    }

    /// Ends a large file that is not wanted any more.
    pub(crate) fn discard(&self, file: u64) {
        let _ = self.commands.send(WriteCommand::Discard(file));
    }

    /// No more answers to a request are wanted.
    pub(crate) fn cancel(&self, id: u64) {
        let _ = self.commands.send(WriteCommand::Cancel(id));
    }

    /// Ends the connection and waits until `ssh` and the network thread have ended.
    pub(crate) fn close(&self) {
        self.connected.close();
    }
}

fn framed(request: &WriteRequest<'_>, content: &[u8]) -> Result<Vec<u8>, RequestError> {
    let mut frame = Vec::with_capacity(content.len() + 256);
    let request = Request::Write(request.clone());
    append(&mut frame, CONNECTION, &request, content).map_err(|_| RequestError::too_long())?;
    Ok(frame)
}

/// The error for an answer of another kind. The scheduler passes none on.
pub(crate) fn unexpected() -> RequestError {
    RequestError::Refused(io::Error::other("an answer to another question"))
}

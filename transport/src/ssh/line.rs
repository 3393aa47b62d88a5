//! What carries the channels: a connection that ssh makes, or a pair of streams that another program gave to this
//! process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connection::{
    Connection, Further, NotConnected, NotOpened, OpenedChannel,
};
use crate::ssh::options::Options;
use crate::ssh::service::Service;

/// The two directions of a channel that is open already.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Where this end writes.
    pub(crate) to: OwnedFd,
    /// Where this end reads.
    pub(crate) from: OwnedFd,
}

/// What the other end of the channels is reached through.
pub(crate) enum Way {
    /// ssh connects to a host, as often as needed.
    Ssh(Address),
    /// One channel is open, and there is no other one after it.
    Streams(Option<Streams>),
}

impl From<Address> for Way {
    fn from(address: Address) -> Self {
        Self::Ssh(address)
    }
}

/// What carries the channels of one connection.
pub(crate) enum Line {
    Ssh(Box<Connection>),
    Streams,
}

impl Way {
    /// Opens the first channel. If the host closes the connection when a second channel is requested, connects again
    /// without further channels.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(crate) async fn open<S: Service>(
        &mut self,
        options: &Options,
        service: &Rc<S>,
    ) -> Result<(Line, OpenedChannel<S::Offers>, Further<S::Offers>), ConnectError> {
        let address = match self {
            Self::Ssh(address) => address,
            Self::Streams(streams) => {
                let channel = match streams.take() {
                    Some(streams) => streams.greet(&**service, options).await?,
                    None => return Err(ConnectError::Closed { said: ENDED.to_owned() }),
                };
                return Ok((Line::Streams, channel, Further::new()));
            }
        };
        let opened = match Connection::open(address, options, service, false).await {
            Ok(opened) => opened,
            Err(NotConnected { error, over_another: false }) => return Err(error),
            Err(NotConnected { over_another: true, .. }) => {
                let opened = Connection::open(address, options, service, true).await;
                let opened = opened.map_err(|failed| failed.error)?;
                options.channel_limit.lower(1);
                opened
            }
        };
        let (connection, channel, further) = opened;
        Ok((Line::Ssh(Box::new(connection)), channel, further))
    }

    /// Whether another connection can be made after one is lost.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self, Self::Ssh(_))
    }
}

/// What is said of streams that have ended.
const ENDED: &str = "the other end closed it";

impl Streams {
    async fn greet<S: Service>(
        self,
        service: &S,
        options: &Options,
    ) -> Result<OpenedChannel<S::Offers>, ConnectError> {
        let local = |error| ConnectError::Local { action: "use the streams", error };
        let from = piped_from(self.from).map_err(local)?;
        let to = piped_to(self.to).map_err(local)?;
        let greeted = OpenedChannel::greet_on(service, (to, from), options.connect_timeout);
        greeted.await.map_err(|said| ConnectError::CommandFailed { said })
    }
}

/// Whether a stream is a pipe. Other programs than OpenSSH's server start a command with sockets.
fn is_pipe(stream: &OwnedFd) -> io::Result<bool> {
    let kind = rustix::fs::fstat(stream.as_fd())?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(kind) == rustix::fs::FileType::Fifo)
}

/// The stream as a pipe to read from: a thread carries the bytes of any other stream.
fn piped_from(stream: OwnedFd) -> io::Result<OwnedFd> {
    if is_pipe(&stream)? {
        return Ok(stream);
    }
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    carry(stream, theirs)?;
    Ok(ours)
}

/// The stream as a pipe to write to.
fn piped_to(stream: OwnedFd) -> io::Result<OwnedFd> {
    if is_pipe(&stream)? {
        return Ok(stream);
    }
    let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    carry(theirs, stream)?;
    Ok(ours)
}

/// Starts a thread that writes what it reads, until either stream ends.
fn carry(from: OwnedFd, to: OwnedFd) -> io::Result<()> {
    let (mut from, mut to) = (File::from(from), File::from(to));
    // Both ends see the end of the streams when this thread drops them. `io::copy` would splice, and a splice that waits for a
    // socket holds the lock of the pipe: its size could not be set (splice(2), fcntl(2)).
    let work = move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("stream".to_owned()).spawn(work).map(drop)
}

impl Line {
    /// Whether the far ends of several channels are known not to disturb each other.
    pub(crate) fn keeps_channels_apart<S: Service>(&self, service: &S, offers: &S::Offers) -> bool {
        match self {
            Self::Ssh(connection) => connection.keeps_channels_apart(service, offers),
            Self::Streams => false,
        }
    }

    /// Number of further channels that are being opened.
    pub(crate) fn asked(&self) -> usize {
        match self {
            Self::Ssh(connection) => connection.asked(),
            Self::Streams => 0,
        }
    }

    /// Starts to open a further channel, if the line carries several.
    pub(crate) fn open_further<S: Service>(
        &self,
        service: &Rc<S>,
        further: &mut Further<S::Offers>,
    ) {
        match self {
            Self::Ssh(connection) => drop(further.spawn_local(connection.channel(service))),
            Self::Streams => drop(further.spawn_local(async { Err(NotOpened::NoWay) })),
        }
    }

    /// What ssh wrote to its error output, to explain the loss of the connection.
    pub(crate) fn last_words(&self) -> Option<String> {
        match self {
            Self::Ssh(connection) => connection.last_words(),
            Self::Streams => None,
        }
    }

    /// Ends the connection.
    pub(crate) async fn close(self) {
        match self {
            Self::Ssh(connection) => connection.close().await,
            Self::Streams => {}
        }
    }
}

//! A connection through the system's `ssh`, and channels to its SFTP subsystem over it.
//!
//! The `ssh` that makes the connection carries the first channel itself, on pipes of this process, and lets
//! others share the connection (`ControlMaster`). It lives no longer than this process: when that is
//! killed, the pipes close, the channels end, and with the last one the connection.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use openssh::Session;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::sftp::channels::{Moment, wanted};
use crate::sftp::options::Options;
use crate::sftp::protocol::framing::Frames;
use crate::sftp::protocol::packet::{Offers, Violation, hello, read_hello};
use crate::sftp::ssh::address::Address;
use crate::sftp::ssh::connect_error::{ConnectError, said};
use crate::sftp::ssh::control_dir::SocketDir;
use crate::sftp::ssh::process::{SAID, command, listen, patience};
use crate::sftp::ssh::software::{
    is_one_process_each, keeps_channels_apart, version, without_versions,
};

/// What pipes to ssh hold, so that a large answer costs few switches between the programs.
const PIPE: usize = 1 << 20;

/// How long ssh gets to end by itself, and after SIGTERM.
const END: Duration = Duration::from_millis(500);

/// How often the state of ssh is checked.
const STEP: Duration = Duration::from_millis(5);

/// A connection to a host.
pub(crate) struct Connection {
    ssh: Child,
    control: SocketDir,
    stderr: Rc<RefCell<Vec<u8>>>,
    listener: JoinHandle<()>,
    /// Further channels that the host is being asked for.
    asked: Rc<Cell<usize>>,
}

/// Counts a channel that is being asked for, while it lives.
struct Asked(Rc<Cell<usize>>);

impl Asked {
    fn new(count: Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A channel to an SFTP server that has greeted.
pub(crate) struct OpenedChannel {
    pub(crate) to: Sender,
    pub(crate) from: Receiver,
    /// The bytes after the greeting.
    pub(crate) frames: Frames,
    pub(crate) offers: Offers,
    /// Ends when the channel does.
    pub(crate) session: Option<openssh::Child<Arc<Session>>>,
}

/// Channels that are being opened, until it is dropped.
pub(crate) type Further = JoinSet<Result<OpenedChannel, NotOpened>>;

/// Why a further channel was not opened.
pub(crate) enum NotOpened {
    /// It is not known yet whether the server supports several channels.
    NotKnown,
    /// There is no way to one: ssh shares no connection.
    NoWay,
    /// The host does not take another one, or the connection is lost.
    Refused,
}

/// Why there is no connection.
pub(crate) struct NotConnected {
    pub(crate) error: ConnectError,
    /// A second channel was requested: some hosts then close the connection.
    pub(crate) over_another: bool,
}

impl Connection {
    /// Connects to `address` and opens a first channel. A second one, when it is wanted and `alone` is not, is
    /// requested as soon as the login is complete: the programs that run at a login take time.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(crate) async fn open(
        address: &Address,
        options: &Options,
        alone: bool,
    ) -> Result<(Self, OpenedChannel, Further), NotConnected> {
        let local = |action| {
            move |error| {
                let error = ConnectError::Local { action, error };
                NotConnected { error, over_another: false }
            }
        };
        let control =
            SocketDir::make(SystemTime::now()).map_err(local("make a folder for ssh's socket"))?;
        let mut ssh = command(address, options, &control).spawn().map_err(local("start ssh"))?;
        let pipes = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take());
        let (Some(to), Some(from), Some(err)) = pipes else {
            return Err(local("talk to ssh")(io::ErrorKind::BrokenPipe.into()));
        };
        let stderr = Rc::new(RefCell::new(Vec::new()));
        let err = Receiver::from_owned_fd(err.into()).map_err(local("talk to ssh"))?;
        let into = Rc::clone(&stderr);
        let listener = tokio::task::spawn_local(async move { listen(err, &into).await });
        let mut connection = Self { ssh, control, stderr, listener, asked: Rc::default() };
        let mut further = Further::new();
        let early = Moment { apart: true, is_far: false, is_early: true };
        if !alone && wanted(options, early) > 1 {
            let known = options.channels_given.is_some();
            further.spawn_local(connection.channel_once_let_in(known));
        }
        let (begin, limit) = (Instant::now(), patience(options));
        let greeted = timeout(limit, OpenedChannel::greet(to.into(), from.into(), None)).await;
        // A host that closes the connection because of it does so before the first channel greets.
        let failed = !matches!(greeted, Ok(Ok(_)));
        let over_another =
            failed && (connection.asked() > 0 || further.try_join_next().is_some_and(was_refused));
        let mut fault = match greeted {
            Ok(Ok(mut channel)) => {
                let said = connection.stderr.borrow().clone();
                let said = String::from_utf8_lossy(&said);
                channel.offers.apart = keeps_channels_apart(version(&said), &channel.offers);
                return Ok((connection, channel, further));
            }
            Ok(Err(fault)) => connection.explain(fault, address, options).await,
            Err(_) => match ConnectError::from_ssh(&connection.words(), address, limit) {
                ConnectError::Ssh { .. } => ConnectError::Timeout(limit),
                fault => fault,
            },
        };
        if let Some(key) = fault.host_key() {
            let left = limit.saturating_sub(begin.elapsed()) / 2;
            key.find(address, options, &connection.control, left).await;
        }
        connection.close().await;
        Err(NotConnected { over_another: over_another && !fault.is_final(), error: fault })
    }

    /// How many further channels the host is being asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.get()
    }

    /// Opens one more channel.
    ///
    /// # Errors
    /// When the host refuses another one (`MaxSessions`), or the connection is lost.
    pub(crate) fn channel(
        &self,
    ) -> impl Future<Output = Result<OpenedChannel, NotOpened>> + 'static {
        let (socket, control) = (self.control.socket(), self.control());
        let asked = Rc::clone(&self.asked);
        async move {
            if !socket.exists() {
                return Err(NotOpened::NoWay);
            }
            let _asked = Asked::new(asked);
            Self::try_channel(control).await.map_err(|_| NotOpened::Refused)
        }
    }

    async fn try_channel(control: Arc<Session>) -> io::Result<OpenedChannel> {
        let mut child = Session::to_subsystem(control, "sftp")
            .stdin(openssh::Stdio::piped())
            .stdout(openssh::Stdio::piped())
            .stderr(openssh::Stdio::null())
            .spawn()
            .await
            .map_err(io::Error::other)?;
        let (Some(to), Some(from)) = (child.stdin().take(), child.stdout().take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (to, from) = (to.into_owned_fd()?, from.into_owned_fd()?);
        OpenedChannel::greet(to, from, Some(child)).await.map_err(|fault| match fault {
            Fault::Io(error) => error,
            Fault::Words(violation, _) => io::Error::other(violation),
        })
    }

    /// Opens one more channel as soon as there is a way to it, if it is `known` that there may be one or
    /// the host's software says so.
    fn channel_once_let_in(
        &self,
        known: bool,
    ) -> impl Future<Output = Result<OpenedChannel, NotOpened>> + 'static {
        let (socket, control) = (self.control.socket(), self.control());
        let (stderr, asked) = (Rc::clone(&self.stderr), Rc::clone(&self.asked));
        async move {
            while !socket.exists() {
                sleep(STEP).await;
            }
            let said = String::from_utf8_lossy(&stderr.borrow()).into_owned();
            if !known && !version(&said).is_some_and(is_one_process_each) {
                return Err(NotOpened::NotKnown);
            }
            let _asked = Asked::new(asked);
            Self::try_channel(control).await.map_err(|_| NotOpened::Refused)
        }
    }

    /// The way to further channels.
    pub(crate) fn control(&self) -> Arc<Session> {
        let socket = self.control.socket().into_boxed_path();
        Arc::new(Session::resume_mux(socket, None))
    }

    /// What ssh has said, but for what it was asked to say of the host's software.
    fn words(&self) -> Vec<u8> {
        without_versions(&String::from_utf8_lossy(&self.stderr.borrow())).into_bytes()
    }

    /// Why the first channel did not open.
    async fn explain(
        &mut self,
        fault: Fault,
        address: &Address,
        options: &Options,
    ) -> ConnectError {
        if let Fault::Words(_, words) = &fault {
            return ConnectError::NoSftp { said: said(&String::from_utf8_lossy(words)) };
        }
        if let Fault::Io(error) = fault
            && error.kind() != io::ErrorKind::UnexpectedEof
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return ConnectError::Local { action: "talk to ssh", error };
        }
        // Its last message arrives before its end.
        self.wait(END).await;
        let _ = timeout(END, &mut self.listener).await;
        let words = self.words();
        match ConnectError::from_ssh(&words, address, patience(options)) {
            // Let in, and then nothing: a forced command, an account without shell.
            ConnectError::Ssh { said } if words.is_empty() => ConnectError::NoSftp { said },
            fault => fault,
        }
    }

    /// Ends the connection. By a signal: nothing is outstanding that the host would have to finish,
    /// and channels that close one after the other take several round trips.
    pub(crate) async fn close(mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.ssh.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        self.wait(END).await;
    }

    /// What ssh said at its end, for the reason of a loss.
    pub(crate) fn last_words(&self) -> Option<String> {
        let words = self.words();
        (!words.is_empty()).then(|| said(&String::from_utf8_lossy(&words)))
    }

    /// Whether ssh ends within `limit`.
    async fn wait(&mut self, limit: Duration) -> bool {
        for _ in 0..limit.as_millis() / STEP.as_millis() {
            if !matches!(self.ssh.try_wait(), Ok(None)) {
                return true;
            }
            sleep(STEP).await;
        }
        false
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener.abort();
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// Whether a channel was asked for and not opened.
fn was_refused(joined: Result<Result<OpenedChannel, NotOpened>, tokio::task::JoinError>) -> bool {
    matches!(joined, Ok(Err(NotOpened::Refused)))
}

/// Why a channel did not greet.
enum Fault {
    Io(io::Error),
    /// It is no SFTP server; what it wrote.
    Words(Violation, Vec<u8>),
}

impl OpenedChannel {
    async fn greet(
        to: OwnedFd,
        from: OwnedFd,
        session: Option<openssh::Child<Arc<Session>>>,
    ) -> Result<Self, Fault> {
        for pipe in [to.as_fd(), from.as_fd()] {
            // Beyond what the system grants a user: the pipe stays as it is.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
        }
        let (to, from) = (
            Sender::from_owned_fd(to).map_err(Fault::Io)?,
            Receiver::from_owned_fd(from).map_err(Fault::Io)?,
        );
        let mut out = Vec::new();
        hello(&mut out);
        loop {
            to.writable().await.map_err(Fault::Io)?;
            match to.try_write(&out) {
                // An empty pipe takes nine bytes at once.
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::Io(error)),
            }
        }
        let mut frames = Frames::new();
        let mut words = Vec::new();
        loop {
            from.readable().await.map_err(Fault::Io)?;
            let count = match from.try_read(frames.room()) {
                Ok(0) => return Err(Fault::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(Fault::Io(error)),
            };
            words.extend(frames.room().iter().take(count.min(SAID.saturating_sub(words.len()))));
            frames.filled(count);
            let greeting = match frames.next() {
                Ok(None) => continue,
                Ok(Some(frame)) => read_hello(frame),
                Err(violation) => Err(violation),
            };
            return match greeting {
                Ok(offers) => Ok(Self { to, from, frames, offers, session }),
                Err(violation) => Err(Fault::Words(violation, words)),
            };
        }
    }
}

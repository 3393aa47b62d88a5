//! Makes a connection with the system's `ssh`, and opens channels to a service of the host on it.
//!
//! The `ssh` process that makes the connection carries the first channel itself, on pipes to this process,
//! and shares the connection (`ControlMaster`). It lives no longer than this process: when this process is
//! killed, the pipes close, the channels end, and after the last channel the connection ends.

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

use crate::compress::Level;
use crate::ssh::channels::{Moment, wanted};
use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connect_error::classify::said;
use crate::ssh::connect::control_dir::SocketDir;
use crate::ssh::connect::host_key::Way;
use crate::ssh::connect::jump::Route;
use crate::ssh::connect::process::{SAID, command, listen, patience};
use crate::ssh::connect::software::{is_one_process_each, version, without_versions};
use crate::ssh::framing::{Frames, Violation};
use crate::ssh::options::{Options, Traffic};
use crate::ssh::service::{GREETING, Service, Start};

/// Capacity of the pipes to ssh, in bytes. A large pipe saves context switches during large answers.
const PIPE: usize = 1 << 20;

/// How long ssh may take to end by itself, and again after SIGTERM.
const END: Duration = Duration::from_millis(500);

/// How long to wait for a greeting that follows a text.
const TEXT: Duration = Duration::from_secs(1);

/// How often the state of ssh is checked.
const STEP: Duration = Duration::from_millis(5);

/// A connection to a host.
pub(crate) struct Connection {
    ssh: Child,
    control: SocketDir,
    route: Route,
    stderr: Rc<RefCell<Vec<u8>>>,
    listener: JoinHandle<()>,
    /// Number of further channels that are being opened.
    asked: Rc<Cell<usize>>,
}

/// Counts a channel that is being opened, until it is dropped.
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

/// A channel whose far end has sent its greeting; `O` is what it offers.
pub(crate) struct OpenedChannel<O> {
    pub(crate) to: Sender,
    pub(crate) from: Receiver,
    /// The bytes received after the greeting.
    pub(crate) frames: Frames,
    pub(crate) offers: O,
    /// How this end compresses.
    pub(crate) compression: Option<Level>,
    /// The process that ends together with the channel.
    pub(crate) session: Option<openssh::Child<Arc<Session>>>,
}

/// Channels that are being opened. Dropping it cancels them.
pub(crate) type Further<O> = JoinSet<Result<OpenedChannel<O>, NotOpened>>;

/// Why a further channel was not opened.
pub(crate) enum NotOpened {
    /// It is not known yet whether the server supports several channels.
    NotKnown,
    /// ssh does not share the connection.
    NoWay,
    /// The far end of it broke the protocol in its greeting.
    Broken,
    /// The host accepts no further channel, or the connection is lost.
    Refused,
}

/// Why connecting failed.
pub(crate) struct NotConnected {
    pub(crate) error: ConnectError,
    /// A second channel was requested: some hosts close the connection on such a request.
    pub(crate) over_another: bool,
}

impl Connection {
    /// Connects to `address` and opens a first channel. Unless `alone` is set, it requests a second channel
    /// as soon as the login is complete, if one is wanted: the programs that the host runs at a login take
    /// time.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(crate) async fn open<S: Service>(
        address: &Address,
        options: &Options,
        service: &Rc<S>,
        alone: bool,
    ) -> Result<(Self, OpenedChannel<S::Offers>, Further<S::Offers>), NotConnected> {
        let local = |action| {
            move |error| {
                let error = ConnectError::Local { action, error };
                NotConnected { error, over_another: false }
            }
        };
        let control =
            SocketDir::make(SystemTime::now()).map_err(local("make a folder for ssh's socket"))?;
        let route = Route::find(address, options, &control).await;
        let route = route.map_err(local("write the commands for the jump hosts"))?;
        let (hosts, proxy) = (&route.settings.known_hosts, route.proxy.as_ref());
        let start = service.start();
        let ssh = command(address, options, &control, hosts, proxy, start).spawn();
        let mut ssh = ssh.map_err(local("start ssh"))?;
        let pipes = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take());
        let (Some(to), Some(from), Some(err)) = pipes else {
            return Err(local("talk to ssh")(io::ErrorKind::BrokenPipe.into()));
        };
        let stderr = Rc::new(RefCell::new(Vec::new()));
        let err = Receiver::from_owned_fd(err.into()).map_err(local("talk to ssh"))?;
        let into = Rc::clone(&stderr);
        let listener = tokio::task::spawn_local(async move { listen(err, &into).await });
        let mut connection = Self { ssh, control, route, stderr, listener, asked: Rc::default() };
        let mut further = Further::new();
        let early = Moment { apart: true, is_far: false, is_early: true };
        if !alone && wanted(options, early) > 1 {
            let known = options.channels_given.is_some();
            further.spawn_local(connection.channel_once_let_in(service, known));
        }
        let (begin, limit) = (Instant::now(), patience(options));
        let greeted = OpenedChannel::greet(&**service, to.into(), from.into(), None);
        let greeted = timeout(limit, greeted).await;
        // A host that closes the connection because of the second channel does so before the first one
        // greets.
        let failed = !matches!(greeted, Ok(Ok(_) | Err(Fault::Words(..))));
        let over_another =
            failed && (connection.asked() > 0 || further.try_join_next().is_some_and(was_refused));
        let fault = match greeted {
            Ok(Ok(channel)) => return Ok((connection, channel, further)),
            Ok(Err(fault)) => connection.explain::<S>(fault, address, options, start).await,
            Err(_) => match ConnectError::from_ssh(&connection.words(), address, limit) {
                ConnectError::Ssh { .. } if start.is_command() && connection.is_let_in() => {
                    let said = format!("no answer within {} seconds", limit.as_secs());
                    ConnectError::CommandFailed { said }
                }
                ConnectError::Ssh { .. } => ConnectError::Timeout(limit),
                fault => fault,
            },
        };
        let fault = connection.at_a_jump_host(fault, address, options, limit, begin).await;
        connection.close().await;
        let is_settled = fault.is_final() || matches!(fault, ConnectError::CommandFailed { .. });
        Err(NotConnected { over_another: over_another && !is_settled, error: fault })
    }

    /// Whether ssh shares the connection, which it does after the login.
    fn is_let_in(&self) -> bool {
        self.control.socket().exists()
    }

    /// Whether the far ends of several channels are known not to disturb each other.
    pub(crate) fn keeps_channels_apart<S: Service>(&self, service: &S, offers: &S::Offers) -> bool {
        let said = String::from_utf8_lossy(&self.stderr.borrow()).into_owned();
        service.keeps_channels_apart(version(&said), offers)
    }

    /// Number of further channels that are being opened.
    pub(crate) fn asked(&self) -> usize {
        self.asked.get()
    }

    /// Opens a further channel.
    ///
    /// # Errors
    /// If the host refuses another channel (`MaxSessions`), or the connection is lost.
    pub(crate) fn channel<S: Service>(
        &self,
        service: &Rc<S>,
    ) -> impl Future<Output = Result<OpenedChannel<S::Offers>, NotOpened>> + use<S> {
        let (socket, control) = (self.control.socket(), self.control());
        let (service, asked) = (Rc::clone(service), Rc::clone(&self.asked));
        async move {
            if !socket.exists() {
                return Err(NotOpened::NoWay);
            }
            let _asked = Asked::new(asked);
            Self::try_channel(&*service, control).await.map_err(NotOpened::from)
        }
    }

    async fn try_channel<S: Service>(
        service: &S,
        control: Arc<Session>,
    ) -> Result<OpenedChannel<S::Offers>, Fault> {
        let mut child = match service.start() {
            Start::Subsystem(name) => Session::to_subsystem(control, name),
            Start::Command(line) => Session::to_raw_command(control, line),
        };
        let mut child = child
            .stdin(openssh::Stdio::piped())
            .stdout(openssh::Stdio::piped())
            .stderr(openssh::Stdio::null())
            .spawn()
            .await
            .map_err(|error| Fault::Io(io::Error::other(error)))?;
        let (Some(to), Some(from)) = (child.stdin().take(), child.stdout().take()) else {
            return Err(Fault::Io(io::ErrorKind::BrokenPipe.into()));
        };
        let to = to.into_owned_fd().map_err(Fault::Io)?;
        let from = from.into_owned_fd().map_err(Fault::Io)?;
        OpenedChannel::greet(service, to, from, Some(child)).await
    }

    /// Opens a further channel as soon as ssh shares the connection, if several channels are `known` to be
    /// allowed, or the host's software indicates it. Each command of a user is a process of its own.
    fn channel_once_let_in<S: Service>(
        &self,
        service: &Rc<S>,
        known: bool,
    ) -> impl Future<Output = Result<OpenedChannel<S::Offers>, NotOpened>> + use<S> {
        let (socket, control) = (self.control.socket(), self.control());
        let (service, stderr) = (Rc::clone(service), Rc::clone(&self.stderr));
        let (asked, known) = (Rc::clone(&self.asked), known || service.start().is_command());
        async move {
            while !socket.exists() {
                sleep(STEP).await;
            }
            let said = String::from_utf8_lossy(&stderr.borrow()).into_owned();
            if !known && !version(&said).is_some_and(is_one_process_each) {
                return Err(NotOpened::NotKnown);
            }
            let _asked = Asked::new(asked);
            Self::try_channel(&*service, control).await.map_err(NotOpened::from)
        }
    }

    /// The session that opens further channels.
    pub(crate) fn control(&self) -> Arc<Session> {
        let socket = self.control.socket().into_boxed_path();
        Arc::new(Session::resume_mux(socket, None))
    }

    /// ssh's error output, without the version messages that this program requested.
    fn words(&self) -> Vec<u8> {
        without_versions(&String::from_utf8_lossy(&self.stderr.borrow())).into_bytes()
    }

    /// Names the jump host if that one is the cause, and fetches the host key if that is the cause.
    async fn at_a_jump_host(
        &self,
        fault: ConnectError,
        address: &Address,
        options: &Options,
        limit: Duration,
        begin: Instant,
    ) -> ConnectError {
        let route = &self.route;
        let args = &options.args[..];
        let proxy = route.proxy.as_ref();
        let target = Way { address, args, proxy, settings: &route.settings };
        let (way, mut fault) = match route.fault(options) {
            Some((number, fault)) => {
                let hop = &route.hops[number];
                let (address, proxy) = (&hop.address, hop.proxy.as_ref());
                (Way { address, args: &[], proxy, settings: &hop.settings }, fault)
            }
            None => (target, fault.or_unusable_key(&route.settings)),
        };
        if let Some(key) = fault.host_key() {
            let left = limit.saturating_sub(begin.elapsed()) / 2;
            key.find(way, options, &self.control, left).await;
        }
        fault
    }

    /// Finds out why the first channel did not open.
    async fn explain<S: Service>(
        &mut self,
        fault: Fault,
        address: &Address,
        options: &Options,
        start: Start<'_>,
    ) -> ConnectError {
        if let Fault::Words(mut words, Violation(violation)) = fault {
            self.wait(END).await;
            if words.windows(GREETING).next().is_some_and(S::begins_greeting) && start.is_command()
            {
                return ConnectError::CommandFailed { said: violation.to_owned() };
            }
            if start.is_command() && self.status().is_some() {
                let _ = timeout(END, &mut self.listener).await;
                words.extend(self.words().iter().copied());
            }
            return ConnectError::from_text(&words, self.status(), start, S::begins_greeting);
        }
        if let Fault::Io(error) = fault
            && error.kind() != io::ErrorKind::UnexpectedEof
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return ConnectError::Local { action: "talk to ssh", error };
        }
        // ssh writes its last message before it exits.
        self.wait(END).await;
        let _ = timeout(END, &mut self.listener).await;
        let words = self.words();
        ConnectError::from_end(&words, self.status(), (address, start), patience(options))
    }

    /// The exit status of ssh, if it has ended by itself.
    fn status(&mut self) -> Option<i32> {
        self.ssh.try_wait().ok().flatten()?.code()
    }

    /// Ends the connection with SIGTERM. No request is outstanding that the host would have to finish, and
    /// closing the channels one after the other would take several round trips.
    pub(crate) async fn close(mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.ssh.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        self.wait(END).await;
    }

    /// What ssh wrote to its error output, to explain the loss of the connection.
    pub(crate) fn last_words(&self) -> Option<String> {
        let words = self.words();
        let own = (!words.is_empty()).then(|| said(&String::from_utf8_lossy(&words)));
        let at_jump = || self.route.fault(&Options::default()).map(|(_, fault)| fault.to_string());
        own.or_else(at_jump)
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

/// Reads what follows a text that is no greeting, until the channel is closed.
async fn read_on(from: &Receiver, words: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while words.len() < SAID && from.readable().await.is_ok() {
        match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => words.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

impl From<Fault> for NotOpened {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(_) => Self::Refused,
            Fault::Words(..) => Self::Broken,
        }
    }
}

/// Whether a channel was requested and refused.
pub(crate) fn was_refused<O>(
    joined: Result<Result<OpenedChannel<O>, NotOpened>, tokio::task::JoinError>,
) -> bool {
    matches!(joined, Ok(Err(NotOpened::Refused)))
}

/// Why a channel sent no greeting.
enum Fault {
    Io(io::Error),
    /// The far end does not greet as the service does: the bytes that it wrote, and what is wrong with them.
    Words(Vec<u8>, Violation),
}

impl<O> OpenedChannel<O> {
    /// Counts from now on the bytes on the channel.
    pub(crate) fn counted(mut self, traffic: &Traffic) -> Self {
        self.frames.count(traffic.clone());
        self
    }

    /// Greets on a channel that another program opened.
    ///
    /// # Errors
    /// What is wrong with it, for a message.
    pub(crate) async fn greet_on(
        service: &impl Service<Offers = O>,
        (to, from): (OwnedFd, OwnedFd),
        limit: Duration,
    ) -> Result<Self, String> {
        match timeout(limit, Self::greet(service, to, from, None)).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(Fault::Io(error))) => Err(error.to_string()),
            Ok(Err(Fault::Words(_, Violation(what)))) => Err(what.to_owned()),
            Err(_) => Err(format!("no greeting within {} seconds", limit.as_secs())),
        }
    }

    async fn greet(
        service: &impl Service<Offers = O>,
        to: OwnedFd,
        from: OwnedFd,
        session: Option<openssh::Child<Arc<Session>>>,
    ) -> Result<Self, Fault> {
        for pipe in [to.as_fd(), from.as_fd()] {
            // If the size exceeds the user's limit, the pipe keeps its size.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
        }
        let (to, from) = (
            Sender::from_owned_fd(to).map_err(Fault::Io)?,
            Receiver::from_owned_fd(from).map_err(Fault::Io)?,
        );
        let mut out = Vec::new();
        service.hello(&mut out);
        let mut sent = 0;
        while sent < out.len() {
            to.writable().await.map_err(Fault::Io)?;
            match to.try_write(&out[sent..]) {
                Ok(count) => sent += count,
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
                Ok(Some(frame)) => service.read_hello(frame),
                Err(violation) => Err(violation),
            };
            return match greeting {
                Ok(offers) => {
                    let compression = service.compression(&offers);
                    if compression.is_some() {
                        frames.decompress();
                    }
                    Ok(Self { to, from, frames, offers, compression, session })
                }
                Err(violation) => {
                    let _ = timeout(TEXT, read_on(&from, &mut words)).await;
                    Err(Fault::Words(words, violation))
                }
            };
        }
    }
}

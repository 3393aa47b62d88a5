//! Runs the script on the host, over an ssh connection of its own, and sends the program.

use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::timeout;

use crate::helper::install::binaries::{Binaries, Binary};
use crate::helper::install::names::{is_superfluous, temporary_name};
use crate::helper::install::not_installed::NotInstalled;
use crate::helper::install::script::{HELLO, MESSAGE, Said, line, order};
use crate::helper::version::Version;
use crate::ssh::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::connect_error::classify::said;
use crate::ssh::connect::connection::{Connection, OpenedChannel};
use crate::ssh::event_loop::Quit;
use crate::ssh::framing::{Frames, Violation};
use crate::ssh::options::Options;
use crate::ssh::service::{Service, Start};

/// The most files in the folder that are looked at.
const FILES: usize = 1000;

/// How long the host may take to store and start what was sent: the line may still hold megabytes of it.
const STORED: Duration = Duration::from_secs(300);

/// The bytes that are read and sent at a time.
const PIECE: usize = 64 * 1024;

/// The script as a service.
struct Installer(String);

/// The script has begun. What it says first is read again as the first message.
#[derive(Debug, Clone, Copy)]
struct Begun([u8; MESSAGE]);

impl Service for Installer {
    const PROTOCOL: &'static str = "installation";

    type Offers = Begun;

    fn start(&self) -> Start<'_> {
        Start::Command(&self.0)
    }

    fn hello(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(HELLO);
    }

    fn read_hello(&self, frame: &[u8]) -> Result<Begun, Violation> {
        match (Said::read(frame)?, frame.try_into()) {
            (Said::Hello(_), Ok(frame)) => Ok(Begun(frame)),
            _ => Err(Violation("it is no script of this program")),
        }
    }

    fn begins_greeting(bytes: &[u8]) -> bool {
        matches!(bytes, [0, 0, 1, 0, b'h', b'e', b'l', b'l', b'o'])
    }

    fn keeps_channels_apart(&self, _: Option<&str>, _: &Begun) -> bool {
        false
    }
}

/// See [`super::install`].
pub(crate) async fn converse(
    address: &Address,
    options: &Options,
    binaries: &Binaries,
    stopped: impl Fn() -> bool + Send + 'static,
) -> Result<String, NotInstalled> {
    let quit = Quit::new(stopped);
    tokio::select! {
        done = copy(address, options, binaries) => done,
        () = quit.wanted() => Err(NotInstalled::Stopped),
    }
}

async fn copy(
    address: &Address,
    options: &Options,
    binaries: &Binaries,
) -> Result<String, NotInstalled> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let service = Rc::new(Installer(line(&temporary_name(now, random()))));
    let opened = Connection::open(address, options, &service, true).await;
    let (connection, channel, _) = opened.map_err(|failed| match failed.error {
        ConnectError::Stopped => NotInstalled::Stopped,
        error => NotInstalled::NoShell(error),
    })?;
    let OpenedChannel { to, from, frames, offers, .. } = channel;
    let patience = options.answer_timeout;
    let mut session = Session { hello: offers, to: Some(to), from, frames, patience };
    let copied = session.copy(binaries, now).await;
    connection.close().await;
    copied
}

/// A number that another run does not have at the same time.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds each of these from the system's random numbers.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// The far end ended the conversation, or it is not the script.
fn interrupted(error: impl std::fmt::Display) -> NotInstalled {
    NotInstalled::Interrupted(said(&error.to_string()))
}

/// The open channel to the script.
struct Session {
    hello: Begun,
    /// Dropped after the last byte.
    to: Option<Sender>,
    from: Receiver,
    frames: Frames,
    /// The longest time without progress.
    patience: Duration,
}

impl Session {
    async fn copy(&mut self, binaries: &Binaries, now: u64) -> Result<String, NotInstalled> {
        let Ok(Said::Hello(system)) = Said::read(&self.hello.0) else {
            return Err(interrupted("it does not greet"));
        };
        let survey = timeout(self.patience, self.survey()).await;
        let (found, free) = survey.map_err(|_| interrupted("the host does not answer"))??;
        let binary = binaries.fit(&system).ok_or_else(|| NotInstalled::NoBinary(said(&system)))?;
        let name = binary.file_name();
        let is_superfluous = |file: &String| is_superfluous(file, &name, Version::own(), now);
        let superfluous: Vec<_> = found.into_iter().filter(is_superfluous).collect();
        self.send(order(&name, &binary.hash, &superfluous).as_bytes()).await?;
        match self.next(self.patience).await? {
            Said::Done => return Ok(name),
            Said::Send => {}
            other => return Err(failure(other, binary.is_static)),
        }
        let needed = binary.size.div_ceil(1024);
        if free < needed {
            return Err(NotInstalled::Full { free, needed });
        }
        // The host may have said why it reads no further.
        let sent = self.send_program(binary).await;
        self.to = None;
        match (self.next(STORED).await, sent) {
            (Ok(Said::Done), Ok(())) => Ok(name),
            (Ok(Said::Done), Err(error)) | (Err(_), Err(error)) => Err(error),
            (Ok(other), _) => Err(failure(other, binary.is_static)),
            (Err(error), Ok(())) => Err(error),
        }
    }

    /// The files in the folder, and the free KiB.
    async fn survey(&mut self) -> Result<(Vec<String>, u64), NotInstalled> {
        let (mut found, mut free) = (Vec::new(), u64::MAX);
        loop {
            match self.next(self.patience).await? {
                Said::File(name) if found.len() < FILES => found.push(name),
                Said::File(_) => {
                    return Err(interrupted("too many files in ~/.cache/backup_manager"));
                }
                Said::Free(kib) => free = kib,
                Said::Ready => return Ok((found, free)),
                other => return Err(failure(other, true)),
            }
        }
    }

    async fn send_program(&mut self, binary: &Binary) -> Result<(), NotInstalled> {
        let unreadable = |error: io::Error| {
            NotInstalled::Unreadable(format!("{}: {error}", binary.path.display()))
        };
        let mut file = File::open(&binary.path).map_err(unreadable)?.take(binary.size);
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).map_err(unreadable)? {
                0 => return Ok(()),
                count => self.send(&piece[..count]).await?,
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), NotInstalled> {
        let mut sent = 0;
        while sent < bytes.len() {
            let Some(to) = &self.to else { return Err(interrupted("it ended")) };
            match timeout(self.patience, to.writable()).await {
                Err(_) => return Err(interrupted("the host takes no more of it")),
                Ok(ready) => ready.map_err(interrupted)?,
            }
            match to.try_write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(interrupted(error)),
            }
        }
        Ok(())
    }

    /// The next message.
    async fn next(&mut self, patience: Duration) -> Result<Said, NotInstalled> {
        let Self { frames, from, .. } = self;
        loop {
            if let Some(frame) = frames.next().map_err(interrupted)? {
                return Said::read(frame).map_err(interrupted);
            }
            match timeout(patience, from.readable()).await {
                Err(_) => return Err(interrupted("the host does not answer")),
                Ok(ready) => ready.map_err(interrupted)?,
            }
            match from.try_read(frames.room()) {
                Ok(0) => return Err(interrupted("the connection ended")),
                Ok(count) => frames.filled(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(interrupted(error)),
            }
        }
    }
}

/// What a message of the script means that ends the conversation.
fn failure(message: Said, is_static: bool) -> NotInstalled {
    match message {
        Said::NoHome(why) => NotInstalled::NoHome(said(&why)),
        Said::Link(path) => NotInstalled::Link(said(&path)),
        Said::Unwritable(why) => NotInstalled::Unwritable(said(&why)),
        Said::NoExec(why) => NotInstalled::NoExec(said(&why)),
        Said::WrongAnswer(why) => NotInstalled::WrongAnswer { said: said(&why), is_static },
        _ => interrupted("the host said something else than was asked"),
    }
}

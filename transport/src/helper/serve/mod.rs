//! Answers the requests of the other end from local folders, until the connection ends.

pub(crate) mod confine;
pub(crate) mod folders;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod place;
pub(crate) mod read;
pub(crate) mod requests;
pub(crate) mod runner;
pub(crate) mod send;
pub(crate) mod served;
pub(crate) mod snapshots;
#[cfg(test)]
mod tests;
pub(crate) mod workers;
pub(crate) mod write;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use engine::fs::XattrSelection;

use crate::compress::Level;
use crate::compress::compressor::Compressed;
use crate::compress::pieces::Decompressed;
use crate::helper::protocol::features::{
    COMPRESSES, COPIES, HASHES, ONLY_ADDS, RECEIVES, WRITES, asked,
};
use crate::helper::protocol::frame::{NotUnderstood, append, read};
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::{CONNECTION, FRAME_MAX, PREAMBLE, PROTOCOL};
use crate::helper::serve::confine::Roots;
use crate::helper::serve::folders::Violation;
use crate::helper::serve::requests::Requests;
use crate::helper::serve::send::sinks::Line;
use crate::helper::serve::served::Served;
use crate::helper::serve::snapshots::{Copies, Offer};
use crate::helper::serve::write::Writer;
use crate::local::{Follow, LocalSource};

/// What the far end may do.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// The folders that the near end may use; empty: all that the user may use.
    pub roots: Vec<PathBuf>,
    /// Whether the near end may write: to restore, and to send snapshots.
    pub writes: bool,
    /// Whether it may only send snapshots. Nothing in the roots is then read, changed or removed for it.
    pub only_adds: bool,
    /// Where the version of this program shows.
    pub version: String,
}

/// Why the far end ended before the connection did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The command line names a folder that cannot be served.
    #[error("{0}")]
    Root(io::Error),
    /// The kernel has Landlock and refuses to confine this process.
    #[error(
        "the kernel does not confine this process to the roots: {0}; start it without a filter of system calls that refuses landlock_restrict_self(2)"
    )]
    Confine(String),
    /// The system starts no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The bytes on the standard input are no requests of this protocol.
    #[error("{0}; only another backup_manager talks to this command, over ssh")]
    Protocol(String),
    /// The pipe from the near end broke.
    #[error("cannot read the requests: {0}")]
    Read(io::Error),
    /// The pipe to the near end broke.
    #[error("cannot answer: {0}")]
    Write(io::Error),
}

impl From<NotUnderstood> for ServeError {
    fn from(error: NotUnderstood) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<Violation> for ServeError {
    fn from(error: Violation) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Answers a near end that has no snapshots to send.
#[cfg(test)]
fn answer(
    options: &ServeOptions,
    roots: Roots,
    mut input: impl Read,
    output: impl Write + Send + 'static,
    broken: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    match greeted(&mut input)? {
        Some(hello) => answer_greeted(options, roots, hello, input, output, broken),
        None => Ok(()),
    }
}

/// Answers what the other end asks of the snapshots that this end has offered to it, until `input` ends. It was greeted with
/// [`offer_greeting`].
///
/// # Errors
/// See [`ServeError`].
pub(crate) fn answer_offer(
    offer: Offer,
    level: Option<Level>,
    mut input: impl Read,
    output: impl Write + Send + 'static,
) -> Result<(), ServeError> {
    let Some(hello) = greeted(&mut input)? else { return Ok(()) };
    if asked(hello.features).is_some() != level.is_some() {
        return Err(ServeError::Protocol("another compression than was offered".to_owned()));
    }
    let access = Access { roots: Roots::default(), copies: Copies::Offered(offer) };
    let greeting = Greeting { sent: Vec::new(), compression: level };
    answer_with((&ServeOptions::default(), access), (hello, greeting), input, output, || {})
}

/// The greeting of an end that has offered snapshots, which compresses by `level`.
pub(crate) fn offer_greeting(level: Option<Level>) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    greeting(&ServeOptions { version, ..ServeOptions::default() }, level.is_some())
}

/// How this end greets.
struct Greeting {
    /// What it sends.
    sent: Vec<u8>,
    compression: Option<Level>,
}

/// Reads how the other end greets. `None`: it ended before.
pub(crate) fn greeted(input: &mut impl Read) -> Result<Option<Hello>, ServeError> {
    let mut preamble = [0; PREAMBLE.len()];
    if !fill(input, &mut preamble)? {
        return Ok(None);
    }
    if preamble != *PREAMBLE {
        return Err(ServeError::Protocol("these are no requests".to_owned()));
    }
    let mut frame = Vec::new();
    if !next(input, &mut frame)? {
        return Ok(None);
    }
    match read(&frame)? {
        (CONNECTION, Request::Hello(hello), []) => Ok(Some(hello)),
        _ => Err(ServeError::Protocol("the first message is no greeting".to_owned())),
    }
}

/// Answers the near end that sent this greeting, until `input` ends. Calls `broken` on another thread when `output` breaks;
/// the call itself still waits for `input` then.
///
/// # Errors
/// See [`ServeError`].
pub(crate) fn answer_greeted(
    options: &ServeOptions,
    roots: Roots,
    hello: Hello,
    input: impl Read,
    output: impl Write + Send + 'static,
    broken: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    let copies = if options.only_adds { Copies::None } else { Copies::OfRoots };
    let compression = asked(hello.features);
    let greeting = Greeting { sent: greeting(options, compression.is_some()), compression };
    answer_with((options, Access { roots, copies }), (hello, greeting), input, output, broken)
}

/// What the other end may read.
struct Access {
    roots: Roots,
    copies: Copies,
}

fn answer_with(
    (options, Access { roots, copies }): (&ServeOptions, Access),
    (hello, greeting): (Hello, Greeting),
    input: impl Read,
    mut output: impl Write + Send + 'static,
    broken: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    let mut frame = Vec::new();
    let line = Arc::new(Line::default());
    let writer = std::thread::Builder::new().name("answers".to_owned());
    let to_write = Arc::clone(&line);
    let restoring = (options.writes && !options.only_adds)
        .then(|| Writer::new(roots.clone(), Arc::clone(&line)));
    let tasks = restoring.as_ref().map(Writer::tasks);
    let Greeting { sent, compression } = greeting;
    // Before any request is read: the greeting shows the other end why this one ends with an error after it.
    let greeted = output.write_all(&sent).and_then(|()| output.flush());
    let writer = writer.spawn(move || {
        let outbox = &to_write.outbox;
        let written = greeted.and_then(|()| match compression {
            Some(level) => outbox.write_to(&mut Compressed::new(output, level)),
            None => outbox.write_to(&mut output),
        });
        to_write.end();
        if written.is_err() {
            // What is being written is finished or removed first.
            tasks.iter().for_each(|tasks| tasks.end());
            broken();
        }
    });
    writer.map_err(ServeError::Thread)?;
    let (oldest, newest) = hello.protocols;
    let source = Served::new(source(hello));
    let mut requests = Requests::new(source, roots, Arc::clone(&line), restoring, copies)
        .map_err(ServeError::Thread)?;
    let mut result = Ok(());
    let mut input: Box<dyn Read + '_> = match compression {
        Some(_) => Box::new(Decompressed::new(input)),
        None => Box::new(input),
    };
    // A near end that does not speak this protocol reads the greeting and closes the connection.
    let spoken = (oldest..=newest).contains(&PROTOCOL);
    while result.is_ok() {
        match next(&mut input, &mut frame) {
            Ok(true) if spoken => result = take(&mut requests, &frame),
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => result = Err(error),
        }
    }
    line.end();
    requests.end();
    result
}

/// The frame that greets the near end.
pub(crate) fn greeting(options: &ServeOptions, compresses: bool) -> Vec<u8> {
    let features = match (options.writes, options.only_adds) {
        (true, true) => RECEIVES | ONLY_ADDS,
        (true, false) => HASHES | COPIES | WRITES | RECEIVES,
        (false, _) => HASHES | COPIES,
    };
    let features = features | if compresses { COMPRESSES } else { 0 };
    let greeting = Answer::Hello { protocol: PROTOCOL, features, version: options.version.clone() };
    let mut frame = Vec::new();
    // A version is shorter than a frame.
    let _ = append(&mut frame, CONNECTION, &greeting, &[]);
    frame
}

fn take(requests: &mut Requests, frame: &[u8]) -> Result<(), ServeError> {
    let (number, request, content) = read(frame)?;
    Ok(requests.take(number, request, content, frame.len() - content.len())?)
}

/// The local folders as the near end wants to see them.
fn source(hello: Hello) -> LocalSource {
    use std::os::unix::ffi::OsStringExt;
    let (all, unsafe_ones, folders) = hello.follow;
    let depths = hello.depths.into_iter().map(|(path, depth)| {
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        (path, usize::try_from(depth).unwrap_or(usize::MAX))
    });
    LocalSource::new(XattrSelection { acls: hello.acls, xattrs: hello.xattrs })
        .following_at(Follow { all, unsafe_ones, folders }, depths.collect())
}

/// Reads the next frame into `frame`. `false`: the connection ended between two frames.
pub(crate) fn next(input: &mut impl Read, frame: &mut Vec<u8>) -> Result<bool, ServeError> {
    let mut length = [0; 4];
    if !fill(input, &mut length)? {
        return Ok(false);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(5..=FRAME_MAX).contains(&length) {
        return Err(ServeError::Protocol("a message is too short or too long".to_owned()));
    }
    frame.resize(length, 0);
    match fill(input, frame)? {
        true => Ok(true),
        false => Err(ServeError::Read(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Fills `buffer`. `false`: the input ended before its first byte.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<bool, ServeError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(ServeError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(ServeError::Protocol(error.to_string()));
            }
            Err(error) => return Err(ServeError::Read(error)),
        }
    }
    Ok(true)
}

//! The far end: answers the requests of one near end from local folders, until the connection ends.

pub(crate) mod confine;
pub(crate) mod confirm;
pub(crate) mod credit;
pub(crate) mod delta;
pub(crate) mod folders;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod hash;
pub(crate) mod outbox;
pub(crate) mod range;
pub(crate) mod requests;
pub(crate) mod runner;
pub(crate) mod sinks;
#[cfg(test)]
mod tests;
pub(crate) mod workers;
pub(crate) mod write;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use engine::fs::XattrSelection;

use crate::compress::compressor::Compressed;
use crate::compress::pieces::Decompressed;
use crate::helper::protocol::features::{COMPRESSES, HASHES, WRITES, asked};
use crate::helper::protocol::frame::{NotUnderstood, append, read};
use crate::helper::protocol::message::{Answer, Hello, Request};
use crate::helper::protocol::{CONNECTION, FRAME_MAX, PREAMBLE, PROTOCOL};
use crate::helper::serve::confine::Roots;
use crate::helper::serve::folders::Violation;
use crate::helper::serve::requests::Requests;
use crate::helper::serve::sinks::Line;
use crate::helper::serve::write::Writer;
use crate::local::{Follow, LocalSource};

/// What the far end may do.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// The folders that the near end may use; empty: all that the user may use.
    pub roots: Vec<PathBuf>,
    /// Whether the near end may write, to restore.
    pub writes: bool,
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

/// Answers requests from `input` on `output` until `input` ends. Confines the calling process to the roots. Calls
/// `broken` on another thread when `output` breaks; the call itself still waits for `input` then.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(
    options: &ServeOptions,
    input: impl Read,
    output: impl Write + Send + 'static,
    broken: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    let roots = Roots::new(&options.roots).map_err(ServeError::Root)?;
    roots.confine(options.writes).map_err(|error| ServeError::Confine(error.to_string()))?;
    answer(options, roots, input, output, broken)
}

/// [`serve`] without the confinement of the process.
fn answer(
    options: &ServeOptions,
    roots: Roots,
    mut input: impl Read,
    mut output: impl Write + Send + 'static,
    broken: impl FnOnce() + Send + 'static,
) -> Result<(), ServeError> {
    let mut preamble = [0; PREAMBLE.len()];
    if !fill(&mut input, &mut preamble)? {
        return Ok(());
    }
    if preamble != *PREAMBLE {
        return Err(ServeError::Protocol("these are no requests".to_owned()));
    }
    let mut frame = Vec::new();
    if !next(&mut input, &mut frame)? {
        return Ok(());
    }
    let (CONNECTION, Request::Hello(hello), []) = read(&frame)? else {
        return Err(ServeError::Protocol("the first message is no greeting".to_owned()));
    };
    let line = Arc::new(Line::default());
    let writer = std::thread::Builder::new().name("answers".to_owned());
    let to_write = Arc::clone(&line);
    let restoring = options.writes.then(|| Writer::new(roots.clone(), Arc::clone(&line)));
    let tasks = restoring.as_ref().map(Writer::tasks);
    let compression = asked(hello.features);
    let greeting = greeting(options, compression.is_some());
    let writer = writer.spawn(move || {
        let greeted = output.write_all(&greeting).and_then(|()| output.flush());
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
    let mut requests = Requests::new(source(hello), roots, Arc::clone(&line), restoring)
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
fn greeting(options: &ServeOptions, compresses: bool) -> Vec<u8> {
    let writes = if options.writes { WRITES } else { 0 };
    let features = HASHES | writes | if compresses { COMPRESSES } else { 0 };
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
fn next(input: &mut impl Read, frame: &mut Vec<u8>) -> Result<bool, ServeError> {
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

//! The parts of a file that is being read: its handles, how a step fails, and what it shares with the other files.

use engine::source::SourceError;

use crate::sftp::read::delivery::Post;
use crate::sftp::read::purpose::ReadChannel;

/// Bytes that are requested or wait for those before them.
#[derive(Debug, Default)]
pub(crate) struct ByteCounts {
    /// Of small files that were started.
    pub(crate) small: u64,
    /// Asked for, of all others.
    pub(crate) asked: u64,
    /// Received before those that precede them, with the overhead of each piece.
    pub(crate) held: u64,
}

/// What a file needs of the rest while it takes an answer.
pub(crate) struct FileContext<'a> {
    pub(crate) lines: &'a mut [ReadChannel],
    pub(crate) post: &'a mut Post,
    pub(crate) counts: &'a mut ByteCounts,
}

/// A file's handle on one channel.
pub(crate) struct Stream {
    pub(crate) line: usize,
    pub(crate) handle: Option<Box<[u8]>>,
    /// Whether reads may go there.
    pub(crate) ready: bool,
    pub(crate) reads: usize,
}

/// The file is to be started again, later.
#[derive(Debug)]
pub(crate) struct Again;

/// How a step of a file failed.
pub(crate) enum Failed {
    Again,
    With(SourceError),
}

impl From<SourceError> for Failed {
    fn from(error: SourceError) -> Self {
        Self::With(error)
    }
}

//! The parts of a file that is being read: its handles, how a step fails, and the state that it shares with
//! the other files.

use engine::SourceError;

use crate::delivery::Delivery;
use crate::sftp::read::handle_limit::HandleLimit;
use crate::sftp::read::purpose::ReadChannel;

/// Counts bytes that are requested, or received out of order.
#[derive(Debug, Default)]
pub(crate) struct ByteCounts {
    /// Bytes of small files that were started.
    pub(crate) small: u64,
    /// Bytes requested for all other files.
    pub(crate) asked: u64,
    /// Bytes received before those in front of them, with the overhead of each piece.
    pub(crate) held: u64,
}

/// The shared state that a file needs to process an answer.
pub(crate) struct FileContext<'a> {
    pub(crate) channels: &'a mut [ReadChannel],
    pub(crate) delivery: &'a mut Delivery,
    pub(crate) counts: &'a mut ByteCounts,
    pub(crate) handles: &'a mut HandleLimit,
}

/// A file's handle on one channel.
pub(crate) struct Stream {
    pub(crate) channel: usize,
    pub(crate) handle: Option<Box<[u8]>>,
    /// Whether READs may be sent on this handle.
    pub(crate) ready: bool,
    pub(crate) reads: usize,
}

/// The file must be started again later.
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

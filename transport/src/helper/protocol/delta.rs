//! Messages about a file that is sent as its differences from the base's copy.

use serde::{Deserialize, Serialize};

use crate::helper::delta::chunker::ChunkSize;
use crate::helper::delta::sums::{ChunkSum, Key};

/// How the content of a file is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentSums {
    pub(crate) chunk: ChunkSize,
    pub(crate) key: Key,
    /// The hash of the whole file leaves out large holes, see `engine::entry::Method`.
    pub(crate) runs: bool,
}

/// A chunk: its length and its sum.
pub(crate) type SentChunk = (u32, ChunkSum);

/// A part of the file that the near end wants. The sums are those of the base's bytes, for each piece of the part in
/// order: as the base has them before the part, and behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentPart {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) before: Vec<u8>,
    pub(crate) behind: Vec<u8>,
}

/// Where the bytes of pieces come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// They follow in the message.
    Sent,
    /// The base, as the sums before the part say.
    Before,
    /// The base, as the sums behind it say.
    Behind,
}

/// So many pieces of one origin.
pub(crate) type SentRun = (Origin, u32);

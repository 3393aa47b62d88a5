//! Files that arrive as their differences from the base's copy.
//!
//! A thread of its own builds them: it divides the base's copy into chunks (`index`, `lookahead`), decides for each chunk of the
//! far end whether the base has it or which parts to ask for (`plan`), and passes the bytes on (`session`). The
//! network thread checks what arrives (`rules`) and sends what this thread asks for.

pub(crate) mod index;
pub(crate) mod lookahead;
pub(crate) mod output;
pub(crate) mod page_sums;
pub(crate) mod plan;
pub(crate) mod rules;
pub(crate) mod session;
#[cfg(test)]
mod tests;
pub(crate) mod worker;

use std::sync::Arc;

use engine::SourceError;
use engine::entry::Meta;
use engine::source::BaseFile;

use crate::helper::protocol::delta::{SentChunk, SentPart, SentRun, SentSums};

/// A file that is to be built.
#[derive(Debug)]
pub(crate) struct DeltaFile {
    /// The request of the engine, and the index of the file in it.
    pub(crate) request: u64,
    pub(crate) index: usize,
    pub(crate) base: Arc<dyn BaseFile>,
    /// Its metadata as it was listed.
    pub(crate) listed: Meta,
    pub(crate) from: u64,
}

/// A message of the network thread to the thread that builds files. The first field is the number of the file.
#[derive(Debug)]
pub(crate) enum Event {
    Start(u64, Box<DeltaFile>, u32),
    /// There is a new connection: ask again, with this round.
    Again(u64, u32),
    Chunks(u64, Vec<SentChunk>),
    Hole(u64, u64),
    Hashed(u64, [u8; 32]),
    Part(u64, Vec<SentRun>, Vec<u8>),
    /// The far end sends nothing more of the file: the request of the engine and the index in it, and how it ended.
    Ended(u64, (u64, usize), Result<Meta, SourceError>),
    /// The far end does not divide the file.
    Undivided(u64),
    /// The engine wants no more of the file: the request, and the index in it.
    Unwanted(u64, usize),
}

impl Event {
    /// Approximate memory while it waits, bytes. The bytes of parts are counted elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        let more = match self {
            Self::Chunks(_, chunks) => size_of_val(&chunks[..]),
            Self::Part(_, runs, _) => size_of_val(&runs[..]),
            _ => 0,
        };
        size_of::<Self>() + more
    }
}

/// A message of the thread that builds files to the network thread. The first field is the number of the file, `round`
/// that of the connection which it is for.
#[derive(Debug)]
pub(crate) enum DeltaCommand {
    /// Asks for the chunks of the file from an offset on.
    Ask { file: u64, round: u32, from: u64, sums: SentSums },
    /// Asks for parts.
    Parts { file: u64, round: u32, parts: Vec<SentPart>, last: bool },
    /// The file cannot be built: nothing more of it is wanted.
    GiveUp { file: u64, round: u32 },
    /// The file has to be fetched whole.
    Whole { file: u64 },
}

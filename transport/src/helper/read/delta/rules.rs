//! What a far end may send of a file that arrives as differences.

use std::collections::VecDeque;

use crate::helper::delta::pieces;
use crate::helper::protocol::delta::{Origin, SentChunk, SentPart, SentRun, SentSums};
use crate::ssh::framing::Violation;

/// A part without an answer.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    offset: u64,
    length: u64,
    before: bool,
    behind: bool,
}

/// What is still to come of a file.
#[derive(Debug)]
pub(crate) struct DeltaRules {
    longest: u64,
    /// Bytes that chunks and holes may still cover.
    left: u64,
    begun: bool,
    hashed: bool,
    awaited: VecDeque<Awaited>,
    last: bool,
}

const UNDIVIDED: Violation = Violation("chunks that the file does not have");
const NOT_ASKED: Violation = Violation("a part that was not asked for");

impl DeltaRules {
    /// The file has `left` more bytes.
    pub(crate) fn new(sums: SentSums, left: u64) -> Self {
        let longest = sums.chunk.longest() as u64;
        Self { longest, left, begun: false, hashed: false, awaited: VecDeque::new(), last: false }
    }

    /// Records that parts are asked for.
    pub(crate) fn asked(&mut self, parts: &[SentPart], last: bool) {
        self.last |= last;
        self.awaited.extend(parts.iter().map(|part| Awaited {
            offset: part.offset,
            length: part.length.into(),
            before: !part.before.is_empty(),
            behind: !part.behind.is_empty(),
        }));
    }

    /// Whether the far end waits for this end.
    pub(crate) fn is_idle(&self) -> bool {
        self.hashed && self.awaited.is_empty() && !self.last
    }

    /// Checks chunks.
    ///
    /// # Errors
    /// The file does not have them.
    pub(crate) fn chunks(&mut self, chunks: &[SentChunk]) -> Result<(), Violation> {
        for (length, _) in chunks {
            self.cover(u64::from(*length))?;
            if u64::from(*length) > self.longest {
                return Err(UNDIVIDED);
            }
        }
        Ok(())
    }

    /// Checks a hole.
    ///
    /// # Errors
    /// The file does not have it.
    pub(crate) fn hole(&mut self, length: u64) -> Result<(), Violation> {
        self.cover(length)
    }

    fn cover(&mut self, length: u64) -> Result<(), Violation> {
        if self.hashed || length == 0 {
            return Err(UNDIVIDED);
        }
        self.begun = true;
        self.left = self.left.checked_sub(length).ok_or(UNDIVIDED)?;
        Ok(())
    }

    /// All chunks were sent.
    ///
    /// # Errors
    /// That was said before.
    pub(crate) fn hashed(&mut self) -> Result<(), Violation> {
        match std::mem::replace(&mut self.hashed, true) {
            true => Err(UNDIVIDED),
            false => Ok(()),
        }
    }

    /// The file is not divided after all.
    ///
    /// # Errors
    /// Some of it was.
    pub(crate) fn undivided(&self) -> Result<(), Violation> {
        match self.begun || self.hashed {
            true => Err(UNDIVIDED),
            false => Ok(()),
        }
    }

    /// Checks the answer about a part: `literal` bytes came with it.
    ///
    /// # Errors
    /// It does not answer the next part.
    pub(crate) fn part(&mut self, runs: &[SentRun], literal: usize) -> Result<(), Violation> {
        let asked = self.awaited.pop_front().ok_or(NOT_ASKED)?;
        let (mut pieces, mut sent) = (pieces(asked.offset, asked.length), 0);
        for (origin, count) in runs {
            let allowed = match origin {
                Origin::Sent => true,
                Origin::Before => asked.before,
                Origin::Behind => asked.behind,
            };
            if !allowed || *count == 0 {
                return Err(NOT_ASKED);
            }
            for _ in 0..*count {
                let (_, length) = pieces.next().ok_or(NOT_ASKED)?;
                sent += if *origin == Origin::Sent { length } else { 0 };
            }
        }
        if pieces.next().is_some() || sent != literal {
            return Err(NOT_ASKED);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::delta::chunker::ChunkSize;
    use crate::helper::delta::sums::Key;

    fn rules(left: u64) -> DeltaRules {
        let sums = SentSums { chunk: ChunkSize::of(0), key: Key::new([0; 32]), runs: false };
        DeltaRules::new(sums, left)
    }

    #[test]
    fn chunks_cover_no_more_than_the_file() {
        assert!(rules(10).chunks(&[(4, [0; 16]), (6, [0; 16])]).is_ok());
        assert!(rules(10).chunks(&[(4, [0; 16]), (7, [0; 16])]).is_err());
        assert!(rules(10).chunks(&[(0, [0; 16])]).is_err());
        assert!(rules(1 << 30).chunks(&[(1 << 20, [0; 16])]).is_err());
        assert!(rules(10).hole(11).is_err() && rules(10).hole(0).is_err());
        // A far end that still hashes what this end has.
        let mut hashing = rules(10);
        assert!(hashing.chunks(&[]).is_ok() && hashing.undivided().is_ok());
        let mut begun = rules(10);
        assert!(begun.undivided().is_ok() && begun.hole(1).is_ok() && begun.undivided().is_err());
        let mut ended = rules(10);
        assert!(ended.hashed().is_ok() && ended.hashed().is_err() && ended.hole(1).is_err());
    }

    #[test]
    fn a_part_is_answered_as_it_was_asked_for() {
        use Origin::{Before, Behind, Sent};
        let answer = |runs: &[SentRun], literal| {
            let mut rules = rules(1 << 20);
            let part =
                SentPart { offset: 4000, length: 5000, before: vec![0; 24], behind: Vec::new() };
            rules.asked(&[part], false);
            rules.part(runs, literal).is_ok()
        };
        // Pieces of 96, 4096 and 808 bytes.
        assert!(answer(&[(Before, 3)], 0));
        assert!(answer(&[(Before, 1), (Sent, 1), (Before, 1)], 4096));
        assert!(answer(&[(Sent, 3)], 5000));
        assert!(!answer(&[(Sent, 3)], 4999));
        assert!(!answer(&[(Before, 2)], 0) && !answer(&[(Before, 4)], 0));
        assert!(!answer(&[(Behind, 3)], 0));
        assert!(!answer(&[(Before, u32::MAX)], 0));
        assert!(!answer(&[(Before, 3), (Sent, 0)], 0));
        assert!(rules(1).part(&[], 0).is_err());
    }

    #[test]
    fn a_far_end_that_sent_all_that_was_asked_for_is_waiting() {
        let mut rules = rules(0);
        assert!(!rules.is_idle());
        rules.hashed().unwrap();
        assert!(rules.is_idle());
        rules.asked(&[], true);
        assert!(!rules.is_idle());
    }
}

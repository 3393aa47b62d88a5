//! The chunks of the base's copy of a file.

use std::fs::File;
use std::io;

use crate::helper::delta::chunker::{Chunker, Piece};
use crate::helper::delta::sums::ChunkSum;
use crate::helper::protocol::delta::{SentChunk, SentSums};

/// A chunk of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BaseChunk {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    sum: ChunkSum,
}

impl BaseChunk {
    /// Whether it has the same bytes as a chunk of the far end.
    pub(crate) fn is(&self, (length, sum): &SentChunk) -> bool {
        self.length == *length && self.sum == *sum
    }
}

/// The chunks, found by their sums.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By offset.
    chunks: Vec<BaseChunk>,
    /// Positions in `chunks`, by sum and offset; empty until all are there.
    by_sum: Vec<u32>,
}

impl Index {
    fn add(&mut self, offset: u64, length: usize, sum: ChunkSum) {
        // A chunk is shorter than 4 GiB.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.chunks.push(BaseChunk { offset, length, sum });
    }

    /// The chunks so far.
    pub(crate) fn chunks(&self) -> &[BaseChunk] {
        &self.chunks
    }

    fn sort(&mut self) {
        self.by_sum = (0..u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)).collect();
        let chunks = &self.chunks;
        self.by_sum.sort_by_key(|at| (chunks[*at as usize].sum, *at));
    }

    /// The chunk with this sum, and its position. Of several the one at `expected`, else the first.
    pub(crate) fn find(&self, sum: &ChunkSum, expected: usize) -> Option<(usize, BaseChunk)> {
        if let Some(chunk) = self.chunks.get(expected).filter(|chunk| chunk.sum == *sum) {
            return Some((expected, *chunk));
        }
        let first = self.by_sum.partition_point(|at| self.chunks[*at as usize].sum < *sum);
        let at = *self.by_sum.get(first)? as usize;
        let chunk = self.chunks[at];
        (chunk.sum == *sum).then_some((at, chunk))
    }
}

/// Divides the base.
pub(crate) struct Indexing {
    chunker: Chunker,
    sums: SentSums,
    at: u64,
}

impl Indexing {
    /// Begins with a file of `size` bytes.
    pub(crate) fn new(sums: SentSums, size: u64, has_holes: bool) -> Self {
        let chunker = Chunker::new(sums.chunk, 0, size, has_holes);
        Self { chunker, sums, at: 0 }
    }

    /// Adds about `bytes` more to the index; returns whether it is complete.
    ///
    /// # Errors
    /// Those of `pread(2)` and `lseek(2)`.
    pub(crate) fn advance(
        &mut self,
        index: &mut Index,
        file: &File,
        bytes: u64,
    ) -> io::Result<bool> {
        let end = self.at + bytes;
        while self.at < end {
            match self.chunker.next(file)? {
                Some(Piece::Chunk(chunk)) => {
                    let (length, sum) = (chunk.len(), self.sums.key.chunk(chunk));
                    index.add(self.at, length, sum);
                    self.at += length as u64;
                }
                Some(Piece::Hole(length)) => self.at += length,
                None => {
                    index.sort();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
pub(crate) fn index_of(chunks: &[(u32, ChunkSum)]) -> Index {
    let (mut index, mut at) = (Index::default(), 0);
    for (length, sum) in chunks {
        index.add(at, *length as usize, *sum);
        at += u64::from(*length);
    }
    index.sort();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_chunks_the_expected_one_is_found() {
        let index = index_of(&[(10, [1; 16]), (20, [2; 16]), (10, [1; 16]), (10, [1; 16])]);
        let find = |sum, expected| index.find(&[sum; 16], expected).map(|(at, it)| (at, it.offset));
        assert_eq!(find(1, 2), Some((2, 30)));
        assert_eq!(find(1, 1), Some((0, 0)));
        assert_eq!(find(2, 9), Some((1, 10)));
        assert_eq!(find(3, 0), None);
    }
}

//! The chunks of the base's copy of a file.

use std::fs::File;
use std::io;

use crate::helper::delta::chunker::{Chunker, Piece};
use crate::helper::delta::sums::ChunkSum;
use crate::helper::protocol::delta::{SentChunk, SentSums};

/// The most chunks that are passed over as rewritten in place, and the one behind them.
const FOLLOWED: usize = 4;

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

    /// Looks whether the base goes on with one of the far end's `next` chunks, where it would be if those before it had
    /// been rewritten in place. If so, adds the base's bytes up to it to the index, divided as the far end divides its own,
    /// and returns how many chunks precede it. This is what [`Indexing::advance`] finds, without looking for the ends of chunks.
    ///
    /// # Errors
    /// Those of `pread(2)` and `lseek(2)`.
    pub(crate) fn follow<'a>(
        &mut self,
        index: &mut Index,
        file: &File,
        next: impl Iterator<Item = &'a SentChunk>,
    ) -> io::Result<Option<usize>> {
        let (mut passed, mut end) = (Vec::new(), 0);
        for (length, sum) in next.take(FOLLOWED) {
            let start = end;
            end += usize::try_from(*length).unwrap_or(usize::MAX - end);
            let Some(bytes) = self.chunker.peek(file, end)? else { break };
            let of_base = self.sums.key.chunk(&bytes[start..]);
            passed.push((end - start, of_base));
            if of_base == *sum {
                self.chunker.skip(end);
                for (length, sum) in &passed {
                    index.add(self.at, *length, *sum);
                    self.at += *length as u64;
                }
                return Ok(Some(passed.len() - 1));
            }
        }
        Ok(None)
    }

    /// The bytes of the chunk up to which [`Indexing::follow`] has just added the base.
    pub(crate) fn followed(&self, length: u32) -> &[u8] {
        self.chunker.skipped(length as usize)
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

    const MIB: u64 = 1 << 20;

    fn noise() -> Vec<u8> {
        let mut bytes = vec![0; 2 * MIB as usize];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn file_of(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
        file
    }

    fn sums() -> SentSums {
        let chunk = crate::helper::delta::chunker::ChunkSize::of(0);
        SentSums { chunk, key: crate::helper::delta::sums::Key::new([3; 32]), runs: false }
    }

    fn divided(bytes: &[u8]) -> Vec<SentChunk> {
        let (mut index, sums) = (Index::default(), sums());
        let mut indexing = Indexing::new(sums, bytes.len() as u64, false);
        while !indexing.advance(&mut index, &file_of(bytes), MIB).unwrap() {}
        index.chunks.iter().map(|chunk| (chunk.length, chunk.sum)).collect()
    }

    /// What the base has after it followed the far end's chunks, and what preceded each chunk that was found.
    fn follow(base: &[u8], far: &[SentChunk]) -> (Vec<SentChunk>, Vec<usize>) {
        let (mut index, file) = (Index::default(), file_of(base));
        let mut indexing = Indexing::new(sums(), base.len() as u64, true);
        let (mut at, mut passed) = (0, Vec::new());
        while let Some(count) = indexing.follow(&mut index, &file, far[at..].iter()).unwrap() {
            at += count + 1;
            let chunk = index.chunks.last().unwrap();
            let range = chunk.offset as usize..(chunk.offset + u64::from(chunk.length)) as usize;
            assert_eq!(indexing.followed(chunk.length), &base[range]);
            passed.push(count);
        }
        (index.chunks.iter().map(|chunk| (chunk.length, chunk.sum)).collect(), passed)
    }

    #[test]
    fn a_base_that_is_followed_has_the_chunks_that_it_would_be_divided_into() {
        let chunks = divided(&noise());
        let (followed, passed) = follow(&noise(), &chunks);
        assert!(chunks.len() > 100 && passed == vec![0; chunks.len()]);
        assert_eq!(followed, chunks);
    }

    #[test]
    fn what_was_rewritten_in_place_is_passed_over_and_an_insertion_is_not() {
        let mut far = divided(&noise());
        (far[2].1, far[5].1, far[6].1) = ([0; 16], [0; 16], [0; 16]);
        let (followed, passed) = follow(&noise(), &far);
        assert_eq!((&passed[..5], followed), (&[0, 0, 1, 0, 2][..], divided(&noise())));
        far[9].0 += 1;
        assert_eq!(follow(&noise(), &far).1, [0, 0, 1, 0, 2, 0]);
    }

    #[test]
    fn a_hole_of_the_base_and_its_end_are_not_followed() {
        let chunks = divided(&noise());
        let file = file_of(&noise());
        file.set_len(0).unwrap();
        file.set_len(MIB).unwrap();
        let (mut index, mut indexing) = (Index::default(), Indexing::new(sums(), MIB, true));
        assert_eq!(indexing.follow(&mut index, &file, chunks.iter()).unwrap(), None);
        assert!(index.chunks.is_empty());
        assert!(follow(&noise()[..4096], &chunks).1.is_empty());
    }
}

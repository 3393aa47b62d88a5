//! Divides the content of a file into chunks and holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use engine::fs::next_data;
use fastcdc::v2020::{FastCDC, Normalization};
use serde::{Deserialize, Serialize};

/// Bytes that are read at least, unless the data ends before.
const READ: usize = 512 * 1024;

/// The chunks that a file should have at most, approximately. Their sums cross the line.
const CHUNKS: u64 = 16 * 1024;

/// The average size of chunks: a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkSize(u8);

impl ChunkSize {
    /// The powers that are allowed: 8 KiB to 1 MiB.
    const ALLOWED: std::ops::RangeInclusive<u8> = 13..=20;

    /// The size for a file of `size` bytes.
    pub(crate) fn of(size: u64) -> Self {
        let (low, high) = Self::ALLOWED.into_inner();
        let power = (size / CHUNKS).max(1).next_power_of_two().trailing_zeros();
        Self(u8::try_from(power).unwrap_or(high).clamp(low, high))
    }

    /// Whether it is one that this program uses; it may have arrived from the other end.
    pub(crate) fn is_allowed(self) -> bool {
        Self::ALLOWED.contains(&self.0)
    }

    fn average(self) -> usize {
        1 << self.0
    }

    fn smallest(self) -> usize {
        self.average() / 2
    }

    /// The longest chunk, bytes.
    pub(crate) fn longest(self) -> usize {
        self.average() * 4
    }

    /// The most chunks that `size` bytes without holes have.
    pub(crate) fn most_chunks(self, size: u64) -> u64 {
        size / self.smallest() as u64 + 1
    }
}

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Chunk(&'a [u8]),
    /// So many zeros without blocks.
    Hole(u64),
}

/// Divides a file, piece by piece. Its memory is bounded by the longest chunk.
pub(crate) struct Chunker {
    size: ChunkSize,
    /// Bytes that were read; those from `start` to `end` are in no chunk yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The offset that is read next, the end of the data there, and the end of the file.
    at: u64,
    data_end: u64,
    file_end: u64,
    has_holes: bool,
}

impl Chunker {
    /// Divides what lies between two offsets.
    pub(crate) fn new(size: ChunkSize, from: u64, to: u64, has_holes: bool) -> Self {
        let buffer = vec![0; size.longest() + READ];
        Self { size, buffer, start: 0, end: 0, at: from, data_end: from, file_end: to, has_holes }
    }

    /// The next piece; `None` at the end, also if the file is shorter now.
    ///
    /// # Errors
    /// Those of `pread(2)` and `lseek(2)`.
    pub(crate) fn next(&mut self, file: &File) -> io::Result<Option<Piece<'_>>> {
        if self.start == self.end && self.at >= self.data_end {
            if self.at >= self.file_end {
                return Ok(None);
            }
            let (data, data_end) = self.extent(file)?;
            let hole = data - self.at;
            (self.at, self.data_end) = (data, data_end);
            if hole > 0 {
                return Ok(Some(Piece::Hole(hole)));
            }
        }
        if self.end - self.start < self.size.longest() && self.at < self.data_end {
            self.fill(file)?;
        }
        let held = &self.buffer[self.start..self.end];
        if held.is_empty() {
            return Ok(None);
        }
        let (smallest, average) = (self.size.smallest(), self.size.average());
        let longest = self.size.longest();
        let cutter = FastCDC::with_level(held, smallest, average, longest, Normalization::Level1);
        let (_, length) = cutter.cut(0, held.len());
        self.start += length;
        Ok(Some(Piece::Chunk(&self.buffer[self.start - length..self.start])))
    }

    /// The next `length` bytes, if so many come before the next hole and fit into the buffer. They stay the next ones.
    ///
    /// # Errors
    /// Those of [`Chunker::next`].
    pub(crate) fn peek(&mut self, file: &File, length: usize) -> io::Result<Option<&[u8]>> {
        if length > self.buffer.len() {
            return Ok(None);
        }
        if self.start == self.end && self.at >= self.data_end && self.at < self.file_end {
            let (data, data_end) = self.extent(file)?;
            if data > self.at {
                return Ok(None);
            }
            self.data_end = data_end;
        }
        if self.end - self.start < length && self.at < self.data_end {
            self.fill(file)?;
        }
        Ok(self.buffer[self.start..self.end].get(..length))
    }

    /// Goes on behind the next `length` bytes, which [`Chunker::peek`] returned.
    pub(crate) fn skip(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }

    /// The last `length` bytes that were skipped; valid until more are looked at.
    pub(crate) fn skipped(&self, length: usize) -> &[u8] {
        &self.buffer[self.start.saturating_sub(length)..self.start]
    }

    /// Reads more, until the buffer is full or the data ends.
    fn fill(&mut self, file: &File) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.end < self.buffer.len() && self.at < self.data_end {
            let left = usize::try_from(self.data_end - self.at).unwrap_or(usize::MAX);
            let most = left.min(self.buffer.len() - self.end);
            match file.read_at(&mut self.buffer[self.end..self.end + most], self.at) {
                // The file was shortened.
                Ok(0) => (self.data_end, self.file_end) = (self.at, self.at),
                Ok(count) => {
                    self.end += count;
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The start and the end of the next data.
    fn extent(&self, file: &File) -> io::Result<(u64, u64)> {
        if self.has_holes {
            next_data(file, self.at, self.file_end)
        } else {
            Ok((self.at, self.file_end))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The offsets, lengths and content of the pieces; a hole has no content.
    fn divide(file: &File, from: u64, to: u64) -> Vec<(u64, u64, Option<Vec<u8>>)> {
        let mut chunker = Chunker::new(ChunkSize(13), from, to, true);
        let (mut at, mut all) = (from, Vec::new());
        while let Some(piece) = chunker.next(file).unwrap() {
            let (length, bytes) = match piece {
                Piece::Hole(length) => (length, None),
                Piece::Chunk(bytes) => (bytes.len() as u64, Some(bytes.to_vec())),
            };
            assert!(length > 0);
            all.push((at, length, bytes));
            at += length;
        }
        all
    }

    fn noise(seed: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        reader.fill(&mut bytes);
        bytes
    }

    #[test]
    fn an_inserted_byte_changes_only_the_chunks_around_it() {
        let chunks = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            divide(&file, 0, bytes.len() as u64)
        };
        let mut bytes = noise(1, 2 << 20);
        let before = chunks(&bytes);
        bytes.insert(1 << 20, 7);
        let after = chunks(&bytes);
        let known: std::collections::HashSet<_> = before.iter().map(|piece| &piece.2).collect();
        let new = after.iter().filter(|piece| !known.contains(&piece.2)).count();
        assert!(before.len() > 100 && (1..=3).contains(&new), "{new} of {}", before.len());
    }

    #[test]
    fn the_size_of_chunks_grows_with_the_file() {
        assert_eq!(ChunkSize::of(0), ChunkSize(13));
        assert_eq!(ChunkSize::of(256 << 10), ChunkSize(13));
        assert_eq!(ChunkSize::of(1 << 30), ChunkSize(16));
        assert_eq!(ChunkSize::of(u64::MAX), ChunkSize(20));
        assert!(!ChunkSize(12).is_allowed() && !ChunkSize(63).is_allowed());
    }

    #[test]
    fn a_file_that_is_shorter_than_expected_ends_early() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&noise(3, 100_000), 0).unwrap();
        let all: u64 = divide(&file, 0, 1 << 30)
            .iter()
            .filter_map(|piece| Some(piece.2.as_ref()?.len() as u64))
            .sum();
        assert_eq!(all, 100_000);
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_file(
            runs in prop::collection::vec((any::<bool>(), 1_u64..60_000), 0..8),
            from in 0_u64..50_000,
        ) {
            let file = tempfile::tempfile().unwrap();
            let mut whole = Vec::new();
            for (seed, (is_data, length)) in (0..).zip(&runs) {
                let at = whole.len() as u64;
                if *is_data {
                    whole.extend(noise(seed, *length as usize));
                    file.write_all_at(&whole[at as usize..], at).unwrap();
                } else {
                    whole.resize(whole.len() + *length as usize, 0);
                    file.set_len(whole.len() as u64).unwrap();
                }
            }
            let from = from.min(whole.len() as u64);
            let mut got = Vec::new();
            for (_, length, bytes) in divide(&file, from, whole.len() as u64) {
                got.extend(bytes.unwrap_or_else(|| vec![0; length as usize]));
            }
            prop_assert!(got == whole[from as usize..]);
        }
    }
}

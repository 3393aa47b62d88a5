//! Resume marks: an attribute of a partial file that says how far it was written, so that a later run can resume
//! inside it. Pure.
//!
//! A mark is a length and the hash of the bytes before it. A later run reads these bytes again to prove the mark, so
//! the mark may reach the disk before or after the bytes. After a power cut the newest marks may be ahead of the data
//! on disk. Then an older mark still holds: the distance between the kept marks grows towards the start of the file.

use crate::entry::Time;

/// Bytes between two marks.
pub(crate) const STEP: u64 = 16 << 20;

/// The number of distances between marks: `STEP` times 1, 4, 16 and so on.
const LEVELS: u32 = 8;

/// The bit of the nanoseconds that says that bytes are unproven. Nanoseconds are below 2^30.
const UNPROVEN: u32 = 1 << 31;

/// Sizes of the encoded head and of one encoded mark, in bytes.
const HEAD: usize = 8 + 8 + 4;
const MARK: usize = 8 + blake3::OUT_LEN;

/// The marks of a file, with the size and mtime of the source's file when they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResumeMarks {
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// The file has bytes that the source took from the base, and that only its hash of the whole file proves.
    pub(crate) unproven: bool,
    /// In ascending order of length.
    pub(crate) marks: Vec<ResumeMark>,
}

/// The first `length` bytes have this hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResumeMark {
    pub(crate) length: u64,
    pub(crate) hash: blake3::Hash,
}

impl ResumeMarks {
    pub(crate) fn new(size: u64, mtime: Time) -> Self {
        Self { size, mtime, unproven: false, marks: Vec::new() }
    }

    /// Whether a file with `length` bytes written needs another mark.
    pub(crate) fn due(&self, length: u64) -> bool {
        length / STEP > self.marks.last().map_or(0, |mark| mark.length / STEP)
    }

    /// Adds a mark and drops the marks that are no longer needed.
    pub(crate) fn add(&mut self, mark: ResumeMark) {
        let number = mark.length / STEP;
        self.marks.retain(|old| {
            let old = old.length / STEP;
            old < number && (0..LEVELS).any(|level| old == number - number % 4_u64.pow(level))
        });
        self.marks.push(mark);
    }

    /// Drops the marks beyond `length`.
    pub(crate) fn cut(&mut self, length: u64) {
        self.marks.retain(|mark| mark.length <= length);
    }

    /// Encodes as bytes, little-endian: size, seconds, nanoseconds with the highest bit for unproven bytes, then the
    /// length and hash of each mark.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + MARK * self.marks.len());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.mtime.secs.to_le_bytes());
        let unproven = if self.unproven { UNPROVEN } else { 0 };
        bytes.extend((self.mtime.nanos | unproven).to_le_bytes());
        for mark in &self.marks {
            bytes.extend(mark.length.to_le_bytes());
            bytes.extend(mark.hash.as_bytes());
        }
        bytes
    }

    /// Decodes the output of [`ResumeMarks::encode`]; `None` for any other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk()?;
        let (secs, rest) = rest.split_first_chunk()?;
        let (nanos, rest) = rest.split_first_chunk()?;
        let nanos = u32::from_le_bytes(*nanos);
        let mtime = Time { secs: i64::from_le_bytes(*secs), nanos: nanos & !UNPROVEN };
        let mut marks: Vec<ResumeMark> = Vec::new();
        for bytes in rest.chunks(MARK) {
            let (length, hash) = bytes.split_first_chunk()?;
            let length = u64::from_le_bytes(*length);
            if marks.last().is_some_and(|last| last.length >= length) {
                return None;
            }
            marks.push(ResumeMark { length, hash: blake3::Hash::from_slice(hash).ok()? });
        }
        let (size, unproven) = (u64::from_le_bytes(*size), nanos & UNPROVEN != 0);
        Some(Self { size, mtime, unproven, marks })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(length: u64) -> ResumeMark {
        ResumeMark { length, hash: blake3::hash(&length.to_le_bytes()) }
    }

    fn after(steps: u64) -> ResumeMarks {
        let mut marks = ResumeMarks::new(1 << 50, Time { secs: -5, nanos: 7 });
        (1..=steps).for_each(|step| marks.add(mark(step * STEP + step)));
        marks
    }

    #[test]
    fn marks_stand_ever_wider_apart_towards_the_start() {
        let numbers = |marks: &ResumeMarks| -> Vec<_> {
            marks.marks.iter().map(|mark| mark.length / STEP).collect()
        };
        assert_eq!(numbers(&after(3)), [3]);
        assert_eq!(numbers(&after(5)), [4, 5]);
        assert_eq!(numbers(&after(103)), [64, 96, 100, 103]);
        let mut left = after(103);
        left.add(mark(103 * STEP + 500_000));
        assert_eq!(numbers(&left), [64, 96, 100, 103]);
        left.cut(100 * STEP);
        assert_eq!(numbers(&left), [64, 96]);
    }

    #[test]
    fn a_mark_is_due_each_time_a_step_is_passed() {
        let marks = after(2);
        assert!(!ResumeMarks::new(0, Time::default()).due(STEP - 1));
        assert!(!marks.due(3 * STEP - 1) && marks.due(3 * STEP) && marks.due(9 * STEP));
    }

    proptest! {
        #[test]
        fn encoded_marks_are_decoded(
            steps in 0_u64..3000, size: u64, secs: i64, nanos in 0_u32..1_000_000_000, unproven: bool,
        ) {
            let mut marks = after(steps);
            (marks.size, marks.mtime) = (size, Time { secs, nanos });
            marks.unproven = unproven;
            prop_assert!(marks.marks.len() <= LEVELS as usize);
            prop_assert_eq!(ResumeMarks::decode(&marks.encode()), Some(marks));
        }

        #[test]
        fn any_bytes_are_marks_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(marks) = ResumeMarks::decode(&bytes) {
                prop_assert_eq!(marks.encode(), bytes);
            }
        }
    }
}

//! Decides, chunk by chunk, what comes from the base and what to ask for. Pure.
//!
//! Chunks that the base does not have are a *gap*. The chunk before the gap shows where the base's bytes for its
//! start are, and the chunk behind it shows the same for its end. In between, bytes were inserted, removed or rewritten.
//! So both offer sums for the pages of the gap, and a changed page costs a page on the line, not a chunk.

use std::collections::VecDeque;

use crate::helper::delta::PART_MAX;
use crate::helper::protocol::delta::SentChunk;
use crate::helper::read::delta::index::BaseChunk;

/// The length from which a gap is asked for before its end is known, bytes.
const GAP_MAX: u64 = 4 * PART_MAX;

/// How a file is built, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// These bytes of the base.
    Base {
        offset: u64,
        length: u64,
    },
    Hole(u64),
    /// What the far end answers about a part.
    Part(Part),
}

/// A part of the file to ask for. Byte `at` of it may be byte `at + before` of the base, or `at + behind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) before: i64,
    /// `None` when it is not known, or the same.
    pub(crate) behind: Option<i64>,
}

/// How far the far end's chunks were processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    at: u64,
    /// Where the gap began.
    gap: Option<u64>,
    /// From an offset in the file to one in the base, at the last chunk that the base has.
    shift: i64,
    /// The position of the base's next chunk.
    expected: usize,
}

impl Plan {
    /// Begins at an offset of the file.
    pub(crate) fn new(from: u64) -> Self {
        Self { at: from, gap: None, shift: 0, expected: 0 }
    }

    /// The offset in the file behind what was processed.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The position of the base's chunk that comes next if nothing changed.
    pub(crate) fn expected(&self) -> usize {
        self.expected
    }

    /// The next chunk that the base has is the one at this position.
    pub(crate) fn expect(&mut self, position: usize) {
        self.expected = position;
    }

    /// Processes the next chunk, which the base has at a position, or does not have.
    pub(crate) fn chunk(
        &mut self,
        (length, _): &SentChunk,
        found: Option<(usize, BaseChunk)>,
        out: &mut VecDeque<Step>,
    ) {
        let (start, length) = (self.at, u64::from(*length));
        self.at += length;
        let Some((number, chunk)) = found.filter(|(_, chunk)| u64::from(chunk.length) == length)
        else {
            let gap = *self.gap.get_or_insert(start);
            if self.at - gap >= GAP_MAX {
                self.close_gap(self.at, None, out);
            }
            return;
        };
        let shift = difference(chunk.offset, start);
        self.close_gap(start, Some(shift), out);
        (self.shift, self.expected) = (shift, number + 1);
        match out.back_mut() {
            Some(Step::Base { offset, length: last }) if *offset + *last == chunk.offset => {
                *last += length;
            }
            _ => out.push_back(Step::Base { offset: chunk.offset, length }),
        }
    }

    /// Processes a hole.
    pub(crate) fn hole(&mut self, length: u64, out: &mut VecDeque<Step>) {
        self.close_gap(self.at, None, out);
        self.at += length;
        out.push_back(Step::Hole(length));
    }

    /// All chunks were processed. `size` is that of the base: what lies at the end of both may be alike.
    pub(crate) fn end(&mut self, size: u64, out: &mut VecDeque<Step>) {
        self.close_gap(self.at, Some(difference(size, self.at)), out);
    }

    fn close_gap(&mut self, end: u64, behind: Option<i64>, out: &mut VecDeque<Step>) {
        let Some(mut offset) = self.gap.take() else { return };
        let behind = behind.filter(|behind| *behind != self.shift);
        while offset < end {
            let next = end.min((offset / PART_MAX + 1) * PART_MAX);
            let (length, before) = (next - offset, self.shift);
            out.push_back(Step::Part(Part { offset, length, before, behind }));
            offset = next;
        }
    }
}

/// `to - from`, which fits: no file has more than 2^63 bytes.
fn difference(to: u64, from: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::read::delta::index::index_of;

    const K: u32 = 1024;

    fn plan(base: &[(u32, u8)], file: &[(u32, u8)]) -> Vec<Step> {
        let chunks = |of: &[(u32, u8)]| -> Vec<SentChunk> {
            of.iter().map(|(length, sum)| (*length, [*sum; 16])).collect()
        };
        let index = index_of(&chunks(base));
        let (mut plan, mut out) = (Plan::new(0), VecDeque::new());
        for chunk in &chunks(file) {
            plan.chunk(chunk, index.find(&chunk.1, plan.expected()), &mut out);
        }
        plan.end(base.iter().map(|(length, _)| u64::from(*length)).sum(), &mut out);
        out.into()
    }

    fn part(offset: u32, length: u32, before: i64, behind: Option<i64>) -> Step {
        Step::Part(Part { offset: offset.into(), length: length.into(), before, behind })
    }

    #[test]
    fn chunks_in_their_order_are_one_step() {
        let base = [(8 * K, 1), (9 * K, 2), (8 * K, 3)];
        let whole = Step::Base { offset: 0, length: u64::from(25 * K) };
        assert_eq!(plan(&base, &base), [whole]);
    }

    #[test]
    fn a_gap_knows_where_the_base_goes_on_before_and_behind_it() {
        let base = [(8 * K, 1), (8 * K, 2), (8 * K, 3)];
        let file = [(8 * K, 1), (9 * K, 9), (8 * K, 3)];
        let (first, last) = (8 * u64::from(K), 16 * u64::from(K));
        assert_eq!(
            plan(&base, &file),
            [
                Step::Base { offset: 0, length: first },
                part(8 * K, 9 * K, 0, Some(-1024)),
                Step::Base { offset: last, length: first },
            ]
        );
    }

    #[test]
    fn a_long_gap_is_asked_for_in_parts_before_it_ends() {
        let base = [(8 * K, 1)];
        let file = [(1024 * K, 9), (300 * K, 8)];
        let size = i64::from(8 * K) - i64::from(1324 * K);
        let early = (0..4).map(|at| part(at * 256 * K, 256 * K, 0, None));
        let late = [(1024, 256), (1280, 44)];
        let late = late.map(|(at, length)| part(at * K, length * K, 0, Some(size)));
        assert_eq!(plan(&base, &file), early.chain(late).collect::<Vec<_>>());
    }
}

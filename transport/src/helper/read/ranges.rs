//! A large file that arrives in ranges, over several channels at the same time. Its bytes are delivered in order.

use std::collections::VecDeque;

use engine::entry::Meta;

use crate::ssh::framing::Violation;

/// The length of a range, bytes: what ssh carries on one channel in one round trip (its window, 2 MiB).
pub(crate) const RANGE: u64 = 2 << 20;

/// The least that must be missing of a file so that it is fetched in ranges, bytes.
pub(crate) const WORTH_DIVIDING: u64 = 2 * RANGE;

/// The most bytes of one piece that is kept.
const PIECE: usize = 256 * 1024;

/// The shortest run of data or zeros in a file, bytes: no file system has smaller blocks.
const BLOCK: u64 = 512;

/// A request on a channel: the number of the channel, and that of the request.
pub(crate) type Asked = (usize, u32);

/// The next bytes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Hole(u64),
}

/// The ranges of a file that are requested.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// The first byte that is not requested.
    next: u64,
    /// The size of the file as it was listed.
    end: u64,
    /// In the order of the file. Pieces of the first one are delivered at once.
    requested: VecDeque<Range>,
    /// Bytes that are requested and not delivered.
    ahead: u64,
    /// The file has ended for the engine. What still arrives is dropped.
    ended: bool,
}

/// A range.
#[derive(Debug)]
struct Range {
    asked: Asked,
    /// Bytes that the far end may still send of it.
    missing: u64,
    pieces: VecDeque<Piece>,
    /// How many more pieces it may have.
    divisible: u64,
    /// The far end has sent its last answer.
    is_whole: bool,
}

impl Ranges {
    /// What is missing of a file of `size` bytes from the offset `from` on.
    pub(crate) fn new(from: u64, size: u64) -> Self {
        Self { next: from, end: size, ..Self::default() }
    }

    /// The offset and the length of the next range to request.
    pub(crate) fn next(&self) -> Option<(u64, u64)> {
        let left = self.end.saturating_sub(self.next);
        (left > 0 && !self.ended).then_some((self.next, left.min(RANGE)))
    }

    /// Records that the next range was requested.
    pub(crate) fn requested(&mut self, asked: Asked, length: u64) {
        self.next += length;
        self.ahead += length;
        let divisible = 2 * length.div_ceil(BLOCK) + 1;
        let pieces = VecDeque::new();
        self.requested.push_back(Range {
            asked,
            missing: length,
            pieces,
            divisible,
            is_whole: false,
        });
    }

    /// The requests without a last answer.
    pub(crate) fn outstanding(&self) -> impl Iterator<Item = Asked> {
        self.requested.iter().filter(|range| !range.is_whole).map(|range| range.asked)
    }

    /// Keeps bytes that arrived.
    ///
    /// # Errors
    /// They are more than was asked for, or none.
    pub(crate) fn bytes(&mut self, asked: Asked, bytes: &[u8]) -> Result<(), Violation> {
        let ended = self.ended;
        let range = self.range(asked, bytes.len() as u64)?;
        match range.pieces.back_mut() {
            _ if ended => {}
            Some(Piece::Bytes(last)) if last.len() + bytes.len() <= PIECE => {
                last.extend_from_slice(bytes);
            }
            _ => range.piece(Piece::Bytes(bytes.to_vec()))?,
        }
        Ok(())
    }

    /// Keeps a hole that arrived.
    ///
    /// # Errors
    /// It is longer than what was asked for, or empty.
    pub(crate) fn hole(&mut self, asked: Asked, length: u64) -> Result<(), Violation> {
        let ended = self.ended;
        let range = self.range(asked, length)?;
        match range.pieces.back_mut() {
            _ if ended => {}
            Some(Piece::Hole(last)) => *last += length,
            _ => range.piece(Piece::Hole(length))?,
        }
        Ok(())
    }

    /// Records the last answer to a request. Returns whether all of the range has arrived.
    ///
    /// # Errors
    /// It has its last answer.
    pub(crate) fn range_ended(&mut self, asked: Asked) -> Result<bool, Violation> {
        let range = self.find(asked)?;
        range.is_whole = true;
        let missing = std::mem::take(&mut range.missing);
        self.ahead = self.ahead.saturating_sub(missing);
        if self.ended {
            self.requested.retain(|range| !range.is_whole);
        }
        Ok(missing == 0)
    }

    /// The next piece in the order of the file, if it has arrived.
    pub(crate) fn take(&mut self) -> Option<Piece> {
        while let Some(first) = self.requested.front_mut() {
            match first.pieces.pop_front() {
                None if first.is_whole => drop(self.requested.pop_front()),
                piece => {
                    self.ahead -= piece.as_ref().map_or(0, Piece::length);
                    return piece;
                }
            }
        }
        None
    }

    /// Drops what is not delivered. No more of the file is wanted.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.ahead = 0;
        self.requested.retain(|range| !range.is_whole);
        self.requested.iter_mut().for_each(|range| range.pieces.clear());
    }

    /// Whether the file has ended for the engine.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing more is to be requested or delivered.
    pub(crate) fn is_settled(&self) -> bool {
        self.requested.is_empty() && (self.ended || self.next >= self.end)
    }

    /// The bytes that are requested and not delivered.
    pub(crate) fn ahead(&self) -> u64 {
        self.ahead
    }

    fn find(&mut self, asked: Asked) -> Result<&mut Range, Violation> {
        let mut ranges = self.requested.iter_mut();
        let range = ranges.find(|range| range.asked == asked && !range.is_whole);
        range.ok_or(Violation("an answer to no request"))
    }

    fn range(&mut self, asked: Asked, count: u64) -> Result<&mut Range, Violation> {
        let range = self.find(asked)?;
        if count == 0 || count > range.missing {
            return Err(Violation("it sent another part of a file than was asked for"));
        }
        range.missing -= count;
        Ok(range)
    }
}

impl Range {
    fn piece(&mut self, piece: Piece) -> Result<(), Violation> {
        self.divisible = self.divisible.checked_sub(1).ok_or(Violation("a file of tiny pieces"))?;
        self.pieces.push_back(piece);
        Ok(())
    }
}

impl Piece {
    /// The bytes of the file that it covers.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Hole(length) => *length,
        }
    }
}

/// Whether a file that was opened for a range is as it was listed. All ranges then come from one state of the file.
pub(crate) fn is_as_listed(listed: &Meta, now: &Meta) -> bool {
    let state = |meta: &Meta| (meta.kind, meta.id, meta.size, meta.mtime, meta.ctime);
    let access = |meta: &Meta| (meta.uid, meta.gid, meta.mode);
    state(listed) == state(now) && access(listed) == access(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn requested(from: u64, size: u64, count: usize) -> Ranges {
        let mut ranges = Ranges::new(from, size);
        for channel in 0..count {
            let (_, length) = ranges.next().unwrap();
            ranges.requested((channel, 7), length);
        }
        ranges
    }

    #[test]
    fn a_file_is_divided_from_where_it_goes_on_to_its_end() {
        let mut ranges = Ranges::new(MIB, 6 * MIB);
        let mut all = Vec::new();
        while let Some((offset, length)) = ranges.next() {
            ranges.requested((all.len(), 1), length);
            all.push((offset / MIB, length / MIB));
        }
        assert_eq!(all, [(1, 2), (3, 2), (5, 1)]);
        assert_eq!(ranges.ahead(), 5 * MIB);
        assert_eq!(Ranges::new(9, 9).next(), None);
    }

    #[test]
    fn pieces_are_delivered_in_the_order_of_the_file() {
        let mut ranges = requested(0, 4 * MIB, 2);
        ranges.bytes((1, 7), b"second").unwrap();
        assert_eq!(ranges.take(), None);
        ranges.bytes((0, 7), b"fir").unwrap();
        assert_eq!(ranges.take(), Some(Piece::Bytes(b"fir".to_vec())));
        ranges.bytes((0, 7), b"s").unwrap();
        ranges.bytes((0, 7), b"t").unwrap();
        ranges.hole((0, 7), 5).unwrap();
        ranges.hole((0, 7), 6).unwrap();
        assert!(!ranges.range_ended((0, 7)).unwrap());
        assert!(ranges.range_ended((0, 7)).is_err(), "a second last answer");
        let order = std::iter::from_fn(|| ranges.take()).collect::<Vec<_>>();
        let expected =
            [Piece::Bytes(b"st".to_vec()), Piece::Hole(11), Piece::Bytes(b"second".to_vec())];
        assert_eq!(order, expected);
        assert!(!ranges.is_settled());
        ranges.hole((1, 7), 2 * MIB - 6).unwrap();
        assert!(ranges.range_ended((1, 7)).unwrap());
        assert_eq!(ranges.take(), Some(Piece::Hole(2 * MIB - 6)));
        assert_eq!(ranges.take(), None);
        assert!(ranges.is_settled());
    }

    #[test]
    fn more_than_was_asked_for_nothing_and_tiny_pieces_are_violations() {
        let mut ranges = requested(0, 4 * MIB, 1);
        assert!(ranges.bytes((0, 7), b"").is_err() && ranges.hole((0, 7), 0).is_err());
        assert!(ranges.bytes((0, 8), b"x").is_err() && ranges.bytes((1, 7), b"x").is_err());
        assert!(ranges.hole((0, 7), 2 * MIB + 1).is_err());
        let mut tiny = || {
            ranges.bytes((0, 7), b"x")?;
            ranges.hole((0, 7), 1)
        };
        let accepted = (0..MIB).take_while(|_| tiny().is_ok()).count();
        assert!((4096..4100).contains(&accepted), "{accepted}");
    }

    #[test]
    fn after_the_end_what_arrives_is_dropped() {
        let mut ranges = requested(0, 9 * MIB, 3);
        ranges.bytes((1, 7), b"held").unwrap();
        ranges.range_ended((2, 7)).unwrap();
        ranges.end();
        assert_eq!((ranges.ahead(), ranges.next(), ranges.outstanding().count()), (0, None, 2));
        ranges.bytes((0, 7), b"late").unwrap();
        assert_eq!(ranges.take(), None);
        ranges.range_ended((0, 7)).unwrap();
        assert!(!ranges.is_settled());
        ranges.range_ended((1, 7)).unwrap();
        assert!(ranges.is_settled());
    }
}

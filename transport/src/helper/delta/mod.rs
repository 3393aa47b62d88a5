//! What both ends of a delta compute alike: the chunks of a file, and the sums of chunks and pages.
//!
//! A delta sends a changed file as its differences from the base's copy. A *chunk* ends where the content decides
//! (FastCDC), so inserted bytes change only the chunks around them. A *page* is 4 KiB at a multiple of 4 KiB.

pub(crate) mod chunker;
pub(crate) mod sums;

/// The sizes of files that are sent as differences, bytes. A smaller file needs fewer round trips as a whole; the
/// index of a larger one would take too much memory.
pub(crate) const SIZES: std::ops::RangeInclusive<u64> = 256 * 1024..=1 << 40;

/// The length of a page, bytes.
pub(crate) const PAGE: u64 = 4096;

/// The longest part of a file that the near end asks for at once, bytes. Its literal bytes fit into one message.
pub(crate) const PART_MAX: u64 = 256 * 1024;

/// The most parts of one file that may be without an answer, and of all files of a channel.
pub(crate) const PARTS: usize = 1024;
pub(crate) const ALL_PARTS: usize = 4096;

/// The most files of a channel that may be sent as differences at a time. Each takes a buffer of up to 4.5 MiB.
pub(crate) const FILES: usize = 8;

/// The pieces of a part: what its pages have of it. Their offsets and lengths.
pub(crate) fn pieces(offset: u64, length: u64) -> impl Iterator<Item = (u64, usize)> {
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        let start = at;
        at = end.min((start / PAGE + 1) * PAGE);
        // A piece is at most a page.
        (start < end).then(|| (start, (at - start) as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_the_ends_of_pages() {
        let all = |offset, length| pieces(offset, length).collect::<Vec<_>>();
        assert_eq!(all(0, 0), []);
        assert_eq!(all(4096, 8192), [(4096, 4096), (8192, 4096)]);
        assert_eq!(all(4095, 4098), [(4095, 1), (4096, 4096), (8192, 1)]);
        assert_eq!(all(10, 20), [(10, 20)]);
    }
}

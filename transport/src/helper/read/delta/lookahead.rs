//! Finds, while the base is still being divided, where the far end's next chunks go on in it. Pure.
//!
//! A file that was changed in some places has the base's chunks in their order, so most of it is built while both ends
//! are still reading. What moved further away is found when the whole base is divided.

use crate::helper::protocol::delta::SentChunk;
use crate::helper::read::delta::index::BaseChunk;

/// How many chunks of either side are compared.
pub(crate) const AHEAD: usize = 64;

/// The first of the far end's `next` chunks that is among the base's next ones, and its position in the base.
pub(crate) fn goes_on<'a>(
    base: &[BaseChunk],
    expected: usize,
    next: impl Iterator<Item = &'a SentChunk>,
) -> Option<(usize, usize)> {
    let near = base.get(expected..)?;
    let near = &near[..near.len().min(AHEAD)];
    next.take(AHEAD).enumerate().find_map(|(number, chunk)| {
        let at = near.iter().position(|of_base| of_base.is(chunk))?;
        Some((number, expected + at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::read::delta::index::index_of;

    fn found(base: &[u8], expected: usize, next: &[u8]) -> Option<(usize, usize)> {
        let chunks = |of: &[u8]| of.iter().map(|sum| (8, [*sum; 16])).collect::<Vec<SentChunk>>();
        let index = index_of(&chunks(base));
        goes_on(index.chunks(), expected, chunks(next).iter())
    }

    #[test]
    fn insertions_removals_and_changes_are_passed_over() {
        let base = [1, 2, 3, 4, 5, 6];
        assert_eq!(found(&base, 2, &[3, 4]), Some((0, 2)));
        assert_eq!(found(&base, 2, &[9, 8, 3]), Some((2, 2)));
        assert_eq!(found(&base, 2, &[5, 6]), Some((0, 4)));
        assert_eq!(found(&base, 2, &[9, 4]), Some((1, 3)));
        // Content that the base had before is none of what comes next.
        assert_eq!(found(&base, 2, &[1, 2]), None);
        assert_eq!((found(&base, 6, &[1]), found(&base, 7, &[1])), (None, None));
    }

    #[test]
    fn only_the_next_chunks_are_compared() {
        let far: Vec<u8> = (1..=100).collect();
        assert_eq!(found(&far, 0, &[64]), Some((0, 63)));
        assert_eq!(found(&far, 0, &[65]), None);
        let next: Vec<u8> = std::iter::repeat_n(200, AHEAD).chain([1]).collect();
        assert_eq!(found(&far, 0, &next), None);
        assert_eq!(found(&far, 0, &next[1..]), Some((AHEAD - 1, 0)));
    }
}

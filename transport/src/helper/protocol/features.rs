//! What the ends offer in their greetings beside the messages: the bits of `features`.

use crate::compress::Level;

/// The near end will write; the far end may write.
pub(crate) const WRITES: u64 = 1;

/// The near end asks for compression; the far end compresses too.
pub(crate) const COMPRESSES: u64 = 1 << 1;

/// The far end answers `Hash`.
pub(crate) const HASHES: u64 = 1 << 2;

/// The near end has snapshots for the far end. The far end accepts some.
pub(crate) const RECEIVES: u64 = 1 << 3;

/// The far end answers the requests of a copy.
pub(crate) const COPIES: u64 = 1 << 4;

/// The far end was started with `--append-only`: it accepts snapshots, and does nothing else.
pub(crate) const ONLY_ADDS: u64 = 1 << 5;

/// Where the level is that the near end asks for: 8 bits from this one on.
const LEVEL: u32 = 8;

/// The bits by which the near end asks for compression.
pub(crate) fn asking(level: Option<Level>) -> u64 {
    level.map_or(0, |level| COMPRESSES | u64::from(level.number()) << LEVEL)
}

/// The level that the near end asks for; `None` if it asks for no compression.
pub(crate) fn asked(features: u64) -> Option<Level> {
    let number = i64::try_from(features >> LEVEL & 0xFF).unwrap_or_default();
    (features & COMPRESSES != 0).then(|| Level::nearest(number))
}

/// The level for both ends when the far end has answered with its features.
pub(crate) fn agreed(asked: Option<Level>, features: u64) -> Option<Level> {
    asked.filter(|_| features & COMPRESSES != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_have_to_offer_compression() {
        let level = Level::nearest(12);
        assert_eq!(asked(asking(Some(level)) | WRITES), Some(level));
        assert_eq!((asking(None), asked(WRITES), asked(1 << LEVEL)), (0, None, None));
        // Levels that this program does not have.
        assert_eq!(asked(COMPRESSES), Some(Level::nearest(1)));
        assert_eq!(asked(u64::MAX), Some(Level::nearest(19)));
        assert_eq!(agreed(Some(level), COMPRESSES), Some(level));
        assert_eq!((agreed(Some(level), WRITES), agreed(None, u64::MAX)), (None, None));
    }
}

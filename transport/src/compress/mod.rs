//! Compresses the bytes of a channel with zstd (RFC 8878), piece by piece. `docs/protocol.md` specifies the form.
//!
//! Each direction is one stream of zstd, so small messages profit from what was sent before them. The stream is cut
//! into pieces with a length, so that either end knows what to read, and content that does not become shorter is sent
//! as it is.

pub(crate) mod compressor;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod pieces;
#[cfg(test)]
mod tests;

/// The most bytes of a piece when it is not compressed: the longest block of zstd.
pub(crate) const PIECE_MAX: usize = 128 * 1024;

/// The most bytes of a compressed piece: content that does not become shorter, and the headers of its blocks.
pub(crate) const COMPRESSED_MAX: usize = PIECE_MAX + 1024;

/// The window is at most 2 to the power of this many bytes. It bounds the memory of the end that decompresses, and the
/// tables of the end that compresses, whatever the level.
pub(crate) const WINDOW_LOG: u32 = 19;

/// The bit in the length of a piece that says that it is compressed.
pub(crate) const COMPRESSED: u32 = 1 << 31;

/// How much work goes into compressing: a level of zstd from 1 to 19.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(u8);

impl Level {
    const LOWEST: u8 = 1;
    const HIGHEST: u8 = 19;

    /// The level `number`, or the nearest one that there is.
    #[must_use]
    pub fn nearest(number: i64) -> Self {
        let number = number.clamp(Self::LOWEST.into(), Self::HIGHEST.into());
        Self(u8::try_from(number).unwrap_or(Self::HIGHEST))
    }

    /// The number of the level.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// The level that zstd itself uses without another wish.
impl Default for Level {
    fn default() -> Self {
        Self(3)
    }
}

//! Sums of chunks and pages. They are keyed: who writes a file cannot prepare two contents with one sum.

use serde::{Deserialize, Serialize};

/// The sum of a chunk. Chunks with equal sums are taken for equal, until the hash of the whole file proves it.
pub(crate) type ChunkSum = [u8; 16];

/// The length of the sum of a piece, bytes.
pub(crate) const PIECE_SUM: usize = 8;

/// The key of the sums of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// A key from 32 random bytes.
    pub(crate) fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The sum of a chunk.
    pub(crate) fn chunk(&self, bytes: &[u8]) -> ChunkSum {
        self.sum(bytes)
    }

    /// The sum of a piece of a page.
    pub(crate) fn piece(&self, bytes: &[u8]) -> [u8; PIECE_SUM] {
        self.sum(bytes)
    }

    fn sum<const LENGTH: usize>(&self, bytes: &[u8]) -> [u8; LENGTH] {
        let hash: [u8; 32] = blake3::keyed_hash(&self.0, bytes).into();
        let mut sum = [0; LENGTH];
        sum.copy_from_slice(&hash[..LENGTH]);
        sum
    }
}

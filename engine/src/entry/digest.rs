//! Hashes the content of a file as it arrives: BLAKE3 of all bytes or, for a file with very large
//! holes, BLAKE3 of its non-zero blocks.
//!
//! BLAKE3 processes every chunk, so a hole costs time in proportion to its size. The second method
//! skips a hole of any size at once. It does not depend on the position of the holes: an allocated
//! block of zeros counts like a hole.

use std::ffi::CStr;

use crate::entry::Meta;

/// The hash method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// BLAKE3 of all bytes.
    Plain,
    /// BLAKE3 in key derivation mode over each 64 KiB block that is not all zeros, preceded by its
    /// offset (64 bits, little-endian), and finally over the size (64 bits, little-endian).
    Runs,
}

/// A file with at least this many bytes in holes is hashed with [`Method::Runs`]; [`Method::Plain`]
/// would take seconds.
const LARGE_HOLES: u64 = 1 << 30;

const CONTEXT: &str = "backup_manager 2026 content of a file with large holes, version 1";

const BLOCK: usize = 64 * 1024;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

impl Method {
    /// The method for a new copy of a file with the metadata `meta`.
    #[must_use]
    pub fn of(meta: &Meta) -> Self {
        let holes = meta.size.saturating_sub(meta.allocated);
        if holes >= LARGE_HOLES { Self::Runs } else { Self::Plain }
    }

    /// Starts a hash.
    #[must_use]
    pub fn begin(self) -> Digest {
        Digest(match self {
            Self::Plain => State::Plain(Box::default()),
            Self::Runs => State::Runs(Box::new(Runs {
                hasher: blake3::Hasher::new_derive_key(CONTEXT),
                block: Vec::with_capacity(BLOCK),
                at: 0,
            })),
        })
    }
}

/// The hash of the content so far.
#[derive(Clone)]
pub struct Digest(State);

#[derive(Clone)]
enum State {
    Plain(Box<blake3::Hasher>),
    Runs(Box<Runs>),
}

#[derive(Clone)]
struct Runs {
    hasher: blake3::Hasher,
    /// The bytes so far of the block at offset `at`.
    block: Vec<u8>,
    at: u64,
}

impl Digest {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Plain(hasher) => {
                hasher.update(bytes);
            }
            State::Runs(runs) => runs.update(bytes),
        }
    }

    /// Adds `length` zeros. Returns `false` when `stop` ends it early.
    pub fn zeros(&mut self, length: u64, stop: &dyn Fn() -> bool) -> bool {
        match &mut self.0 {
            State::Plain(hasher) => {
                let mut left = length;
                while left > 0 {
                    if stop() {
                        return false;
                    }
                    for _ in 0..16 {
                        let count = left.min(BLOCK as u64);
                        hasher.update(&ZEROS[..count as usize]);
                        left -= count;
                    }
                }
            }
            State::Runs(runs) => runs.zeros(length),
        }
        true
    }

    /// The hash of the content so far.
    #[must_use]
    pub fn finish(&self) -> blake3::Hash {
        match &self.0 {
            State::Plain(hasher) => hasher.finalize(),
            State::Runs(runs) => runs.clone().finish(),
        }
    }
}

impl Runs {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            if self.block.len() == BLOCK {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn zeros(&mut self, length: u64) {
        let mut left = length;
        if !self.block.is_empty() {
            let count = left.min((BLOCK - self.block.len()) as u64);
            self.update(&ZEROS[..count as usize]);
            left -= count;
        }
        self.at += left / BLOCK as u64 * BLOCK as u64;
        self.update(&ZEROS[..(left % BLOCK as u64) as usize]);
    }

    fn end_block(&mut self) {
        if self.block != ZEROS[..self.block.len()] {
            self.hasher.update(&self.at.to_le_bytes());
            self.hasher.update(&self.block);
        }
        self.at += self.block.len() as u64;
        self.block.clear();
    }

    fn finish(mut self) -> blake3::Hash {
        self.end_block();
        self.hasher.update(&self.at.to_le_bytes());
        self.hasher.finalize()
    }
}

/// The first bytes of the BLAKE3 of a name.
pub(crate) type NameDigest = [u8; 8];

/// The digest of an entry's name.
pub(crate) fn name_digest(name: &CStr) -> NameDigest {
    first(&blake3::hash(name.to_bytes()))
}

/// The first bytes of a hash.
pub(crate) fn first<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hash.as_bytes()[..N]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEVER: &dyn Fn() -> bool = &|| false;

    #[test]
    fn a_hole_of_any_size_takes_no_time() {
        let mut digest = Method::Runs.begin();
        digest.update(b"head");
        assert!(digest.zeros(7 << 60, NEVER));
        digest.update(b"tail");
        let one = digest.finish();
        digest.zeros(1, NEVER);
        assert_ne!(one, digest.finish(), "its size counts");
    }

    proptest! {
        /// Pieces of data and zeros, fed in chunks of `at` bytes.
        #[test]
        fn the_hash_is_that_of_the_content_however_it_comes(
            pieces in prop::collection::vec((any::<bool>(), 0_usize..200_000), 0..8), at in 1_usize..90_000,
        ) {
            let mut content = Vec::new();
            let mut digests = [Method::Plain, Method::Runs].map(Method::begin);
            for (data, length) in pieces {
                let piece = vec![u8::from(data); length];
                for digest in &mut digests {
                    if data { digest.update(&piece) } else { digest.zeros(length as u64, NEVER); }
                }
                content.extend(piece);
            }
            let mut whole = Method::Runs.begin();
            content.chunks(at).for_each(|chunk| whole.update(chunk));
            prop_assert_eq!(digests[0].finish(), blake3::hash(&content));
            prop_assert_eq!(digests[1].finish(), whole.finish());
        }

        #[test]
        fn another_content_has_another_hash(at in 0_usize..300_000, size in 1_usize..300_000) {
            let hash = |content: &[u8]| {
                let mut digest = Method::Runs.begin();
                digest.update(content);
                digest.finish()
            };
            let mut content = vec![0; size];
            let zeros = hash(&content);
            content[at % size] = 1;
            prop_assert_ne!(zeros, hash(&content));
        }
    }
}

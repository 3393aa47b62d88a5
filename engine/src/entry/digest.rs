//! The hash of a file's content, taken as it comes: BLAKE3 of all bytes, or of a file with very large holes
//! BLAKE3 of what is not zero. BLAKE3 counts its chunks, so that a run of zeros costs time for each of them;
//! the second kind passes over a hole of any size at once. It does not depend on where the holes are: a
//! block of zeros that takes room counts as a hole does.

use crate::entry::Meta;

/// How content is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// BLAKE3 of all bytes.
    Plain,
    /// BLAKE3, keyed for this purpose, of the offset (64 bits, little-endian) and the bytes of each block of
    /// 64 KiB that is not all zeros, and at last of the size (64 bits, little-endian).
    Runs,
}

/// From this many bytes in holes on a file is hashed by [`Method::Runs`]: more would take seconds.
const LARGE_HOLES: u64 = 1 << 30;

const CONTEXT: &str = "backup_manager 2026 content of a file with large holes, version 1";

const BLOCK: usize = 64 * 1024;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

impl Method {
    /// The method for a new copy of a file that is as `meta` says.
    #[must_use]
    pub fn of(meta: &Meta) -> Self {
        let holes = meta.size.saturating_sub(meta.allocated);
        if holes >= LARGE_HOLES { Self::Runs } else { Self::Plain }
    }

    /// Begins a hash.
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

/// The hash of what has come so far.
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
    /// What has come of the block at `at`.
    block: Vec<u8>,
    at: u64,
}

impl Digest {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Plain(hasher) => {
                hasher.update(bytes);
            }
            State::Runs(runs) => runs.update(bytes),
        }
    }

    /// The next `length` bytes are zeros. `false` when `stop` says that no more is wanted.
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

    /// The hash of all that has come.
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
        /// Pieces of bytes and zeros, and where each begins.
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

//! The part of the memory limits that this process may use, when several processes share them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The smallest limit that a part leaves: a request of a reader fits into it.
const LEAST: usize = 1 << 20;

/// A process has one memory, so its share of it is global.
static PARTS: AtomicUsize = AtomicUsize::new(1);

/// Divides the memory limits of this process by `parts`. To be called before work begins.
pub fn share_memory(parts: NonZeroUsize) {
    PARTS.store(parts.get(), Ordering::Relaxed);
}

/// The part of a limit of `bytes` that this process may use.
#[must_use]
pub fn share_of(bytes: usize) -> usize {
    part_of(bytes, PARTS.load(Ordering::Relaxed))
}

fn part_of(bytes: usize, parts: usize) -> usize {
    (bytes / parts.max(1)).max(LEAST.min(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_divided_down_to_what_a_request_needs() {
        for (bytes, parts, expected) in [
            (28 << 20, 1, 28 << 20),
            (28 << 20, 4, 7 << 20),
            (28 << 20, 64, 1 << 20),
            (4096, 64, 4096),
            (4096, 0, 4096),
        ] {
            assert_eq!(part_of(bytes, parts), expected, "{bytes} {parts}");
        }
    }
}

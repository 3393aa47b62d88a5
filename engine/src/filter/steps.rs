//! The bound on match steps per entry.

use std::cell::Cell;

/// The number of match steps for one entry against all rules. Ordinary entries take a few thousand.
pub(crate) const STEPS: u32 = 1 << 22;

/// The match steps left for one entry. At zero no further rule matches, so the entry is kept.
#[derive(Debug)]
pub(crate) struct Steps(Cell<u32>);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(Cell::new(STEPS))
    }

    /// Takes one step. Returns whether one was left.
    pub(crate) fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether no step is left.
    pub(crate) fn spent(&self) -> bool {
        self.0.get() == 0
    }
}

//! How many steps of matching an entry may take.

use std::cell::Cell;

/// Steps of matching that one entry may take against all rules. An honest one takes some thousands.
pub(crate) const STEPS: u32 = 1 << 22;

/// The steps of matching that are left for one entry. When none is left no further rule holds, so that the entry stays
/// in.
#[derive(Debug)]
pub(crate) struct Steps(Cell<u32>);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(Cell::new(STEPS))
    }

    /// Takes one; whether it was there.
    pub(crate) fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }

    /// Whether none is left.
    pub(crate) fn spent(&self) -> bool {
        self.0.get() == 0
    }
}

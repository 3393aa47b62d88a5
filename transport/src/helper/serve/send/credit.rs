//! Counts how much the near end is ready to receive.

use std::sync::{Condvar, Mutex};

use engine::threads::{lock, unpoisoned};

use crate::helper::serve::send::outbox::Ended;

/// Bytes that may still be sent.
#[derive(Default)]
pub(crate) struct Credit {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    bytes: i64,
    ended: bool,
}

impl Credit {
    /// Takes `bytes`; waits while there is no credit. A single message may exceed the credit.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Ended> {
        let mut state = lock(&self.state);
        while state.bytes <= 0 && !state.ended {
            state = unpoisoned(self.more.wait(state));
        }
        if state.ended {
            return Err(Ended);
        }
        state.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(())
    }

    /// Takes `bytes` if there is credit. Returns whether it did.
    pub(crate) fn take_now(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let now = state.bytes > 0 && !state.ended;
        if now {
            state.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        now
    }

    /// Adds what the near end has taken.
    pub(crate) fn add(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.more.notify_all();
    }

    /// Ends all waiting.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.more.notify_all();
    }
}

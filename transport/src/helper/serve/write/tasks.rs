//! Counts what is being written, so that the process ends between two changes and not within one.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use engine::threads::{lock, unpoisoned};

/// The changes in progress.
#[derive(Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    count: usize,
    ended: bool,
}

/// A change in progress.
pub(crate) struct Task<'a>(&'a Tasks);

impl Tasks {
    /// Begins a change; `None` when the connection has ended.
    pub(crate) fn begin(&self) -> Option<Task<'_>> {
        let mut state = lock(&self.state);
        if state.ended {
            return None;
        }
        state.count += 1;
        Some(Task(self))
    }

    /// Lets no further change begin, and waits for those in progress.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        self.changed.notify_all();
        while state.count > 0 {
            state = unpoisoned(self.changed.wait(state));
        }
    }

    /// Waits. Returns whether a change is in progress then; `None` when the connection has ended.
    pub(crate) fn works_after(&self, time: Duration) -> Option<bool> {
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.ended);
        let (state, _) = unpoisoned(waited);
        (!state.ended).then_some(state.count > 0)
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.count -= 1;
        if state.count == 0 && state.ended {
            self.0.changed.notify_all();
        }
    }
}

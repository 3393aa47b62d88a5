//! How much of something may be in use at once by all threads together.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What may be in use.
#[derive(Debug)]
pub(crate) struct Budget {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug)]
struct State {
    most: u64,
    used: u64,
}

impl Budget {
    pub(crate) fn new(most: u64) -> Self {
        Self { state: Mutex::new(State { most, used: 0 }), more: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so much is free, and takes it. More than there is at all is taken when nothing else is.
    pub(crate) fn take(&self, amount: u64) -> Taken<'_> {
        let full =
            |state: &mut State| state.used > 0 && state.used.saturating_add(amount) > state.most;
        let waited = self.more.wait_while(self.state(), full);
        waited.unwrap_or_else(PoisonError::into_inner).used += amount;
        Taken { budget: self, amount }
    }

    /// Takes it if it is free now.
    pub(crate) fn try_take(&self, amount: u64) -> Option<Taken<'_>> {
        let mut state = self.state();
        if state.used > 0 && state.used.saturating_add(amount) > state.most {
            return None;
        }
        state.used += amount;
        Some(Taken { budget: self, amount })
    }

    /// How much is in use.
    pub(crate) fn used(&self) -> u64 {
        self.state().used
    }

    /// From now on there is no more than this, if it was more.
    pub(crate) fn lower(&self, most: u64) {
        let mut state = self.state();
        state.most = state.most.min(most.max(1));
    }
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    budget: &'a Budget,
    amount: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.budget.state().used -= self.amount;
        self.budget.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_in_use_than_there_is_but_for_one_that_is_alone() {
        let budget = Budget::new(10);
        let six = budget.take(6);
        assert!(budget.try_take(5).is_none());
        let four = budget.try_take(4).unwrap();
        drop(six);
        assert!(budget.try_take(20).is_none());
        drop(four);
        assert_eq!(budget.used(), 0);
        let all = budget.take(20);
        assert!(budget.try_take(1).is_none());
        budget.lower(3);
        drop(all);
        assert!(budget.try_take(2).is_some_and(|_two| budget.try_take(2).is_none()));
    }
}

//! A counting semaphore that limits concurrent work.

use std::sync::{Arc, Condvar, Mutex};

use crate::threads::lock::{lock, unpoisoned};

/// A counting semaphore.
#[derive(Debug)]
pub struct Semaphore {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    most: u64,
    taken: u64,
    /// Number of threads that wait until nothing is held. No other thread gets a permit meanwhile.
    waiting_alone: usize,
}

impl State {
    /// Whether a request for `permits` has to wait. A request for more permits than exist waits until no other is
    /// held.
    fn is_full_for(&self, permits: u64) -> bool {
        self.waiting_alone > 0 || self.taken > 0 && self.taken.saturating_add(permits) > self.most
    }
}

/// Permits that are held until the value is dropped.
#[derive(Debug)]
pub struct Permit {
    semaphore: Arc<Semaphore>,
    permits: u64,
}

impl Semaphore {
    /// A semaphore of `most` permits.
    #[must_use]
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { most, taken: 0, waiting_alone: 0 }),
            wake: Condvar::new(),
        })
    }

    /// Takes `permits` permits and waits for them if necessary.
    pub fn acquire(self: &Arc<Self>, permits: u64) -> Permit {
        let full = |state: &mut State| state.is_full_for(permits);
        unpoisoned(self.wake.wait_while(lock(&self.state), full)).taken += permits;
        Permit { semaphore: Arc::clone(self), permits }
    }

    /// Takes `permits` permits at once, also beyond the number of permits. For a thread that must not wait because others can
    /// return permits only after it has gone on.
    pub fn acquire_at_once(self: &Arc<Self>, permits: u64) -> Permit {
        lock(&self.state).taken += permits;
        Permit { semaphore: Arc::clone(self), permits }
    }

    /// Waits until no permit is held, and takes all.
    pub fn acquire_alone(self: &Arc<Self>) -> Permit {
        let mut state = lock(&self.state);
        state.waiting_alone += 1;
        let mut state = unpoisoned(self.wake.wait_while(state, |state| state.taken > 0));
        state.waiting_alone -= 1;
        let permits = state.most.max(1);
        state.taken += permits;
        Permit { semaphore: Arc::clone(self), permits }
    }

    /// Takes `permits` permits if they are free now.
    pub fn try_acquire(self: &Arc<Self>, permits: u64) -> Option<Permit> {
        let mut state = lock(&self.state);
        if state.is_full_for(permits) {
            return None;
        }
        state.taken += permits;
        Some(Permit { semaphore: Arc::clone(self), permits })
    }

    /// How many permits are held.
    #[must_use]
    pub fn taken(&self) -> u64 {
        lock(&self.state).taken
    }

    /// Lowers the number of permits to `most`, and never below 1.
    pub fn lower(&self, most: u64) {
        let mut state = lock(&self.state);
        state.most = state.most.min(most.max(1));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.semaphore.state).taken -= self.permits;
        self.semaphore.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_more_permits_than_exist_waits_until_none_is_held() {
        let semaphore = Semaphore::new(3);
        let (first, second) = (semaphore.acquire(2), semaphore.acquire(1));
        let waiting = std::thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || semaphore.acquire(10).permits
        });
        drop(first);
        assert!(!waiting.is_finished());
        drop(second);
        assert_eq!(waiting.join().unwrap(), 10);
        assert_eq!(semaphore.taken(), 0);
    }

    #[test]
    fn a_thread_that_wants_to_be_alone_is_not_overtaken() {
        let semaphore = Semaphore::new(3);
        let held = semaphore.acquire(1);
        let alone = std::thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || {
                let alone = semaphore.acquire_alone();
                let free = semaphore.try_acquire(1).is_some();
                drop(alone);
                free
            }
        });
        while let Some(permit) = semaphore.try_acquire(1) {
            drop(permit);
            std::thread::yield_now();
        }
        assert!(!alone.is_finished(), "it waits for the permit that is held");
        drop(held);
        assert!(!alone.join().unwrap());
        assert!(semaphore.try_acquire(3).is_some());
    }

    #[test]
    fn permits_are_limited_but_for_one_request_that_is_alone() {
        let semaphore = Semaphore::new(10);
        let six = semaphore.acquire(6);
        assert!(semaphore.try_acquire(5).is_none());
        let four = semaphore.try_acquire(4).unwrap();
        drop(six);
        assert!(semaphore.try_acquire(20).is_none());
        drop(four);
        assert_eq!(semaphore.taken(), 0);
        let all = semaphore.acquire(20);
        assert!(semaphore.try_acquire(1).is_none());
        semaphore.lower(3);
        drop(all);
        assert!(semaphore.try_acquire(2).is_some_and(|_two| semaphore.try_acquire(2).is_none()));
    }
}

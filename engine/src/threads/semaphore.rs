//! Lets only so much be under way at once: who wants more waits.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A number of places.
pub(crate) struct Gate {
    taken: Mutex<usize>,
    wake: Condvar,
    most: usize,
}

/// Places that are taken until this is dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    places: usize,
}

impl Gate {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(0), wake: Condvar::new(), most })
    }

    /// Takes `places`, and waits for them if need be. Who wants more than there are gets them when
    /// nobody else has any.
    pub(crate) fn pass(self: &Arc<Self>, places: usize) -> Pass {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken > 0 && *taken + places > self.most;
        let mut taken = self.wake.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner);
        *taken += places;
        Pass { gate: Arc::clone(self), places }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        *self.gate.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.places;
        self.gate.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_places_are_taken_but_by_one_who_needs_more() {
        let gate = Gate::new(3);
        let (first, second) = (gate.pass(2), gate.pass(1));
        let waiting = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.pass(10).places
        });
        drop(first);
        assert!(!waiting.is_finished());
        drop(second);
        assert_eq!(waiting.join().unwrap(), 10);
        assert_eq!(*gate.taken.lock().unwrap(), 0);
    }
}

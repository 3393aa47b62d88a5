//! A counting semaphore that limits concurrent work.

use std::sync::{Arc, Condvar, Mutex};

use crate::threads::lock::{lock, unpoisoned};

/// A counting semaphore.
pub(crate) struct Semaphore {
    taken: Mutex<usize>,
    wake: Condvar,
    most: usize,
}

/// Permits that are held until the value is dropped.
pub(crate) struct Permit {
    semaphore: Arc<Semaphore>,
    permits: usize,
}

impl Semaphore {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(0), wake: Condvar::new(), most })
    }

    /// Takes `permits` permits and waits for them if necessary. A request for more permits than
    /// exist waits until no other is held.
    pub(crate) fn acquire(self: &Arc<Self>, permits: usize) -> Permit {
        let taken = lock(&self.taken);
        let full = |taken: &mut usize| *taken > 0 && *taken + permits > self.most;
        let mut taken = unpoisoned(self.wake.wait_while(taken, full));
        *taken += permits;
        Permit { semaphore: Arc::clone(self), permits }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.semaphore.taken) -= self.permits;
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
        assert_eq!(*semaphore.taken.lock().unwrap(), 0);
    }
}

//! Work for a few threads: last in, first out, which keeps a walk near the depth first order and its
//! memory small. It ends when nothing is left and nobody can add more.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Tasks that wait, and how many hands may still add to them.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    busy: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { waiting: Vec::new(), busy: 0, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub(crate) fn push(&self, task: T) {
        let mut state = self.state();
        if !state.closed {
            state.waiting.push(task);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Throws away what waits; workers end after the task they are at.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.wake.notify_all();
        drop(waiting);
    }

    /// Works until everything is done: `threads` threads call `work` with one task after the other.
    pub(crate) fn work(&self, threads: usize, work: impl Fn(T) + Sync)
    where
        T: Send,
    {
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.worker(&work));
            }
            self.worker(&work);
        });
    }

    fn worker(&self, work: &impl Fn(T)) {
        while let Some(task) = self.next() {
            let _busy = Busy(self);
            work(task);
        }
    }

    fn next(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(task) = state.waiting.pop() {
                state.busy += 1;
                return Some(task);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn release(&self) {
        let mut state = self.state();
        state.busy -= 1;
        if state.busy == 0 && state.waiting.is_empty() {
            self.wake.notify_all();
        }
    }
}

/// A worker that is at a task.
struct Busy<'a, T>(&'a Queue<T>);

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        // The other workers must not wait for one that panicked; the scope passes its panic on.
        if std::thread::panicking() {
            self.0.close();
        }
        self.0.release();
    }
}

/// How many threads a walk uses: one a core.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn tasks_that_add_tasks_are_all_done() {
        let (queue, sum) = (Queue::new(), AtomicU64::new(0));
        queue.push(10_u64);
        queue.work(3, |n| {
            sum.fetch_add(1, Ordering::Relaxed);
            for _ in 0..2 {
                if n > 0 {
                    queue.push(n - 1);
                }
            }
        });
        assert_eq!(sum.into_inner(), (1 << 11) - 1);
    }

    #[test]
    fn a_worker_that_panics_ends_all() {
        let queue = Queue::new();
        queue.push(0);
        let work = || queue.work(2, |_| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    }

    #[test]
    fn a_closed_queue_ends_its_workers() {
        let queue = Queue::new();
        queue.push(0);
        queue.work(2, |_| {
            queue.push(0);
            queue.close();
        });
    }
}

//! Work for a few threads: last in, first out, which keeps a walk near the depth first order and its
//! memory small. It ends when nothing is left and nobody can add more.
//!
//! Requests whose answers come later wait in a lane of their own, so that only so many are out at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Tasks that wait, and how many hands may still add to them.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    /// How many requests may be out at once.
    most_out: usize,
}

struct State<T> {
    waiting: Vec<T>,
    requests: Vec<T>,
    /// Workers at a task.
    busy: usize,
    /// Requests of this queue that are not answered.
    out: usize,
    /// Others who may still add tasks.
    held: usize,
    closed: bool,
}

impl<T> State<T> {
    /// Whether nobody is left who could add a task.
    fn idle(&self) -> bool {
        self.busy == 0 && self.out == 0 && self.held == 0 && self.waiting.is_empty()
    }
}

/// Somebody who may still add tasks to a queue.
pub(crate) struct Hold<T> {
    queue: Arc<Queue<T>>,
    of_request: bool,
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if self.of_request {
            state.out -= 1;
        } else {
            state.held -= 1;
        }
        drop(state);
        self.queue.wake.notify_all();
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(most_out: usize) -> Self {
        let (waiting, requests) = (Vec::new(), Vec::new());
        let state = State { waiting, requests, busy: 0, out: 0, held: 0, closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new(), most_out }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub(crate) fn push(&self, task: T) {
        self.add(|state| state.waiting.push(task));
    }

    /// Adds a task that is a request: from its start it counts as out, until its [`Hold`] is dropped.
    pub(crate) fn push_request(&self, task: T) {
        self.add(|state| state.requests.push(task));
    }

    fn add(&self, push: impl FnOnce(&mut State<T>)) {
        let mut state = self.state();
        if !state.closed {
            push(&mut state);
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Keeps the queue from ending until the returned value is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold<T> {
        self.state().held += 1;
        Hold { queue: Arc::clone(self), of_request: false }
    }

    /// Takes over a request that a worker has just begun: it is out until the returned value is dropped.
    pub(crate) fn begun(self: &Arc<Self>) -> Hold<T> {
        Hold { queue: Arc::clone(self), of_request: true }
    }

    /// Throws away what waits; workers end after the task they are at.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let dropped = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.requests));
        drop(state);
        self.wake.notify_all();
        drop(dropped);
    }

    /// Works until everything is done: `threads` threads call `work` with one task after the other.
    pub(crate) fn work(&self, threads: usize, work: impl Fn(T) + Sync)
    where
        T: Send,
    {
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Where no more threads may be had, the ones there are do it.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || self.worker(&work));
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
            if state.out < self.most_out
                && let Some(task) = state.requests.pop()
            {
                state.busy += 1;
                state.out += 1;
                return Some(task);
            }
            if state.idle() {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn release(&self) {
        let mut state = self.state();
        state.busy -= 1;
        if state.idle() {
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
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn tasks_that_add_tasks_are_all_done() {
        let (queue, sum) = (Queue::new(1), AtomicU64::new(0));
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
    fn only_so_many_requests_are_out_at_once_and_all_answers_are_waited_for() {
        let (queue, out, done) = (Arc::new(Queue::new(2)), AtomicU64::new(0), AtomicU64::new(0));
        (0..20).for_each(|request| queue.push_request(request));
        std::thread::scope(|scope| {
            queue.work(2, |task| {
                if task >= 100 {
                    done.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                assert!(out.fetch_add(1, Ordering::SeqCst) < 2);
                let hold = queue.begun();
                let (queue, out) = (&queue, &out);
                scope.spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    out.fetch_sub(1, Ordering::SeqCst);
                    queue.push(100);
                    drop(hold);
                });
            });
        });
        assert_eq!(done.into_inner(), 20);
    }

    #[test]
    fn a_worker_that_panics_ends_all() {
        let queue = Queue::new(1);
        queue.push(0);
        let work = || queue.work(2, |_| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    }

    #[test]
    fn a_closed_queue_ends_its_workers() {
        let queue = Queue::new(1);
        queue.push(0);
        queue.work(2, |_| {
            queue.push(0);
            queue.close();
        });
    }
}

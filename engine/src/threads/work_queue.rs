//! A work queue for worker threads. It is last-in-first-out, which keeps a walk close to
//! depth-first order and its memory small. It ends when it is empty and no thread can add tasks.
//!
//! Requests that are answered later wait in a separate queue, which limits how many are in flight.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::threads::lock::{lock, unpoisoned};

/// Waiting tasks, and a count of the holders that can still add tasks.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    /// The highest number of requests in flight.
    most_out: usize,
}

struct State<T> {
    waiting: Vec<T>,
    requests: Vec<T>,
    /// Workers that run a task.
    busy: usize,
    /// Requests without an answer yet.
    out: usize,
    /// Other holders that can still add tasks.
    held: usize,
    closed: bool,
    /// A thread outside of the queue panicked while it held a guard.
    broken: bool,
}

impl<T> State<T> {
    /// Whether no task waits and no holder can add one.
    fn idle(&self) -> bool {
        self.busy == 0 && self.out == 0 && self.held == 0 && self.waiting.is_empty()
    }
}

/// While it exists, the queue does not end.
pub(crate) struct WorkGuard<T> {
    queue: Arc<Queue<T>>,
    /// How many requests it counts as.
    requests: usize,
}

impl<T> Drop for WorkGuard<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        // What this thread was to deliver is missing.
        state.broken |= std::thread::panicking();
        if self.requests > 0 {
            state.out -= self.requests;
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
        let state =
            State { waiting, requests, busy: 0, out: 0, held: 0, closed: false, broken: false };
        Self { state: Mutex::new(state), wake: Condvar::new(), most_out }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }

    /// Adds a task.
    pub(crate) fn push(&self, task: T) {
        self.add(|state| state.waiting.push(task));
    }

    /// Adds a request. It is in flight from its start until its [`WorkGuard`] is dropped.
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
    pub(crate) fn hold(self: &Arc<Self>) -> WorkGuard<T> {
        self.state().held += 1;
        WorkGuard { queue: Arc::clone(self), requests: 0 }
    }

    /// Takes over a request that a worker just started. It is in flight until the returned value is
    /// dropped.
    pub(crate) fn begun(self: &Arc<Self>) -> WorkGuard<T> {
        WorkGuard { queue: Arc::clone(self), requests: 1 }
    }

    /// As [`Queue::hold`], and until then fewer requests start, as if this were `requests` of them in flight.
    pub(crate) fn hold_as(self: &Arc<Self>, requests: usize) -> WorkGuard<T> {
        if requests == 0 {
            return self.hold();
        }
        self.state().out += requests;
        WorkGuard { queue: Arc::clone(self), requests }
    }

    /// Discards waiting tasks. Workers end after their current task.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let dropped = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.requests));
        drop(state);
        self.wake.notify_all();
        drop(dropped);
    }

    /// Runs all tasks: `threads` threads call `work` with one task at a time.
    ///
    /// # Panics
    /// A task, or a thread that held a guard, panicked.
    pub(crate) fn work(&self, threads: usize, work: impl Fn(T) + Sync)
    where
        T: Send,
    {
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // If the system refuses more threads, the existing ones do the work.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || self.worker(&work));
            }
            self.worker(&work);
        });
        assert!(!self.state().broken, "a thread that delivers answers has ended");
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
            state = unpoisoned(self.wake.wait(state));
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

/// A worker that runs a task.
struct Busy<'a, T>(&'a Queue<T>);

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        // Other workers must not wait for one that panicked. The scope propagates its panic.
        if std::thread::panicking() {
            self.0.close();
        }
        self.0.release();
    }
}

/// The number of threads of a walk: one per core.
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

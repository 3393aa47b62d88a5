//! The threads that answer requests. Requests for single entries, listings, small files, large files, and deltas
//! have threads of their own, so that a slow one delays only its kind.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use engine::threads::{lock, unpoisoned};

/// The threads of most kinds.
const THREADS: usize = 2;

/// Work for a thread.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A single entry. A thread of the near end waits for it.
    Entry,
    Listing,
    SmallFile,
    LargeFile,
    /// A step of a file that is sent as differences.
    Delta,
    /// A range of a large file. They are sent in the order of the requests.
    Range,
}

/// The threads and their queues. They end when this is dropped and the queues are empty.
pub(crate) struct Workers([Arc<Queue>; 6]);

/// Tasks of one kind.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    /// Threads that wait for a task.
    idle: usize,
    ended: bool,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let workers = Self(Default::default());
        let kinds = ["entries", "listings", "small-files", "large-files", "deltas"];
        let kinds = kinds.map(|name| (name, THREADS)).into_iter().chain([("ranges", 1)]);
        for ((name, threads), queue) in kinds.zip(&workers.0) {
            for _ in 0..threads {
                let queue = Arc::clone(queue);
                let thread = std::thread::Builder::new().name(name.to_owned());
                thread.spawn(move || queue.work())?;
            }
        }
        Ok(workers)
    }

    /// Queues a task.
    pub(crate) fn add(&self, kind: Kind, task: Task) {
        let queue = &self.0[kind as usize];
        let mut waiting = lock(&queue.waiting);
        waiting.tasks.push_back(task);
        if waiting.idle > 0 {
            queue.more.notify_one();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for queue in &self.0 {
            lock(&queue.waiting).ended = true;
            queue.more.notify_all();
        }
    }
}

impl Queue {
    fn work(&self) {
        while let Some(task) = self.next() {
            task();
        }
    }

    /// Waits for a task. `None` when no more come.
    fn next(&self) -> Option<Task> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(task) = waiting.tasks.pop_front() {
                return Some(task);
            }
            if waiting.ended {
                return None;
            }
            waiting.idle += 1;
            waiting = unpoisoned(self.more.wait(waiting));
            waiting.idle -= 1;
        }
    }
}

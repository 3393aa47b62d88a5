//! The threads that answer requests. Requests for single entries, listings, small files, large files, and deltas
//! have threads of their own, so that a slow one delays only its kind.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use engine::threads::lock;

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
pub(crate) struct Workers([Sender<Task>; 6]);

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let queue = |(name, threads): (&str, usize)| {
            let (tasks, queue) = channel::<Task>();
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..threads {
                let queue = Arc::clone(&queue);
                let thread = std::thread::Builder::new().name(name.to_owned());
                thread.spawn(move || work(&queue))?;
            }
            io::Result::Ok(tasks)
        };
        let kinds = ["entries", "listings", "small-files", "large-files", "deltas"];
        let [entries, listings, small, large, deltas] = kinds.map(|name| queue((name, THREADS)));
        let ranges = queue(("ranges", 1));
        Ok(Self([entries?, listings?, small?, large?, deltas?, ranges?]))
    }

    /// Queues a task.
    pub(crate) fn add(&self, kind: Kind, task: Task) {
        let queue = &self.0[kind as usize];
        // The threads live as long as their queue.
        let _ = queue.send(task);
    }
}

fn work(queue: &Mutex<Receiver<Task>>) {
    loop {
        let task = lock(queue).recv();
        match task {
            Ok(task) => task(),
            Err(_) => return,
        }
    }
}

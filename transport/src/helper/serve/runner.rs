//! Runs requests on the threads, and keeps those that have no final answer yet.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use engine::threads::lock;

use crate::helper::serve::folders::Violation;
use crate::helper::serve::send::sinks::{Line, Reply};
use crate::helper::serve::workers::{Kind, Workers};

/// The most requests without an answer. A near end has fewer in flight.
const MOST: usize = 16 * 1024;

/// Requests that have no final answer yet, by their numbers.
pub(crate) type Running = Arc<Mutex<HashMap<u32, Arc<AtomicBool>>>>;

/// The threads, and the requests that they work on.
pub(crate) struct Runner {
    pub(crate) line: Arc<Line>,
    running: Running,
    workers: Workers,
}

impl Runner {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(line: Arc<Line>) -> io::Result<Self> {
        Ok(Self { line, running: Arc::default(), workers: Workers::start()? })
    }

    /// The near end wants no more answers to a request.
    pub(crate) fn cancel(&self, request: u32) {
        if let Some(cancelled) = lock(&self.running).get(&request) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Queues the work that answers the request `number`.
    ///
    /// # Errors
    /// The number is in use, or there are too many requests.
    pub(crate) fn run(
        &self,
        number: u32,
        kind: Kind,
        work: impl FnOnce(&Reply) + Send + 'static,
    ) -> Result<(), Violation> {
        let reply = self.begin(number)?;
        let running = Arc::clone(&self.running);
        self.add(kind, move || {
            work(&reply);
            lock(&running).remove(&number);
        });
        Ok(())
    }

    /// Registers the request `number`.
    ///
    /// # Errors
    /// The number is in use, or there are too many requests.
    pub(crate) fn begin(&self, number: u32) -> Result<Reply, Violation> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut running = lock(&self.running);
        if running.len() >= MOST {
            return Err(Violation("too many requests at a time"));
        }
        if running.insert(number, Arc::clone(&cancelled)).is_some() {
            return Err(Violation("two requests with one number"));
        }
        Ok(Reply { line: Arc::clone(&self.line), number, cancelled })
    }

    /// The requests that have no final answer yet.
    pub(crate) fn running(&self) -> Running {
        Arc::clone(&self.running)
    }

    /// Queues work.
    pub(crate) fn add(&self, kind: Kind, work: impl FnOnce() + Send + 'static) {
        self.workers.add(kind, Box::new(work));
    }
}

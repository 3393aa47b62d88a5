//! Receives what the far end reports while it copies.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::threads::lock;
use engine::{Context, Monitor, Progress, Stop};

use crate::helper::protocol::report::{SentReport, SentResult, event};

/// The far end reports every second. It may be busy for a while.
const LEAST: Duration = Duration::from_secs(20);

/// The reports of one attempt.
pub(crate) struct Reports {
    monitor: Arc<dyn Monitor>,
    progress: Arc<Progress>,
    stop: Arc<Stop>,
    limit: Duration,
    heard: Mutex<Instant>,
    result: Mutex<Option<SentResult>>,
}

impl Reports {
    /// Passes on what is reported to `context`. After `limit` without a report the far end counts as dead.
    pub(crate) fn new(context: &Context, limit: Duration) -> Self {
        Self {
            monitor: Arc::clone(&context.monitor),
            progress: Arc::clone(&context.progress),
            stop: Arc::clone(&context.stop),
            limit: limit.max(LEAST),
            heard: Mutex::new(Instant::now()),
            result: Mutex::default(),
        }
    }

    /// Takes a report; an empty one says that this end was busy, so that it could take none. Returns whether the copy goes on.
    pub(crate) fn told(&self, what: &[u8]) -> bool {
        *lock(&self.heard) = Instant::now();
        if what.is_empty() {
            return !self.stop.asked();
        }
        let Ok(report) = serde_json::from_slice::<SentReport>(what) else { return false };
        report.events.into_iter().filter_map(event).for_each(|event| self.monitor.event(&event));
        report.progress.show(&self.progress);
        if let Some(result) = report.result {
            *lock(&self.result) = Some(result);
        }
        !self.stop.asked()
    }

    /// Requests the end of the copy.
    pub(crate) fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    /// Whether the result was reported.
    pub(crate) fn has_result(&self) -> bool {
        lock(&self.result).is_some()
    }

    /// The result, if it was reported.
    pub(crate) fn result(&self) -> Option<SentResult> {
        lock(&self.result).take()
    }

    /// Whether the far end has been silent for too long.
    pub(crate) fn is_silent(&self) -> bool {
        lock(&self.heard).elapsed() > self.limit
    }

    /// What is said of a silent far end.
    pub(crate) fn silence(&self) -> String {
        format!("no report within {} seconds", self.limit.as_secs())
    }
}

//! The surroundings of a run: clock, cancellation, progress, events.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::fs::file_system::SyncFileSystem;
use crate::monitor::items::Items;
use crate::monitor::{Monitor, Progress};
use crate::threads::cancel::Stop;

/// The surroundings of a run, passed to each part of it.
#[derive(Clone)]
pub struct Context {
    /// The clock.
    pub now: fn() -> DateTime<Utc>,
    /// Requests an early end.
    pub stop: Arc<Stop>,
    /// Counters for displays.
    pub progress: Arc<Progress>,
    /// Receives events.
    pub monitor: Arc<dyn Monitor>,
    /// Syncs the file system of the destination. It may run in another process, so that a stop need
    /// not wait for it.
    pub sync: SyncFileSystem,
    /// Receives each change, if set (`--itemize-changes`).
    pub items: Option<Items>,
}

//! What surrounds a run: clock, cancellation, progress, events.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::fs::file_system::SyncFileSystem;
use crate::monitor::items::Items;
use crate::monitor::{Monitor, Progress};
use crate::threads::cancel::Stop;

/// What surrounds a run.
#[derive(Clone)]
pub struct Context {
    /// The clock.
    pub now: fn() -> DateTime<Utc>,
    /// Ends the run early.
    pub stop: Arc<Stop>,
    /// Counters for displays.
    pub progress: Arc<Progress>,
    /// Receives events.
    pub monitor: Arc<dyn Monitor>,
    /// Syncs the destination's file system; may be done outside of this process, so that a stop need not wait.
    pub sync: SyncFileSystem,
    /// Is told of each change, if anybody is.
    pub items: Option<Items>,
}

//! The context of a job's work on its snapshots.

use std::sync::Arc;

use chrono::Utc;
use engine::{Context, Monitor, Progress, Stop};

use crate::jobs::sync_child;

/// The context with this machine's clock. File systems are synced in a child process, which can be left alone when it hangs.
pub(crate) fn context(
    stop: &Arc<Stop>,
    progress: &Arc<Progress>,
    monitor: Arc<dyn Monitor>,
) -> Context {
    Context {
        now: Utc::now,
        stop: Arc::clone(stop),
        progress: Arc::clone(progress),
        monitor,
        sync: sync_child::in_a_child,
        items: None,
    }
}

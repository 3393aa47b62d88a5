//! What the engine reports while it works: events, and counters that can be read at any time.

pub(crate) mod context;
pub(crate) mod event;
pub(crate) mod items;
pub(crate) mod progress;

pub use self::event::{Instead, Problem};
pub use self::items::{ItemSink, ItemizedChange, Items};
pub use self::progress::{Phase, Progress, WalkProgress};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::monitor::event::Event;

/// Receives the events of a run. Passed as the last argument; every worker thread calls it.
pub trait Monitor: Send + Sync {
    /// Receives one event. Counters are in [`Progress`], not here.
    fn event(&self, event: &Event);
}

/// A monitor that ignores all events.
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _event: &Event) {}
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

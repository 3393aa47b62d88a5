//! Asks worker threads to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a run to end soon. Set from a signal handler's thread, read everywhere.
#[derive(Debug, Default)]
pub struct Stop {
    pub(crate) asked: AtomicBool,
    /// What this is a part of: asked for too when that is.
    pub(crate) whole: Option<Arc<Self>>,
}

impl Stop {
    /// One that ends a part of what `whole` ends.
    #[must_use]
    pub fn within(whole: &Arc<Self>) -> Self {
        Self { asked: AtomicBool::new(false), whole: Some(Arc::clone(whole)) }
    }

    /// From now on everything ends as soon as it can.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.whole.as_ref().is_some_and(|whole| whole.asked())
    }
}

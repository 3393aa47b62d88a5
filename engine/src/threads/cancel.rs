//! Requests the end of worker threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to end a run soon. The signal thread sets it; every thread may read it.
#[derive(Debug, Default)]
pub struct Stop {
    pub(crate) asked: AtomicBool,
    /// If set, a request there applies here too.
    pub(crate) whole: Option<Arc<Self>>,
}

impl Stop {
    /// Creates a request that also applies when `whole` is requested.
    #[must_use]
    pub fn within(whole: &Arc<Self>) -> Self {
        Self { asked: AtomicBool::new(false), whole: Some(Arc::clone(whole)) }
    }

    /// Requests the end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether the end was requested.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.whole.as_ref().is_some_and(|whole| whole.asked())
    }
}

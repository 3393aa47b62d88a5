//! Requests the end of worker threads.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Says whether the end is requested.
type Check = Box<dyn Fn() -> bool + Send + Sync>;

/// A request to end a run soon. The signal thread sets it; every thread may read it.
#[derive(Default)]
pub struct Stop {
    pub(crate) asked: AtomicBool,
    /// If set, a request there applies here too.
    pub(crate) whole: Option<Arc<Self>>,
    /// Asked too, if set.
    check: RwLock<Option<Check>>,
}

impl fmt::Debug for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Stop").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Stop {
    /// Creates a request that also applies when `whole` is requested.
    #[must_use]
    pub fn within(whole: &Arc<Self>) -> Self {
        Self { whole: Some(Arc::clone(whole)), ..Self::default() }
    }

    /// Requests the end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether the end was requested.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
            || self.whole.as_ref().is_some_and(|whole| whole.asked())
            || self.is_found()
    }

    fn is_found(&self) -> bool {
        let check = self.check.read().unwrap_or_else(PoisonError::into_inner);
        check.as_ref().is_some_and(|check| check())
    }

    /// Requests the end when `check` returns true, from now until the next call. [`Stop::asked`] calls it each time.
    pub(crate) fn ask_when(&self, check: Option<Check>) {
        *self.check.write().unwrap_or_else(PoisonError::into_inner) = check;
    }
}

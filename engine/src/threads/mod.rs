//! Work queue, semaphore, locks and cancellation of worker threads.

pub(crate) mod cancel;
pub(crate) mod lock;
pub(crate) mod semaphore;
pub(crate) mod work_queue;

pub use self::lock::{lock, unpoisoned};
pub use self::semaphore::{Permit, Semaphore};

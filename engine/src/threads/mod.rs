//! Work queue, semaphore, locks and cancellation of worker threads.

pub mod cancel;
pub mod lock;
pub(crate) mod semaphore;
pub(crate) mod work_queue;

//! Work queue, semaphore, locks and cancellation of worker threads.

pub mod cancel;
pub mod lock;
pub mod semaphore;
pub(crate) mod work_queue;

//! Work queue, semaphore and cancellation of worker threads.

pub mod cancel;
pub(crate) mod semaphore;
pub(crate) mod work_queue;

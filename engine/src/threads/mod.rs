//! Work queue, semaphore, locks and cancellation of worker threads; what a process gets of memory and of the disk's time.

pub(crate) mod cancel;
pub(crate) mod io_priority;
pub(crate) mod lock;
pub(crate) mod memory_share;
pub(crate) mod semaphore;
pub(crate) mod work_queue;

pub use self::io_priority::{IoClass, set_io_priority};
pub use self::lock::{lock, unpoisoned};
pub use self::memory_share::{share_memory, share_of};
pub use self::semaphore::{Permit, Semaphore};

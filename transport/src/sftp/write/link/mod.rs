//! The connection that a restore uses for writing.

pub(crate) mod error;
pub(crate) mod request_batch;
pub(crate) mod scheduler;
pub(crate) mod session;

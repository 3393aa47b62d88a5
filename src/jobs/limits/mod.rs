//! Applies the window and the priority of a job.

pub(crate) mod priority;
pub(crate) mod window;

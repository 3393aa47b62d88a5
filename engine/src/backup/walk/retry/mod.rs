//! A second look at entries at the end of a walk: those that could not be read, and those that seemed to be gone.

pub(crate) mod unreadable;
pub(crate) mod vanished;

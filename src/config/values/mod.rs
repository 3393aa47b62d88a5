//! The types of settings that are more than a number, a text or a path.

pub(crate) mod alert_channels;
pub(crate) mod bandwidth;
pub(crate) mod io_priority;
pub(crate) mod log_format;

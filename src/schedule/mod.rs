//! Parses crontabs and finds the due lines. Does no I/O: the clock and the zone are arguments.

pub(crate) mod crontab;
pub(crate) mod due;
pub(crate) mod times;
pub(crate) mod zone;

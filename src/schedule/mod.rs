//! Times of day and of crontabs: which lines are due, when a window is open, which rate holds. Does no I/O: the
//! clock and the zone are arguments.

pub(crate) mod clock_time;
pub(crate) mod crontab;
pub(crate) mod due;
pub(crate) mod times;
pub(crate) mod timetable;
pub(crate) mod window;
pub(crate) mod zone;

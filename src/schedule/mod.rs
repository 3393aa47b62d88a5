//! What a crontab says, and which of its lines are due: pure, the clock and the zone are arguments.

pub(crate) mod crontab;
pub(crate) mod due;
pub(crate) mod times;
pub(crate) mod zone;

//! What a crontab says, and which of its lines are due: pure, the clock and the zone are arguments.

mod agenda;
mod crontab;
mod times;
mod zone;

pub(crate) use self::agenda::{Agenda, Due};
pub(crate) use self::crontab::{Crontab, Line};
pub(crate) use self::zone::{Zone, of_environment};

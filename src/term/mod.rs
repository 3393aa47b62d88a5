//! Output to a terminal: colours, tables, units, quoting.

pub(crate) mod colour;
pub(crate) mod draw_target;
pub(crate) mod harmless;
pub(crate) mod local_time;
pub(crate) mod marks;
pub(crate) mod out;
pub(crate) mod password;
pub(crate) mod print;
pub(crate) mod shell;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod units;
pub(crate) mod wrap;

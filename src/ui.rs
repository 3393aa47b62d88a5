//! What people see: progress, summaries, the lines of a dry run, tables, the state of a job.

pub(crate) mod colour;
pub(crate) mod explain;
pub(crate) mod forecast;
pub(crate) mod harmless;
pub(crate) mod health;
pub(crate) mod items;
pub(crate) mod out;
pub(crate) mod progress;
pub(crate) mod restored;
pub(crate) mod shell;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod units;

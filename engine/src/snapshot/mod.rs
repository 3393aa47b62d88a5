//! Snapshots as values: name, history, selection, retention, layout. Pure.

pub mod history;
pub mod host;
pub mod layout;
pub mod name;
pub mod retention;
pub mod spec;

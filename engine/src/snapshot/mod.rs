//! What a snapshot is, as values: name, history, selection, retention, layout, report. Pure.

pub mod history;
pub mod host;
pub mod layout;
pub mod name;
pub mod retention;
pub mod spec;

//! The sync engine of backup_manager: list -> compare -> plan -> apply -> seal.
//!
//! It owns the source interface and knows no terminal and no ssh.

pub(crate) mod attempt;
pub mod attrs;
pub(crate) mod backups;
pub(crate) mod build;
pub mod bytes;
pub mod catalog;
pub mod dir;
pub mod durable;
pub mod entry;
pub mod error;
pub mod event;
pub(crate) mod explore;
pub(crate) mod folder;
pub mod forecast;
pub(crate) mod gate;
pub mod history;
pub mod hold;
pub mod job;
pub(crate) mod judge;
pub(crate) mod kept;
pub mod layout;
pub mod monitor;
pub(crate) mod mount;
pub mod name;
pub(crate) mod pacing;
pub(crate) mod place;
pub mod plan;
pub(crate) mod preview;
pub(crate) mod probe;
pub mod prune;
pub(crate) mod queue;
pub mod record;
pub mod report;
pub mod retention;
pub mod run;
pub(crate) mod seal;
pub mod select;
pub mod source;
pub(crate) mod tally;
pub(crate) mod tree;
pub mod usage;
pub(crate) mod walk;

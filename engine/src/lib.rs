//! The sync engine of backup_manager: list -> compare -> plan -> apply -> seal.
//!
//! It owns the source interface and knows no terminal and no ssh.

pub(crate) mod attempt;
pub mod attrs;
pub(crate) mod backups;
pub(crate) mod build;
pub mod bytes;
pub mod dir;
pub mod durable;
pub(crate) mod empty;
pub mod entry;
pub mod error;
pub mod event;
pub mod explain;
pub(crate) mod fake;
pub mod filter;
pub(crate) mod folder;
pub mod forecast;
pub(crate) mod gate;
pub(crate) mod glance;
pub mod history;
pub mod itemize;
pub mod job;
pub(crate) mod judge;
pub(crate) mod kept;
pub mod layout;
pub mod limit;
pub mod look;
pub mod monitor;
pub mod mount;
pub mod name;
pub(crate) mod pacing;
pub(crate) mod place;
pub mod plan;
pub(crate) mod preview;
pub(crate) mod probe;

pub(crate) mod queue;
pub mod reached;
pub mod record;
pub mod report;
pub(crate) mod rule_files;
pub mod run;
pub(crate) mod seal;
pub mod selection;
pub mod shape;
pub mod source;
pub mod tailored;
pub(crate) mod tally;
pub(crate) mod tree;
pub(crate) mod walk;

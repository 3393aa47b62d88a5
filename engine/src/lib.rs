//! The sync engine of backup_manager: list -> compare -> plan -> apply -> seal.
//!
//! It owns the source interface and knows no terminal and no ssh.

pub mod attrs;
pub mod bytes;
pub mod dir;
pub mod entry;
pub mod error;
pub mod event;
pub mod job;
pub mod layout;
pub mod monitor;
pub mod name;
pub mod plan;
pub mod report;
pub mod run;
pub mod source;

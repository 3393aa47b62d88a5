//! The sync engine of backup_manager: list -> compare -> plan -> apply -> seal.
//!
//! It owns the source interface and knows no terminal and no ssh.

pub mod backup;
pub mod entry;
pub mod error;
pub mod filter;
pub mod fs;
pub mod inspect;
pub mod job;
pub mod monitor;
pub mod repository;
pub mod restore;
pub mod snapshot;
pub mod source;
pub mod threads;
pub mod verify;

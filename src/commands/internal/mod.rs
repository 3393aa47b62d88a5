//! Verbs that the program starts as child processes of its own.

pub(crate) mod sync_file_system;
pub(crate) mod try_hosts;

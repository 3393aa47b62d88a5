//! Commands that the program starts as its own child processes.

pub(crate) mod own_hash;
pub(crate) mod sync_file_system;
pub(crate) mod try_hosts;

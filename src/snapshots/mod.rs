//! Opens the backups folder and selects the snapshots that a command needs.

pub(crate) mod open;
pub(crate) mod restore_host;

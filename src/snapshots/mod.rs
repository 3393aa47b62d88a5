//! Opens the backups folder and selects the snapshots that a command needs.

pub(crate) mod only_folder;
pub(crate) mod open;
pub(crate) mod recorded_sources;
pub(crate) mod restore_host;
pub(crate) mod search;

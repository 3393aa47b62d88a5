//! Opens the backups folder and selects the snapshots that a command needs.

pub(crate) mod objects;
pub(crate) mod only_folder;
pub(crate) mod open;
pub(crate) mod path_versions;
pub(crate) mod recorded_sources;
pub(crate) mod restore_host;
pub(crate) mod search;
pub(crate) mod sizes;

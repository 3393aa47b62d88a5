//! How a host is reached: the helper that is found or copied there, keys, sudo, and what `doctor` says.

mod choice;
mod doctor;
pub(crate) mod forced_command;
mod install;
mod install_refused;
mod install_restore;
mod sudo;

//! Starts `ssh`, opens channels, and classifies ssh's errors.

pub mod address;
pub mod connect_error;
pub(crate) mod connection;
pub(crate) mod control_dir;
pub mod host_key;
pub(crate) mod jump;
pub mod key_file;
pub(crate) mod process;
pub(crate) mod settings;
pub(crate) mod software;
pub mod user_entry;

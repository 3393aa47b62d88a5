//! Folders of another machine as a source: SFTP version 3 through the system's `ssh`.

mod address;

pub use address::{Address, BadAddress, Part};

//! Where sources come from: local folders and SFTP. Implements the engine's source interface.

pub mod local;
mod read;
pub mod sftp;
mod subvolume;

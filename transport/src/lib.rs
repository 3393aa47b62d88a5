//! Where sources come from: local folders and SFTP. Implements the engine's source interface.

pub mod local;
pub mod sftp;

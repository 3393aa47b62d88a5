//! Where sources come from: local folders, and later SFTP. Implements the engine's source interface.

pub mod local;
mod read;

//! Folders on a remote host through this program at the far end: `backup_manager serve`, started over ssh.
//! `docs/protocol.md` specifies what both ends say.
//!
//! `protocol` has the messages, `serve` is the far end, `read` the near end of a source, `write` that of a restore.
//! `delta` is what both compute alike.
//! `install` copies this program to a host.

pub(crate) mod delta;
pub mod install;
pub(crate) mod protocol;
pub mod read;
pub mod serve;
pub(crate) mod version;
pub mod write;

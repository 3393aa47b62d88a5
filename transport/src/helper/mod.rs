//! Folders on a remote host through this program at the far end: `backup_manager serve`, started over ssh.
//! `docs/protocol.md` specifies what both ends say.
//!
//! `protocol` has the messages. `serve` answers requests; `read` asks the ones of a source and of a copy, `write` those of a
//! restore. `far_end` starts the far end. In a copy to a host the near end answers (`offer`), and the far end asks. `delta` is
//! what both ends compute alike.
//! `install` copies this program to a host.

pub(crate) mod delta;
pub mod far_end;
pub mod install;
pub mod offer;
pub(crate) mod protocol;
pub mod read;
pub mod serve;
pub(crate) mod version;
pub mod write;

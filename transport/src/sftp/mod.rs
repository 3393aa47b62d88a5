//! Folders on a remote host as a source: SFTP version 3.
//!
//! This crate has its own implementation of the protocol, because the engine needs hundreds of pipelined requests over
//! several channels, names as raw bytes, limits and checks on every answer, and requests that resume after a
//! lost connection. `docs/decisions.md` compares it with openssh-sftp-client.
//!
//! Three threads: `ssh/event_loop` talks to ssh and asks the scheduler what to send next; the two of `delivery` pass
//! listings and contents to the sinks.

pub(crate) mod protocol;
pub mod read;
pub mod write;

pub use crate::sftp::read::{SftpFolder, SftpSource};
pub use crate::sftp::write::folder::TargetFolder;
pub use crate::sftp::write::{SftpHost, SftpTarget};

//! Folders on a remote host as a source: SFTP version 3 through the system's `ssh`.
//!
//! The program `ssh` makes the connection, and the crate openssh opens further channels on it. This crate has
//! its own implementation of the protocol, because the engine needs hundreds of pipelined requests over
//! several channels, names as raw bytes, limits and checks on every answer, and requests that resume after a
//! lost connection. `docs/decisions.md` compares it with openssh-sftp-client.
//!
//! Three threads: `event_loop` talks to ssh and asks the scheduler what to send next; the two of `delivery` pass listings
//! and contents to the sinks.

pub(crate) mod channels;
pub(crate) mod event_loop;
pub mod options;
pub(crate) mod protocol;
pub mod read;
pub mod ssh;
pub mod write;

pub use crate::sftp::options::ChannelLimit;
pub use crate::sftp::read::{SftpFolder, SftpSource};
pub use crate::sftp::ssh::address::{Address, BadAddress, Part};
pub use crate::sftp::ssh::connect_error::ConnectError;
pub use crate::sftp::ssh::host_key::{HostKey, ShownKey};
pub use crate::sftp::ssh::user_entry::{Account, account, ssh_folder};
pub use crate::sftp::write::folder::TargetFolder;
pub use crate::sftp::write::{SftpHost, SftpTarget};

//! Folders of another machine as a source: SFTP version 3 through the system's `ssh`.
//!
//! The connection is made by `ssh` itself, and further channels on it by the crate openssh. The protocol
//! on them is our own: what the engine asks for has to be pipelined by the hundred over several
//! channels, with names as raw bytes, every answer bounded and checked, and taken up again after a lost
//! connection. `docs/decisions.md` has the comparison with openssh-sftp-client.
//!
//! Three threads: `network` talks to ssh and decides with `desk` what is sent next; the two of `post`
//! hand listings and contents to the sinks.

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

//! Connections to a host through the system's `ssh`, and the protocol-independent part of what runs on their channels.
//!
//! The program `ssh` makes the connection, and the crate openssh opens further channels on it. A `Service` says what runs
//! at the far end of each channel. `event_loop` is the network thread, which drives a `Scheduler`.

pub(crate) mod again;
pub(crate) mod channel_io;
pub(crate) mod channels;
pub(crate) mod command;
#[cfg(test)]
mod command_tests;
pub mod connect;
pub(crate) mod connected;
pub(crate) mod event_loop;
pub(crate) mod framing;
pub(crate) mod line;
pub mod options;
pub(crate) mod outbox;
pub(crate) mod scheduler;
pub(crate) mod service;

pub use crate::ssh::connect::address::{Address, BadAddress, Part};
pub use crate::ssh::connect::connect_error::ConnectError;
pub use crate::ssh::connect::host_key::{HostKey, ShownKey};
pub use crate::ssh::connect::user_entry::{Account, account, ssh_folder};
pub use crate::ssh::options::{ChannelLimit, Options};

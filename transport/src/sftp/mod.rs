//! Folders of another machine as a source: SFTP version 3 through the system's `ssh`.
//!
//! The connection is made by `ssh` itself, and further channels on it by the crate openssh. The protocol
//! on them is our own: what the engine asks for has to be pipelined by the hundred over several
//! channels, with names as raw bytes, every answer bounded and checked, and taken up again after a lost
//! connection. In front of openssh-sftp-client that takes a guard that reads every message whole and
//! writes it anew; a reader of the messages is most of a client of version 3.
//!
//! Three threads: `network` talks to ssh and decides with `desk` what is sent next; the two of `post`
//! hand listings and contents to the sinks.

use std::path::PathBuf;
use std::time::Duration;

mod account;
mod address;
mod change;
mod channels;
mod connect;
mod describe;
mod desk;
#[cfg(test)]
mod desk_bench;
#[cfg(test)]
mod desk_rules_tests;
#[cfg(test)]
mod desk_tests;
mod fault;
mod file;
mod findings;
mod folder;
mod frames;
mod host_key;
mod line;
mod network;
mod order;
mod pace;
mod place;
mod post;
mod question;
mod socket_dir;
mod software;
mod source;
mod wire;
#[cfg(test)]
mod wire_tests;
mod writing;

pub use account::{Account, account, ssh_folder};
pub use address::{Address, BadAddress, Part};
pub use channels::ChannelLimit;
pub use fault::ConnectError;
pub use host_key::{HostKey, ShownKey};
pub use source::{SftpFolder, SftpSource};
pub use writing::{SftpHost, SftpTarget, TargetFolder};

/// How a connection is made and kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program.
    pub ssh: PathBuf,
    /// A configuration file in place of the user's and the system's (`ssh -F`).
    pub config: Option<PathBuf>,
    /// A file with host keys that count beside those in the user's own `known_hosts`.
    pub known_hosts: Option<PathBuf>,
    /// Whether ssh compresses what it carries (`ssh -C`).
    pub compress: bool,
    /// Further options on ssh's command line, checked by who gives them.
    pub args: Vec<String>,
    /// Variables of the environment that ssh and what it starts (`ProxyCommand`) do not get.
    pub withheld: Vec<String>,
    /// Bytes of content that may be under way at once, when that is to be less than is fastest: what
    /// a slow reader has asked for comes nevertheless.
    pub under_way: Option<u64>,
    /// Channels over the connection, each an SFTP server of its own. sshd bears 10 (`MaxSessions`).
    pub channels: usize,
    /// Channels in the first two seconds nearby: a server that is started takes time from those at work, and
    /// a short run is over before it has paid for that.
    pub channels_first: usize,
    /// Channels on a long line: each carries ssh's window of 2 MiB a round trip, and no more.
    pub channels_far: usize,
    /// Channels that somebody decided on, at most. Without such a number a server that is not known to keep several
    /// apart gets one.
    pub channels_given: Option<usize>,
    /// What the host was seen to take.
    pub channel_limit: ChannelLimit,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub answer_timeout: Duration,
    /// How often a lost connection is tried again without anything coming of it.
    pub tries: u32,
    /// How long to wait before the first of these tries; twice as long before each further one.
    pub pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ssh: "ssh".into(),
            config: None,
            known_hosts: None,
            compress: false,
            args: Vec::new(),
            withheld: Vec::new(),
            under_way: None,
            channels: 4,
            channels_first: 2,
            channels_far: 8,
            channels_given: None,
            channel_limit: ChannelLimit::default(),
            connect_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_secs(1),
        }
    }
}

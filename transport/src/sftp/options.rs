//! How to reach a host.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many channels a host was seen to take, shared by all clones. It only becomes less.
#[derive(Clone, Default)]
pub struct ChannelLimit(Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    /// 0: not known.
    pub(crate) most: AtomicUsize,
    pub(crate) lowered: Option<Box<dyn Fn(usize) + Send + Sync>>,
}

impl ChannelLimit {
    /// `most` is the known number; `lowered` is called each time that it decreases, on the thread that
    /// talks.
    pub fn new(most: Option<usize>, lowered: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let most = AtomicUsize::new(most.unwrap_or_default());
        Self(Arc::new(Inner { most, lowered: Some(Box::new(lowered)) }))
    }

    /// What is known.
    #[must_use]
    pub fn get(&self) -> Option<usize> {
        Some(self.0.most.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }

    /// The host was seen to end a connection that was to have more than `most` channels.
    pub(crate) fn lower(&self, most: usize) {
        let most = most.max(1);
        if self.get().is_none_or(|known| most < known) {
            self.0.most.store(most, Ordering::Relaxed);
            if let Some(lowered) = &self.0.lowered {
                lowered(most);
            }
        }
    }
}

impl fmt::Debug for ChannelLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelLimit").field(&self.get()).finish()
    }
}

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
    /// Channels over the connection, each an SFTP server of its own. sshd allows 10 (`MaxSessions`).
    pub channels: usize,
    /// Channels in the first two seconds nearby: a server that is started takes time from those at work, and
    /// a short run is over before it has paid for that.
    pub channels_first: usize,
    /// Channels on a long line: each carries ssh's window of 2 MiB a round trip, and no more.
    pub channels_far: usize,
    /// The maximum number of channels by a setting. Without it a server that is not known to keep several
    /// separate gets one.
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

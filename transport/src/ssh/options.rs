//! Options of the connection to a host.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::compress::Level;

/// The maximum number of channels that a host was observed to accept, shared by all clones. The number only
/// decreases.
#[derive(Clone, Default)]
pub struct ChannelLimit(Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    /// 0 means unknown.
    pub(crate) most: AtomicUsize,
    pub(crate) lowered: Option<Box<dyn Fn(usize) + Send + Sync>>,
}

impl ChannelLimit {
    /// `most` is the known number. The network thread calls `lowered` each time the number decreases.
    pub fn new(most: Option<usize>, lowered: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let most = AtomicUsize::new(most.unwrap_or_default());
        Self(Arc::new(Inner { most, lowered: Some(Box::new(lowered)) }))
    }

    /// The known number; `None` if unknown.
    #[must_use]
    pub fn get(&self) -> Option<usize> {
        Some(self.0.most.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }

    /// Records that the host ended a connection on which more than `most` channels were requested.
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

/// The bytes on all channels of a source since its first connection, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<[AtomicU64; 2]>);

impl Traffic {
    pub(crate) fn sent(&self, bytes: usize) {
        self.0[0].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.0[1].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes sent and received.
    #[must_use]
    pub fn get(&self) -> (u64, u64) {
        let [sent, received] = &*self.0;
        (sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed))
    }
}

/// Receives the reason when a connection is lost and will be made again. The network thread calls it.
#[derive(Clone, Default)]
pub struct LossReport(Option<Arc<Lost>>);

type Lost = dyn Fn(&str) + Send + Sync;

impl LossReport {
    /// Calls `lost` each time.
    pub fn new(lost: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(lost)))
    }

    pub(crate) fn lost(&self, why: &str) {
        if let Some(lost) = &self.0 {
            lost(why);
        }
    }
}

impl fmt::Debug for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LossReport").field(&self.0.is_some()).finish()
    }
}

/// Who compresses the data of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// ssh, if its own settings say so.
    AsConfigured,
    /// ssh (`ssh -C`).
    Ssh,
    /// Both ends of the protocol, and not ssh. A far end that cannot leaves it to ssh.
    Protocol(Level),
}

impl Compression {
    /// The level for the ends of the protocol; `None` if they do not compress.
    pub(crate) fn level(self) -> Option<Level> {
        match self {
            Self::Protocol(level) => Some(level),
            Self::AsConfigured | Self::Ssh => None,
        }
    }

    /// The same wish for a protocol that does not compress.
    pub(crate) fn by_ssh(self) -> Self {
        match self {
            Self::AsConfigured => Self::AsConfigured,
            Self::Ssh | Self::Protocol(_) => Self::Ssh,
        }
    }
}

/// How a connection is made and kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The ssh program to run.
    pub ssh: PathBuf,
    /// A configuration file that replaces those of the user and the system (`ssh -F`).
    pub config: Option<PathBuf>,
    /// A file with host keys that are accepted in addition to those in the user's `known_hosts`.
    pub known_hosts: Option<PathBuf>,
    /// Who compresses the data.
    pub compression: Compression,
    /// Further options for ssh's command line. The caller has checked them.
    pub args: Vec<String>,
    /// Environment variables that ssh and its child processes (`ProxyCommand`) do not receive.
    pub withheld: Vec<String>,
    /// Maximum number of content bytes in flight, for a reader that is slower than the connection: bytes
    /// that are already requested arrive at full speed. `None` uses the fastest value.
    pub under_way: Option<u64>,
    /// Number of channels on the connection; each has its own SFTP server process. sshd allows 10
    /// (`MaxSessions`).
    pub channels: usize,
    /// Number of channels in the first two seconds to a nearby host. Starting a server takes CPU time from
    /// the servers at work, and a short run ends before that pays off.
    pub channels_first: usize,
    /// Number of channels on a connection with long round trips. Each channel carries at most ssh's window of
    /// 2 MiB per round trip.
    pub channels_far: usize,
    /// The maximum number of channels that the user set. Without it, a server gets one channel unless it is
    /// known to serve several channels separately.
    pub channels_given: Option<usize>,
    /// The number of channels that the host was observed to accept.
    pub channel_limit: ChannelLimit,
    /// Counts the bytes on the line.
    pub traffic: Traffic,
    /// Receives the reason for each further connection.
    pub loss_report: LossReport,
    /// Maximum time to connect.
    pub connect_timeout: Duration,
    /// Maximum time to wait for an answer.
    pub answer_timeout: Duration,
    /// Maximum number of consecutive reconnection attempts without progress.
    pub tries: u32,
    /// The wait before the first of these attempts. It doubles before each further attempt.
    pub pause: Duration,
}

impl Options {
    /// The same options for a protocol that does not compress.
    pub(crate) fn compressed_by_ssh(&self) -> Self {
        Self { compression: self.compression.by_ssh(), ..self.clone() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ssh: "ssh".into(),
            config: None,
            known_hosts: None,
            compression: Compression::AsConfigured,
            args: Vec::new(),
            withheld: Vec::new(),
            under_way: None,
            channels: 4,
            channels_first: 2,
            channels_far: 8,
            channels_given: None,
            channel_limit: ChannelLimit::default(),
            traffic: Traffic::default(),
            loss_report: LossReport::default(),
            connect_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_secs(1),
        }
    }
}

//! How a run read a remote host.

use serde::{Deserialize, Serialize};

/// What answers at the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// An SFTP server.
    Sftp,
    /// `backup_manager serve`.
    Helper,
}

impl Transport {
    /// The name that reports and messages use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sftp => "sftp",
            Self::Helper => "helper",
        }
    }
}

/// The connections of a run to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// What answered.
    pub transport: Transport,
    /// Bytes of requests, before ssh encrypts them.
    pub sent: u64,
    /// Bytes of answers, after ssh has decrypted them.
    pub received: u64,
}

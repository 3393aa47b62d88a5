//! The machine that a snapshot was taken of.

use serde::{Deserialize, Serialize};

/// The machine that the source roots are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The name or address in `REMOTE_SRC_HOST`, without user and port; `None` for the machine that ran the job.
    pub name: Option<String>,
    /// The port, where one is given.
    pub port: Option<u16>,
    /// Of the machine that ran the job: a hash of its machine-id(5), where it has one.
    pub machine: Option<String>,
}

//! The machine whose files a snapshot contains.

use serde::{Deserialize, Serialize};

/// The machine that the source roots are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The name or address from `REMOTE_SRC_HOST`, without user and port; `None` for the machine
    /// that runs the job.
    pub name: Option<String>,
    /// The port, if given.
    pub port: Option<u16>,
    /// For the machine that runs the job: a hash of its machine-id(5), if it has one.
    pub machine: Option<String>,
}

//! The sshd of the fixtures for the tests of this package.

pub(crate) mod collect;
pub(crate) mod trees;

use std::ops::Deref;
use std::time::Duration;

use fixtures::need;
use fixtures::sshd::{self, Plan};
use transport::ssh::connect::address::Address;
use transport::ssh::options::Options;

pub(crate) use fixtures::sshd::Subsystem;

/// A running server.
pub(crate) struct Sshd(sshd::Sshd);

impl Sshd {
    /// Starts a server; `None`, with a message, if there is no sshd.
    pub(crate) fn start(test: &str, subsystem: Subsystem) -> Option<Self> {
        Self::start_limited(test, subsystem, 1024)
    }

    /// The same with a limit of descriptors per server process.
    pub(crate) fn start_limited(
        test: &str,
        subsystem: Subsystem,
        descriptors: u32,
    ) -> Option<Self> {
        match Plan::new(subsystem).descriptors(descriptors).start() {
            Ok(server) => Some(Self(server)),
            Err(missing) => {
                need::skip(test, &missing);
                None
            }
        }
    }

    /// The address that the options' configuration knows.
    pub(crate) fn address(&self) -> Address {
        "test".parse().expect("an alias is an address")
    }

    /// Options that connect to this server.
    pub(crate) fn options(&self) -> Options {
        Options {
            config: Some(self.path("ssh_config")),
            connect_timeout: Duration::from_secs(120),
            pause: Duration::from_millis(20),
            ..Options::default()
        }
    }
}

impl Deref for Sshd {
    type Target = sshd::Sshd;

    fn deref(&self) -> &sshd::Sshd {
        &self.0
    }
}

//! Why there is no connection to a host.

pub(crate) mod classify;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use engine::entry::escape::shown;

use crate::ssh::connect::host_key::HostKey;
use crate::ssh::connect::key_file::{KeyFault, unusable};
use crate::ssh::connect::settings::Settings;

/// What the helper says of requests that are not its own.
pub(crate) const NOT_FROM_SFTP: &str = "only another backup_manager talks to this command";

/// Why connecting to a host failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No known_hosts file contains a key of this host.
    #[error("the host key of {} is not known{}", .0.host, shown_key(.0))]
    HostKeyUnknown(Box<HostKey>),
    /// The host's key differs from the known one.
    #[error(
        "the host key of {} has changed{}: it is another machine, was installed again, or an attacker intercepts the connection",
        .0.host, shown_key(.0)
    )]
    HostKeyChanged(Box<HostKey>),
    /// The host's key is marked as revoked.
    #[error("the host key of {} was revoked{}", .0.host, shown_key(.0))]
    HostKeyRevoked(Box<HostKey>),
    /// Other users can read the private key, so ssh does not use it.
    #[error("ssh does not use the private key {}, as others may read it", shown(.path.as_bytes()))]
    KeyOpenToOthers {
        /// The key file.
        path: String,
    },
    /// The current user cannot read the private key.
    #[error("ssh cannot read the private key {}", shown(.path.as_bytes()))]
    KeyUnreadable {
        /// The key file.
        path: String,
    },
    /// ssh can use none of its private keys; this is the first.
    #[error("ssh cannot use the private key {}: {fault}", shown(.path.as_os_str().as_encoded_bytes()))]
    KeyUnusable {
        /// The key file.
        path: PathBuf,
        /// The reason.
        fault: KeyFault,
    },
    /// A jump host lets nothing through.
    #[error("the jump host {host}: {fault}")]
    Jump {
        /// The jump host.
        host: String,
        /// The reason.
        fault: Box<Self>,
    },
    /// A jump host does not connect to the host.
    #[error("the jump host {host} does not connect to the host: {said}")]
    JumpForward {
        /// The jump host.
        host: String,
        /// ssh's message.
        said: String,
    },
    /// A file of ssh's configuration belongs to another user, or other users may write to it.
    #[error("ssh does not use {}, as it belongs to another user, or others may write to it", shown(.path.as_bytes()))]
    ConfigOpenToOthers {
        /// The file.
        path: String,
    },
    /// A mistake in ssh's configuration.
    #[error("ssh does not understand its configuration: {said}")]
    Config {
        /// ssh's message.
        said: String,
    },
    /// The current user has no user name, which ssh requires.
    #[error("ssh does not run for a user without a name: {said}")]
    NoUser {
        /// ssh's message.
        said: String,
    },
    /// The host and ssh have no cipher, key type or similar algorithm in common.
    #[error("the host and ssh do not agree on how to talk: {said}")]
    NoCommonAlgorithm {
        /// ssh's message.
        said: String,
    },
    /// The host closed the connection before authentication.
    #[error("the host closed the connection: {said}")]
    Closed {
        /// ssh's message.
        said: String,
    },
    /// The host accepted none of the keys that ssh offered.
    #[error("the host did not accept the user or the key: {said}")]
    Authentication {
        /// ssh's message.
        said: String,
    },
    /// No program listens on the port.
    #[error("the host refused the connection: {said}")]
    Refused {
        /// ssh's message.
        said: String,
    },
    /// The host name cannot be resolved.
    #[error("the host's name is not known: {said}")]
    NameNotFound {
        /// ssh's message.
        said: String,
    },
    /// There is no route to the host.
    #[error("the host cannot be reached: {said}")]
    Unreachable {
        /// ssh's message.
        said: String,
    },
    /// The host did not answer in time.
    #[error("no answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The host lets the user in, but does not offer SFTP.
    #[error("the host offers no SFTP: {said}")]
    NoSftp {
        /// The host's message.
        said: String,
    },
    /// The host lets the user in, but the program that serves SFTP does not start there.
    #[error("the host cannot start its SFTP server: {said}")]
    NoSftpServer {
        /// The host's message, and the exit status of its shell.
        said: String,
    },
    /// The host's shell prints a text before what it starts sends anything.
    #[error("the host's shell prints a text before it starts anything: {said}")]
    TextAtLogin {
        /// The text.
        said: String,
    },
    /// The host lets the user in, but the command that it was to run does not start, or does not greet.
    #[error("the command on the host failed: {said}")]
    CommandFailed {
        /// The host's message.
        said: String,
    },
    /// The host lets the user in, and offers neither a helper nor SFTP.
    #[error("{no_helper}; {}", of_sftp(.no_helper, .no_sftp))]
    Neither {
        /// Why there is no helper.
        no_helper: String,
        /// Why there is no SFTP.
        no_sftp: Box<Self>,
    },
    /// Any other error of ssh.
    #[error("ssh ended: {said}")]
    Ssh {
        /// ssh's message.
        said: String,
    },
    /// The connection is no longer wanted.
    #[error("it was stopped")]
    Stopped,
    /// `ssh` cannot be started, or a local resource cannot be created.
    #[error("cannot {action}: {error}")]
    Local {
        /// The action that failed.
        action: &'static str,
        /// The system's error.
        error: io::Error,
    },
}

impl ConnectError {
    /// Whether another attempt cannot succeed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::HostKeyUnknown(_)
            | Self::HostKeyChanged(_)
            | Self::HostKeyRevoked(_)
            | Self::KeyUnusable { .. }
            | Self::Authentication { .. } => true,
            Self::Jump { fault, .. } => fault.is_final(),
            _ => false,
        }
    }

    /// Whether the login succeeded, and what runs on the host does not offer the wanted service. Another service may
    /// be available on the same host.
    #[must_use]
    pub fn is_about_service(&self) -> bool {
        matches!(
            self,
            Self::NoSftp { .. }
                | Self::NoSftpServer { .. }
                | Self::TextAtLogin { .. }
                | Self::CommandFailed { .. }
                | Self::Neither { .. }
        )
    }

    /// Whether the host offers neither a helper nor SFTP because it starts one command for both: that of the key
    /// (`command=`), that of sshd (`ForceCommand`), or an account without a shell.
    #[must_use]
    pub fn is_same_answer(&self) -> bool {
        matches!(self, Self::Neither { no_helper, no_sftp } if is_same_answer(no_helper, no_sftp))
    }

    /// The host key that is not known, that of a jump host too.
    #[must_use]
    pub fn unknown_host_key(&self) -> Option<&HostKey> {
        match self {
            Self::HostKeyUnknown(key) => Some(key),
            Self::Jump { fault, .. } => fault.unknown_host_key(),
            _ => None,
        }
    }

    /// Whether the host, or a jump host, has another key than the known one, or one that was revoked.
    #[must_use]
    pub fn has_other_host_key(&self) -> bool {
        match self {
            Self::HostKeyChanged(_) | Self::HostKeyRevoked(_) => true,
            Self::Jump { fault, .. } => fault.has_other_host_key(),
            _ => false,
        }
    }

    /// Gives the reason why no key was accepted, if it is that ssh can use none.
    pub(crate) fn or_unusable_key(self, settings: &Settings) -> Self {
        match self {
            Self::Authentication { .. } => {
                unusable(settings).map_or(self, |(path, fault)| Self::KeyUnusable { path, fault })
            }
            fault => fault,
        }
    }

    /// The host's key, if it is the cause of the error and fetching the key may help the user.
    pub(crate) fn host_key(&mut self) -> Option<&mut HostKey> {
        match self {
            Self::HostKeyUnknown(key) | Self::HostKeyChanged(key) => Some(key),
            Self::Jump { fault, .. } => fault.host_key(),
            _ => None,
        }
    }
}

fn is_same_answer(no_helper: &str, no_sftp: &ConnectError) -> bool {
    use ConnectError::{NoSftp, NoSftpServer};
    matches!(no_sftp, NoSftp { said } | NoSftpServer { said } if no_helper.contains(said) || said.contains(NOT_FROM_SFTP))
}

fn of_sftp(no_helper: &str, no_sftp: &ConnectError) -> String {
    match is_same_answer(no_helper, no_sftp) {
        true => "the host starts the same for SFTP".to_owned(),
        false => format!("and {no_sftp}"),
    }
}

fn shown_key(key: &HostKey) -> String {
    key.shown
        .as_ref()
        .map_or_else(String::new, |shown| format!(" ({} {})", shown.kind, shown.fingerprint))
}

//! Why there is no connection: what `ssh` says on its way out, as a value.

use std::io;
use std::time::Duration;

use engine::bytes::shown;

use super::Address;

/// Why a host could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing is known of the host's key.
    #[error("the host key of {host} is not known")]
    HostKeyUnknown {
        /// The host as ssh looks it up in `known_hosts`.
        host: String,
        /// Its port, when it is not 22.
        port: Option<u16>,
    },
    /// The host's key is not the one that is known, or it was revoked.
    #[error(
        "the host key of {host} has changed: it is another machine, was set up anew, or somebody listens in"
    )]
    HostKeyChanged {
        /// The host as ssh looks it up in `known_hosts`.
        host: String,
        /// Its port, when it is not 22.
        port: Option<u16>,
    },
    /// No key that ssh offered was accepted.
    #[error("the host did not accept the user or the key: {said}")]
    Authentication {
        /// In ssh's words.
        said: String,
    },
    /// Nothing listens there.
    #[error("the host refused the connection: {said}")]
    Refused {
        /// In ssh's words.
        said: String,
    },
    /// The name cannot be resolved.
    #[error("the host's name is not known: {said}")]
    NameNotFound {
        /// In ssh's words.
        said: String,
    },
    /// No way leads there.
    #[error("the host cannot be reached: {said}")]
    Unreachable {
        /// In ssh's words.
        said: String,
    },
    /// Nobody answered in time.
    #[error("no answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The host lets the user in, but does not offer SFTP.
    #[error("the host offers no SFTP: {said}")]
    NoSftp {
        /// In the host's words.
        said: String,
    },
    /// Anything else that ssh ends with.
    #[error("ssh ended: {said}")]
    Ssh {
        /// In ssh's words.
        said: String,
    },
    /// It was no longer wanted.
    #[error("it was stopped")]
    Stopped,
    /// `ssh` cannot be started, or what it needs cannot be made.
    #[error("cannot {action}: {error}")]
    Local {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        error: io::Error,
    },
}

impl ConnectError {
    /// Whether a further try cannot help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::HostKeyUnknown { .. } | Self::HostKeyChanged { .. } | Self::Authentication { .. }
        )
    }

    /// What it means that ssh ended after it wrote `stderr`; ssh(1) speaks English here (`LC_ALL=C`).
    pub(super) fn from_ssh(stderr: &[u8], address: &Address, limit: Duration) -> Self {
        let text = String::from_utf8_lossy(stderr);
        let has = |part: &str| text.contains(part);
        let said = said(&text);
        let (host, port) = named(&text)
            .unwrap_or_else(|| (address.host().to_owned(), address.port().filter(|p| *p != 22)));
        if has("HOST IDENTIFICATION HAS CHANGED")
            || has("REVOKED HOST KEY")
            || has("has changed and you")
        {
            Self::HostKeyChanged { host, port }
        } else if has("host key is known for") || has("Host key verification failed") {
            Self::HostKeyUnknown { host, port }
        } else if has("Permission denied (")
            || has("Too many authentication failures")
            || has("No more authentication methods")
        {
            Self::Authentication { said }
        } else if has("Could not resolve hostname") {
            Self::NameNotFound { said }
        } else if has("Connection refused") {
            Self::Refused { said }
        } else if has("timed out") || has("Timeout, server") {
            Self::Timeout(limit)
        } else if has("No route to host") || has("Network is unreachable") {
            Self::Unreachable { said }
        } else if has("subsystem request failed") {
            Self::NoSftp { said }
        } else {
            Self::Ssh { said }
        }
    }
}

/// What a host says in place of an answer, fit to be shown: one line, not endless.
pub(super) fn said(text: &str) -> String {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@'));
    let mut said = shown(lines.collect::<Vec<_>>().join("; ").as_bytes());
    if let Some((cut, _)) = said.char_indices().nth(400) {
        said.truncate(cut);
    }
    if said.is_empty() { "nothing more was said".to_owned() } else { said }
}

/// The host and port that ssh names for its look-up of a key: `known for HOST and you have requested`,
/// `key for [HOST]:PORT has changed`.
fn named(text: &str) -> Option<(String, Option<u16>)> {
    let after = |mark| text.split_once(mark).map(|(_, rest)| rest);
    let rest = after("host key is known for ").or_else(|| after("ost key for "))?;
    let name = rest.split_whitespace().next()?;
    let Some((host, port)) = name.strip_prefix('[').and_then(|rest| rest.split_once("]:")) else {
        return Some((shown(name.as_bytes()), None));
    };
    Some((shown(host.as_bytes()), Some(port.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stderr: &str) -> ConnectError {
        let address = "me@nas:2222".parse().unwrap();
        ConnectError::from_ssh(stderr.as_bytes(), &address, Duration::from_secs(20))
    }

    #[test]
    fn what_ssh_says_is_understood() {
        use ConnectError as E;
        let host = |host: &str, port| (host.to_owned(), port);
        let unknown = "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\nHost key verification failed.\r\n";
        assert!(
            matches!(kind(unknown), E::HostKeyUnknown { host: h, port: p } if (&h, p) == (&host("127.0.0.1", Some(2222)).0, Some(2222)))
        );
        let plain = "No RSA host key is known for nas and you have requested strict checking.\n";
        assert!(matches!(kind(plain), E::HostKeyUnknown { host: h, port: None } if h == "nas"));
        let bare = "Host key verification failed.\n";
        assert!(
            matches!(kind(bare), E::HostKeyUnknown { host: h, port: Some(2222) } if h == "nas")
        );
        let changed = "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key for [nas]:2222 has changed and you have requested strict checking.\nHost key verification failed.\n";
        assert!(
            matches!(kind(changed), E::HostKeyChanged { host: h, port: Some(2222) } if h == "nas")
        );
        assert!(matches!(
            kind("me@nas: Permission denied (publickey).\n"),
            E::Authentication { .. }
        ));
        assert!(matches!(
            kind("ssh: connect to host nas port 22: Connection refused\n"),
            E::Refused { .. }
        ));
        assert!(matches!(kind("ssh: Could not resolve hostname nas: x\n"), E::NameNotFound { .. }));
        assert!(matches!(kind("Connection timed out during banner exchange\n"), E::Timeout(_)));
        assert!(matches!(kind("subsystem request failed on channel 0\n"), E::NoSftp { .. }));
        assert!(matches!(kind(""), E::Ssh { .. }));
    }

    #[test]
    fn what_a_host_says_cannot_steer_a_terminal_or_flood_it() {
        assert_eq!(said("\u{1b}[2J one \r\n two\n"), "\\x1b[2J one; two");
        assert_eq!(said(&"x".repeat(9999)).len(), 400);
    }
}

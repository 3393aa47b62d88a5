//! Converts the error output of `ssh` into the reason why there is no connection.

use std::time::Duration;

use engine::entry::escape::shown;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::connect_error::ConnectError;
use crate::ssh::connect::host_key::HostKey;
use crate::ssh::service::{GREETING, Start};

impl ConnectError {
    /// Classifies the error output of an ssh process that ended. ssh(1) writes English messages here
    /// (`LC_ALL=C`).
    pub(crate) fn from_ssh(stderr: &[u8], address: &Address, limit: Duration) -> Self {
        let text = String::from_utf8_lossy(stderr);
        let has = |part: &str| text.contains(part);
        let said = said(&text);
        let path = |before, after| between(&text, before, after).map(str::to_owned);
        let key = || Box::new(host_key(&text, address));
        if has("REVOKED HOST KEY") || has("was revoked and you") {
            Self::HostKeyRevoked(key())
        } else if has("HOST IDENTIFICATION HAS CHANGED") || has("has changed and you") {
            Self::HostKeyChanged(key())
        } else if has("host key is known for") || has("Host key verification failed") {
            Self::HostKeyUnknown(key())
        } else if let Some(path) = path("Bad owner or permissions on ", "\n") {
            Self::ConfigOpenToOthers { path }
        } else if has("Bad configuration option") || has("bad configuration options") {
            Self::Config { said }
        } else if has("No user exists for uid") {
            Self::NoUser { said }
        } else if has("UNPROTECTED PRIVATE KEY FILE")
            && let Some(path) = path(" for '", "' are too open")
        {
            Self::KeyOpenToOthers { path }
        } else if has("Permission denied (")
            && let Some(path) = path("Load key \"", "\": Permission denied")
        {
            Self::KeyUnreadable { path }
        } else if has("Permission denied (")
            || has("Too many authentication failures")
            || has("No more authentication methods")
        {
            Self::Authentication { said }
        } else if has("Unable to negotiate") || has("Invalid key length") {
            Self::NoCommonAlgorithm { said }
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
        } else if has("exec request failed") {
            Self::CommandFailed { said }
        } else if has("onnection closed by")
            || has("onnection reset by")
            || has("onnection to ") && has(": Broken pipe")
            || has("exchange_identification: write: Broken pipe")
        {
            Self::Closed { said }
        } else {
            Self::Ssh { said }
        }
    }

    /// Classifies the end of an ssh process before the host sent anything. ssh(1): its own exit status is 255;
    /// any other is that of the command that the host ran.
    pub(crate) fn from_end(
        stderr: &[u8],
        status: Option<i32>,
        (address, start): (&Address, Start<'_>),
        limit: Duration,
    ) -> Self {
        if let (Start::Command(_), Some(code)) = (start, status)
            && code != 255
        {
            // The words are those of the command.
            let said = said(&String::from_utf8_lossy(stderr));
            return Self::CommandFailed { said: format!("{said} (exit status {code})") };
        }
        // ssh has no message and no status of its own for a command that a signal ended. It does have one for a
        // connection that ended.
        if start.is_command() && status == Some(255) && stderr.is_empty() {
            return Self::CommandFailed {
                said: "it ended without a word, as by a signal".to_owned(),
            };
        }
        let fault = Self::from_ssh(stderr, address, limit);
        let Self::Ssh { said } = fault else { return fault };
        match status {
            // sh(1): the command was not found, or cannot be executed.
            Some(code @ (126 | 127)) => {
                Self::NoSftpServer { said: format!("{said} (exit status {code})") }
            }
            Some(255) | None if stderr.is_empty() => Self::Closed { said },
            Some(255) | None => Self::Ssh { said },
            // The login succeeded: a forced command, or an account without a shell.
            Some(code) => Self::NoSftp { said: format!("{said} (exit status {code})") },
        }
    }

    /// Classifies what the host sent in place of a greeting, until it closed the channel or `status` was its
    /// last word. See [`crate::ssh::service::Service::begins_greeting`].
    pub(crate) fn from_text(
        text: &[u8],
        status: Option<i32>,
        start: Start<'_>,
        begins_greeting: fn(&[u8]) -> bool,
    ) -> Self {
        let greeting = text.windows(GREETING).position(begins_greeting);
        let said = said(&String::from_utf8_lossy(&text[..greeting.unwrap_or(text.len())]));
        match (greeting, status) {
            (Some(1..), _) => Self::TextAtLogin { said },
            (_, status) if start.is_command() => {
                let code = status.map(|code| format!(" (exit status {code})")).unwrap_or_default();
                Self::CommandFailed { said: said + &code }
            }
            (_, Some(code @ (126 | 127))) => {
                Self::NoSftpServer { said: format!("{said} (exit status {code})") }
            }
            (_, _) => Self::NoSftp { said },
        }
    }
}

/// The text of a host or of ssh in a form that is safe to show: one line of limited length. More text follows it, so no
/// full stop ends it.
pub(crate) fn said(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().trim_end_matches('.'));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('@'));
    let mut said = shown(lines.collect::<Vec<_>>().join("; ").as_bytes());
    if let Some((cut, _)) = said.char_indices().nth(400) {
        said.truncate(cut);
    }
    if said.is_empty() { "nothing more was said".to_owned() } else { said }
}

/// The text between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0.trim())
}

/// Parses ssh's messages about a host key. The key that the host presents is not fetched yet.
fn host_key(text: &str, address: &Address) -> HostKey {
    let (host, port) = named(text)
        .unwrap_or_else(|| (address.host().to_owned(), address.port().filter(|p| *p != 22)));
    // `Offending ED25519 key in PATH:LINE`
    let old = text.lines().find_map(|line| line.strip_prefix("Offending ")?.split_once(" key in "));
    let old_file = old.and_then(|(_, place)| place.trim().rsplit_once(':'));
    let old_file = old_file.map(|(path, _)| path.into());
    HostKey { host, port, shown: None, file: None, old_file }
}

/// The host and port under which ssh looked up the key, from `known for HOST and you have requested` or `key
/// for [HOST]:PORT has changed`.
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
    fn messages_of_ssh_are_recognized() {
        use ConnectError as E;
        let name = |key: &HostKey| key.name();
        let unknown = "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\nHost key verification failed.\r\n";
        assert!(
            matches!(kind(unknown), E::HostKeyUnknown(key) if name(&key) == "[127.0.0.1]:2222")
        );
        let plain = "No RSA host key is known for nas and you have requested strict checking.\n";
        assert!(matches!(kind(plain), E::HostKeyUnknown(key) if name(&key) == "nas"));
        let bare = "Host key verification failed.\n";
        assert!(matches!(kind(bare), E::HostKeyUnknown(key) if name(&key) == "[nas]:2222"));
        let changed = "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending RSA key in /a b/known:3\r\nHost key for [nas]:2222 has changed and you have requested strict checking.\nHost key verification failed.\n";
        assert!(
            matches!(kind(changed), E::HostKeyChanged(key) if name(&key) == "[nas]:2222" && key.old_file == Some("/a b/known".into()))
        );
        let revoked = "@  WARNING: REVOKED HOST KEY DETECTED!  @\nThe ED25519 host key for nas is marked as revoked.\nHost key verification failed.\n";
        assert!(matches!(kind(revoked), E::HostKeyRevoked(key) if name(&key) == "nas"));
        let open = "@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\r\nPermissions 0644 for '/k' are too open.\r\nme@nas: Permission denied (publickey).\r\n";
        assert!(matches!(kind(open), E::KeyOpenToOthers { path } if path == "/k"));
        let unreadable =
            "Load key \"/k\": Permission denied\r\nme@nas: Permission denied (publickey).\r\n";
        assert!(matches!(kind(unreadable), E::KeyUnreadable { path } if path == "/k"));
        let config = "Bad owner or permissions on /root/.ssh/config\r\n";
        assert!(
            matches!(kind(config), E::ConfigOpenToOthers { path } if path == "/root/.ssh/config")
        );
        let config = "/c: line 3: Bad configuration option: foo\r\n/c: terminating, 1 bad configuration options\r\n";
        assert!(matches!(kind(config), E::Config { .. }));
        assert!(matches!(kind("No user exists for uid 1234\r\n"), E::NoUser { .. }));
        let old = "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found. Their offer: ssh-rsa\r\n";
        assert!(matches!(kind(old), E::NoCommonAlgorithm { .. }));
        let closed = "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.1 port 22\r\n";
        assert!(matches!(kind(closed), E::Closed { .. }));
        let broken = "kex_exchange_identification: write: Broken pipe\r\nbanner exchange: Connection to UNKNOWN port -1: Broken pipe\r\n";
        assert!(matches!(kind(broken), E::Closed { .. }));
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
    fn the_exit_status_of_ssh_is_not_that_of_the_host() {
        use ConnectError as E;
        let ended = |words: &str, status| {
            let address: Address = "me@nas".parse().unwrap();
            let sftp = Start::Subsystem("sftp");
            E::from_end(words.as_bytes(), status, (&address, sftp), Duration::from_secs(20))
        };
        let dropbear = "sh: 1: exec: /usr/libexec/sftp-server: not found\n";
        assert!(
            matches!(ended(dropbear, Some(127)), E::NoSftpServer { said } if said.ends_with("(exit status 127)"))
        );
        assert!(matches!(ended("", Some(1)), E::NoSftp { .. }));
        assert!(matches!(ended("", Some(255)), E::Closed { .. }));
        assert!(matches!(ended("something else\n", Some(255)), E::Ssh { .. }));
        assert!(matches!(
            ended("me@nas: Permission denied (publickey).\n", Some(255)),
            E::Authentication { .. }
        ));
    }

    #[test]
    fn a_text_before_the_greeting_is_told_from_no_greeting() {
        use ConnectError as E;
        let (sftp, command) = (Start::Subsystem("sftp"), Start::Command("backup"));
        let of = |text: &[u8], status, start| {
            E::from_text(text, status, start, |bytes| matches!(bytes, [0, 0, 0, 95, 2, ..]))
        };
        let greeting = [0, 0, 0, 95, 2, 0, 0, 0, 3, 0];
        let text = [b"Welcome\n", &greeting[..]].concat();
        for start in [sftp, command] {
            assert!(matches!(of(&text, None, start), E::TextAtLogin { said } if said == "Welcome"));
        }
        assert!(
            matches!(of(b"Go away.\n", Some(0), sftp), E::NoSftp { said } if said == "Go away")
        );
        assert!(matches!(of(b"not found", Some(127), sftp), E::NoSftpServer { .. }));
        assert!(matches!(of(b"not found", Some(127), command), E::CommandFailed { .. }));
    }

    #[test]
    fn a_command_that_fails_after_the_login_is_told_from_no_connection() {
        let ended = |words: &str, status| {
            let address: Address = "me@nas".parse().unwrap();
            let command = Start::Command("backup");
            let of = (&address, command);
            ConnectError::from_end(words.as_bytes(), status, of, Duration::from_secs(20))
        };
        for (words, status, is_about_service) in [
            ("sh: 1: backup: not found\n", 127, true),
            ("connect: Connection refused\n", 1, true),
            ("", 0, true),
            ("exec request failed on channel 0\n", 255, true),
            ("me@nas: Permission denied (publickey).\n", 255, false),
            ("ssh: connect to host nas port 22: Connection refused\n", 255, false),
            ("", 255, true),
        ] {
            let fault = ended(words, Some(status));
            assert_eq!(fault.is_about_service(), is_about_service, "{fault}");
        }
        let said = ended("sh: 1: backup: not found\n", Some(127)).to_string();
        let text = "the command on the host failed: sh: 1: backup: not found (exit status 127)";
        assert_eq!(said, text);
        let start = Start::Command("backup");
        let text = ConnectError::from_text(b"Welcome\n", None, start, |_| false);
        assert!(text.is_about_service(), "{text}");
    }

    #[test]
    fn messages_of_a_host_cannot_control_or_flood_a_terminal() {
        assert_eq!(said("\u{1b}[2J one. \r\n two.\n"), "\\x1b[2J one; two");
        assert_eq!(said(&"x".repeat(9999)).len(), 400);
    }
}

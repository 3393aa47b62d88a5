//! Fetches the key that a host presents without trusting it, so that a message can show the key to the user,
//! who decides.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ssh::connect::address::Address;
use crate::ssh::connect::control_dir::SocketDir;
use crate::ssh::connect::process::{output, started, with_host};
use crate::ssh::connect::settings::Settings;
use crate::ssh::options::Options;

/// Maximum accepted length of a key's line. An RSA key of 16,384 bits has a line of 2,800 bytes.
const LINE_MAX: usize = 4096;

/// A host's key, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// The host as ssh looks it up in `known_hosts`.
    pub host: String,
    /// Its port, when it is not 22.
    pub port: Option<u16>,
    /// The key that the host presents.
    pub shown: Option<ShownKey>,
    /// The known_hosts file to which ssh adds keys, in ssh's notation: it may begin with `~/`.
    pub file: Option<String>,
    /// The file with the known key that differs from the presented one.
    pub old_file: Option<PathBuf>,
}

/// A key that a host presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// The key type, for example `ssh-ed25519`.
    pub kind: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The line for `known_hosts`: one line of ASCII without quotes.
    pub line: String,
}

impl HostKey {
    /// The host's name in `known_hosts`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.port {
            Some(port) => format!("[{}]:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Fetches the presented key, for up to `limit`, and the path of ssh's known_hosts file.
    pub(crate) async fn find(
        &mut self,
        way: Way<'_>,
        options: &Options,
        dir: &SocketDir,
        limit: Duration,
    ) {
        self.shown = shown(way, options, dir, limit).await;
        // If a further file is configured, use that one: `~/.ssh` may be read-only then.
        let own = options.known_hosts.as_deref().and_then(Path::to_str).map(str::to_owned);
        self.file = own.or_else(|| way.settings.known_hosts.first().cloned());
    }
}

/// How ssh gets to a host: its address, the options of the job, and the option that leads over a jump host.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) address: &'a Address,
    pub(crate) args: &'a [String],
    pub(crate) proxy: Option<&'a OsString>,
    pub(crate) settings: &'a Settings,
}

/// Connects until the host presents its key, and makes ssh write the key to a separate file. Nothing is
/// trusted: the connection ends before ssh offers any user key.
async fn shown(
    way: Way<'_>,
    options: &Options,
    dir: &SocketDir,
    limit: Duration,
) -> Option<ShownKey> {
    let mut ssh = started(options);
    for option in [
        "StrictHostKeyChecking=accept-new",
        "GlobalKnownHostsFile=/dev/null",
        "IgnoreUnknown=KnownHostsCommand",
        "KnownHostsCommand=none",
        "CheckHostIP=no",
        "HashKnownHosts=no",
        "UpdateHostKeys=no",
        "BatchMode=yes",
        "PreferredAuthentications=none",
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "ControlMaster=no",
        "ControlPath=none",
        "FingerprintHash=sha256",
        "LogLevel=DEBUG1",
    ] {
        ssh.arg("-o").arg(option);
    }
    let file = dir.known_hosts();
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", file.display()));
    ssh.arg("-o").arg(format!("ConnectTimeout={}", limit.as_secs().max(1)));
    if let Some(proxy) = way.proxy {
        ssh.arg("-o").arg(proxy);
    }
    ssh.args(way.args).arg("-s");
    let mut ssh = with_host(ssh, way.address);
    ssh.arg("sftp");
    let said = output(ssh, true, limit).await.ok()?;
    let line = std::fs::read_to_string(file).ok()?;
    parsed(&said, line.lines().last()?)
}

fn parsed(said: &str, line: &str) -> Option<ShownKey> {
    let (_, key) = said.split_once("Server host key: ")?;
    let mut key = key.split_whitespace();
    let (kind, fingerprint) = (key.next()?, key.next()?);
    let plain = |text: &str| {
        text.len() < LINE_MAX
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"'\"\\`$".contains(&byte))
    };
    // The line contains the plain key type; for a certificate ssh writes no line.
    let fits = line.split(' ').nth(1) == Some(kind) && fingerprint.starts_with("SHA256:");
    (fits && [kind, fingerprint, line].into_iter().all(plain)).then(|| ShownKey {
        kind: kind.to_owned(),
        fingerprint: fingerprint.to_owned(),
        line: line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_is_accepted_only_when_it_is_harmless_text() {
        let said = "debug1: Server host key: ssh-ed25519 SHA256:abc+/\r\ndebug1: more";
        let line = "[nas]:2222 ssh-ed25519 AAAAC3Nza";
        let shown = parsed(said, line).unwrap();
        assert_eq!(
            (shown.kind.as_str(), shown.fingerprint.as_str()),
            ("ssh-ed25519", "SHA256:abc+/")
        );
        assert_eq!(shown.line, line);
        for bad in
            ["nas ssh-rsa AAAA", "nas ssh-ed25519 AA'A", "nas ssh-ed25519 $(x)", "", "\u{1b}"]
        {
            assert_eq!(parsed(said, bad), None, "{bad}");
        }
        assert_eq!(parsed("debug1: nothing", line), None);
        assert_eq!(parsed("Server host key: ssh-ed25519 MD5:00", line), None);
    }
}

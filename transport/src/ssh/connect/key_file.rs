//! Finds out why ssh cannot use a private key. ssh says "error in libcrypto" for most of these reasons, and
//! nothing for a passphrase that it may not ask for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ssh::connect::settings::Settings;
use crate::ssh::connect::user_entry::ssh_folder;

/// Maximum length of a key file.
const KEY_MAX: u64 = 64 * 1024;

/// The body of a key in OpenSSH's format that has no passphrase: `openssh-key-v1`, and the cipher `none`
/// (PROTOCOL.key of OpenSSH).
const NO_PASSPHRASE: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";

/// Why ssh cannot use a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The last line has no line feed.
    #[error("its last line has no line feed at its end")]
    NoLineFeed,
    /// It was saved on Windows.
    #[error("its lines end with carriage returns, as on Windows")]
    CarriageReturns,
    /// PuTTY made it.
    #[error("it has PuTTY's format")]
    Putty,
    /// It has a passphrase.
    #[error("it has a passphrase, and there is no agent that knows it")]
    Passphrase,
}

/// The first of the host's private keys, if ssh can use none of those that exist.
pub(crate) fn unusable(settings: &Settings) -> Option<(PathBuf, KeyFault)> {
    let agent = settings.agent.as_deref().map_or_else(has_agent, |agent| agent != "none");
    let paths = settings.identity_files.iter().map(|path| expanded(path));
    let keys = paths.filter_map(|path| read(&path).map(|text| (path, text)));
    let faults: Option<Vec<_>> =
        keys.map(|(path, text)| Some((path, fault(&text, agent)?))).collect();
    faults?.into_iter().next()
}

/// Why ssh cannot use the private key in the file at `path`, with the agent that this process has. `None` also where the file
/// cannot be read.
#[must_use]
pub fn fault_of(path: &Path) -> Option<KeyFault> {
    fault(&read(path)?, has_agent())
}

/// Whether this process has an agent.
#[must_use]
pub fn has_agent() -> bool {
    std::env::var_os("SSH_AUTH_SOCK").is_some_and(|socket| !socket.is_empty())
}

fn expanded(path: &str) -> PathBuf {
    let home = ssh_folder();
    let home = home.parent().unwrap_or(Path::new("/"));
    match path.strip_prefix("~/").or_else(|| path.strip_prefix("%d/")) {
        Some(rest) => home.join(rest),
        None => path.into(),
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let meta = fs::metadata(path).ok()?;
    (meta.is_file() && meta.len() <= KEY_MAX).then(|| fs::read(path).ok()).flatten()
}

/// Why ssh cannot use the key in `text`; `agent`: an agent may know it.
fn fault(text: &[u8], agent: bool) -> Option<KeyFault> {
    let text = String::from_utf8_lossy(text);
    if text.starts_with("PuTTY-User-Key-File") {
        return Some(KeyFault::Putty);
    }
    let openssh = text.strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----");
    if openssh.is_some() && text.contains('\r') {
        return Some(KeyFault::CarriageReturns);
    }
    if openssh.is_some() && !text.ends_with('\n') {
        return Some(KeyFault::NoLineFeed);
    }
    let locked = match openssh {
        Some(body) => !body.trim_start().starts_with(NO_PASSPHRASE),
        None => text.contains("ENCRYPTED"),
    };
    (locked && !agent).then_some(KeyFault::Passphrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_key_is_told_from_the_others() {
        let key = |body: &str| {
            format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"
            )
        };
        let good = key(&format!("{NO_PASSPHRASE}AAAA"));
        let of = |text: &str, agent| fault(text.as_bytes(), agent);
        assert_eq!(of(&good, false), None);
        assert_eq!(of(good.trim_end(), false), Some(KeyFault::NoLineFeed));
        assert_eq!(of(&good.replace('\n', "\r\n"), false), Some(KeyFault::CarriageReturns));
        assert_eq!(of("PuTTY-User-Key-File-3: ssh-ed25519\r\n", false), Some(KeyFault::Putty));
        let locked = key("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHI");
        assert_eq!(of(&locked, false), Some(KeyFault::Passphrase));
        assert_eq!(of(&locked, true), None);
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert_eq!(of(pem, false), Some(KeyFault::Passphrase));
    }
}

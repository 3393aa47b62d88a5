//! The next step when a remote source cannot be connected to.

use transport::ssh::connect::address::Address;
use transport::ssh::connect::connect_error::ConnectError;
use transport::ssh::connect::host_key::HostKey;
use transport::ssh::connect::key_file::KeyFault;

use crate::hint::helper;
use crate::hint::step::Step;
use crate::hint::typed::{Typed, typed};

/// How this user gets a key that the host at `address` accepts.
pub(crate) fn make_key(address: &Address) -> String {
    format!("ssh-keygen -t ed25519 makes one, {} allows it on the host", copy_id(Some(address)))
}

/// The command that allows a key on a host.
fn copy_id(address: Option<&Address>) -> String {
    let Some(address) = address else { return "ssh-copy-id USER@HOST".to_owned() };
    let port = address.port().map_or_else(String::new, |port| format!("-p {port} "));
    let user = address.user().map_or_else(String::new, |user| format!("{user}@"));
    format!("ssh-copy-id {port}{}", quoted(&format!("{user}{}", address.host())))
}

/// The next step for the reader of the log of a job, whose host is at `address`.
pub(crate) fn of_job(error: Option<&ConnectError>, address: &Address) -> Step {
    let step = hint(error, Some(address));
    match error.and_then(ConnectError::unknown_host_key) {
        Some(_) => Step::command(format!(
            "{} doctor --pin with the same settings shows the fingerprint and asks; or by hand: {step}",
            crate::hint::typed::program()
        )),
        None => step,
    }
}

/// The next step. Commands are for a shell of the user that runs this program. `address`: where the host is.
pub(crate) fn hint(error: Option<&ConnectError>, address: Option<&Address>) -> Step {
    use ConnectError as E;
    Step::from(match error {
        Some(E::HostKeyUnknown(key)) => return Step::command(unknown(key)),
        Some(E::HostKeyChanged(key)) => return Step::command(changed(key)),
        Some(E::HostKeyRevoked(_)) => {
            "do not use this key any more: give the host a new one, and pin that"
        }
        Some(E::KeyOpenToOthers { path }) => {
            let (place, path) = placed(path);
            return Step::command(format!(
                "take the others' permissions away{place}: chmod 600 {path}"
            ));
        }
        Some(E::KeyUnreadable { path }) => {
            let (place, path) = placed(path);
            let owner = "give it to the user that runs this (as root, with that user's number)";
            return Step::command(format!("{owner}{place}: chown UID {path} && chmod 600 {path}"));
        }
        Some(E::ConfigOpenToOthers { path }) => {
            let (place, path) = placed(path);
            let owner = "give it to the user that runs this (as root, with that user's number)";
            return Step::command(format!("{owner}{place}: chown UID {path} && chmod go-w {path}"));
        }
        Some(E::KeyUnusable { path, fault }) => {
            return usable(&path.to_string_lossy(), *fault);
        }
        Some(E::Jump { host, fault }) => return hint(Some(&**fault), host.parse().ok().as_ref()),
        Some(E::JumpForward { .. }) => {
            "check that the host is up and reached from the jump host, and that the jump host's sshd allows it (AllowTcpForwarding); the next run tries again"
        }
        Some(E::Config { .. }) => "correct that line of ssh's configuration",
        Some(E::NoUser { .. }) => {
            "run it as a user that /etc/passwd knows, or install the library nss_wrapper (Debian: libnss-wrapper)"
        }
        Some(E::NoCommonAlgorithm { said }) => return Step::from(allow(said)),
        Some(E::Closed { .. }) => {
            "look into the host's log for the reason: too many connections (MaxStartups), a list of banned addresses, a firewall; the next run tries again"
        }
        Some(E::Authentication { .. }) => {
            return Step::command(format!(
                "put the public key of the user that runs this into the host's authorized_keys ({}; without a key, ssh-keygen -t ed25519 first); nothing can be asked for, so no password, and a key with a passphrase needs an agent",
                copy_id(address)
            ));
        }
        Some(E::NoSftp { .. }) => {
            "enable the sftp subsystem in the host's sshd_config (Subsystem sftp internal-sftp), and look whether the account may use it (a shell such as nologin, ForceCommand)"
        }
        Some(E::NoSftpServer { .. }) => {
            "install the SFTP server on the host (for dropbear, as on OpenWrt, the package openssh-sftp-server), or correct its path (Subsystem sftp in sshd_config)"
        }
        Some(E::TextAtLogin { .. }) => helper::PRINTS,
        Some(E::CommandFailed { said }) => helper::of_words(said).unwrap_or(ONE_COMMAND),
        Some(error @ E::Neither { no_helper, no_sftp }) => {
            let of_helper = helper::of_words(no_helper).filter(|next| *next != helper::ONLY_SFTP);
            match (of_helper, error.is_same_answer()) {
                (Some(next), _) => next,
                (None, true) => ONE_COMMAND,
                (None, false) => return hint(Some(&**no_sftp), address),
            }
        }
        Some(E::NameNotFound { .. }) => {
            "check the spelling of REMOTE_SRC_HOST, and that this machine can look up names"
        }
        Some(E::Refused { .. }) => {
            "check that sshd runs on the host, and on which port: REMOTE_SRC_HOST=user@host:port"
        }
        Some(E::Unreachable { .. }) => {
            "check the network and the address; the next run tries again"
        }
        Some(E::Timeout(_)) => {
            "check that the host is up and that no firewall drops what comes from here; if the login there is slow, --contimeout=60 waits longer; the next run tries again"
        }
        Some(E::Local { .. }) => {
            "check that the OpenSSH client (ssh) is installed, and that the folder for temporary files can be written to (TMPDIR)"
        }
        Some(E::Ssh { .. } | E::Stopped) | None => {
            "check the host's name, that it is up and that ssh reaches it; the next run tries again"
        }
    })
}

/// The next step where the host starts one command for everything.
const ONE_COMMAND: &str = "look what the host starts for this key: command=\"…\" in front of it in ~/.ssh/authorized_keys, ForceCommand in sshd_config, or an account without a shell";

/// How to make a key usable.
pub(crate) fn usable(path: &str, fault: KeyFault) -> Step {
    let path = quoted(path);
    Step::command(match fault {
        KeyFault::NoLineFeed => format!("add the line feed: echo >> {path}"),
        KeyFault::CarriageReturns => format!("remove them: sed -i 's/\\r$//' {path}"),
        KeyFault::Putty => format!(
            "convert it with puttygen (Debian: putty-tools): puttygen {path} -O private-openssh -o NEW, and name NEW in its place"
        ),
        KeyFault::Passphrase => "nothing can be asked for: make a key without a passphrase for this job (ssh-keygen -t ed25519 -N '' -f NEW), or start this with an agent (SSH_AUTH_SOCK)".to_owned(),
    })
}

/// How to allow an algorithm that the host offers. ssh says: `no matching cipher found. Their offer: ...`.
fn allow(said: &str) -> String {
    let option = match said {
        said if said.contains("no matching cipher") => "Ciphers",
        said if said.contains("no matching key exchange") => "KexAlgorithms",
        said if said.contains("no matching MAC") => "MACs",
        said if said.contains("no matching host key") => "HostKeyAlgorithms",
        _ => {
            return "update the host's sshd; if its RSA key is too short (Invalid key length), make it a new one there: ssh-keygen -t ed25519 -f /etc/ssh/ssh_host_ed25519_key".to_owned();
        }
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-.@_".contains(letter);
    let offer = said.split_once("Their offer: ").map(|(_, offer)| offer);
    let offer = offer.and_then(|offer| offer.split(|letter| !plain(letter)).next());
    let offer = offer.filter(|offer| !offer.is_empty()).unwrap_or("NAME");
    format!(
        "update the host's sshd; if that cannot be, allow what it offers for this host alone, in ~/.ssh/config below its Host line: {option} +{offer}"
    )
}

/// The place to type a command that changes `path`, and the quoted path there. Keys are mounted read-only in
/// containers.
fn placed(path: &str) -> (&'static str, String) {
    let typed = typed(&[path]);
    (typed.place, quoted(typed.files.first().map_or(path, String::as_str)))
}

fn unknown(key: &HostKey) -> String {
    let Typed { place, files, elsewhere } = typed(&[file(key)]);
    let file = files.first().map_or("", String::as_str);
    let folder = file.rsplit_once('/').map_or("~/.ssh", |(folder, _)| folder);
    let (compare, folder, pin) = (compare(key), quoted(folder), pin(key, file));
    let same =
        elsewhere.first().map(|path| format!(" (outside the container that file is {path})"));
    let same = same.unwrap_or_default();
    format!("{compare}; if it is the same, pin it{place}: mkdir -p -m 700 {folder} && {pin}{same}")
}

fn changed(key: &HostKey) -> String {
    let old = key.old_file.as_ref().map(|path| path.to_string_lossy().into_owned());
    let old = old.unwrap_or_else(|| file(key).to_owned());
    let Typed { place, files, .. } = typed(&[&old, file(key)]);
    let [old, file] = &files[..] else { return compare(key) };
    let remove = format!("ssh-keygen -f {} -R {}", quoted(old), quoted(&key.name()));
    format!(
        "find out why before anything else; if it was installed again, {}, and if it is the same, pin it{place}: {remove} && {}",
        compare(key),
        pin(key, file)
    )
}

fn file(key: &HostKey) -> &str {
    key.file.as_deref().unwrap_or("~/.ssh/known_hosts")
}

/// How to get the fingerprint over a path that no attacker controls.
fn compare(key: &HostKey) -> String {
    let kind = key.shown.as_ref().map_or("ed25519", |shown| match shown.kind.as_str() {
        kind if kind.contains("rsa") => "rsa",
        kind if kind.contains("ecdsa") => "ecdsa",
        _ => "ed25519",
    });
    format!(
        "compare the fingerprint with the one that the host itself shows (there: ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub)"
    )
}

/// The command that pins the key: the presented key if it is known, else the one that the host presents then.
fn pin(key: &HostKey, file: &str) -> String {
    let file = quoted(file);
    match (&key.shown, key.port) {
        (Some(shown), _) => format!("echo '{}' >> {file}", shown.line),
        (None, Some(port)) => format!("ssh-keyscan -p {port} {} >> {file}", quoted(&key.host)),
        (None, None) => format!("ssh-keyscan {} >> {file}", quoted(&key.host)),
    }
}

/// Quotes a shell word, but lets the shell expand a leading `~/`.
fn quoted(word: &str) -> String {
    let (home, rest) = match word.strip_prefix("~/") {
        Some(rest) => ("~/", rest),
        None => ("", word),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~:@%+".contains(&byte);
    if !rest.is_empty() && rest.bytes().all(plain) {
        return word.to_owned();
    }
    format!("{home}{}", crate::term::shell::word(rest.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transport::ssh::connect::host_key::ShownKey;

    fn key() -> HostKey {
        let line = "[nas]:2222 ssh-ed25519 AAAA".to_owned();
        let (kind, fingerprint) = ("ssh-ed25519".to_owned(), "SHA256:x".to_owned());
        HostKey {
            host: "nas".to_owned(),
            port: Some(2222),
            shown: Some(ShownKey { kind, fingerprint, line }),
            file: Some("~/.ssh/known_hosts".to_owned()),
            old_file: None,
        }
    }

    #[test]
    fn the_commands_name_the_key_and_the_file() {
        let text = hint(Some(&ConnectError::HostKeyUnknown(Box::new(key()))), None).to_string();
        assert!(
            text.ends_with(
                "mkdir -p -m 700 ~/.ssh && echo '[nas]:2222 ssh-ed25519 AAAA' >> ~/.ssh/known_hosts"
            ),
            "{text}"
        );
        let old = HostKey { old_file: Some("/etc/ssh/known".into()), ..key() };
        let text = hint(Some(&ConnectError::HostKeyChanged(Box::new(old))), None).to_string();
        assert!(text.contains("ssh-keygen -f /etc/ssh/known -R '[nas]:2222' && echo '[nas]:2222 ssh-ed25519 AAAA' >> ~/.ssh/known_hosts"), "{text}");
        let unseen = HostKey { shown: None, file: None, ..key() };
        let text = hint(Some(&ConnectError::HostKeyUnknown(Box::new(unseen))), None).to_string();
        assert!(text.ends_with("ssh-keyscan -p 2222 nas >> ~/.ssh/known_hosts"), "{text}");
    }

    #[test]
    fn the_option_for_an_old_host_names_what_it_offers() {
        for (said, option) in [
            ("no matching cipher found. Their offer: aes128-cbc,3des-cbc", "Ciphers +aes128-cbc"),
            ("no matching MAC found. Their offer: hmac-md5", "MACs +hmac-md5"),
            ("no matching host key type found. Their offer: ssh-rsa", "HostKeyAlgorithms +ssh-rsa"),
            ("no matching key exchange method found. Their offer: $(x)", "KexAlgorithms +NAME"),
        ] {
            let text = allow(&format!("Unable to negotiate with h port 22: {said}"));
            assert!(text.ends_with(option), "{text}");
        }
    }

    #[test]
    fn words_are_safe_in_a_shell() {
        for (word, expected) in [
            ("/root/.ssh/id", "/root/.ssh/id"),
            ("~/a b", "~/'a b'"),
            ("a'b; reboot", r"'a'\''b; reboot'"),
            ("", "''"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}

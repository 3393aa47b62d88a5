//! The next step where a host starts no helper, by what the far end said.

use std::os::unix::ffi::OsStrExt;

use transport::helper::install::NotInstalled;
use transport::remote::{NoHelper, RemoteHelper};
use transport::ssh::connect::address::Address;
use transport::ssh::options::Options;

use crate::hint::step::Step;
use crate::term::shell::word;

/// How a helper was to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started<'a> {
    pub(crate) helper: &'a RemoteHelper,
    pub(crate) address: &'a Address,
    pub(crate) options: &'a Options,
    /// `serve` and its options.
    pub(crate) serve: &'static str,
}

/// The words behind the command for a source, and for a restore.
pub(crate) const READS: &str = "serve --read-only";
pub(crate) const WRITES: &str = "serve";

/// The next step where the startup files of the host's shell print something.
pub(crate) const PRINTS: &str = "let the startup files of the host's shell (~/.bashrc, /etc/profile, ...) print only on a terminal: put the line [ -t 1 ] || return before what prints; 'ssh HOST true' must print nothing";

/// The next step where the account starts no program.
pub(crate) const ONLY_SFTP: &str = "this account may only use SFTP, so nothing can be started or copied there: give it a shell, or set REMOTE_HELPER=off";

/// The next step where sudo does not start the helper.
const SUDO_RULE: &str = "let sudo start this very command there without a password: docs/remote.md has the line for sudoers";

/// The next step, unless the reason `why` has it.
pub(crate) fn next(started: &Started<'_>, why: &NoHelper) -> Option<Step> {
    let known = of_words(&why.to_string()).map(Step::from);
    known.or_else(|| match (started.helper, why) {
        (RemoteHelper::Command(command), _) if is_of_sudo(command) => Some(SUDO_RULE.into()),
        (RemoteHelper::Command(command), _) => Some(Step::command(format!(
            "this shows what it prints, and nothing where it works: {}",
            typed(started, command)
        ))),
        (RemoteHelper::Auto, _) => Some("REMOTE_HELPER=install copies it there".into()),
        (RemoteHelper::Install, NoHelper::NotInstalled(NotInstalled::NoShell(_))) => {
            Some("put it there by hand (docs/remote.md)".into())
        }
        (RemoteHelper::Present, _) => {
            Some("this command writes nothing, so it copies nothing there either".into())
        }
        (RemoteHelper::Install | RemoteHelper::Off, _) => None,
    })
}

/// The command that starts the helper from here, by hand.
fn typed(started: &Started<'_>, command: &str) -> String {
    let Started { address, options, serve, .. } = started;
    let mut words = vec![word(options.ssh.as_os_str().as_bytes())];
    if let Some(config) = &options.config {
        words.extend(["-F".to_owned(), word(config.as_os_str().as_bytes())]);
    }
    words.extend(options.args.iter().map(|arg| word(arg.as_bytes())));
    if let Some(port) = address.port() {
        words.push(format!("-p {port}"));
    }
    let user = address.user().map_or_else(String::new, |user| format!("{user}@"));
    words.push(word(format!("{user}{}", address.host()).as_bytes()));
    words.push(word(format!("{command} {serve} </dev/null").as_bytes()));
    words.join(" ")
}

/// The next step where the words `said` of the far end show what is wrong.
pub(crate) fn of_words(said: &str) -> Option<&'static str> {
    let has = |part: &str| said.contains(part);
    Some(if has("serve was started with --read-only there") {
        "the command in front of this key in ~/.ssh/authorized_keys of the host has --read-only: a restore needs another key, by -e 'ssh -i KEYFILE' or a Host of ~/.ssh/config, whose line has none (docs/remote.md)"
    } else if has("unexpected argument 'serve'") {
        "leave serve out of REMOTE_HELPER: the program appends it"
    } else if has("subcommand 'serve'")
        || has("unexpected argument '--read-only'")
        || has("another version of the protocol")
    {
        "the backup_manager there is too old for this one, or this one for it: update the older one, or set REMOTE_HELPER=install"
    } else if has("unexpected argument '") || has("a value is required for '") {
        "correct the command that starts it: command=\"…\" in front of the key in ~/.ssh/authorized_keys of the host, or REMOTE_HELPER"
    } else if has("--root ") && (has("correct the path") || has("must be an absolute path")) {
        "it stands behind --root in command=\"…\" in front of the key in ~/.ssh/authorized_keys of the host, or in REMOTE_HELPER"
    } else if has("prints a text before it starts anything") {
        PRINTS
    } else if has("allows sftp connections only")
        || has("account is currently not available")
        || has("exec request failed")
        || has("nothing more was said (exit status 11)")
    {
        // An SFTP server ends with the status 11 upon bytes that are no SFTP (sftp-server.c of OpenSSH).
        ONLY_SFTP
    } else if is_of_sudo(said) {
        SUDO_RULE
    } else {
        return None;
    })
}

/// Whether a command, or what it printed, is about sudo or doas.
fn is_of_sudo(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    words.any(|word| word == "sudo" || word == "doas")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_far_end_show_what_to_correct() {
        for (said, part) in [
            ("sudo: a password is required (exit status 1)", "line for sudoers"),
            ("error: unexpected argument 'serve' found; Usage: …", "leave serve out"),
            ("error: unrecognized subcommand 'serve'; Usage: …", "too old"),
            ("error: unexpected argument '--readonly' found; tip: …", "authorized_keys"),
            ("This service allows sftp connections only (exit status 1)", "REMOTE_HELPER=off"),
        ] {
            let next = of_words(&format!("the command on the host failed: {said}"));
            assert!(next.is_some_and(|next| next.contains(part)), "{said}: {next:?}");
        }
        assert_eq!(of_words("sh: 1: exec: backup_manager: not found (exit status 127)"), None);
    }

    #[test]
    fn the_command_to_type_has_the_options_of_the_connection() {
        let options = Options { args: vec!["-i".into(), "/a key".into()], ..Options::default() };
        let (helper, address) = (RemoteHelper::Auto, "me@nas:2222".parse().unwrap());
        let started =
            Started { helper: &helper, address: &address, options: &options, serve: READS };
        assert_eq!(
            typed(&started, "/opt/bm"),
            "ssh -i '/a key' -p 2222 me@nas '/opt/bm serve --read-only </dev/null'"
        );
    }
}

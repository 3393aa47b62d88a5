//! Pins the key of a host after the user has compared its fingerprint.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use engine::Stop;
use transport::ssh::connect::connect_error::ConnectError;
use transport::ssh::connect::host_key::{HostKey, ShownKey};
use transport::ssh::connect::user_entry::ssh_folder;

use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::jobs::open_source::{Access, close, remote};
use crate::term::print::{fail, say};

/// Pins the unknown keys of the hosts of `jobs`: a key with the fingerprint `given`, or the keys that the
/// user confirms at the terminal. Returns whether all keys are known afterwards.
pub(crate) fn all(jobs: &[NamedJob], given: &str, stop: &Arc<Stop>) -> bool {
    let mut good = true;
    for job in jobs {
        let Some(host) = &job.remote else { continue };
        let mut connected = None;
        let failed = remote(host, job, stop, Access::Look, &mut connected).err();
        close(connected);
        let failed = failed.as_ref().map(|error| error.downcast_ref::<ConnectError>());
        good &= match failed {
            None => {
                say(&format!("the key of {} is known already", host.address));
                true
            }
            Some(Some(error)) => match error.unknown_host_key() {
                Some(key) => one(key, given),
                None => not_pinned(error, host.address.host()),
            },
            Some(None) => true,
        };
    }
    good
}

/// Says why no key of `host` was pinned. Whatever else is wrong with the connection, the checks say.
fn not_pinned(error: &ConnectError, host: &str) -> bool {
    if error.has_other_host_key() {
        fail(&format!(
            "the key of {host} is not the one that is pinned, or was revoked: nothing was pinned; how to pin another one stands below, at connection"
        ));
        return false;
    }
    true
}

fn one(key: &HostKey, given: &str) -> bool {
    let Some(shown) = &key.shown else {
        fail(&format!("the host {} showed no key to pin; try again", key.name()));
        return false;
    };
    if let Err(why) = agreed(key, shown, given) {
        fail(&why);
        return false;
    }
    let file = file(key);
    match append(&file, &shown.line) {
        Ok(()) => {
            say(&format!("the key of {} is pinned in {}", key.name(), shown_path(&file)));
            true
        }
        Err(error) => {
            fail(&format!(
                "cannot write {}: {error}; make it writable, or add this line to it: {}",
                shown_path(&file),
                shown.line
            ));
            false
        }
    }
}

/// Checks that the user confirms the host's key.
fn agreed(key: &HostKey, shown: &ShownKey, given: &str) -> Result<(), String> {
    let (host, ShownKey { kind, fingerprint, .. }) = (key.name(), shown);
    if !given.is_empty() {
        return match given == fingerprint {
            true => Ok(()),
            false => Err(format!(
                "the key of {host} has the fingerprint {fingerprint}, not {given}; nothing was pinned"
            )),
        };
    }
    if !io::stdin().is_terminal() {
        return Err(format!(
            "the key of {host} ({kind}) has the fingerprint {fingerprint}; compare it with the one that the host itself shows, then: backup_manager doctor --pin={fingerprint}"
        ));
    }
    say(&format!(
        "the host {host} shows a key of the type {kind} with the fingerprint {fingerprint}\n\
         Compare it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub (or _rsa_, _ecdsa_)\n\
         Write yes to pin it:"
    ));
    let mut answer = String::new();
    let read = io::stdin().lock().take(100).read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err("nothing was pinned".to_owned()),
    }
}

fn file(key: &HostKey) -> PathBuf {
    let file = key.file.as_deref().unwrap_or("~/.ssh/known_hosts");
    match file.strip_prefix("~/") {
        Some(rest) => ssh_folder().parent().map(|home| home.join(rest)).unwrap_or_default(),
        None => file.into(),
    }
}

fn append(file: &PathBuf, line: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    let gap = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{gap}{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_added_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ssh/known_hosts");
        append(&file, "a ssh-ed25519 A").unwrap();
        std::fs::write(&file, "x ssh-rsa X").unwrap();
        append(&file, "b ssh-ed25519 B").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x ssh-rsa X\nb ssh-ed25519 B\n");
    }
}

//! Finds ssh keys that `ssh` would refuse or cannot read, which is common in folders mounted from a host.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use transport::ssh::connect::address::Address;
use transport::ssh::connect::key_file::{KeyFault, fault_of, has_agent};

use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::hint::connection::{make_key, usable};
use crate::hint::step::Step;
use crate::hint::typed::{in_container, outside};

/// The metadata of a file in `~/.ssh`.
#[derive(Debug, Clone, Copy)]
struct Found {
    owner: u32,
    mode: u32,
    readable: bool,
}

/// What is wrong with a file of ssh's, and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyComplaint {
    pub(crate) what: String,
    pub(crate) fix: Step,
}

impl fmt::Display for KeyComplaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.fix)
    }
}

/// The first host for which ssh has no key but those of the user: there is no agent, and the options of the job name none.
pub(crate) fn keyless(jobs: &[NamedJob]) -> Option<&Address> {
    if has_agent() {
        return None;
    }
    let names_key =
        |arg: &String| arg == "-i" || arg.to_ascii_lowercase().starts_with("identityfile");
    let shell = |job: &NamedJob| {
        let shell = &job.wanted.shell;
        shell.config.is_some() || shell.args.iter().any(names_key)
    };
    jobs.iter().find_map(|job| Some(&job.remote.as_ref().filter(|_| !shell(job))?.address))
}

/// What is wrong with the files in `folder` for the user `uid`. `keyless`: a host that needs one of the keys in it.
pub(crate) fn complaints(folder: &Path, uid: u32, keyless: Option<&Address>) -> Vec<KeyComplaint> {
    let missing = |what: &str, address: &Address| KeyComplaint {
        what: format!("{} {what}: ssh has no key of its own", shown_path(folder)),
        fix: match in_container() {
            true => "mount the folder with the keys there".into(),
            false => Step::command(make_key(address)),
        },
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return keyless.map(|address| missing("is not there", address)).into_iter().collect();
        }
        Err(error) => {
            let (place, there) = outside(folder);
            return vec![KeyComplaint {
                what: format!("cannot read {}: {error}", shown_path(folder)),
                fix: Step::command(format!(
                    "give it to that user{place}: chown -R {uid} {}",
                    shown_path(&there)
                )),
            }];
        }
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let found = |path: &Path, meta: &Metadata| Found {
        owner: meta.uid(),
        mode: meta.mode(),
        readable: File::open(path).is_ok(),
    };
    let of_file = |name: &OsString| {
        let (name, path) = (name.to_string_lossy(), folder.join(name));
        let meta = fs::metadata(&path).ok().filter(Metadata::is_file)?;
        let (place, there) = outside(&path);
        let file =
            Named { name: &name, path: &shown_path(&path), place, there: &shown_path(&there) };
        complaint(file, uid, found(&path, &meta))
    };
    let mut all: Vec<_> = names.iter().filter_map(of_file).collect();
    let keys: Vec<_> = names.iter().filter(|name| is_key(&name.to_string_lossy())).collect();
    let elsewhere = || {
        let config = fs::read_to_string(folder.join("config")).unwrap_or_default();
        config.to_ascii_lowercase().contains("identityfile")
    };
    if keys.is_empty() {
        let missing =
            keyless.filter(|_| !elsewhere()).map(|address| missing("has no key", address));
        all.extend(missing);
    }
    let paths = keys.iter().map(|name| folder.join(name));
    let faults: Vec<_> = paths.map(|path| (fault_of(&path), path)).collect();
    // ssh tries one after the other: one that works is enough.
    if faults.iter().all(|(fault, _)| fault.is_some()) {
        all.extend(faults.into_iter().filter_map(|(fault, path)| Some(unusable(&path, fault?))));
    }
    all
}

/// ssh cannot use the key at `path`.
fn unusable(path: &Path, fault: KeyFault) -> KeyComplaint {
    let (place, there) = outside(path);
    let what = format!("ssh cannot use {}: {fault}", shown_path(path));
    let what = if place.is_empty() { what } else { format!("{what} (to be corrected{place})") };
    KeyComplaint { what, fix: usable(&there.to_string_lossy(), fault) }
}

/// Whether a file has the name of a private key.
fn is_key(name: &str) -> bool {
    name.starts_with("id_") && !name.ends_with(".pub")
}

/// The name and the path of a file, and its path where a command for it has to be typed.
#[derive(Debug, Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    path: &'a str,
    place: &'a str,
    there: &'a str,
}

/// Applies ssh's rules (sshkey_perm_ok in authfile.c, the check of the configuration in readconf.c).
fn complaint(file: Named<'_>, uid: u32, found: Found) -> Option<KeyComplaint> {
    let Named { name, path, place, there } = file;
    let key = is_key(name);
    let of = |what, fix| Some(KeyComplaint { what, fix: Step::command(fix) });
    if !key && !["config", "known_hosts"].contains(&name) {
        return None;
    }
    let Found { owner, mode, readable } = found;
    if !readable {
        return of(
            format!("{path} belongs to {owner} and cannot be read by the user {uid}"),
            format!("give it to that user{place}: chown {uid} {there} && chmod 600 {there}"),
        );
    }
    if key && owner == uid && mode & 0o077 != 0 {
        return of(
            format!("ssh refuses {path}, which others can read (mode {:o})", mode & 0o7777),
            format!("take the others' permissions away{place}: chmod 600 {there}"),
        );
    }
    if name == "config" && ((owner != 0 && owner != uid) || mode & 0o022 != 0) {
        return of(
            format!("ssh refuses {path} of the user {owner} (mode {:o}) and ends", mode & 0o7777),
            format!("give it to that user{place}: chown {uid} {there} && chmod 600 {there}"),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_without_a_key_that_ssh_can_use_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let address: Address = "me@nas:2222".parse().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let said = |keyless| {
            let all = complaints(folder.path(), uid, keyless);
            all.iter().map(|it| it.what.clone() + "\n").collect::<String>()
        };
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        };
        assert!(said(Some(&address)).contains("has no key"), "{}", said(Some(&address)));
        assert_eq!(said(None), "");
        assert!(make_key(&address).contains("ssh-copy-id -p 2222 me@nas"));
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n";
        write("id_rsa", &key.replace('\n', "\r\n"));
        assert!(said(Some(&address)).contains("id_rsa: its lines end with carriage returns"));
        // ssh uses the other one.
        write("id_ed25519", key);
        assert_eq!(said(Some(&address)), "");
        fs::remove_file(folder.path().join("id_rsa")).unwrap();
        fs::remove_file(folder.path().join("id_ed25519")).unwrap();
        write("config", "Host nas\n  IdentityFile ~/keys/nas\n");
        assert_eq!(said(Some(&address)), "");
    }

    #[test]
    fn keys_that_ssh_refuses_are_reported_with_the_command_that_corrects_them() {
        for (name, uid, owner, mode, readable, expected) in [
            ("id_ed25519", 0, 0, 0o600, true, ""),
            ("id_ed25519", 0, 0, 0o644, true, "chmod 600 /m/k"),
            ("id_ed25519.pub", 0, 0, 0o644, true, ""),
            // ssh does not check the mode of a key that belongs to another user.
            ("id_rsa", 0, 1000, 0o644, true, ""),
            ("id_rsa", 1000, 0, 0o600, false, "chown 1000 /m/k"),
            ("config", 0, 1000, 0o600, true, "chown 0 /m/k"),
            ("config", 1000, 0, 0o644, true, ""),
            ("config", 1000, 1000, 0o664, true, "chmod 600 /m/k"),
            ("known_hosts", 1000, 0, 0o600, false, "chown 1000 /m/k"),
            ("authorized_keys", 1000, 0, 0o600, false, ""),
        ] {
            let found = Found { owner, mode, readable };
            let file = Named { name, path: "/k", place: " outside the container", there: "/m/k" };
            let said = complaint(file, uid, found).map_or_else(String::new, |it| it.to_string());
            let same = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
            assert!(same, "{name} {uid} {found:?}: {said:?}");
        }
    }
}

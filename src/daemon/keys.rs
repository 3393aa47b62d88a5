//! Finds ssh keys that `ssh` would refuse or cannot read, which is common in folders mounted from a host.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::mistake::shown_path;
use crate::hint::connection as hint;
use crate::hint::typed::{in_container, outside};

/// The metadata of a file in `~/.ssh`.
#[derive(Debug, Clone, Copy)]
struct Found {
    owner: u32,
    mode: u32,
    readable: bool,
}

/// What is wrong with the files in `folder` for the user `uid`, each with the command that corrects it.
pub(crate) fn complaints(folder: &Path, uid: u32) -> Vec<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![format!(
                "{} is not there: ssh has no key of its own; {}",
                shown_path(folder),
                match in_container() {
                    true => "mount the folder with the keys there",
                    false => hint::MAKE_KEY,
                }
            )];
        }
        Err(error) => {
            let path = shown_path(folder);
            let (place, there) = outside(folder);
            return vec![format!(
                "cannot read {path}: {error}; give it to that user{place}: chown -R {uid} {}",
                shown_path(&there)
            )];
        }
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let found = |path: &Path, meta: &Metadata| Found {
        owner: meta.uid(),
        mode: meta.mode(),
        readable: File::open(path).is_ok(),
    };
    names
        .iter()
        .filter_map(|name| {
            let (name, path) = (name.to_string_lossy(), folder.join(name));
            let meta = fs::metadata(&path).ok().filter(Metadata::is_file)?;
            let (place, there) = outside(&path);
            let file =
                Named { name: &name, path: &shown_path(&path), place, there: &shown_path(&there) };
            complaint(file, uid, found(&path, &meta))
        })
        .collect()
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
fn complaint(file: Named<'_>, uid: u32, found: Found) -> Option<String> {
    let Named { name, path, place, there } = file;
    let key = name.starts_with("id_") && !name.ends_with(".pub");
    if !key && !["config", "known_hosts"].contains(&name) {
        return None;
    }
    let Found { owner, mode, readable } = found;
    if !readable {
        return Some(format!(
            "{path} belongs to {owner} and cannot be read by the user {uid}; give it to that user{place}: chown {uid} {there} && chmod 600 {there}"
        ));
    }
    if key && owner == uid && mode & 0o077 != 0 {
        return Some(format!(
            "ssh refuses {path}, which others can read (mode {:o}); take the others' permissions away{place}: chmod 600 {there}",
            mode & 0o7777
        ));
    }
    if name == "config" && ((owner != 0 && owner != uid) || mode & 0o022 != 0) {
        return Some(format!(
            "ssh refuses {path} of the user {owner} (mode {:o}) and ends; give it to that user{place}: chown {uid} {there} && chmod 600 {there}",
            mode & 0o7777
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let said = complaint(file, uid, found).unwrap_or_default();
            let same = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
            assert!(same, "{name} {uid} {found:?}: {said:?}");
        }
    }
}

//! Finds configuration files that other users can read or write. The files may contain secrets, and commands
//! that this user runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use engine::fs::{UntrustedFolder, exchangeable};
use rustix::process::geteuid;

use crate::config::mistake::shown_path;
use crate::config::setting::SETTINGS;

/// The owner and the mode of a file.
#[derive(Debug, Clone, Copy)]
struct AccessCheck {
    owner: u32,
    mode: u32,
}

/// What other users can do with the file at `path` although they should not, each with the command that
/// prevents it. `secret` says whether the file contains secrets. Empty if the file cannot be examined.
pub(crate) fn complaints(path: &Path, secret: bool) -> Vec<String> {
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    // A pipe or a device stores no content that others could read (`--config /dev/stdin`).
    if !meta.is_file() {
        return Vec::new();
    }
    let access = AccessCheck { owner: meta.uid(), mode: meta.mode() & 0o7777 };
    let user = geteuid().as_raw();
    let mut complaints = judged(&shown_path(path), access, user, secret);
    // A user who can replace the file need not be able to write to it.
    if let Ok(Some(others)) = exchangeable(path) {
        complaints.push(exchanged(&shown_path(path), &others, user));
    }
    complaints
}

fn exchanged(path: &str, (folder, owner): &UntrustedFolder, user: u32) -> String {
    let folder = shown_path(folder);
    let (who, what) = match owner {
        Some(owner) => (format!("the user {owner}"), format!("chown {user} {folder}")),
        None => ("others".to_owned(), format!("chmod go-w {folder}")),
    };
    format!(
        "{who} may exchange names in {folder}, and with {path} what the user {user} runs; {what}"
    )
}

fn judged(path: &str, access: AccessCheck, user: u32, secret: bool) -> Vec<String> {
    let AccessCheck { owner, mode } = access;
    let mut complaints = Vec::new();
    if owner != 0 && owner != user {
        complaints.push(format!(
            "the user {owner} may change {path}, and with it what the user {user} runs; chown {user} {path}"
        ));
    }
    // Root's own groups have only members that root trusts. For other users, the group is often the user's
    // own.
    let others = if user == 0 { 0o022 } else { 0o002 };
    if mode & others != 0 {
        complaints.push(format!(
            "others may change {path} (mode {mode:04o}), and with it what the user {user} runs; chmod go-w {path}"
        ));
    }
    if secret && mode & 0o004 != 0 {
        complaints.push(format!(
            "others may read the secrets in {path} (mode {mode:04o}); chmod 600 {path}, or move them to files of their own (NAME_FILE)"
        ));
    }
    complaints
}

/// Whether a text other than the config file, such as a crontab, names a secret setting.
pub(crate) fn names_secret(text: &str) -> bool {
    SETTINGS
        .iter()
        .filter(|setting| setting.secret)
        .any(|setting| text.contains(&format!("{}=", setting.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_of_other_users_is_reported_with_the_command_that_removes_it() {
        for (owner, mode, user, secret, expected) in [
            (0, 0o600, 0, true, &[][..]),
            (0, 0o644, 0, false, &[]),
            (0, 0o640, 0, true, &[]),
            (0, 0o644, 0, true, &["chmod 600 /c"]),
            (0, 0o666, 0, true, &["chmod go-w /c", "chmod 600 /c"]),
            (0, 0o620, 0, false, &["chmod go-w /c"]),
            (1000, 0o664, 1000, false, &[]),
            (1000, 0o666, 1000, false, &["chmod go-w /c"]),
            (1000, 0o600, 0, false, &["chown 0 /c"]),
            (0, 0o644, 1000, false, &[]),
        ] {
            let said = judged("/c", AccessCheck { owner, mode }, user, secret);
            assert_eq!(said.len(), expected.len(), "{said:?}");
            assert!(said.iter().zip(expected).all(|(said, end)| said.contains(end)), "{said:?}");
        }
    }

    #[test]
    fn a_crontab_with_a_secret_is_distinguished_from_others() {
        assert!(names_secret("* * * * * WEBHOOK_URL=https://x backup_manager run\n"));
        assert!(names_secret("NTFY_TOKEN=x\n"));
        assert!(!names_secret("NTFY_TOKEN_FILE=/run/secrets/x\n* * * * * backup_manager run\n"));
    }
}

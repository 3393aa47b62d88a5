//! The next steps for the user after a failure.

pub(crate) mod adopt;
pub(crate) mod connection;
pub(crate) mod helper;
pub(crate) mod step;
pub(crate) mod typed;

use std::io::ErrorKind;
use std::path::Path;

use engine::SourceError;
use engine::fs::is_mount_point;
use engine::fs::untrusted;
use engine::restore::RestoreCounts;
use engine::snapshot::PruneRefusal;
use engine::snapshot::SelectError;
use engine::{LookError, RunError};
use transport::ssh::connect::address::Address;
use transport::ssh::connect::connect_error::ConnectError;

use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::hint::step::Step;

/// The next step for a symlink that is not followed.
pub(crate) const UNTRUSTED_LINK: &str = "write the path of the folder itself, or, if the symlink is meant, give it (chown -h) and the folders on the way to it to root or to the user who runs this, and let no other user write to those";

/// The next step when the folder of a copy cannot be read.
pub(crate) const UNREAD_COPY: &str = "check that the copy is there, mounted and readable";

/// The next step after a failed run of `job`, if there is one.
pub(crate) fn hint_for(job: &NamedJob, error: &RunError) -> Option<Step> {
    match (error, &job.remote) {
        (RunError::Root { path, error: SourceError::Vanished }, Some(host))
            if mistyped(path).is_none() && !names_a_host(path) =>
        {
            let host = &host.address;
            Some(Step::from(format!(
                "check that the path is right, mounted and readable; over SFTP some hosts show other paths than in their shell (Synology /photo for /volume1/photo, a chroot everything from its top folder on): sftp shows them (connect to {host}, then ls /); nothing was deleted, and the next run tries again"
            )))
        }
        (RunError::NoConnection(error), Some(host)) => {
            Some(crate::hint::connection::of_job(error.downcast_ref(), &host.address))
        }
        _ => hint(error),
    }
}

/// The next step for the reader of the log, if there is one.
pub(crate) fn hint(error: &RunError) -> Option<Step> {
    Some(Step::from(match error {
        RunError::Root { error: SourceError::Unreadable { error, .. }, .. }
            if error.kind() == ErrorKind::PermissionDenied =>
        {
            "give the user that reads it (of a remote source the one of REMOTE_SRC_HOST) the permission to read it, or use another one; nothing was deleted, and the next run tries again"
        }
        RunError::Root { error: SourceError::UntrustedLink(_), .. } => UNTRUSTED_LINK,
        RunError::Destination { error, .. } if untrusted(error).is_some() => UNTRUSTED_LINK,
        // Removing a file that is a mount point returns EBUSY (unlink(2)).
        RunError::Destination { error, .. }
            if is_mount_point(error) || error.kind() == ErrorKind::ResourceBusy =>
        {
            "unmount it: a run changes nothing in what is mounted inside a snapshot; the next run continues where this one stopped"
        }
        RunError::Root { error: SourceError::Lost(_), .. } => {
            "check the network and the host; nothing was deleted, and the next run tries again"
        }
        RunError::Root { path, .. } if names_a_host(path) => {
            "for a folder of another machine write REMOTE_SRC_HOST=user@host, and in SRCS_TO_BACKUP the path alone; nothing was deleted"
        }
        RunError::Root { path, error: SourceError::Vanished } if mistyped(path).is_some() => {
            return mistyped(path).map(Step::from);
        }
        RunError::OtherSources { .. } => {
            "two jobs need two histories: write another BACKUP_NAME_PREFIX (or BACKUPS_DIR) for this one; if the sources of the job have really changed, the same command with --accept-sources goes on with these snapshots once"
        }
        RunError::SourceNotMounted { .. } => {
            "mount it, or remove its line from /etc/fstab if it is no longer wanted; nothing was deleted"
        }
        RunError::Root { .. } => {
            "check that the path is right, mounted and readable; nothing was deleted, and the next run tries again"
        }
        RunError::Lost { .. } => {
            "mount it and run again; nothing was sealed or deleted; if it is really so now, the same command with --accept-shrink lets it through once"
        }
        RunError::Unmounted { .. } => {
            "mount the source and run again; if the folder is really empty now, the same command with --accept-shrink lets it through once"
        }
        RunError::InsideBackups { .. } => {
            "remove it from SRCS_TO_BACKUP, or write another BACKUPS_DIR"
        }
        RunError::Collapse { .. } => {
            "nothing was sealed or deleted; if the files are gone on purpose, the same command with --accept-shrink lets it through once, else bring them back"
        }
        RunError::Deletions { .. } => {
            "nothing was sealed or deleted; if they are gone on purpose, the same command with --accept-shrink lets it through once"
        }
        RunError::NoSpace { .. } => {
            "free space there or lower MAX_BACKUPS; what was copied so far stays for the next run"
        }
        RunError::NotMounted { .. } => {
            "mount it, or remove its line from /etc/fstab if it is no longer wanted"
        }
        RunError::Destination { action: "cannot create", path, error }
            if error.kind() == ErrorKind::NotFound =>
        {
            let above = shown_path(path.parent().unwrap_or(path));
            return Some(Step::from(format!(
                "the folder above it has to be there: mount or make {above}, or write another BACKUPS_DIR"
            )));
        }
        RunError::Destination { .. } => {
            "check that the backups folder is mounted and writable (BACKUPS_DIR); what was copied so far stays for the next run"
        }
        RunError::Sync { .. } => {
            "check the disk and its cable (dmesg, smartctl); the next run checks again what was not known to be on the disk"
        }
        RunError::NoConnection(error) => {
            return Some(crate::hint::connection::hint(error.downcast_ref(), None));
        }
        RunError::Endless { .. } => {
            "check the host; a tree that is really so wide can be split into several jobs"
        }
        RunError::Preparation { .. } => {
            "its output is above; nothing was touched, the next run starts it again"
        }
        RunError::NotForCopies { .. } => "write another folder",
        RunError::SourceLost(_) => "the next run continues where this one stopped",
        _ => return None,
    }))
}

/// The mistake in a source path that does not exist because it contains shell syntax.
fn mistyped(path: &Path) -> Option<&'static str> {
    let parts = || path.components().map(|part| part.as_os_str().as_encoded_bytes());
    let quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    if parts().any(|part| quote(part.first()) || quote(part.last())) {
        return Some(
            "write it in SRCS_TO_BACKUP without quotes: in an env file and in a list of docker-compose.yml they belong to the value; nothing was deleted",
        );
    }
    if parts().any(|part| part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))) {
        return Some(
            "patterns are not expanded in SRCS_TO_BACKUP: name the folder itself, and leave out what is not wanted with --exclude (RSYNC_DICT_PARAMS); nothing was deleted",
        );
    }
    None
}

/// Whether a source looks like rsync's `host:path`.
fn names_a_host(path: &Path) -> bool {
    // A relative path was joined to the current folder.
    path.components().any(|part| part.as_os_str().as_encoded_bytes().contains(&b':'))
}

/// The next step when the backups folder cannot be read.
pub(crate) fn unlookable(error: &LookError) -> &'static str {
    match error.error.kind() {
        ErrorKind::PermissionDenied => forbidden(),
        _ => "check that it is there, mounted and readable (--backups-dir)",
    }
}

/// The next step when something in the backups folder may not be read or written.
pub(crate) fn forbidden() -> &'static str {
    "do it as the user who takes the snapshots (sudo)"
}

/// The next step when no snapshot can be picked.
pub(crate) fn unpicked(error: &SelectError) -> &'static str {
    match error {
        SelectError::Unknown(_) => {
            "write a snapshot's name, latest, latest~2, oldest, a date such as 2026-11-23 or '2026-11-23 14:30', yesterday or '2 days ago'"
        }
        SelectError::Empty => {
            "take one with run, or write --backups-dir with the folder that holds them"
        }
        _ => "list shows all of them",
    }
}

/// The next step when a snapshot is not allowed to be removed.
pub(crate) fn refused(refusal: &PruneRefusal) -> &'static str {
    match refusal {
        PruneRefusal::Held(_) => "release lets it go; nothing was removed",
        PruneRefusal::Last(_) => "take another one first; nothing was removed",
    }
}

/// The next step when damage was found.
pub(crate) fn damaged() -> &'static str {
    "check the disk (dmesg, smartctl); the next run copies again what the source still has, and history shows the older versions"
}

/// The next step when a healing left something damaged.
pub(crate) fn unhealed() -> &'static str {
    "what is left cannot be healed from there: the reason is above; another copy may have it, and the next run copies again what the source still has"
}

/// The next step when what a healing or a drill needs could not be brought from the other folder. Nothing of it stays.
pub(crate) fn unbrought(error: &RunError) -> Option<String> {
    let step = match error {
        RunError::NoSpace { .. } => {
            "free space there: what is brought is stored beside the snapshots first"
        }
        RunError::Destination { .. } => {
            "check that both folders are mounted, and the one here writable"
        }
        RunError::NotForCopies { .. } => "write the folder of the other copy",
        RunError::SourceLost(_) => {
            "check the network and the host, then write the same command again: it brings everything anew"
        }
        error => return hint(error).map(|step| step.to_string()),
    };
    Some(step.to_owned())
}

/// The next step when a restore drill failed.
pub(crate) fn undrilled() -> &'static str {
    "verify --all shows all damage; verify --all --heal-from DIR brings it from another copy"
}

/// The next step when a restored file has other content than the unchanged source.
pub(crate) fn differs_from_source() -> &'static str {
    "compare such a file with the restored one: either it rots on the disk of the source, or a program changed it and set back its times; run --checksum copies it"
}

/// The next step when files have no hash.
pub(crate) fn unproved() -> &'static str {
    "verify --record notes what they hold now, for the next time"
}

/// Why `verify --record` left files without a hash, and the next step.
pub(crate) fn unrecorded(why: Option<&str>) -> String {
    match why {
        Some(why) => format!("this user may not write it to them, and no manifest got it: {why}"),
        None => "this user may not write it to them; verify --all --record without --sample and --rolling records it in manifests".to_owned(),
    }
}

/// The next step when a restore ended early.
pub(crate) fn unrestored() -> &'static str {
    "what was restored so far is whole; make room or check the disk, then the same command continues where it stopped"
}

/// The next step if `/proc` is not mounted.
pub(crate) const NO_PROC: &str = "nothing was restored: mount it (mount -t proc proc /proc), in a chroot or container inside of that, and try again";

/// The next step for restoring a snapshot in which a check found damage.
pub(crate) fn restored_damaged() -> &'static str {
    "verify shows what; the lost content cannot be recovered: compare with an older one (diff)"
}

/// The next step if `--delete` cannot know which entries a snapshot lacked.
pub(crate) fn not_deleted() -> &'static str {
    "Restore without --delete, choose another snapshot (list shows them), or add --delete-anyway after looking at --dry-run"
}

/// The next steps if some entries were not restored.
pub(crate) fn not_restored(counts: &RestoreCounts) -> Vec<&'static str> {
    let mut steps = Vec::new();
    if counts.damaged > 0 {
        steps.push(
            "history shows other versions of the damaged files; --accept-damage restores it as it is",
        );
    }
    if counts.left > 0 {
        steps.push(
            "what was left differs from the snapshot; --overwrite newer, changed or always replaces it",
        );
    }
    if counts.partly > 0 {
        steps.push(
            "what was restored in part is whole but for what is named; root can set owners (sudo), another file system holds more",
        );
    }
    if counts.failed > 0 {
        steps.push("after the reasons above are corrected, the same command restores the rest");
    }
    if counts.protected > 0 {
        steps.push(
            "what was not removed may have been on the source without coming into the snapshot; --dry-run gives the reason for each",
        );
    }
    steps
}

/// The next step if the connection to the host of a restore is lost.
pub(crate) fn restore_lost() -> &'static str {
    "what was restored so far is whole; when the host answers again, the same command continues where it stopped"
}

/// The next step if the host of a restore at `address` cannot be connected to.
pub(crate) fn unconnected(error: &ConnectError, address: &Address) -> Step {
    use ConnectError as E;
    Step::from(match error {
        E::NameNotFound { .. } => {
            "check the spelling of the host, and that this machine can look up names"
        }
        E::Refused { .. } => {
            "check that sshd runs on the host, and on which port: --ssh-port PORT, or a Host in ~/.ssh/config"
        }
        E::Closed { .. } => {
            "look into the host's log for the reason: too many connections (MaxStartups), a list of banned addresses, a firewall"
        }
        E::Unreachable { .. } => "check the network and the address",
        E::Timeout(_) => {
            "check that the host is up and that no firewall drops what comes from here"
        }
        E::Ssh { .. } | E::Stopped => {
            "check the host's name, that it is up and that ssh reaches it"
        }
        error => return crate::hint::connection::hint(Some(error), Some(address)),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_host_in_a_source_and_a_missing_folder_above_have_their_own_hints() {
        let root = |path: &str| RunError::Root { path: path.into(), error: SourceError::Vanished };
        let said = |error: &RunError| hint(error).unwrap_or_default().to_string();
        assert!(said(&root("/here/nas:/photos")).contains("REMOTE_SRC_HOST=user@host"));
        assert!(said(&root("/here/photos")).contains("check that the path is right"));
        let create = |kind: ErrorKind| RunError::Destination {
            action: "cannot create",
            path: "/mnt/disk/backups".into(),
            error: io::Error::from(kind),
        };
        assert!(said(&create(ErrorKind::NotFound)).contains("mount or make /mnt/disk, or write"));
        assert!(said(&create(ErrorKind::PermissionDenied)).contains("mounted and writable"));
    }

    #[test]
    fn no_next_step_promises_that_a_part_stays() {
        let lost = engine::source::SourceError::Lost("the line".to_owned());
        let destination = RunError::Destination {
            action: "cannot write in",
            path: "/backups".into(),
            error: std::io::ErrorKind::ReadOnlyFilesystem.into(),
        };
        for (error, part) in
            [(RunError::SourceLost(lost), "same command again"), (destination, "writable")]
        {
            let step = unbrought(&error).expect("a step");
            assert!(step.contains(part) && !step.contains("next run"), "{step}");
        }
    }
}

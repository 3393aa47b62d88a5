//! What to do next when a run failed.

use engine::error::RunError;
use engine::retention::Refusal;
use engine::select::SelectError;
use transport::sftp::ConnectError;

/// The next step for the one who reads the log, if there is one to tell.
pub(crate) fn hint(error: &RunError) -> Option<&'static str> {
    Some(match error {
        RunError::Root { .. } => {
            "check that the path is right, mounted and readable; nothing was deleted, and the next run goes on"
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
        RunError::NoSpace { .. } => {
            "free space there or lower MAX_BACKUPS; the next run goes on where this one stopped"
        }
        RunError::NotMounted { .. } => {
            "mount it, or remove its line from /etc/fstab if it is no longer wanted"
        }
        RunError::Destination { .. } => {
            "check that the backups folder is mounted and writable (BACKUPS_DIR); the next run goes on where this one stopped"
        }
        RunError::Sync { .. } => {
            "check the disk and its cable (dmesg, smartctl); the next run checks again what was not known to be on the disk"
        }
        RunError::NoConnection(error) => match error.downcast_ref() {
            Some(ConnectError::HostKeyUnknown { .. }) => {
                "connect once by hand with ssh as the same user, compare the fingerprint with the one the host shows (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and say yes"
            }
            Some(ConnectError::HostKeyChanged { .. }) => {
                "find out why before anything else; if the host was set up anew, remove the old key (ssh-keygen -R HOST) and connect once by hand"
            }
            Some(ConnectError::Authentication { .. }) => {
                "put the public key of the user that runs this into the host's authorized_keys (ssh-copy-id); no password can be asked for"
            }
            Some(ConnectError::NoSftp { .. }) => {
                "enable the sftp subsystem in the host's sshd_config"
            }
            _ => {
                "check the host's name, that it is up and that ssh reaches it; the next run tries again"
            }
        },
        RunError::Preparation { .. } => {
            "what it wrote stands above; nothing was touched, the next run begins with it again"
        }
        RunError::SourceLost(_) => "the next run goes on where this one stopped",
        _ => return None,
    })
}

/// The next step when the backups folder cannot be looked at.
pub(crate) fn unlookable() -> &'static str {
    "check that it is there, mounted and readable (--backups-dir)"
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

/// The next step when a snapshot must not be removed.
pub(crate) fn refused(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Held(_) => "release lets it go; nothing was removed",
        Refusal::Last(_) => "take another one first; nothing was removed",
    }
}

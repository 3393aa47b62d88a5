//! What to do next when a run failed.

mod connection;

use std::borrow::Cow;
use std::io::ErrorKind;

use engine::error::RunError;
use engine::source::SourceError;

/// The next step for the one who reads the log, if there is one to tell.
pub(crate) fn hint(error: &RunError) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match error {
        RunError::Root { error: SourceError::Unreadable { error, .. }, .. }
            if error.kind() == ErrorKind::PermissionDenied =>
        {
            "give the user that reads it (of a remote source the one of REMOTE_SRC_HOST) the permission to read it, or use another one; nothing was deleted, and the next run goes on"
        }
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
        RunError::Deletions { .. } => {
            "nothing was sealed or deleted; if they are gone on purpose, the same command with --accept-shrink lets it through once"
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
        RunError::NoConnection(error) => return Some(connection::hint(error.downcast_ref())),
        RunError::Endless { .. } => {
            "check the host; a tree that is really so wide can be split into several jobs"
        }
        RunError::SourceLost(_) => "the next run goes on where this one stopped",
        _ => return None,
    }))
}

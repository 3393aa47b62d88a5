//! Makes an incomplete snapshot a complete one, and removes what the history has no room for.

use std::io;

use rustix::io::Errno;

use crate::entry::escape::shown_path;
use crate::error::RunError;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::Backups;
use crate::repository::removal::rename;
use crate::snapshot::name::SnapshotName;

/// Gives the incomplete snapshot its complete name. It must be durable already.
///
/// # Errors
/// When it cannot be renamed, or the new name cannot be made durable.
pub(crate) fn seal(
    backups: &Backups,
    incomplete: &SnapshotName,
    complete: &SnapshotName,
) -> Result<(), RunError> {
    rename(backups, incomplete, complete)?;
    let synced = backups.dir.sync();
    synced.map_err(|error| RunError::Sync { path: backups.path.join(complete.to_string()), error })
}

impl Stuck {
    /// Tells that `path`, which is `name` or lies in it, cannot be removed or renamed.
    pub(crate) fn new(
        name: &SnapshotName,
        path: &std::path::Path,
        error: &io::Error,
        context: &Context,
    ) -> Self {
        let why = match Errno::from_io_error(error) {
            Some(Errno::XDEV | Errno::BUSY) => format!("{error}; something is mounted there"),
            _ => error.to_string(),
        };
        let stuck = Self { snapshot: name.to_string(), path: shown_path(path), why };
        context.monitor.event(&Event::Stuck { stuck: stuck.clone() });
        stuck
    }

    /// What of a snapshot could not be renamed.
    pub(crate) fn of(name: &SnapshotName, error: &RunError, context: &Context) -> Self {
        match error {
            RunError::Destination { path, error, .. } => Self::new(name, path, error, context),
            other => Self::new(
                name,
                std::path::Path::new(""),
                &io::Error::other(other.to_string()),
                context,
            ),
        }
    }
}

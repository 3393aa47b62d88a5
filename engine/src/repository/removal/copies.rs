//! Removes unfinished copies of snapshots.

use crate::error::RunError;
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::repository::backups_folder::Repository;
use crate::repository::records::copied::is_copy;
use crate::repository::removal;
use crate::snapshot::history::History;
use crate::snapshot::name::{SnapshotName, Stamp};

/// Removes the unfinished copies of `history` but that of the snapshot with the time `except`. A run must not continue one: what
/// is in it is older than it looks.
///
/// # Errors
/// When stopped, or when the new names cannot be made durable.
pub(crate) fn remove_unfinished(
    repository: &Repository,
    history: &mut History,
    except: Option<Stamp>,
    context: &Context,
) -> Result<(), RunError> {
    let other = |name: &&SnapshotName| Some(name.stamp) != except && is_copy(repository, name);
    let mut retired = Vec::new();
    for name in history.incomplete.iter().filter(other) {
        let why = "an unfinished copy of a snapshot that is not copied now";
        retired.extend(removal::retire(repository, name, why, context)?);
    }
    if retired.is_empty() {
        return Ok(());
    }
    history.incomplete.retain(|name| !retired.iter().any(|gone| gone.was == *name));
    context.progress.enter(Phase::Removing);
    removal::remove_retired(repository, &retired, context).map(drop)
}

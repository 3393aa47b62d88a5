//! Removes snapshots from the history: renames each to `.deleting` first, and removes its content later.

pub(crate) mod copies;
pub(crate) mod orphans;
pub(crate) mod prune;

use std::fmt::Display;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::entry::c_name;
use crate::entry::escape::shown_path;
use crate::error::{RunError, destination};
use crate::fs::file_system::workers_in;
use crate::fs::mount::point::{MountPoint, is_mount_point};
use crate::fs::remove_tree::{Left, remove_or_say};
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::healing::clear_left;
use crate::repository::lock::read_lock::claim;
use crate::repository::records::report_file::report_file;
use crate::repository::store::Store;
use crate::snapshot::history::History;
use crate::snapshot::name::{SnapshotName, SnapshotState};

/// What to do about a mount inside a snapshot.
const UNMOUNT: &str = "unmount it, and the next run continues the removal";

/// A snapshot that was renamed to `.deleting` and still has to be removed.
#[derive(Debug, Clone)]
pub(crate) struct Retired {
    /// The present name, with the suffix `.deleting`.
    pub(crate) name: SnapshotName,
    /// The name before.
    pub(crate) was: SnapshotName,
    /// Why it is removed; `None` when an earlier run began the removal.
    pub(crate) why: Option<String>,
}

impl Retired {
    /// The name before, as text.
    pub(crate) fn was(&self) -> String {
        self.was.to_string()
    }
}

/// Renames a snapshot to `.deleting`, which takes it out of the history. `None` when a process reads the
/// snapshot or a hold pins it: then the snapshot stays.
///
/// # Errors
/// The snapshot cannot be renamed.
pub(crate) fn retire(
    repository: &Repository,
    name: &SnapshotName,
    why: impl Display,
    context: &Context,
) -> Result<Option<Retired>, RunError> {
    let Some(_claim) = claim(repository, name) else {
        context.monitor.event(&Event::InUse { snapshot: name.to_string() });
        return Ok(None);
    };
    // Pinning a snapshot needs the lock that is held here, so no hold can appear after this check.
    if crate::repository::records::holds::of(repository, name).is_some() {
        return Ok(None);
    }
    let deleting = name.with_state(SnapshotState::Deleting);
    rename(repository, name, &deleting)?;
    Ok(Some(Retired { name: deleting, was: name.clone(), why: Some(why.to_string()) }))
}

pub(crate) fn rename(
    repository: &Repository,
    from: &SnapshotName,
    to: &SnapshotName,
) -> Result<(), RunError> {
    let renamed =
        folder_name(from).and_then(|old| repository.dir.rename_new(&old, &folder_name(to)?));
    let path = repository.path.join(from.to_string());
    renamed.map_err(|error| destination("cannot rename", &repository.path, path, error))
}

/// Removes snapshots that are out of the history, and their sidecars. Tries each one. Returns those that could
/// not be removed completely; they do not block anything else.
///
/// # Errors
/// The new names cannot be made durable; [`RunError::Stopped`] when stopped.
pub(crate) fn remove_retired(
    repository: &Repository,
    retired: &[Retired],
    context: &Context,
) -> Result<Vec<Stuck>, RunError> {
    if !retired.is_empty() {
        // Removes nothing before this sync: a power loss could otherwise bring back the complete name of a
        // partly removed snapshot.
        let synced = repository.dir.sync();
        synced.map_err(|error| RunError::Sync { path: repository.path.clone(), error })?;
    }
    let mut stuck = Vec::new();
    for Retired { name, was, why } in retired {
        let folder = folder_name(name);
        let removed = folder.map_err(|error| Left { path: Vec::new(), error }).and_then(|folder| {
            let stop = Arc::clone(&context.stop);
            let counter = &context.progress.removed;
            let threads = workers_in(&repository.dir);
            remove_or_say(&repository.dir, &folder, threads, counter, &|| stop.asked())
        });
        match removed {
            Ok(()) => {
                forget(repository, name);
                let snapshot = was.to_string();
                context.monitor.event(&match why {
                    Some(reason) => Event::Pruned { snapshot, reason: reason.clone() },
                    None => Event::LeftoverRemoved { snapshot: name.to_string() },
                });
            }
            Err(_) if context.stop.asked() => return Err(RunError::Stopped),
            Err(Left { path, error }) => {
                let path = repository.path.join(std::ffi::OsStr::from_bytes(&path));
                stuck.push(Stuck::new(name, &path, &error, context));
            }
        }
    }
    Ok(stuck)
}

/// Finishes removals that earlier runs began, and removes what a killed healing left. Returns the snapshots that could not be removed.
///
/// # Errors
/// As [`remove_retired`].
pub(crate) fn remove_leftovers(
    repository: &Repository,
    history: &History,
    context: &Context,
) -> Result<Vec<Stuck>, RunError> {
    if let Some(healing) = repository.store(Store::Healing) {
        clear_left(&healing, Some((context.now)()));
    }
    if history.deleting.is_empty() {
        return Ok(Vec::new());
    }
    context.progress.enter(Phase::Removing);
    let retired =
        |name: &SnapshotName| Retired { name: name.clone(), was: name.clone(), why: None };
    let retired: Vec<_> = history.deleting.iter().map(retired).collect();
    remove_retired(repository, &retired, context)
}

/// Removes all records of a snapshot. `doctor` lists what could not be removed.
pub(crate) fn forget(repository: &Repository, name: &SnapshotName) {
    let complete = name.with_state(SnapshotState::Complete).to_string();
    if let (Some(reports), Ok(file)) =
        (repository.store(Store::Reports), c_name(report_file(&complete)))
    {
        let _ = reports.unlink(&file);
    }
    crate::repository::records::holds::forget(repository, name);
    forget_kept(repository, &complete);
    crate::repository::manifest::forget(repository, &complete);
    let incomplete = name.with_state(SnapshotState::Incomplete).to_string();
    crate::repository::manifest::forget(repository, &incomplete);
    forget_kept(repository, &incomplete);
}

pub(crate) fn forget_kept(repository: &Repository, name: &str) {
    if let (Some(kept), Ok(name)) = (repository.store(Store::Sidecars), c_name(name)) {
        let none = std::sync::atomic::AtomicU64::new(0);
        let _ = crate::fs::remove_tree::remove(&kept, &name, 1, &none, &|| false);
    }
}

/// Renames the sidecar of a snapshot when the snapshot gets its complete name.
///
/// # Errors
/// Any I/O error.
pub(crate) fn rename_kept(
    repository: &Repository,
    incomplete: &SnapshotName,
    complete: &SnapshotName,
) -> io::Result<()> {
    let Some(kept) = repository.store(Store::Sidecars) else { return Ok(()) };
    let (old, new) = (folder_name(incomplete)?, folder_name(complete)?);
    // Removes an empty sidecar folder, so that later lookups skip it.
    if kept.remove_folder(&old).is_err() && kept.find(&old)?.is_some() {
        forget_kept(repository, &complete.to_string());
        kept.rename_new(&old, &new)?;
    }
    kept.sync()
}

impl Stuck {
    /// Reports that `path`, which is `name` or is in it, cannot be removed or renamed.
    pub(crate) fn new(
        name: &SnapshotName,
        path: &Path,
        error: &io::Error,
        context: &Context,
    ) -> Self {
        let why = match Errno::from_io_error(error) {
            // As rename(2) and rmdir(2) report a mount point.
            Some(Errno::BUSY) => format!("{error}; {MountPoint}; {UNMOUNT}"),
            _ if is_mount_point(error) => format!("{error}; {UNMOUNT}"),
            _ => error.to_string(),
        };
        let stuck = Self { snapshot: name.to_string(), path: shown_path(path), why };
        context.monitor.event(&Event::Stuck { stuck: stuck.clone() });
        stuck
    }

    /// Reports that a snapshot could not be renamed.
    pub(crate) fn of(name: &SnapshotName, error: &RunError, context: &Context) -> Self {
        match error {
            RunError::Destination { path, error, .. } => Self::new(name, path, error, context),
            other => Self::new(name, Path::new(""), &io::Error::other(other.to_string()), context),
        }
    }
}

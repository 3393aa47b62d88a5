//! Removes snapshots from the history: rename to `.deleting` first, contents later.

pub mod orphans;
pub mod prune;

use std::fmt::Display;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::entry::c_name;
use crate::entry::escape::shown_path;
use crate::error::{RunError, destination};
use crate::fs::remove_tree::{Left, remove_or_say};
use crate::monitor::Phase;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Stuck};
use crate::repository::lock::read_lock::claim;
use crate::repository::records::report_file::report_file;
use crate::repository::store::Store;
use crate::repository::{Repository, folder_name};
use crate::snapshot::history::History;
use crate::snapshot::name::{SnapshotName, State};
use crate::threads::work_queue::workers;

/// A snapshot that is out of the history and still to be removed.
#[derive(Debug, Clone)]
pub(crate) struct Retired {
    /// With the suffix of those that are being removed.
    pub(crate) name: SnapshotName,
    /// What it was called.
    pub(crate) was: SnapshotName,
    /// Why it goes; `None` for what an earlier run began to remove.
    pub(crate) why: Option<String>,
}

impl Retired {
    /// What it was called.
    pub(crate) fn was(&self) -> String {
        self.was.to_string()
    }
}

/// Takes a snapshot out of the history: from now on it is one that is being removed. `None` when somebody reads it or it
/// is held: then it stays.
///
/// # Errors
/// When it cannot be renamed.
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
    // Who pins it has to have the lock that is had here.
    if crate::repository::records::holds::of(repository, name).is_some() {
        return Ok(None);
    }
    let deleting = name.with_state(State::Deleting);
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

/// Removes snapshots that are out of the history, and what was kept beside them. Each is tried; what of one cannot be
/// removed stays in the way of nothing, and is returned.
///
/// # Errors
/// When their new names cannot be made durable; [`RunError::Stopped`] when stopped.
pub(crate) fn remove_retired(
    repository: &Repository,
    retired: &[Retired],
    context: &Context,
) -> Result<Vec<Stuck>, RunError> {
    if !retired.is_empty() {
        // Nothing of them goes while a power cut could bring their complete names back.
        let synced = repository.dir.sync();
        synced.map_err(|error| RunError::Sync { path: repository.path.clone(), error })?;
    }
    let mut stuck = Vec::new();
    for Retired { name, was, why } in retired {
        let folder = folder_name(name);
        let removed = folder.map_err(|error| Left { path: Vec::new(), error }).and_then(|folder| {
            let stop = Arc::clone(&context.stop);
            let counter = &context.progress.removed;
            remove_or_say(&repository.dir, &folder, workers(), counter, &|| stop.asked())
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

/// Finishes removals that earlier runs had begun; what of them cannot be removed.
///
/// # Errors
/// As [`remove_retired`].
pub(crate) fn remove_leftovers(
    repository: &Repository,
    history: &History,
    context: &Context,
) -> Result<Vec<Stuck>, RunError> {
    if history.deleting.is_empty() {
        return Ok(Vec::new());
    }
    context.progress.enter(Phase::Removing);
    let retired =
        |name: &SnapshotName| Retired { name: name.clone(), was: name.clone(), why: None };
    let retired: Vec<_> = history.deleting.iter().map(retired).collect();
    remove_retired(repository, &retired, context)
}

/// Removes a snapshot's report and what was kept beside it. `doctor` lists what stays.
pub(crate) fn forget(repository: &Repository, name: &SnapshotName) {
    let complete = name.with_state(State::Complete).to_string();
    if let (Some(reports), Ok(file)) =
        (repository.store(Store::Reports), c_name(report_file(&complete)))
    {
        let _ = reports.unlink(&file);
    }
    crate::repository::records::holds::forget(repository, name);
    forget_kept(repository, &complete);
    crate::repository::manifest::forget(repository, &complete);
    let incomplete = name.with_state(State::Incomplete).to_string();
    crate::repository::manifest::forget(repository, &incomplete);
    forget_kept(repository, &incomplete);
}

pub(crate) fn forget_kept(repository: &Repository, name: &str) {
    if let (Some(kept), Ok(name)) = (repository.store(Store::Sidecars), c_name(name)) {
        let none = std::sync::atomic::AtomicU64::new(0);
        let _ = crate::fs::remove_tree::remove(&kept, &name, 1, &none, &|| false);
    }
}

/// Lets what is kept beside a snapshot follow it to its complete name.
///
/// # Errors
/// The system's.
pub(crate) fn rename_kept(
    repository: &Repository,
    incomplete: &SnapshotName,
    complete: &SnapshotName,
) -> io::Result<()> {
    let Some(kept) = repository.store(Store::Sidecars) else { return Ok(()) };
    let (old, new) = (folder_name(incomplete)?, folder_name(complete)?);
    // An empty one goes: then nothing is looked up in it later.
    if kept.remove_folder(&old).is_err() && kept.find(&old)?.is_some() {
        forget_kept(repository, &complete.to_string());
        kept.rename_new(&old, &new)?;
    }
    kept.sync()
}

impl Stuck {
    /// Reports that `path`, which is `name` or lies in it, cannot be removed or renamed.
    pub(crate) fn new(
        name: &SnapshotName,
        path: &Path,
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

    /// Reports that a snapshot could not be renamed.
    pub(crate) fn of(name: &SnapshotName, error: &RunError, context: &Context) -> Self {
        match error {
            RunError::Destination { path, error, .. } => Self::new(name, path, error, context),
            other => Self::new(name, Path::new(""), &io::Error::other(other.to_string()), context),
        }
    }
}

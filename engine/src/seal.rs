//! Makes an incomplete snapshot a complete one, and removes what the history has no room for.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use crate::backups::{Backups, folder_name};
use crate::dir::c_name;
use crate::error::{RunError, destination};
use crate::event::Event;
use crate::history::History;
use crate::hold::{DAMAGED, HOLDS};
use crate::job::Job;
use crate::monitor::Phase;
use crate::name::{SnapshotName, State};
use crate::queue::workers;
use crate::reading::claim;
use crate::record::report_file;
use crate::run::Context;

/// Takes a complete snapshot out of the history: from now on it is one that is being removed. `None`
/// when somebody reads it: then it stays.
///
/// # Errors
/// When the backups folder cannot be changed.
pub(crate) fn retire(
    backups: &Backups,
    name: &SnapshotName,
    why: impl Display,
    context: &Context,
) -> Result<Option<SnapshotName>, RunError> {
    let Some(_claim) = claim(backups, name) else {
        context.monitor.event(&Event::InUse { snapshot: name.to_string() });
        return Ok(None);
    };
    let deleting = name.with_state(State::Deleting);
    rename(backups, name, &deleting)?;
    let (snapshot, reason) = (name.to_string(), why.to_string());
    context.monitor.event(&Event::Pruned { snapshot, reason });
    Ok(Some(deleting))
}

fn rename(backups: &Backups, from: &SnapshotName, to: &SnapshotName) -> Result<(), RunError> {
    let renamed = folder_name(from).and_then(|old| backups.dir.rename_new(&old, &folder_name(to)?));
    let path = backups.path.join(from.to_string());
    renamed.map_err(|error| destination("cannot rename", &backups.path, path, error))
}

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

/// Removes everything that is being removed, and what was kept beside it.
///
/// # Errors
/// When something cannot be removed; [`RunError::Stopped`] when stopped.
pub(crate) fn remove_retired(
    backups: &Backups,
    retired: &[SnapshotName],
    context: &Context,
) -> Result<(), RunError> {
    if !retired.is_empty() {
        // Nothing of them goes while a power cut could bring their complete names back.
        let synced = backups.dir.sync();
        synced.map_err(|error| RunError::Sync { path: backups.path.clone(), error })?;
    }
    for name in retired {
        let removed = folder_name(name).and_then(|folder| {
            let stop = Arc::clone(&context.stop);
            let counter = &context.progress.removed;
            crate::tree::remove(&backups.dir, &folder, workers(), counter, &|| stop.asked())
        });
        match removed {
            Ok(()) => forget(backups, name),
            Err(_) if context.stop.asked() => return Err(RunError::Stopped),
            Err(error) => {
                let path = backups.path.join(name.to_string());
                return Err(destination("cannot remove", &backups.path, path, error));
            }
        }
    }
    Ok(())
}

/// Finishes removals that earlier runs had begun.
///
/// # Errors
/// [`RunError::Stopped`].
pub(crate) fn remove_leftovers(
    backups: &Backups,
    history: &History,
    context: &Context,
) -> Result<(), RunError> {
    for name in &history.deleting {
        context.progress.enter(Phase::Removing);
        let event = match remove_retired(backups, std::slice::from_ref(name), context) {
            Ok(()) => Event::LeftoverRemoved { snapshot: name.to_string() },
            Err(RunError::Stopped) => return Err(RunError::Stopped),
            // What cannot be removed takes room, but must not stand in the way of the next snapshot.
            Err(error) => Event::Aside { what: error.to_string() },
        };
        context.monitor.event(&event);
    }
    Ok(())
}

/// Removes a snapshot's report and what was kept beside it. What stays is swept by a later run.
fn forget(backups: &Backups, name: &SnapshotName) {
    let complete = name.with_state(State::Complete).to_string();
    if let (Some(reports), Ok(file)) = (backups.own(c"reports"), c_name(report_file(&complete))) {
        let _ = reports.unlink(&file);
    }
    crate::hold::forget(backups, name);
    forget_kept(backups, &complete);
    crate::manifest::forget(backups, &complete);
}

fn forget_kept(backups: &Backups, name: &str) {
    if let (Some(kept), Ok(name)) = (backups.own(c"kept"), c_name(name)) {
        let none = std::sync::atomic::AtomicU64::new(0);
        let _ = crate::tree::remove(&kept, &name, 1, &none, &|| false);
    }
}

/// Removes reports, kept values and notes whose snapshot somebody deleted by hand.
pub(crate) fn sweep(backups: &Backups, job: &Job, history: &History) {
    let known = |name: &[u8]| {
        SnapshotName::parse(&job.prefix, name).is_none_or(|name| {
            history.complete.contains(&name) || history.incomplete.contains(&name)
        })
    };
    let folders = [
        (c"reports", ".json"),
        (c"kept", ""),
        (crate::manifest::FOLDER, ""),
        (HOLDS, ""),
        (DAMAGED, ""),
    ];
    for (folder, suffix) in folders {
        let Some(dir) = backups.own(folder) else { continue };
        let mut orphans = Vec::new();
        let _ = dir.names(|entry| {
            let name = entry.name.to_bytes();
            if !name.strip_suffix(suffix.as_bytes()).is_none_or(known) {
                orphans.push(entry.name.to_owned());
            }
            std::ops::ControlFlow::Continue(())
        });
        for name in orphans {
            let none = std::sync::atomic::AtomicU64::new(0);
            let _ = crate::tree::remove(&dir, &name, 1, &none, &|| false);
        }
    }
}

/// Lets what is kept beside a snapshot follow it to its complete name.
///
/// # Errors
/// The system's.
pub(crate) fn rename_kept(
    backups: &Backups,
    incomplete: &SnapshotName,
    complete: &SnapshotName,
) -> io::Result<()> {
    let Some(kept) = backups.own(c"kept") else { return Ok(()) };
    let (old, new) = (folder_name(incomplete)?, folder_name(complete)?);
    // An empty one goes: then nothing is looked up in it later.
    if kept.remove_folder(&old).is_err() && kept.find(&old)?.is_some() {
        forget_kept(backups, &complete.to_string());
        kept.rename_new(&old, &new)?;
    }
    kept.sync()
}

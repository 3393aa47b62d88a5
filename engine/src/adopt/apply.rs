//! Carries out the plan of an adoption: renames folders, and syncs the folders that contain the names.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use crate::adopt::name::Program;
use crate::adopt::plan::{Plan, Rename};
use crate::adopt::survey::{Destination, Request, open_from, survey};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::metadata::stat::set_mtime;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::Repository;
use crate::repository::backups_folder::{check_mounted, folder_name};
use crate::repository::lock::{Locked, report_lease};
use crate::repository::snapshot_links;

/// How an adoption ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Adoption {
    /// All folders of the plan have their new names.
    Done,
    /// A run of the prefix is active. Nothing was renamed.
    Busy,
    /// The plan is no longer that of the caller. Nothing was renamed.
    Changed(Plan),
}

/// Carries out the plan `shown`, if it is still the plan. After an interruption it can be called again.
///
/// # Errors
/// The first rename or sync that failed. The renames before it were done.
pub fn adopt(request: &Request<'_>, shown: &Plan, context: &Context) -> Result<Adoption, RunError> {
    check_mounted(request.backups_dir)?;
    let from = open_from(request.from)?;
    let repository = Repository::open_or_make(request.backups_dir, None)?;
    let lock = match repository.lock(request.prefix, &context.stop)? {
        Locked::Mine(lock) => lock,
        Locked::Busy => return Ok(Adoption::Busy),
    };
    report_lease(&lock, context);
    // Removing the lock file does not end a run. The lock on the snapshot's folder still shows the run.
    if let Some(incomplete) = repository.history(request.prefix)?.incomplete.last()
        && let Err(RunError::Taken { .. }) = repository.claim(incomplete)
    {
        return Ok(Adoption::Busy);
    }
    let destination = Destination::There(repository);
    let plan = survey(request, &from, &destination)?;
    if plan.renames != shown.renames || !plan.obstacles.is_empty() {
        return Ok(Adoption::Changed(plan));
    }
    let Destination::There(repository) = destination else { return Ok(Adoption::Changed(plan)) };
    // The other program may have written without a sync. The complete name comes last.
    let unsynced = |error| RunError::Sync { path: request.from.to_owned(), error };
    (context.sync)(from.as_fd()).map_err(unsynced)?;
    for rename in &plan.renames {
        if context.stop.asked() || !lock.is_mine() {
            return Err(RunError::Stopped);
        }
        one(&from, &repository, rename).map_err(|error| {
            let mut path = request.from.join(OsStr::from_bytes(rename.folder.to_bytes()));
            path.extend(rename.inside.iter().map(|inside| OsStr::from_bytes(inside.to_bytes())));
            RunError::Destination { action: "cannot rename", path, error }
        })?;
    }
    // The new names reach the disk before the old ones are gone from it.
    repository.dir.sync().and_then(|()| from.sync()).map_err(unsynced)?;
    if let Err(error) = snapshot_links::refresh(&repository, request.prefix) {
        let what = format!("{}: {error}", snapshot_links::STALE);
        context.monitor.event(&Event::Aside { what });
    }
    Ok(Adoption::Done)
}

fn one(from: &Dir, repository: &Repository, rename: &Rename) -> io::Result<()> {
    let to = folder_name(&rename.to)?;
    let Some(inside) = &rename.inside else {
        return from.move_new(&rename.folder, &repository.dir, &to);
    };
    let above = from.child_here(&rename.folder)?;
    let mtime = above.meta()?.mtime;
    above.move_new(inside, &repository.dir, &to)?;
    if rename.program == Program::Rsnapshot {
        // The time of the folder is that of the snapshot, and another label in it may be adopted later.
        set_mtime(&above, mtime)?;
    }
    repository.dir.sync()?;
    above.sync()
}

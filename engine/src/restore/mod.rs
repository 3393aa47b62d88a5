//! Restores a snapshot: list -> compare -> plan -> apply, folder by folder.

pub(crate) mod access;
pub(crate) mod delete;
pub(crate) mod destination;
pub(crate) mod outcome;
pub(crate) mod plan;
pub(crate) mod request;
pub(crate) mod targets;
pub(crate) mod walk;

pub use self::delete::absence::Absence;
pub use self::destination::{Landing, LandingError, below_a_folder, in_place};
pub use self::outcome::{EntryOutcome, RestoreCounts, RestoreSink, RestoredEntry};
pub use self::plan::Overwrite;
pub use self::request::{RestoreError, RestoreOptions};
pub use self::targets::local::LocalTarget;
pub use self::targets::new_file::NewFile;
pub use self::targets::place_error::PlaceError;
pub use self::targets::preview::PreviewTarget;
pub use self::targets::temporary::{CreatorProcess, maker, name_by, own_maker, temporary_name};
pub use self::targets::{
    MountedFileSystem, MustStay, Shortfall, StoreOutcome, Target, TargetFacts, ToStore, is_lost,
    lost,
};

use crate::fs::access::own_umask;
use crate::monitor::context::Context;
use crate::repository::Repository;
use crate::repository::lock::read_lock::ReadLock;
use crate::repository::records::report_file::report;
use crate::restore::request::{RequestedPath, names};
use crate::restore::walk::read_snapshot::has;
use crate::restore::walk::shared_inodes::Sizes;
use crate::restore::walk::{RestoreWalk, shared_inodes};
use crate::snapshot::name::SnapshotName;

/// What is restored, and the snapshot that has all of it. No other process removes the snapshot while this value exists.
pub struct FoundLanding<'a> {
    repository: &'a Repository,
    snapshot: &'a SnapshotName,
    landing: &'a Landing,
    _stays: ReadLock,
}

impl<'a> FoundLanding<'a> {
    /// Looks the entries of `landing` up. It needs no target: nothing is created for paths that the snapshot lacks.
    ///
    /// # Errors
    /// The snapshot lacks one, or cannot be read.
    pub fn look_up(
        (repository, snapshot): (&'a Repository, &'a SnapshotName),
        landing: &'a Landing,
    ) -> Result<Self, RestoreError> {
        let stays = repository.lock_for_reading(snapshot)?;
        let (top, kept) = (repository.top(snapshot)?, repository.kept(snapshot)?);
        for item in &landing.items {
            if !is_sound(&item.inside) || !has(&top, &kept, item)? {
                return Err(no_such_path(snapshot, item));
            }
        }
        Ok(Self { repository, snapshot, landing, _stays: stays })
    }
}

/// Restores what was found in a snapshot to `target`, and reports each action to `sink`.
///
/// # Errors
/// The restore ended early. It reports an entry that cannot be restored to `sink` and continues.
pub fn restore<T: Target>(
    found: &FoundLanding<'_>,
    target: &T,
    options: RestoreOptions,
    context: &Context,
    sink: &dyn RestoreSink,
) -> Result<RestoreCounts, RestoreError> {
    let _ = own_umask();
    let FoundLanding { repository, snapshot, landing, .. } = *found;
    let items = &landing.items;
    let walk = RestoreWalk::new((repository, snapshot), target, options, context, sink)?;
    let report = report(repository, snapshot);
    let sizes = Sizes { wanted: context.progress.is_watched(), report: report.as_ref() };
    let several = shared_inodes::several(walk.top(), items, &sizes, &|| context.stop.asked());
    context.progress.expect(several.entries, several.bytes);
    let walk = walk.with(several, landing.whole.iter().cloned().collect());
    walk.all(items);
    if let Some(error) = walk.failed() {
        return Err(error);
    }
    if context.stop.asked() {
        return Err(RestoreError::Stopped);
    }
    match target.sync() {
        Err(_) if context.stop.asked() => Err(RestoreError::Stopped),
        Err(error) if crate::restore::targets::is_lost(&error) => Err(RestoreError::Lost(error)),
        Err(error) => Err(RestoreError::Target(error)),
        Ok(()) => Ok(walk.counts()),
    }
}

fn no_such_path(snapshot: &SnapshotName, item: &RequestedPath) -> RestoreError {
    let (snapshot, path) = (snapshot.to_string(), crate::entry::escape::shown(&item.inside));
    RestoreError::NoSuchPath { snapshot, path }
}

/// Whether all names of a path are valid entry names; `..` is not.
fn is_sound(inside: &[u8]) -> bool {
    names(inside).into_iter().all(|name| crate::entry::check_name(name).is_ok())
}

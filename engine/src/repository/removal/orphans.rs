//! Finds records in `.backup_manager` of snapshots that no longer exist: reports, sidecars, holds, marks of
//! damage, manifests. They are removed only on request, because a user may have moved a snapshot away
//! temporarily.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::{RunError, destination};
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::lock::Locked;
use crate::repository::store::Store;
use crate::snapshot::name::{Prefix, SnapshotName, SnapshotState};
use crate::threads::cancel::Stop;

/// A record of a missing snapshot in one store.
struct Orphan {
    store: Store,
    name: CString,
}

/// The records of snapshots of `prefix` that exist in no state, as paths in `.backup_manager`.
///
/// # Errors
/// A folder cannot be listed.
pub fn orphans(path: &Path, prefix: &Prefix) -> Result<Vec<String>, RunError> {
    let repository = Repository::open(path)?;
    Ok(shown(&find(&repository, prefix)?))
}

/// Removes what [`orphans`] lists, under the lock that excludes runs. `None` when a run of `prefix` is active:
/// then nothing was removed.
///
/// # Errors
/// A record cannot be removed.
pub fn remove_orphans(
    path: &Path,
    prefix: &Prefix,
    stop: &Arc<Stop>,
) -> Result<Option<Vec<String>>, RunError> {
    let repository = Repository::open_or_make(path, None)?;
    let Locked::Mine(_lock) = repository.lock(prefix, stop)? else { return Ok(None) };
    // Removing the lock file does not end a run. The lock on the snapshot's folder still shows the run.
    if let Some(incomplete) = repository.history(prefix)?.incomplete.last()
        && let Err(RunError::Taken { .. }) = repository.claim(incomplete)
    {
        return Ok(None);
    }
    let found = find(&repository, prefix)?;
    for Orphan { store, name } in &found {
        let gone = repository.store(*store).map_or(Ok(()), |folder| {
            crate::fs::remove_tree::remove(&folder, name, 1, &AtomicU64::new(0), &|| false)
        });
        gone.map_err(|error| {
            let what = path.join(".backup_manager").join(shown_of(*store, name));
            destination("cannot remove", path, what, error)
        })?;
    }
    Ok(Some(shown(&found)))
}

fn find(repository: &Repository, prefix: &Prefix) -> Result<Vec<Orphan>, RunError> {
    let broken =
        |error| destination("cannot list", &repository.path, repository.path.clone(), error);
    let mut found = Vec::new();
    for (store, ending) in Store::OF_SNAPSHOTS {
        let Some(dir) = repository.store_if_any(store).map_err(broken)? else { continue };
        dir.names(|entry| {
            let name = entry.name.to_bytes().strip_suffix(ending.as_bytes());
            let snapshot = name.and_then(|name| SnapshotName::parse(prefix, name));
            found.extend(snapshot.map(|snapshot| {
                (complete(&snapshot), Orphan { store, name: entry.name.to_owned() })
            }));
            ControlFlow::Continue(())
        })
        .map_err(broken)?;
    }
    // The snapshots are listed last, so that the records of a snapshot that a run begins meanwhile are not
    // orphans.
    let there = there(repository, prefix).map_err(broken)?;
    found.retain(|(snapshot, _)| !there.contains(snapshot));
    Ok(found.into_iter().map(|(_, orphan)| orphan).collect())
}

/// The snapshots of `prefix` in any state. A file or symlink with the name of a snapshot also counts: it may
/// point to where the snapshot was moved.
fn there(repository: &Repository, prefix: &Prefix) -> io::Result<HashSet<CString>> {
    let mut there = HashSet::new();
    repository.dir.names(|entry| {
        let name = SnapshotName::parse(prefix, entry.name.to_bytes());
        there.extend(name.map(|name| complete(&name)));
        ControlFlow::Continue(())
    })?;
    Ok(there)
}

fn complete(name: &SnapshotName) -> CString {
    folder_name(&name.with_state(SnapshotState::Complete)).unwrap_or_default()
}

fn shown(found: &[Orphan]) -> Vec<String> {
    let mut shown: Vec<_> =
        found.iter().map(|Orphan { store, name }| shown_of(*store, name)).collect();
    shown.sort();
    shown
}

fn shown_of(store: Store, name: &CStr) -> String {
    format!("{}/{}", store.folder().to_string_lossy(), name.to_string_lossy())
}

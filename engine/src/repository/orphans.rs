//! What `.backup_manager` holds of snapshots that are gone: reports, sidecars, holds, marks of damage, manifests.
//! They are listed; they are removed only when somebody asks for it, as a snapshot may have been moved away for a while.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::{RunError, destination};
use crate::repository::lock::Locked;
use crate::repository::records::{DAMAGED, HOLDS};
use crate::repository::{Backups, folder_name, manifest};
use crate::snapshot::name::{Prefix, SnapshotName, State};
use crate::threads::cancel::Stop;

/// The folders of `.backup_manager` with something for each snapshot, and what the names in them end with.
const FOLDERS: [(&CStr, &str); 5] =
    [(c"reports", ".json"), (c"kept", ""), (HOLDS, ""), (DAMAGED, ""), (manifest::FOLDER, "")];

/// What is left of one snapshot in one folder.
struct Orphan {
    folder: &'static CStr,
    name: CString,
}

/// What is left of snapshots of `prefix` that are there in no state: paths in `.backup_manager`.
///
/// # Errors
/// When it cannot be told.
pub fn orphans(path: &Path, prefix: &Prefix) -> Result<Vec<String>, RunError> {
    let backups = Backups::open(path)?;
    Ok(shown(&find(&backups, prefix)?))
}

/// Removes what [`orphans`] lists, under the lock that keeps runs away. `None` when a run of `prefix` is at work: nothing was
/// done.
///
/// # Errors
/// When something cannot be removed.
pub fn remove(
    path: &Path,
    prefix: &Prefix,
    stop: &Arc<Stop>,
) -> Result<Option<Vec<String>>, RunError> {
    let backups = Backups::open_or_make(path, None)?;
    let Locked::Mine(_lock) = backups.lock(prefix, stop)? else { return Ok(None) };
    // Whoever removes a lock file removes no run.
    if let Some(incomplete) = backups.history(prefix)?.incomplete.last()
        && let Err(RunError::Taken { .. }) = backups.claim(incomplete)
    {
        return Ok(None);
    }
    let found = find(&backups, prefix)?;
    for Orphan { folder, name } in &found {
        let gone = backups.own(folder).map_or(Ok(()), |folder| {
            crate::fs::remove_tree::remove(&folder, name, 1, &AtomicU64::new(0), &|| false)
        });
        gone.map_err(|error| {
            let what = path.join(".backup_manager").join(shown_of(folder, name));
            destination("cannot remove", path, what, error)
        })?;
    }
    Ok(Some(shown(&found)))
}

fn find(backups: &Backups, prefix: &Prefix) -> Result<Vec<Orphan>, RunError> {
    let broken = |error| destination("cannot list", &backups.path, backups.path.clone(), error);
    let mut found = Vec::new();
    for (folder, ending) in FOLDERS {
        let Some(dir) = backups.own_if_any(folder).map_err(broken)? else { continue };
        dir.names(|entry| {
            let name = entry.name.to_bytes().strip_suffix(ending.as_bytes());
            let snapshot = name.and_then(|name| SnapshotName::parse(prefix, name));
            found.extend(snapshot.map(|snapshot| {
                (complete(&snapshot), Orphan { folder, name: entry.name.to_owned() })
            }));
            ControlFlow::Continue(())
        })
        .map_err(broken)?;
    }
    // Looked for last: what a run has for a snapshot that it begins meanwhile is no orphan.
    let there = there(backups, prefix).map_err(broken)?;
    found.retain(|(snapshot, _)| !there.contains(snapshot));
    Ok(found.into_iter().map(|(_, orphan)| orphan).collect())
}

/// The snapshots of `prefix` that are there in any state. A file or symlink with the name of one counts: it may lead to where
/// the snapshot was moved.
fn there(backups: &Backups, prefix: &Prefix) -> io::Result<HashSet<CString>> {
    let mut there = HashSet::new();
    backups.dir.names(|entry| {
        let name = SnapshotName::parse(prefix, entry.name.to_bytes());
        there.extend(name.map(|name| complete(&name)));
        ControlFlow::Continue(())
    })?;
    Ok(there)
}

fn complete(name: &SnapshotName) -> CString {
    folder_name(&name.with_state(State::Complete)).unwrap_or_default()
}

fn shown(found: &[Orphan]) -> Vec<String> {
    let mut shown: Vec<_> =
        found.iter().map(|Orphan { folder, name }| shown_of(folder, name)).collect();
    shown.sort();
    shown
}

fn shown_of(folder: &CStr, name: &CStr) -> String {
    format!("{}/{}", folder.to_string_lossy(), name.to_string_lossy())
}

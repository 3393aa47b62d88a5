//! The manifest of a snapshot: the entries of each folder and the hash of each file. Only the owner of the
//! backups can write it. `docs/manifest.md` describes the format.
//!
//! `.backup_manager/manifests/SNAPSHOT/` has an index and some packs of records. The records of an unchanged
//! folder stay in a pack of the base, which the new manifest hard-links.

pub(crate) mod changes;
mod finish;
pub(crate) mod index;
pub(crate) mod lacking;
pub(crate) mod of_snapshot;
pub(crate) mod read;
pub(crate) mod recent;
pub(crate) mod record;
pub(crate) mod write;

use std::ffi::CStr;
use std::io;
use std::sync::atomic::AtomicU64;

use crate::entry::c_name;
use crate::fs::dir::Dir;
use crate::fs::small_file::give;
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::store::Store;
use crate::snapshot::name::{SnapshotName, SnapshotState};

/// The index of a manifest.
const INDEX: &CStr = c"index";

/// Opens or creates the folder of all manifests. Gives it the owner of `.backup_manager`, independent of the
/// user that runs the program.
///
/// # Errors
/// Any I/O error.
pub(crate) fn folder(repository: &Repository) -> io::Result<Dir> {
    let own = repository.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let name = Store::Manifests.folder();
    match own.make_folder(name, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => own.child(name),
        made => {
            made?;
            let folder = own.child(name)?;
            give(&folder, &own.meta()?)?;
            Ok(folder)
        }
    }
}

/// Removes the manifest of the snapshot `name`, if there is one. A later run removes what this call could not.
pub(crate) fn forget(repository: &Repository, name: &str) {
    if let (Some(all), Ok(name)) = (repository.store(Store::Manifests), c_name(name)) {
        let _ = remove(&all, &name);
    }
}

/// The temporary name of the manifest of a complete snapshot while it is rewritten.
fn unfinished(snapshot: &SnapshotName) -> io::Result<String> {
    let name = folder_name(&snapshot.with_state(SnapshotState::Incomplete))?;
    name.into_string().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Renames the manifest `from` to `to`, and replaces an existing one.
fn replace(all: &Dir, from: &CStr, to: &CStr) -> io::Result<()> {
    remove(all, to)?;
    all.rename_new(from, to)?;
    all.sync()
}

/// Removes the manifest `name` in `all`.
fn remove(all: &Dir, name: &CStr) -> io::Result<()> {
    match crate::fs::remove_tree::remove(all, name, 1, &AtomicU64::new(0), &|| false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

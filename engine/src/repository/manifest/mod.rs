//! The manifest of a snapshot: what each folder of it holds, and the hash of each file, where nobody
//! but the owner of the backups can write it. `docs/manifest.md` has the format.
//!
//! `.backup_manager/manifests/SNAPSHOT/` has an index and some packs of records. A folder in which nothing
//! changed has its records in a pack of the base, which is a hard link.

pub(crate) mod changes;
pub(crate) mod index;
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
use crate::repository::Backups;

/// The folder in `.backup_manager` that holds all manifests.
pub(crate) const FOLDER: &CStr = c"manifests";
/// The index of a manifest.
const INDEX: &CStr = c"index";

/// Opens or makes the folder of all manifests. It belongs to whom `.backup_manager` belongs to, whoever runs.
///
/// # Errors
/// The system's.
pub(crate) fn folder(backups: &Backups) -> io::Result<Dir> {
    let own = backups.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
    match own.make_folder(FOLDER, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => own.child(FOLDER),
        made => {
            made?;
            let folder = own.child(FOLDER)?;
            give(&folder, &own.meta()?)?;
            Ok(folder)
        }
    }
}

/// Removes the manifest of the snapshot `name`, if there is one. What stays is swept by a later run.
pub(crate) fn forget(backups: &Backups, name: &str) {
    if let (Some(all), Ok(name)) = (backups.own(FOLDER), c_name(name)) {
        let _ = remove(&all, &name);
    }
}

/// Removes the manifest `name` in `all`.
fn remove(all: &Dir, name: &CStr) -> io::Result<()> {
    match crate::fs::remove_tree::remove(all, name, 1, &AtomicU64::new(0), &|| false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

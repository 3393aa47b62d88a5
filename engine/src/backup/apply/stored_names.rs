//! Stores entries whose own names the destination refuses or changes under other names.

use std::ffi::CStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::AtomicU64;

use crate::backup::apply::snapshot_writer::{SnapshotWriter, replacing};
use crate::backup::walk::folder::WalkFolder;
use crate::entry::Kind;
use crate::entry::stored_name::is_reserved;
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::lookup::find;
use crate::fs::refusal::store_elsewhere;
use crate::fs::remove_tree::remove;
use crate::monitor::event::Instead;
use crate::source::Source;
use crate::threads::lock::lock;

/// Creates the file `name`, under another name where the destination refuses that one. With `over`, it replaces the entry
/// that has the name.
///
/// # Errors
/// The file cannot be created.
pub(crate) fn create(over: bool, here: &Dir, name: &CStr, mode: u32) -> io::Result<File> {
    let create = || replacing(over, here, name, || here.create_file(name, mode));
    match create() {
        Err(error) if store_elsewhere(here, name, &error)? => create(),
        created => created,
    }
}

impl<S: Source> SnapshotWriter<S> {
    /// Reports the entries of a finished folder that are stored under other names. Each is reported once in a run.
    ///
    /// # Errors
    /// The record of the names, or an entry, cannot be read.
    pub(crate) fn report_stored_names(
        &self,
        folder: &WalkFolder<S::Folder>,
        here: &Dir,
    ) -> io::Result<()> {
        for (name, stored) in here.stored_names()? {
            // A name that is only like a stored name is fine on the destination.
            let able = is_reserved(&name);
            let Some(meta) = find(here, &name)?.filter(|_| !able) else { continue };
            let path = folder.place.source_of(&name);
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            if !lock(&self.reported_names).insert(hasher.finish()) {
                continue;
            }
            let all = if meta.kind == Kind::Folder { ", with all that is in it" } else { "" };
            let stored = stored.to_string_lossy();
            let what =
                format!("the destination refuses or changes its name: stored as {stored}{all}");
            self.walk.problem(&path, what, Instead::OtherName);
        }
        Ok(())
    }

    /// Removes entries that an interrupted run stored under other names and whose record a power cut lost.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub(crate) fn remove_strays(
        &self,
        folder: &WalkFolder<S::Folder>,
        here: &Dir,
    ) -> Result<(), RunError> {
        let broken =
            |name: &CStr, error| self.walk.destination("cannot remove", &folder.place, name, error);
        let found = here.strays().map_err(|error| broken(c"", error))?;
        let Some((plain, strays)) = found else { return Ok(()) };
        folder.changes.alter();
        strays.iter().try_for_each(|name| {
            let removed = remove(&plain, name, 1, &AtomicU64::new(0), &|| false);
            removed.map_err(|error| broken(name, error))
        })
    }
}

//! The folders of a snapshot: entries that are stored under other names than their own.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::entry::stored_name::is_reserved;
use crate::fs::dir::Dir;
use crate::fs::dir::names::{FolderNames, SnapshotNames};

impl Dir {
    /// Makes it the top folder of a snapshot with the stored names `names`, which apply to all folders opened from it.
    #[must_use]
    pub(crate) fn with_names(self, names: Arc<SnapshotNames>) -> Self {
        Self { names: Some(FolderNames::top(names)), ..self }
    }

    /// Whether the entry `name` is stored under another name.
    ///
    /// # Errors
    /// The record of the stored names cannot be read.
    pub(crate) fn stores_elsewhere(&self, name: &CStr) -> io::Result<bool> {
        let stored = self.names.as_ref().map(|names| names.stored(name)).transpose()?;
        Ok(stored.flatten().is_some())
    }

    /// Gives the entry `name` a stored name. Returns `false` when it has one already, or when the folder does not belong to a
    /// snapshot that is being written.
    ///
    /// # Errors
    /// The record of the stored names cannot be read or written.
    pub(crate) fn give_stored_name(&self, name: &CStr) -> io::Result<bool> {
        self.names.as_ref().map_or(Ok(false), |names| names.give(name))
    }

    /// All entries that have a stored name: own name, stored name. An entry may be missing on the disk.
    ///
    /// # Errors
    /// The record of the stored names cannot be read.
    pub(crate) fn stored_names(&self) -> io::Result<Vec<(CString, CString)>> {
        self.names.as_ref().map_or(Ok(Vec::new()), |names| names.all())
    }

    /// The entries that a listing skipped, because they have stored names without a record, and a handle in which they are
    /// found under these names. A power cut can lose the record of an unfinished snapshot.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(crate) fn strays(&self) -> io::Result<Option<(Self, Vec<CString>)>> {
        let Some(names) = self.names.as_ref().filter(|names| names.has_strays()) else {
            return Ok(None);
        };
        let plain = Self { names: None, ..self.try_clone()? };
        let mut strays = Vec::new();
        plain.names(|entry| {
            if is_reserved(entry.name) {
                strays.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        let known = names.all()?;
        strays.retain(|name| !known.iter().any(|(_, stored)| stored == name));
        Ok(Some((plain, strays)))
    }
}

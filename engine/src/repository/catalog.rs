//! Read-only view of a repository: its prefixes and snapshots, and the records about each snapshot.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::entry::Kind;
use crate::entry::stored_name::ChangedNames;
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::repository::backups_folder::{Repository, folder_name};
use crate::repository::lock::read_lock;
use crate::repository::lock::read_lock::ReadLock;
use crate::repository::manifest::read::ManifestReader;
use crate::repository::records::holds::Hold;
use crate::repository::records::last_drill::LastDrill;
use crate::repository::records::names::names_of;
use crate::repository::records::report::Report;
use crate::repository::records::sidecar::Sidecar;
use crate::repository::records::{damage, holds, last_drill};
use crate::repository::store::Store;
use crate::snapshot::changes::Freeze;
use crate::snapshot::history::History;
use crate::snapshot::name::{Prefix, SnapshotName};
use crate::snapshot::retention::Candidate;

/// The records about a snapshot that affect its removal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The hold, when a user pinned the snapshot.
    pub held: Option<Hold>,
    /// A check found damage in the snapshot.
    pub damaged: bool,
}

impl Repository {
    /// The path of the backups folder, as the caller gave it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sorted prefixes of all snapshots in the folder. A caller that has only the folder finds them here.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn prefixes(&self) -> Result<Vec<Prefix>, LookError> {
        let dir = &self.dir;
        let mut found = Vec::new();
        let listed = dir.names(|entry| {
            if let Some(name) = SnapshotName::parse_any(entry.name.to_bytes())
                && !found.contains(&name.prefix)
                && dir.stat(entry.name).is_ok_and(|meta| meta.kind == Kind::Folder)
            {
                found.push(name.prefix);
            }
            ControlFlow::Continue(())
        });
        let path = self.path().to_owned();
        listed.map_err(|error| LookError { action: "cannot list", path, error })?;
        found.sort();
        Ok(found)
    }

    /// Whether `.backup_manager` exists but this user cannot open it.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.own_is_hidden()
    }

    /// The user IDs that write snapshots there: the caller, and the owner of `.backup_manager`. Where only
    /// rsync wrote snapshots, the owner of the backups folder replaces the owner of `.backup_manager`.
    #[must_use]
    pub fn writers(&self) -> Vec<u32> {
        let folder = self.own.as_ref().unwrap_or(&self.dir);
        let owner = folder.meta().ok().map(|meta| meta.uid);
        owner.into_iter().chain([rustix::process::geteuid().as_raw()]).collect()
    }

    /// The report of the run that completed a snapshot. `None` for snapshots that rsync made.
    #[must_use]
    pub fn report(&self, snapshot: &SnapshotName) -> Option<Report> {
        crate::repository::records::report_file::report(self, snapshot)
    }

    /// The result of the last restore drill of `prefix`, if one is known.
    #[must_use]
    pub fn last_drill(&self, prefix: &Prefix) -> Option<LastDrill> {
        last_drill::load(self, prefix)
    }

    /// The hold and the damage mark of a snapshot.
    #[must_use]
    pub fn standing(&self, snapshot: &SnapshotName) -> Standing {
        Standing { held: holds::of(self, snapshot), damaged: damage::is_damaged(self, snapshot) }
    }

    /// Each complete snapshot of `history` with its hold and damage mark, for [`crate::snapshot::judge`].
    #[must_use]
    pub fn candidates(&self, history: &History) -> Vec<Candidate> {
        crate::repository::records::holds::candidates(self, history)
    }

    /// Why the pruning of `history` is frozen; `None` when it is not.
    #[must_use]
    pub fn freeze(&self, history: &History) -> Option<Freeze> {
        holds::freeze(self, history)
    }

    /// Free bytes on the file system of the backups folder.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.dir.space().ok().map(|space| space.free_bytes)
    }

    /// Locks a snapshot for reading, so that no other process removes it meanwhile.
    pub(crate) fn lock_for_reading(&self, snapshot: &SnapshotName) -> Result<ReadLock, LookError> {
        read_lock::read(self, snapshot)
    }

    /// Opens a snapshot's folder.
    ///
    /// # Errors
    /// The folder no longer exists or cannot be read.
    pub fn top(&self, snapshot: &SnapshotName) -> Result<Dir, LookError> {
        self.open_top(snapshot).map_err(|error| LookError {
            action: "cannot open",
            path: self.path_of(snapshot),
            error,
        })
    }

    /// As [`Repository::top`], with the error of the system.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn open_top(&self, snapshot: &SnapshotName) -> std::io::Result<Dir> {
        let name = folder_name(snapshot)?;
        let top = self.dir.child(&name)?;
        Ok(match names_of(self.store(Store::Sidecars).as_ref(), &name, ChangedNames::default())? {
            Some(names) => top.with_names(names),
            None => top,
        })
    }

    /// Opens the sidecar records of a snapshot.
    pub(crate) fn kept(&self, snapshot: &SnapshotName) -> Result<Sidecar, LookError> {
        let opened = folder_name(snapshot)
            .and_then(|name| Sidecar::open(self.store(Store::Sidecars).as_ref(), &name));
        opened.map_err(|error| LookError {
            action: "cannot open what is kept beside",
            path: self.path_of(snapshot),
            error,
        })
    }

    /// Opens the manifest of a snapshot. `None` when there is none, or when this user may not read it.
    ///
    /// # Errors
    /// The manifest is incomplete or damaged.
    pub(crate) fn manifest(
        &self,
        snapshot: &SnapshotName,
    ) -> std::io::Result<Option<ManifestReader>> {
        let name = folder_name(snapshot)?;
        match ManifestReader::open(self.store(Store::Manifests).as_ref(), &name) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
            opened => opened,
        }
    }

    /// The path of a snapshot's folder.
    #[must_use]
    pub fn path_of(&self, snapshot: &SnapshotName) -> PathBuf {
        self.path().join(snapshot.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_found_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.07-12-2023_13-32-58",
            "a.x.07-12-2023_13-32-58.incomplete",
            "b.08-12-2023_13-32-58",
            "c.31-02-2023_00-00-00",
            ".backup_manager",
            "07-12-2023_13-32-58",
        ] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("file.07-12-2023_13-32-58"), "").unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        let found: Vec<String> =
            repository.prefixes().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a.x", "b"]);
        assert_eq!(repository.history(&Prefix::new("b").unwrap()).unwrap().complete.len(), 2);
        assert!(Repository::open(&folder.path().join("none")).is_err());
    }
}

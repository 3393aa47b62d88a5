//! The backups folder: the snapshots in it, and `.backup_manager/` with everything that is not one.

pub mod app_files;
pub mod catalog;
pub mod content;
pub mod destination;
pub mod lineage;
pub(crate) mod lock;
pub(crate) mod manifest;
pub mod ownership;
pub mod records;
pub mod removal;
pub mod source_path;
pub(crate) mod store;
pub(crate) mod uptime;

use std::ffi::CString;
use std::io::{self};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::entry::{FileId, Kind, c_name};
use crate::error::{LookError, RunError};
use crate::fs::dir::Dir;
use crate::fs::dir::resolve::Resolved;
use crate::fs::mount::missing_mount;
use crate::fs::small_file::{give_to_owner, make_if_missing, read_small};
use crate::fs::temporary::probe_name;
use crate::repository::store::Store;
use crate::snapshot::history::History;
use crate::snapshot::name::{OWN, Prefix, SnapshotName};

/// The mode of a backups folder that nobody else may enter.
const CLOSED: u32 = 0o700;

/// The backups folder, held open: the one place that opens it, and the stores of `.backup_manager/`.
pub struct Repository {
    pub(crate) path: PathBuf,
    pub(crate) dir: Dir,
    /// `.backup_manager`; `None` when it does not exist and must not be made.
    pub(crate) own: Option<Dir>,
    pub(crate) id: FileId,
}

impl Repository {
    /// Opens the backups folder, and makes it (its parent has to exist) with its own folder. A new one is closed
    /// to everybody else unless `mode` says otherwise; one that is there gets the permission bits of `mode`, where the
    /// file system and its owner allow that.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub(crate) fn open_or_make(path: &Path, mode: Option<u32>) -> Result<Self, RunError> {
        let failed =
            |action| move |error| crate::error::destination(action, path, path.to_owned(), error);
        let made = make(path).map_err(failed("cannot create"))?;
        let mut repository = Self::open(path)?;
        if let Some(mode) = mode.or(made.then_some(CLOSED)) {
            // What cannot be set is told by the run: no backup fails for it.
            let _ = repository.set_permissions(mode);
        }
        let own = c_name(OWN).and_then(|own| {
            make_if_missing(&repository.dir, &own)?;
            let own = repository.dir.child(&own)?;
            // Without the setgid bit of a shared folder, which all that is made here would inherit.
            if own.meta()?.mode & 0o2000 != 0 {
                crate::fs::metadata::stat::set_mode(&own, 0o700)?;
            }
            Ok(own)
        });
        let own = own.map_err(failed("cannot make .backup_manager in"))?;
        for folder in Store::MADE_FIRST.map(Store::folder) {
            make_if_missing(&own, folder)
                .map(|()| give_to_owner(&own, folder))
                .and_then(|()| own.child(folder).map(drop))
                .map_err(failed("cannot make or open the folders of .backup_manager in"))?;
        }
        repository.own = Some(own);
        Ok(repository)
    }

    /// Gives the folder these permission bits; its setgid and sticky bit stay.
    fn set_permissions(&self, mode: u32) -> io::Result<()> {
        let now = self.dir.meta()?.mode;
        let mode = now & 0o7000 | mode;
        // A file system without modes tells the same ones whatever is set (FAT).
        if now == mode { Ok(()) } else { crate::fs::metadata::stat::set_mode(&self.dir, mode) }
    }

    /// Opens the backups folder as it is.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub fn open(path: &Path) -> Result<Self, LookError> {
        let failed = |error| LookError { action: "cannot open", path: path.to_owned(), error };
        let dir = Resolved::at(path).and_then(Resolved::folder).map_err(failed)?;
        let id = dir.meta().map_err(failed)?.id.ok_or_else(|| failed(Errno::NOTSUP.into()))?;
        let own = c_name(OWN).and_then(|own| dir.child(&own)).ok();
        Ok(Self { path: path.to_owned(), dir, own, id })
    }

    /// Whose `.backup_manager` is, when it is neither root's nor the caller's nor that of the owner of the backups folder:
    /// where others may write to the folder, anybody can have made it before the first run.
    pub(crate) fn foreign_owner(&self) -> Option<u32> {
        let own = self.own.as_ref()?;
        let (uid, above) = (own.meta().ok()?.uid, self.dir.meta().ok()?.uid);
        if [0, rustix::process::geteuid().as_raw(), above].contains(&uid) {
            return None;
        }
        // A file system that gives all that is made one owner (NFS with all_squash) tells nothing.
        let name = probe_name().ok()?;
        let made =
            own.create_file(&name, 0o600).and_then(|file| crate::fs::metadata::stat::meta(&file));
        let _ = own.unlink(&name);
        (made.ok()?.uid != uid).then_some(uid)
    }

    /// The folder of a store, if it is there.
    pub(crate) fn store(&self, store: Store) -> Option<Dir> {
        self.own.as_ref().and_then(|own| own.child(store.folder()).ok())
    }

    /// The folder of a store, which is made when it is missing.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn make_store(&self, store: Store) -> io::Result<Dir> {
        let own = self.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
        make_if_missing(own, store.folder())?;
        give_to_owner(own, store.folder());
        own.child(store.folder())
    }

    /// The small file `name` of a store, if it is there and can be read.
    pub(crate) fn read(&self, store: Store, name: &str) -> Option<Vec<u8>> {
        read_small(&self.store(store)?, name)
    }

    /// The record `name` of a store, if it is there and can be read.
    pub(crate) fn record<T: DeserializeOwned>(&self, store: Store, name: &str) -> Option<T> {
        serde_json::from_slice(&self.read(store, name)?).ok()
    }

    /// As [`Repository::store`], for guards: `None` only when the folder is known not to exist.
    ///
    /// # Errors
    /// The system's, when that is not known.
    pub(crate) fn store_if_any(&self, store: Store) -> io::Result<Option<Dir>> {
        let name = store.folder();
        let opened = match &self.own {
            Some(own) => own.child(name),
            None => self.dir.child(&c_name(OWN)?).and_then(|own| own.child(name)),
        };
        match opened {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether `.backup_manager` is there and cannot be opened.
    pub(crate) fn own_is_hidden(&self) -> bool {
        let there = || self.dir.find(&c_name(OWN).ok()?).ok()?;
        self.own.is_none() && there().is_some()
    }

    /// The snapshots of `prefix`: real folders with exact names.
    ///
    /// # Errors
    /// When the backups folder cannot be listed.
    pub fn history(&self, prefix: &Prefix) -> Result<History, LookError> {
        let mut names = Vec::new();
        let listed = self.dir.names(|entry| {
            if let Some(name) = SnapshotName::parse(prefix, entry.name.to_bytes())
                && self.dir.stat(entry.name).is_ok_and(|meta| meta.kind == Kind::Folder)
            {
                names.push(name);
            }
            ControlFlow::Continue(())
        });
        listed.map_err(|error| LookError {
            action: "cannot list",
            path: self.path.clone(),
            error,
        })?;
        Ok(History::of(names))
    }
}

/// Checks that the file system of the backups folder at `path` is mounted.
///
/// # Errors
/// When fstab(5) has a mount point at or above it that is not mounted.
pub(crate) fn check_mounted(path: &Path) -> Result<(), RunError> {
    match missing_mount(path) {
        Some(mount_point) => Err(RunError::NotMounted { path: path.to_owned(), mount_point }),
        None => Ok(()),
    }
}

/// Makes the folder at `path` unless it is there; whether it did. The one above it has to be there.
fn make(path: &Path) -> io::Result<bool> {
    let found = Resolved::at(path)?;
    match &found.missing[..] {
        [] => Ok(false),
        [name] => match found.node.pass().make_folder(name, CLOSED) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        },
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The name of a snapshot's folder for the system.
///
/// # Errors
/// Never for a name that was checked.
pub(crate) fn folder_name(name: &SnapshotName) -> io::Result<CString> {
    c_name(name.to_string())
}

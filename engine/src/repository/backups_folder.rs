//! The backups folder, held open.

use std::ffi::CString;
use std::io;
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

/// The mode of a new backups folder: only its owner may enter.
const CLOSED: u32 = 0o700;

/// The backups folder, held open. Only this type opens the folder and the stores of `.backup_manager/`.
pub struct Repository {
    pub(crate) path: PathBuf,
    pub(crate) dir: Dir,
    /// `.backup_manager`. `None` when it does not exist and the caller opened the folder only for reading.
    pub(crate) own: Option<Dir>,
    pub(crate) id: FileId,
}

impl Repository {
    /// Opens the backups folder. Creates the folder and its `.backup_manager` when they are missing; the parent
    /// folder must exist. A new folder gets the permission bits of `mode`, or 0700 without `mode`. An existing
    /// folder gets the permission bits of `mode` where the file system and the owner allow it.
    ///
    /// # Errors
    /// The folder cannot be created or opened.
    pub(crate) fn open_or_make(path: &Path, mode: Option<u32>) -> Result<Self, RunError> {
        let failed =
            |action| move |error| crate::error::destination(action, path, path.to_owned(), error);
        let made = make(path).map_err(failed("cannot create"))?;
        let mut repository = Self::open(path)?;
        if let Some(mode) = mode.or(made.then_some(CLOSED)) {
            // The run reports a mode that it could not set. The backup continues.
            let _ = repository.set_permissions(mode);
        }
        let own = c_name(OWN).and_then(|own| {
            make_if_missing(&repository.dir, &own)?;
            let own = repository.dir.child(&own)?;
            // In a shared folder `.backup_manager` inherits the setgid bit, and would pass it on to everything
            // created in it. Clear it.
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

    /// Sets the permission bits of the folder. Keeps its setgid and sticky bits.
    fn set_permissions(&self, mode: u32) -> io::Result<()> {
        let now = self.dir.meta()?.mode;
        let mode = now & 0o7000 | mode;
        // A file system without modes (FAT) always reports the same mode.
        if now == mode { Ok(()) } else { crate::fs::metadata::stat::set_mode(&self.dir, mode) }
    }

    /// Opens the existing backups folder. Changes nothing.
    ///
    /// # Errors
    /// The folder does not exist or cannot be read.
    pub fn open(path: &Path) -> Result<Self, LookError> {
        let failed = |error| LookError { action: "cannot open", path: path.to_owned(), error };
        let dir = Resolved::at(path).and_then(Resolved::folder).map_err(failed)?;
        let id = dir.meta().map_err(failed)?.id.ok_or_else(|| failed(Errno::NOTSUP.into()))?;
        let own = c_name(OWN).and_then(|own| dir.child(&own)).ok();
        Ok(Self { path: path.to_owned(), dir, own, id })
    }

    /// The owner of `.backup_manager`, when that is not root, the caller or the owner of the backups folder.
    /// Where others may write to the backups folder, any of them can have created `.backup_manager` before the
    /// first run.
    pub(crate) fn foreign_owner(&self) -> Option<u32> {
        let own = self.own.as_ref()?;
        let (uid, above) = (own.meta().ok()?.uid, self.dir.meta().ok()?.uid);
        if [0, rustix::process::geteuid().as_raw(), above].contains(&uid) {
            return None;
        }
        // On a file system that gives all new files one owner (NFS with all_squash) the owner proves nothing.
        let name = probe_name().ok()?;
        let made =
            own.create_file(&name, 0o600).and_then(|file| crate::fs::metadata::stat::meta(&file));
        let _ = own.unlink(&name);
        (made.ok()?.uid != uid).then_some(uid)
    }

    /// Opens the folder of a store. `None` when it does not exist or cannot be opened.
    pub(crate) fn store(&self, store: Store) -> Option<Dir> {
        self.own.as_ref().and_then(|own| own.child(store.folder()).ok())
    }

    /// Opens the folder of a store. Creates it when it is missing.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn make_store(&self, store: Store) -> io::Result<Dir> {
        let own = self.own.as_ref().ok_or(io::ErrorKind::NotFound)?;
        make_if_missing(own, store.folder())?;
        give_to_owner(own, store.folder());
        own.child(store.folder())
    }

    /// Reads the small file `name` of a store. `None` when it does not exist or cannot be read.
    pub(crate) fn read(&self, store: Store, name: &str) -> Option<Vec<u8>> {
        read_small(&self.store(store)?, name)
    }

    /// Reads the record `name` of a store. `None` when it does not exist or cannot be parsed.
    pub(crate) fn record<T: DeserializeOwned>(&self, store: Store, name: &str) -> Option<T> {
        serde_json::from_slice(&self.read(store, name)?).ok()
    }

    /// As [`Repository::store`], for safety checks: `None` only when the folder certainly does not exist.
    ///
    /// # Errors
    /// Any I/O error that leaves the existence of the folder unknown.
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

    /// Whether `.backup_manager` exists but cannot be opened.
    pub(crate) fn own_is_hidden(&self) -> bool {
        let there = || self.dir.find(&c_name(OWN).ok()?).ok()?;
        self.own.is_none() && there().is_some()
    }

    /// The snapshots of `prefix`: folders, not symlinks, with exact snapshot names.
    ///
    /// # Errors
    /// The backups folder cannot be listed.
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
/// fstab(5) lists a mount point at or above `path` that is not mounted.
pub(crate) fn check_mounted(path: &Path) -> Result<(), RunError> {
    match missing_mount(path) {
        Some(mount_point) => Err(RunError::NotMounted { path: path.to_owned(), mount_point }),
        None => Ok(()),
    }
}

/// Creates the folder at `path` when it is missing. Returns whether it created the folder. The parent must
/// exist.
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

/// The folder name of a snapshot as a C string.
///
/// # Errors
/// Does not fail for a validated name.
pub(crate) fn folder_name(name: &SnapshotName) -> io::Result<CString> {
    c_name(name.to_string())
}

//! The scratch folder of a drill: created with a new name, locked while the drill is at work, and removed through its
//! own handle, so that nothing else is ever removed.

use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::entry::escape::{shown, unshown};
use crate::entry::{FileId, c_name};
use crate::fs::dir::Dir;
use crate::fs::dir::resolve::Resolved;
use crate::fs::temporary::unique;
use crate::repository::Repository;
use crate::repository::records::last_drill::{ScratchRecord, scratch, store_scratch};
use crate::restore::PlaceError;
use crate::restore::targets::local::LocalTarget;
use crate::restore::targets::private;
use crate::snapshot::name::Prefix;
use crate::threads::work_queue::workers;

/// The beginning of the name of each scratch folder.
const NAME: &str = "backup_manager.drill.";

/// A scratch folder. It is removed when this value is dropped.
pub(crate) struct Scratch<'a> {
    repository: &'a Repository,
    prefix: &'a Prefix,
    parent: Dir,
    name: CString,
    pub(crate) dir: Dir,
    pub(crate) path: PathBuf,
    /// Why the folder cannot be recorded: after a kill, nobody removes it.
    pub(crate) unrecorded: Option<io::Error>,
    is_removed: bool,
}

/// The result of asking for a scratch folder.
pub(crate) enum Asked<'a> {
    Mine(Box<Scratch<'a>>),
    /// Another drill of the same prefix uses this folder now.
    Busy(PathBuf),
}

impl<'a> Scratch<'a> {
    /// Creates a scratch folder in the existing folder `parent`. First removes the one that a killed drill of `prefix`
    /// left.
    ///
    /// # Errors
    /// `parent` does not exist, is in a backups folder, or cannot be written to.
    pub(crate) fn make(
        parent: &Path,
        repository: &'a Repository,
        prefix: &'a Prefix,
    ) -> Result<Asked<'a>, PlaceError> {
        if let Some(busy) = remove_left(repository, prefix) {
            return Ok(Asked::Busy(busy));
        }
        let impossible =
            |action| move |error| PlaceError::Impossible { action, path: parent.to_owned(), error };
        let found = Resolved::at(parent).map_err(impossible("open"))?;
        LocalTarget::guarded(&found, parent, Some(repository))?;
        let real = found.path();
        let parent = found.folder().map_err(impossible("open"))?;
        let make = || {
            let name = c_name(format!("{NAME}{}", unique()))?;
            let dir = private::make_folder(&parent, &name)?;
            // A new folder, which no other process has open. Some file systems have no locks.
            let _ = flock(&dir, FlockOperation::NonBlockingLockExclusive);
            Ok((name, dir))
        };
        let (name, dir) = make().map_err(impossible("make a folder in"))?;
        let path = real.join(name.to_string_lossy().into_owned());
        let mut made = Self {
            repository,
            prefix,
            parent,
            name,
            dir,
            path,
            unrecorded: None,
            is_removed: false,
        };
        made.unrecorded = made.record(&real).err();
        Ok(Asked::Mine(Box::new(made)))
    }

    fn record(&self, parent: &Path) -> io::Result<()> {
        let id = self.dir.meta()?.id.ok_or(Errno::NOTSUP)?;
        let parent = shown(parent.as_os_str().as_bytes());
        let name = self.name.to_string_lossy().into_owned();
        let record = ScratchRecord::new(parent, name, (id.dev, id.ino));
        store_scratch(self.repository, self.prefix, Some(&record))
    }

    /// Removes the folder with its content.
    ///
    /// # Errors
    /// Something in it cannot be removed. The record stays, so that the next drill tries again.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.is_removed = true;
        self.removed()
    }

    fn removed(&self) -> io::Result<()> {
        remove(&self.parent, &self.name, &self.dir)?;
        let _ = store_scratch(self.repository, self.prefix, None);
        Ok(())
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.is_removed {
            let _ = self.removed();
        }
    }
}

/// Removes everything in the open folder `dir`, and then its name, which goes only when the folder of that name is
/// empty (rmdir(2)).
fn remove(parent: &Dir, name: &CString, dir: &Dir) -> io::Result<()> {
    let mut names = Vec::new();
    dir.names(|entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    let mut failed = None;
    for name in names {
        let removed = AtomicU64::new(0);
        let gone = crate::fs::remove_tree::remove(dir, &name, workers(), &removed, &|| false);
        failed = failed.or(gone.err());
    }
    if let Some(error) = failed {
        return Err(error);
    }
    match parent.find(name)? {
        Some(meta) if meta.id == dir.meta()?.id => parent.remove_folder(name),
        // Another user has moved the empty folder.
        _ => Ok(()),
    }
}

/// Removes the scratch folder that a killed drill of `prefix` left. Returns its path when a drill still uses it.
fn remove_left(repository: &Repository, prefix: &Prefix) -> Option<PathBuf> {
    let record = scratch(repository, prefix)?;
    let path = Path::new(std::ffi::OsStr::from_bytes(&unshown(&record.parent)?)).to_owned();
    let open = || -> io::Result<Option<(Dir, CString, Dir)>> {
        let name = c_name(record.name.as_str())?;
        let parent = Resolved::at(&path)?.folder()?;
        let is_ours = record.name.starts_with(NAME) && !record.name.contains('/');
        let Some(found) = parent.find(&name)?.filter(|_| is_ours) else { return Ok(None) };
        let own = rustix::process::geteuid().as_raw();
        let id = FileId { dev: record.dev, ino: record.ino };
        if found.id != Some(id) || found.uid != own {
            return Ok(None);
        }
        let dir = parent.child(&name)?;
        Ok((dir.meta()?.id == Some(id)).then_some((parent, name, dir)))
    };
    // Otherwise it is gone, or it is not the folder that the drill made.
    if let Ok(Some((parent, name, dir))) = open() {
        if flock(&dir, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Some(path.join(record.name));
        }
        // What cannot be removed stays recorded until the new folder is.
        let _ = remove(&parent, &name, &dir);
    }
    None
}

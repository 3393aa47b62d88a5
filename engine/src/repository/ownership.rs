//! Changes the owner of a `.backup_manager` that root created to the owner of the backups folder. Otherwise the
//! runs of that owner fail.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::entry::{Kind, Meta, c_name};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::metadata::stat;
use crate::fs::mount::point::is_mount_point;
use crate::repository::backups_folder::Repository;
use crate::snapshot::name::OWN;

/// The maximum depth of nested folders that the change of owner enters.
const DEPTH: usize = 64;

/// The owner of the backups folder at `path`, when root owns its `.backup_manager` and does not own the folder.
#[must_use]
pub fn shut_out(path: &Path) -> Option<u32> {
    let repository = Repository::open(path).ok()?;
    let owner = repository.dir.meta().ok()?.uid;
    let own = repository.dir.find(&c_name(OWN).ok()?).ok()??;
    (own.kind == Kind::Folder && own.uid == 0 && owner != 0).then_some(owner)
}

/// The result of [`give_to_folder_owner`].
#[derive(Debug, Default)]
pub struct OwnershipChange {
    /// How many files and folders got a new owner.
    pub count: u64,
    /// Entries that root still owns: files with a hard link elsewhere, and entries that are neither files nor
    /// folders.
    pub left: Vec<PathBuf>,
}

/// Changes the owner of root's files and folders in the `.backup_manager` at `path` to the owner of the backups
/// folder, through open handles. A file with a hard link outside `.backup_manager` stays root's: the other user
/// may have moved the folder there. Files change before the folders that contain them, so that only root can
/// enter `.backup_manager` until the end.
///
/// # Errors
/// Others may write to `.backup_manager`, or a system call fails.
pub fn give_to_folder_owner(path: &Path) -> Result<OwnershipChange, LookError> {
    let failed = |error| LookError {
        action: "cannot give .backup_manager away in",
        path: path.to_owned(),
        error,
    };
    let repository = Repository::open(path)?;
    let mut given = OwnershipChange::default();
    let Some(own) = &repository.own else { return Ok(given) };
    let (owner, top) = (repository.dir.meta().map_err(failed)?, own.meta().map_err(failed)?);
    if top.uid != 0 || owner.uid == 0 {
        return Ok(given);
    }
    if top.mode & 0o022 != 0 {
        return Err(failed(io::Error::other("others may write to .backup_manager")));
    }
    let mut giving = OwnershipWalk { owner, top, names: HashMap::new(), given: &mut given };
    giving.count(own, 0).and_then(|()| giving.give(own, Path::new(OWN), 0)).map_err(failed)?;
    Ok(given)
}

struct OwnershipWalk<'a> {
    owner: Meta,
    top: Meta,
    /// The number of names that each inode has in `.backup_manager`, by inode number.
    names: HashMap<u64, u64>,
    given: &'a mut OwnershipChange,
}

fn entries(dir: &Dir) -> io::Result<Vec<(CString, Meta)>> {
    let mut names = Vec::new();
    dir.names(|entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    let found = names.into_iter().map(|name| Ok(dir.find(&name)?.map(|meta| (name, meta))));
    found.filter_map(Result::transpose).collect()
}

impl OwnershipWalk<'_> {
    fn is_here(&self, meta: &Meta) -> bool {
        meta.id.is_some() && meta.id.map(|id| id.dev) == self.top.id.map(|id| id.dev)
    }

    /// Opens the subfolder `name`, unless it is a mount point or too deep.
    fn enter(&self, dir: &Dir, name: &CStr, meta: &Meta, depth: usize) -> io::Result<Option<Dir>> {
        if meta.kind != Kind::Folder || !self.is_here(meta) || depth >= DEPTH {
            return Ok(None);
        }
        match dir.child_here(name) {
            Err(error) if is_mount_point(&error) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn count(&mut self, dir: &Dir, depth: usize) -> io::Result<()> {
        for (name, meta) in entries(dir)? {
            match self.enter(dir, &name, &meta, depth)? {
                Some(child) => self.count(&child, depth + 1)?,
                None => *self.names.entry(meta.id.map_or(0, |id| id.ino)).or_default() += 1,
            }
        }
        Ok(())
    }

    fn give(&mut self, dir: &Dir, path: &Path, depth: usize) -> io::Result<()> {
        for (name, meta) in entries(dir)? {
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            if let Some(child) = self.enter(dir, &name, &meta, depth)? {
                self.give(&child, &path, depth + 1)?;
                continue;
            }
            match meta.kind {
                Kind::File if meta.uid == 0 => {
                    let file = dir.open_file(&name)?;
                    let meta = stat::meta(&file)?;
                    let names = meta.id.and_then(|id| self.names.get(&id.ino));
                    let is_ours = meta.kind == Kind::File && self.is_here(&meta);
                    if is_ours && meta.uid == 0 && names == Some(&meta.links) {
                        stat::set_owner(&file, Some(self.owner.uid), Some(self.owner.gid))?;
                        self.given.count += 1;
                    } else if meta.uid == 0 {
                        self.given.left.push(path);
                    }
                }
                _ if meta.uid == 0 => self.given.left.push(path),
                _ => {}
            }
        }
        if dir.meta()?.uid == 0 {
            stat::set_owner(dir, Some(self.owner.uid), Some(self.owner.gid))?;
            self.given.count += 1;
        }
        Ok(())
    }
}

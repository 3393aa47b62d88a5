//! Gives a `.backup_manager` that root made to the owner of the backups folder, whose runs fail otherwise.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::entry::{Kind, Meta, c_name};
use crate::error::LookError;
use crate::fs::dir::Dir;
use crate::fs::metadata::stat;
use crate::repository::Repository;
use crate::snapshot::name::OWN;

/// The most folders in one another that are entered.
const DEPTH: usize = 64;

/// The owner of the backups folder at `path`, where `.backup_manager` in it is root's and the folder is not.
#[must_use]
pub fn shut_out(path: &Path) -> Option<u32> {
    let repository = Repository::open(path).ok()?;
    let owner = repository.dir.meta().ok()?.uid;
    let own = repository.dir.find(&c_name(OWN).ok()?).ok()??;
    (own.kind == Kind::Folder && own.uid == 0 && owner != 0).then_some(owner)
}

/// What [`give`] did.
#[derive(Debug, Default)]
pub struct Given {
    /// How many files and folders have another owner now.
    pub count: u64,
    /// What stays root's: it has a name elsewhere, or is no file or folder.
    pub left: Vec<PathBuf>,
}

/// Gives what is root's in `.backup_manager` of the backups folder at `path` to the owner of that folder, through handles. A
/// file of which a name is elsewhere stays root's: the other user may have put the folder there. Files come before the folders
/// that they are in, so that until the end only root can enter `.backup_manager`.
///
/// # Errors
/// When it is open to others, or the system refuses something.
pub fn give(path: &Path) -> Result<Given, LookError> {
    let failed = |error| LookError {
        action: "cannot give .backup_manager away in",
        path: path.to_owned(),
        error,
    };
    let repository = Repository::open(path)?;
    let mut given = Given::default();
    let Some(own) = &repository.own else { return Ok(given) };
    let (owner, top) = (repository.dir.meta().map_err(failed)?, own.meta().map_err(failed)?);
    if top.uid != 0 || owner.uid == 0 {
        return Ok(given);
    }
    if top.mode & 0o022 != 0 {
        return Err(failed(io::Error::other("others may write to .backup_manager")));
    }
    let mut giving = Giving { owner, top, names: HashMap::new(), given: &mut given };
    giving.count(own, 0).and_then(|()| giving.give(own, Path::new(OWN), 0)).map_err(failed)?;
    Ok(given)
}

struct Giving<'a> {
    owner: Meta,
    top: Meta,
    /// How many names each inode has there.
    names: HashMap<u64, u64>,
    given: &'a mut Given,
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

impl Giving<'_> {
    fn is_here(&self, meta: &Meta) -> bool {
        meta.id.is_some() && meta.id.map(|id| id.dev) == self.top.id.map(|id| id.dev)
    }

    fn count(&mut self, dir: &Dir, depth: usize) -> io::Result<()> {
        for (name, meta) in entries(dir)? {
            match meta.kind {
                Kind::Folder if self.is_here(&meta) && depth < DEPTH => {
                    self.count(&dir.child(&name)?, depth + 1)?;
                }
                _ => *self.names.entry(meta.id.map_or(0, |id| id.ino)).or_default() += 1,
            }
        }
        Ok(())
    }

    fn give(&mut self, dir: &Dir, path: &Path, depth: usize) -> io::Result<()> {
        for (name, meta) in entries(dir)? {
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            match meta.kind {
                Kind::Folder if self.is_here(&meta) && depth < DEPTH => {
                    self.give(&dir.child(&name)?, &path, depth + 1)?;
                }
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

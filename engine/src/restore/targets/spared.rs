//! Checks whether a folder that a restore wants to remove contains anything that must stay: another mount, a
//! backups folder, or an entry that the plan protects.

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::entry::tree_path::TreePath;
use crate::entry::{Extra, FileId, Kind, ListedEntry, Xattrs};
use crate::fs::dir::Dir;
use crate::fs::mount::point::mount_id;
use crate::fs::traverse::{Visitor, explore};
use crate::restore::targets::{MountedFileSystem, MustStay};

/// Whether the folder `name` may be removed with its content.
///
/// # Errors
/// The folder cannot be opened.
pub(super) fn may_remove(
    folder: &Dir,
    name: &CStr,
    backups: Option<FileId>,
    spared: &MustStay<'_>,
) -> io::Result<bool> {
    let Some(outside) = file_system(folder)? else { return Ok(false) };
    let doomed = folder.child(name)?;
    let found = AtomicBool::new(false);
    let watch = Watch { outside, backups, spared, found };
    explore(&doomed, &TreePath::top(None), 1, &watch);
    Ok(!watch.found.load(Ordering::Relaxed))
}

/// The file system and the mount of a folder.
pub(super) fn file_system(folder: &Dir) -> io::Result<Option<MountedFileSystem>> {
    let Some(FileId { dev: device, .. }) = folder.meta()?.id else { return Ok(None) };
    Ok(mount_id(folder).map(|mount| MountedFileSystem { device, mount }))
}

/// Searches below a folder for anything that must not be removed.
struct Watch<'a> {
    outside: MountedFileSystem,
    backups: Option<FileId>,
    spared: &'a MustStay<'a>,
    found: AtomicBool,
}

impl Visitor for Watch<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        let stays = || self.found.store(true, Ordering::Relaxed);
        if file_system(dir)? != Some(self.outside)
            || self.backups.is_some() && dir.meta()?.id == self.backups
            || dir.find(c".backup_manager")?.is_some()
        {
            stays();
            return Ok(());
        }
        let above = place.inside();
        let mut failed = Ok(());
        dir.names(|entry| {
            let looked = dir.stat(entry.name).and_then(|meta| {
                let link = meta.kind == Kind::Symlink;
                let target = if link { Some(dir.read_link(entry.name)?) } else { None };
                Ok((meta, Extra { target, xattrs: Xattrs::new(), xattrs_unread: false }))
            });
            let (meta, extra) = match looked {
                Ok(looked) => looked,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return ControlFlow::Continue(());
                }
                Err(error) => {
                    failed = Err(error);
                    return ControlFlow::Break(());
                }
            };
            let mut path = above.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name.to_bytes());
            if (self.spared)(
                &path,
                ListedEntry { name: entry.name, meta: &meta, extra: Some(&extra) },
            ) {
                stays();
                return ControlFlow::Break(());
            }
            if meta.kind == Kind::Folder {
                enter(entry.name);
            }
            ControlFlow::Continue(())
        })?;
        failed
    }

    /// A folder that cannot be read stays.
    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {
        self.found.store(true, Ordering::Relaxed);
    }

    fn enough(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }
}

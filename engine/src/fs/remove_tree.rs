//! Removes folder trees of any depth with several threads. It does not enter mount points.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::entry::Kind;
use crate::fs::dir::Dir;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::Queue;

/// A folder below this depth is moved up before it is emptied, so that few handles are open.
const DEEP: usize = 100;

/// A folder whose entries are being removed.
struct FolderInRemoval {
    dir: Dir,
    name: CString,
    parent: Option<Arc<FolderInRemoval>>,
    depth: usize,
    /// The number of remaining subfolders, plus one for the listing.
    pending: AtomicUsize,
}

/// Removes `name` from `dir` with everything below it, using `threads` threads. Never follows a
/// symlink. `removed` counts the entries; `stop` ends it early.
///
/// # Errors
/// The first entry that could not be removed; the rest is removed nevertheless. `Interrupted` after
/// a stop.
pub(crate) fn remove(
    dir: &Dir,
    name: &CStr,
    threads: usize,
    removed: &AtomicU64,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<()> {
    remove_or_say(dir, name, threads, removed, stop).map_err(|left| left.error)
}

/// What could not be removed, and why.
#[derive(Debug)]
pub(crate) struct Left {
    /// The path below the given folder, as bytes.
    pub(crate) path: Vec<u8>,
    /// The error of the system call.
    pub(crate) error: io::Error,
}

impl Left {
    fn at(name: &CStr, error: io::Error) -> Self {
        Self { path: name.to_bytes().to_vec(), error }
    }
}

/// Like [`remove`], but the error contains the path that remains.
///
/// # Errors
/// As for [`remove`].
pub(crate) fn remove_or_say(
    dir: &Dir,
    name: &CStr,
    threads: usize,
    removed: &AtomicU64,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(), Left> {
    let left = |error| Left::at(name, error);
    let removal = Removal {
        queue: Queue::new(0),
        top: OnceTop::default(),
        failed: Mutex::new(None),
        moved: AtomicU64::new(0),
        removed,
        stop,
    };
    match dir.unlink(name) {
        Ok(()) => {
            removed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        Err(error) if is_folder(dir, name, &error) => {}
        Err(error) => return Err(left(error)),
    }
    let top = open_to_empty(dir, name).map_err(left)?;
    let doomed = Arc::new(FolderInRemoval {
        dir: top,
        name: name.to_owned(),
        parent: None,
        depth: 0,
        pending: AtomicUsize::new(1),
    });
    let _ = removal.top.set(doomed.dir.try_clone().map_err(left)?);
    removal.queue.push((doomed, None));
    removal.queue.work(threads, |(parent, name)| removal.step(parent, name));
    if stop() {
        return Err(left(io::ErrorKind::Interrupted.into()));
    }
    if let Some(error) = unpoisoned(removal.failed.into_inner()) {
        return Err(error);
    }
    dir.remove_folder(name).map_err(left)?;
    removed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Whether `name` was not unlinked because it is a folder. Linux returns EISDIR, POSIX specifies
/// EPERM (unlink(2)), which an immutable file returns as well.
fn is_folder(dir: &Dir, name: &CStr, error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::ISDIR) => true,
        Some(Errno::PERM) => dir.stat(name).is_ok_and(|meta| meta.kind == Kind::Folder),
        _ => false,
    }
}

/// Opens a folder to remove its entries, even if its mode denies access to its owner. Refuses mount
/// points.
fn open_to_empty(dir: &Dir, name: &CStr) -> io::Result<Dir> {
    let child = dir.child_opened_up(name, 0o700)?;
    if child.meta()?.mode & 0o700 != 0o700 {
        // The folder is ours to remove; without write permission, unlink would fail in it.
        let _ = crate::fs::metadata::stat::set_mode(&child, 0o700);
    }
    Ok(child)
}

type OnceTop = std::sync::OnceLock<Dir>;

struct Removal<'a> {
    queue: Queue<(Arc<FolderInRemoval>, Option<CString>)>,
    top: OnceTop,
    failed: Mutex<Option<Left>>,
    moved: AtomicU64,
    removed: &'a AtomicU64,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl Removal<'_> {
    /// Empties the folder `name` of `parent`; without a name, the top folder `parent`.
    fn step(&self, parent: Arc<FolderInRemoval>, name: Option<CString>) {
        if (self.stop)() {
            return self.queue.close();
        }
        let Some(name) = name else { return self.empty(parent) };
        match open_to_empty(&parent.dir, &name) {
            Ok(dir) => {
                let depth = parent.depth + 1;
                let pending = AtomicUsize::new(1);
                self.empty(Arc::new(FolderInRemoval {
                    dir,
                    name,
                    parent: Some(parent),
                    depth,
                    pending,
                }));
            }
            Err(error) => {
                self.fail(&parent, &name, error);
                self.settle(parent);
            }
        }
    }

    /// Removes the files of a folder and queues its subfolders.
    fn empty(&self, folder: Arc<FolderInRemoval>) {
        let listed = folder.dir.names(|entry| {
            if !entry.folder {
                match folder.dir.unlink(entry.name) {
                    Ok(()) => {
                        self.removed.fetch_add(1, Ordering::Relaxed);
                    }
                    // The listing of this file system has no types.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if is_folder(&folder.dir, entry.name, &error) => {
                        self.descend(&folder, entry.name);
                    }
                    Err(error) => self.fail(&folder, entry.name, error),
                }
            } else {
                self.descend(&folder, entry.name);
            }
            if (self.stop)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Err(error) = listed {
            self.fail(&folder, c"", error);
        }
        self.settle(folder);
    }

    fn descend(&self, folder: &Arc<FolderInRemoval>, name: &CStr) {
        if folder.depth >= DEEP
            && let Some(top) = self.top.get()
        {
            let number = self.moved.fetch_add(1, Ordering::Relaxed);
            // Moving a folder requires write permission on it (rename(2)).
            let _ = open_to_empty(&folder.dir, name);
            if let Ok(moved) = crate::entry::c_name(format!(".deep-{number}"))
                && folder.dir.move_to(name, top, &moved).is_ok()
            {
                let Some(root) = root_of(folder) else { return };
                root.pending.fetch_add(1, Ordering::Relaxed);
                return self.queue.push((root, Some(moved)));
            }
        }
        folder.pending.fetch_add(1, Ordering::Relaxed);
        self.queue.push((Arc::clone(folder), Some(name.to_owned())));
    }

    /// Marks one part of `folder` as done. The last part removes the folder from its parent, and so
    /// on upwards.
    fn settle(&self, mut folder: Arc<FolderInRemoval>) {
        while folder.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let Some(parent) = folder.parent.clone() else { return };
            match parent.dir.remove_folder(&folder.name) {
                Ok(()) => {
                    self.removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => self.fail(&parent, &folder.name, error),
            }
            folder = parent;
        }
    }

    /// Keeps the first failure. Later ones, such as a folder that is not empty, follow from it.
    fn fail(&self, folder: &Arc<FolderInRemoval>, name: &CStr, error: io::Error) {
        let mut names = vec![name.to_bytes()];
        let mut at = Some(folder);
        while let Some(folder) = at {
            names.push(folder.name.to_bytes());
            at = folder.parent.as_ref();
        }
        names.retain(|name| !name.is_empty());
        names.reverse();
        let left = Left { path: names.join(&b'/'), error };
        lock(&self.failed).get_or_insert(left);
    }
}

fn root_of(folder: &Arc<FolderInRemoval>) -> Option<Arc<FolderInRemoval>> {
    let mut at = folder;
    while let Some(parent) = &at.parent {
        at = parent;
    }
    Some(Arc::clone(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_with_its_content() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        std::fs::write(&outside, "x").unwrap();
        let tree = temp.path().join("tree");
        for folder in ["a/b/c", "a/d", "e"] {
            std::fs::create_dir_all(tree.join(folder)).unwrap();
            std::fs::write(tree.join(folder).join("file"), "x").unwrap();
        }
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        let removed = AtomicU64::new(0);
        remove(&Dir::at(temp.path()).unwrap(), c"tree", 2, &removed, &|| false).unwrap();
        assert!(!tree.exists() && outside.exists());
        assert_eq!(removed.into_inner(), 10);
    }

    #[test]
    fn a_very_deep_tree_is_removed_with_few_handles() {
        let temp = tempfile::tempdir().unwrap();
        let top = Dir::at(temp.path()).unwrap();
        top.make_folder(c"tree", 0o755).unwrap();
        let mut at = top.child(c"tree").unwrap();
        for _ in 0..5000 {
            at.make_folder(c"d", 0o755).unwrap();
            at.make_folder(c"e", 0o755).unwrap();
            at = at.child(c"d").unwrap();
        }
        remove(&top, c"tree", 2, &AtomicU64::new(0), &|| false).unwrap();
        assert!(!temp.path().join("tree").exists());
    }
}

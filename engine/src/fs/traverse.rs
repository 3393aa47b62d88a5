//! Visits all folders of a tree of any depth with several threads.

use std::ffi::CStr;
use std::io;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::entry::Kind;
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::threads::work_queue::Queue;

/// Visits folders. Every worker thread calls it.
pub(crate) trait Visitor: Sync {
    /// Visits one folder and calls `enter` with the name of each subfolder to visit.
    ///
    /// # Errors
    /// The folder could not be read; the error goes to [`Visitor::failed`].
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()>;

    /// A folder could not be opened or read.
    fn failed(&self, place: &Arc<TreePath>, error: io::Error);

    /// Whether the traversal can end.
    fn enough(&self) -> bool {
        false
    }
}

/// Visits the folder `top`, whose path is `place`, and all folders below it.
pub(crate) fn explore(top: &Dir, place: &Arc<TreePath>, threads: usize, visitor: &impl Visitor) {
    let queue = Queue::new(0);
    let (open, most_open) = (Arc::new(AtomicUsize::new(0)), most_open_folders());
    queue.push(FolderTask { parent: None, place: Arc::clone(place) });
    queue.work(threads, |FolderTask { parent, place: here }| {
        if visitor.enough() {
            return queue.close();
        }
        let opened = match &parent {
            Some(parent) => parent.child(here.name()),
            None => down(top, place, &here),
        };
        drop(parent);
        let dir = match opened {
            Ok(dir) => Arc::new(OpenDir::new(dir, &open)),
            Err(error) => return visitor.failed(&here, error),
        };
        let result = visitor.folder(&here, &dir, &mut |name| {
            // With too many open folders, the subfolder is opened from the top when its turn comes.
            let parent = (open.load(Ordering::Relaxed) <= most_open).then(|| Arc::clone(&dir));
            queue.push(FolderTask { parent, place: here.child(name, None) });
        });
        if let Err(error) = result {
            visitor.failed(&here, error);
        }
    });
}

/// A folder to visit.
struct FolderTask {
    /// Its parent, if that is still open.
    parent: Option<Arc<OpenDir>>,
    place: Arc<TreePath>,
}

/// Opens the folder `place`, which is below `top_place`, component by component.
fn down(top: &Dir, top_place: &Arc<TreePath>, place: &Arc<TreePath>) -> io::Result<Dir> {
    let above = top_place.chain().len();
    place.chain()[above..].iter().try_fold(top.try_clone()?, |dir, place| dir.child(place.name()))
}

/// Opens the folder `place` below `top`, component by component. Refuses mount points.
///
/// # Errors
/// Those of `openat(2)`.
pub(crate) fn open_if_here(top: &Dir, place: &Arc<TreePath>) -> io::Result<Dir> {
    let open = |dir: Dir, place: &Arc<TreePath>| dir.child_if_here(place.name());
    place.chain()[1..].iter().try_fold(top.try_clone()?, open)
}

/// An open folder that counts towards the limit.
pub(crate) struct OpenDir {
    dir: Dir,
    open: Arc<AtomicUsize>,
}

impl OpenDir {
    pub(crate) fn new(dir: Dir, open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { dir, open: Arc::clone(open) }
    }
}

impl Deref for OpenDir {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

impl Drop for OpenDir {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The highest number of open folders. Each takes up to three handles of the process limit.
pub(crate) fn most_open_folders() -> usize {
    use rustix::process::Resource;
    use rustix::process::Rlimit;
    use rustix::process::getrlimit;
    use rustix::process::setrlimit;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    let files =
        limit.current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files.min(200_000) / 4).saturating_sub(32).max(8)
}

/// Calls `enter` with the name of each subfolder of `dir`, and `other` with each other name and its inode number. `known`:
/// listings have the inode numbers of `stat(2)`. What is not a regular file by the listing is looked at; a name that is gone by
/// then is left out.
///
/// # Errors
/// Any I/O error of the listing.
pub(crate) fn each_inode(
    dir: &Dir,
    known: bool,
    enter: &mut dyn FnMut(&CStr),
    mut other: impl FnMut(&CStr, u64),
) -> io::Result<()> {
    dir.names(|entry| {
        if entry.folder {
            enter(entry.name);
        } else if known && entry.file {
            other(entry.name, entry.ino);
        } else {
            match dir.stat(entry.name) {
                Ok(meta) if meta.kind == Kind::Folder => enter(entry.name),
                Ok(meta) => other(entry.name, meta.id.map_or(0, |id| id.ino)),
                Err(_) => {}
            }
        }
        ControlFlow::Continue(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Paths(Mutex<Vec<String>>);

    impl Visitor for Paths {
        fn folder(
            &self,
            place: &Arc<TreePath>,
            dir: &Dir,
            enter: &mut dyn FnMut(&CStr),
        ) -> io::Result<()> {
            self.0.lock().unwrap().push(String::from_utf8(place.inside()).unwrap());
            dir.names(|entry| {
                if entry.folder {
                    enter(entry.name);
                }
                ControlFlow::Continue(())
            })
        }

        fn failed(&self, place: &Arc<TreePath>, error: io::Error) {
            panic!("{:?}: {error}", place.inside());
        }
    }

    #[test]
    fn every_folder_is_visited_once_at_any_depth() {
        let temp = tempfile::tempdir().unwrap();
        let top = Dir::at(temp.path()).unwrap();
        let mut at = top.try_clone().unwrap();
        for _ in 0..600 {
            at.make_folder(c"d", 0o755).unwrap();
            at.make_folder(c"e", 0o755).unwrap();
            at = at.child(c"d").unwrap();
        }
        drop(at);
        let seen = Paths::default();
        explore(&top, &TreePath::top(None), 2, &seen);
        let mut seen = seen.0.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen.len(), 1201);
        seen.dedup();
        assert_eq!(seen.len(), 1201);
        let mut removed = std::sync::atomic::AtomicU64::new(0);
        crate::fs::remove_tree::remove(&top, c"d", 2, &removed, &|| false).unwrap();
        assert!(*removed.get_mut() > 0);
    }
}

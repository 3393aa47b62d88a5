//! Goes through all folders of a snapshot, some threads at a time, however deep they are.

use std::ffi::CStr;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::entry::tree_path::Place;
use crate::fs::dir::Dir;
use crate::threads::work_queue::Queue;

/// Looks at folders. Called from every worker thread.
pub(crate) trait Visitor: Sync {
    /// Looks at one folder and calls `enter` with the name of each of its folders to go into.
    ///
    /// # Errors
    /// When it could not be looked at; goes to [`Visitor::failed`].
    fn folder(&self, place: &Arc<Place>, dir: &Dir, enter: &mut dyn FnMut(&CStr))
    -> io::Result<()>;

    /// A folder could not be opened or looked at.
    fn failed(&self, place: &Arc<Place>, error: io::Error);

    /// Whether nothing more is wanted.
    fn enough(&self) -> bool {
        false
    }
}

/// Shows `visitor` the folder `top`, which is called `place`, and every folder below it.
pub(crate) fn explore(top: &Dir, place: &Arc<Place>, threads: usize, visitor: &impl Visitor) {
    let queue = Queue::new(0);
    let (open, most_open) = (Arc::new(AtomicUsize::new(0)), most_open_folders());
    queue.push(Task { parent: None, place: Arc::clone(place) });
    queue.work(threads, |Task { parent, place: here }| {
        if visitor.enough() {
            return queue.close();
        }
        let opened = match &parent {
            Some(parent) => parent.child(here.name()),
            None => down(top, place, &here),
        };
        drop(parent);
        let dir = match opened {
            Ok(dir) => Arc::new(Held::new(dir, &open)),
            Err(error) => return visitor.failed(&here, error),
        };
        let result = visitor.folder(&here, &dir, &mut |name| {
            // Beyond that a folder is opened again from the top when it is its turn.
            let parent = (open.load(Ordering::Relaxed) <= most_open).then(|| Arc::clone(&dir));
            queue.push(Task { parent, place: here.child(name, None) });
        });
        if let Err(error) = result {
            visitor.failed(&here, error);
        }
    });
}

/// A folder that is to be looked at.
struct Task {
    /// Its parent, while that is held open.
    parent: Option<Arc<Held>>,
    place: Arc<Place>,
}

/// Opens the folder `place`, which lies below `top_place`, a name at a time.
fn down(top: &Dir, top_place: &Arc<Place>, place: &Arc<Place>) -> io::Result<Dir> {
    let above = top_place.chain().len();
    place.chain()[above..].iter().try_fold(top.try_clone()?, |dir, place| dir.child(place.name()))
}

/// An open folder that is counted.
pub(crate) struct Held {
    dir: Dir,
    open: Arc<AtomicUsize>,
}

impl Held {
    pub(crate) fn new(dir: Dir, open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { dir, open: Arc::clone(open) }
    }
}

impl Deref for Held {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many folders may be open at once: each holds up to three handles of the process's limit.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Paths(Mutex<Vec<String>>);

    impl Visitor for Paths {
        fn folder(
            &self,
            place: &Arc<Place>,
            dir: &Dir,
            enter: &mut dyn FnMut(&CStr),
        ) -> io::Result<()> {
            self.0.lock().unwrap().push(String::from_utf8(place.inside()).unwrap());
            dir.names(|entry| {
                if entry.folder {
                    enter(entry.name);
                }
                std::ops::ControlFlow::Continue(())
            })
        }

        fn failed(&self, place: &Arc<Place>, error: io::Error) {
            panic!("{:?}: {error}", place.inside());
        }
    }

    #[test]
    fn every_folder_is_shown_once_also_very_deep_ones() {
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
        explore(&top, &Place::top(None), 2, &seen);
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

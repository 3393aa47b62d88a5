//! Folders in which the walk has found only folders so far (`--prune-empty-dirs`).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Mutex;

use crate::backup::change::Change;
use crate::backup::plan::Verdict;
use crate::monitor::items::ItemizedChange;
use crate::threads::lock::lock;

/// The folders in which the walk has found only folders so far, by their paths inside the snapshot.
#[derive(Debug, Default)]
pub(crate) struct Empty {
    pub(crate) folders: Mutex<HashMap<Vec<u8>, Untold>>,
}

/// What the walk reports about a folder as soon as it finds something other than folders in it.
#[derive(Debug)]
pub(crate) struct Untold {
    pub(crate) verdict: Verdict,
    pub(crate) item: Option<ItemizedChange>,
    pub(crate) change: Option<Change>,
}

impl Empty {
    pub(crate) fn add(&self, path: Vec<u8>, held: Untold) {
        lock(&self.folders).insert(path, held);
    }

    /// Records that the walk found something in the folder at `path`: neither this folder nor any above it is empty.
    /// Returns the reports that were withheld about them.
    pub(crate) fn holds_something(&self, path: &[u8]) -> Vec<Untold> {
        let mut folders = lock(&self.folders);
        let (mut released, mut path) = (Vec::new(), path);
        // The loop may end at a missing folder: all folders above a released one were released with it.
        while let Some(held) = folders.remove(path) {
            released.push(held);
            path = path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at]);
        }
        released
    }

    /// Takes the folders that are empty at the end of the walk, the deepest first.
    pub(crate) fn take(&self) -> Vec<(Vec<u8>, Verdict)> {
        let folders = std::mem::take(&mut *lock(&self.folders));
        let mut empty: Vec<_> =
            folders.into_iter().map(|(path, held)| (path, held.verdict)).collect();
        empty.sort_by_cached_key(|(path, _)| Reverse(names(path).count()));
        empty
    }
}

pub(crate) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

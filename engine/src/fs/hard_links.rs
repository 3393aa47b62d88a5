//! The inodes with several names in one snapshot. The link count does not show them, because an unchanged file has a name in
//! each snapshot.

use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::entry::Kind;
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::file_system::reports_inodes;
use crate::fs::traverse::{Visitor, explore};
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// Inode numbers with more than one name, sorted, each with the number of its names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HardLinks(Vec<(u64, u64)>);

impl HardLinks {
    /// Lists all folders of the snapshot `top`. While it does that, it takes 8 bytes of memory for each name. A folder that
    /// cannot be read is left out here: the copy reports it.
    pub(crate) fn of(top: &Dir, stop: &(dyn Fn() -> bool + Sync)) -> Self {
        let scan = InodeScan { known: reports_inodes(top), stop, inodes: Mutex::default() };
        explore(top, &TreePath::top(None), workers(), &scan);
        Self::among(unpoisoned(scan.inodes.into_inner()))
    }

    fn among(mut inodes: Vec<u64>) -> Self {
        inodes.sort_unstable();
        let groups = inodes.chunk_by(|one, next| one == next);
        let several = groups.filter(|group| group.len() > 1);
        Self(several.map(|group| (group[0], group.len() as u64)).collect())
    }

    /// The number of names that an inode has in the snapshot.
    pub(crate) fn names_of(&self, ino: u64) -> u64 {
        let found = self.0.binary_search_by_key(&ino, |(ino, _)| *ino);
        found.map_or(1, |at| self.0[at].1)
    }
}

struct InodeScan<'a> {
    /// Whether listings have the inode numbers of `stat(2)`.
    known: bool,
    stop: &'a (dyn Fn() -> bool + Sync),
    inodes: Mutex<Vec<u64>>,
}

impl Visitor for InodeScan<'_> {
    fn folder(&self, _: &Arc<TreePath>, dir: &Dir, enter: &mut dyn FnMut(&CStr)) -> io::Result<()> {
        let (mut inodes, mut unknown) = (Vec::new(), Vec::new());
        dir.names(|entry| {
            if entry.folder {
                enter(entry.name);
            } else if self.known && entry.ino != 0 {
                inodes.push(entry.ino);
            } else {
                unknown.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        for name in unknown {
            let Ok(meta) = dir.stat(&name) else { continue };
            if meta.kind == Kind::Folder {
                enter(&name);
            } else if meta.links > 1 {
                inodes.extend(meta.id.map(|id| id.ino));
            }
        }
        lock(&self.inodes).append(&mut inodes);
        Ok(())
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}

    fn enough(&self) -> bool {
        (self.stop)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_within_the_snapshot_and_not_by_the_link_count() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("snapshot/a/b")).unwrap();
        std::fs::write(path("snapshot/one"), "1").unwrap();
        std::fs::hard_link(path("snapshot/one"), path("other snapshot")).unwrap();
        std::fs::write(path("snapshot/a/two"), "2").unwrap();
        std::fs::hard_link(path("snapshot/a/two"), path("snapshot/a/b/two")).unwrap();
        let top = Dir::at(&path("snapshot")).unwrap();
        let links = HardLinks::of(&top, &|| false);
        let ino = |dir: &Dir, name: &CStr| dir.stat(name).unwrap().id.unwrap().ino;
        assert_eq!(links.names_of(ino(&top, c"one")), 1);
        assert_eq!(links.names_of(ino(&top.child(c"a").unwrap(), c"two")), 2);
        assert_eq!(HardLinks::among(vec![5, 3, 5, 5, 4, 3]).0, [(3, 2), (5, 3)]);
    }
}

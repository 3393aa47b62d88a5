//! Finds all names of damaged inodes, in all snapshots.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex};

use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::file_system::reports_inodes;
use crate::fs::traverse::{Visitor, each_inode, explore};
use crate::repository::Repository;
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;
use crate::verify::outcome::Damage;

/// Searches `snapshots` for the names of `damaged` inodes, which are keyed by inode number. Sorted by name.
pub(crate) fn of_all(
    repository: &Repository,
    snapshots: &[SnapshotName],
    damaged: HashMap<u64, Damage>,
) -> Vec<Damage> {
    let mut damaged: Vec<Damage> =
        by_number(repository, snapshots, damaged).into_values().collect();
    damaged.sort_by(|one, other| path_of(one).cmp(path_of(other)));
    damaged
}

/// As [`of_all`], still by inode number.
pub(crate) fn by_number(
    repository: &Repository,
    snapshots: &[SnapshotName],
    damaged: HashMap<u64, Damage>,
) -> HashMap<u64, Damage> {
    if damaged.is_empty() {
        return damaged;
    }
    let damaged = Mutex::new(damaged);
    for name in snapshots {
        // A snapshot that was removed in the meantime has no names.
        let Ok(top) = repository.top(name) else { continue };
        let seeker = NameSearch { known: reports_inodes(&top), name, damaged: &damaged };
        explore(&top, &TreePath::top(None), workers(), &seeker);
    }
    let mut damaged = unpoisoned(damaged.into_inner());
    for damage in damaged.values_mut() {
        let key = |(name, path): &(SnapshotName, Vec<u8>)| (name.stamp, path.clone());
        damage.names.sort_by_key(key);
        damage.names.dedup();
    }
    damaged
}

fn path_of(damage: &Damage) -> &[u8] {
    damage.names.first().map_or(b"", |(_, path)| path)
}

struct NameSearch<'a> {
    known: bool,
    name: &'a SnapshotName,
    damaged: &'a Mutex<HashMap<u64, Damage>>,
}

impl Visitor for NameSearch<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        each_inode(dir, self.known, enter, |name, number| {
            let mut damaged = lock(self.damaged);
            if let Some(damage) = damaged.get_mut(&number) {
                damage.names.push((self.name.clone(), place.inside_of(name)));
            }
        })
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}
}

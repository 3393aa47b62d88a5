//! Finds the names that the other side has for what a snapshot of this side lacks, in one pass over each snapshot.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex};

use crate::entry::digest::{NameDigest, name_digest};
use crate::entry::tree_path::{TreePath, place_of};
use crate::fs::dir::Dir;
use crate::fs::file_system::reports_inodes;
use crate::fs::hard_links::HardLinks;
use crate::fs::traverse::{Visitor, each_inode, explore};
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;
use crate::verify::heal::Heal;
use crate::verify::heal::side::digests;
use crate::verify::inode_names::by_number;
use crate::verify::outcome::{Damage, Flaw};

impl Heal<'_> {
    /// Finds the names of the inodes that the `flaws` are about and that have several names in a snapshot of the other side.
    pub(super) fn look_for_links(&mut self, flaws: &[(SnapshotName, Flaw)]) {
        if self.maker.is_none() {
            return;
        }
        let mut of_snapshots: HashMap<&SnapshotName, Vec<&Flaw>> = HashMap::new();
        for (snapshot, flaw) in flaws {
            if matches!(flaw, Flaw::Gone { .. } | Flaw::Altered(..)) {
                of_snapshots.entry(snapshot).or_default().push(flaw);
            }
        }
        for (snapshot, flaws) in of_snapshots {
            if self.context.stop.asked() {
                return;
            }
            let numbers = self.linked_there(snapshot, &flaws);
            let none = || Damage { what: String::new(), bytes: 0, names: Vec::new() };
            let wanted = numbers.into_iter().map(|number| (number, none())).collect();
            let found = by_number(self.other.repository, std::slice::from_ref(snapshot), wanted);
            let found = found.into_iter().map(|(number, found)| (number, found.names)).collect();
            self.links_there.insert(snapshot.clone(), found);
        }
    }

    /// The numbers of those inodes.
    fn linked_there(&mut self, snapshot: &SnapshotName, flaws: &[&Flaw]) -> HashSet<u64> {
        let Ok(Some(theirs)) = self.other.snapshot(snapshot) else { return HashSet::new() };
        let stop = Arc::clone(&self.context.stop);
        let links = HardLinks::of(&theirs.top, &|| stop.asked());
        let found = Mutex::default();
        for flaw in flaws {
            match flaw {
                Flaw::Gone { folder, .. } => {
                    let place = place_of(folder);
                    let ours = self.our(snapshot).ok().and_then(|ours| ours.folder(&place).ok());
                    let there = ours.and_then(|dir| digests(&dir).ok()).unwrap_or_default();
                    let Ok(top) = theirs.folder(&place) else { continue };
                    let known = reports_inodes(&top);
                    let search = Search { folder, there, known, links: &links, found: &found };
                    explore(&top, &place, workers(), &search);
                }
                Flaw::Altered(path, _) => {
                    let number = self.number_there(&(snapshot.clone(), path.clone()));
                    lock(&found).extend(number.filter(|number| links.names_of(*number) > 1));
                }
                _ => {}
            }
        }
        unpoisoned(found.into_inner())
    }
}

/// Collects the inodes with several names below a folder.
struct Search<'a> {
    /// The folder itself.
    folder: &'a [u8],
    /// The names that this side still has in it.
    there: HashSet<NameDigest>,
    /// Whether listings have the inode numbers of `stat(2)`.
    known: bool,
    links: &'a HardLinks,
    found: &'a Mutex<HashSet<u64>>,
}

impl Visitor for Search<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        let is_top = place.inside() == self.folder;
        let is_left = |name: &CStr| is_top && self.there.contains(&name_digest(name));
        let mut below = |name: &CStr| {
            if !is_left(name) {
                enter(name);
            }
        };
        each_inode(dir, self.known, &mut below, |name, number| {
            if self.links.names_of(number) > 1 && !is_left(name) {
                lock(self.found).insert(number);
            }
        })
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}
}

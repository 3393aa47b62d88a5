//! Finds the inodes with several names among the restored entries. The link count does not show this, because
//! every unchanged file has a name in each snapshot.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::Dir;
use crate::fs::file_system::reports_inodes;
use crate::fs::traverse::{Visitor, explore};
use crate::restore::request::RequestedPath;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// The result of one scan over all names.
#[derive(Debug, Default)]
pub(crate) struct Several {
    /// Inode numbers with more than one name.
    inodes: HashSet<u64>,
    /// The total number of names.
    pub(crate) entries: u64,
}

impl Several {
    /// Whether the inode of `meta` has more than one name among the restored entries.
    pub(crate) fn has(&self, meta: &Meta) -> bool {
        meta.kind != Kind::Folder && meta.id.is_some_and(|id| self.inodes.contains(&id.ino))
    }
}

#[derive(Default)]
struct SeenInodes {
    once: HashSet<u64>,
    several: Several,
}

impl SeenInodes {
    fn see(&mut self, ino: u64) {
        if !self.once.insert(ino) {
            self.several.inodes.insert(ino);
        }
    }
}

struct InodeScan<'a> {
    known: bool,
    stop: &'a (dyn Fn() -> bool + Sync),
    seen: Mutex<SeenInodes>,
}

/// Scans all names of `items` in the snapshot `top`. Ignores read errors: the restore reports them later.
pub(crate) fn several(
    top: &Dir,
    items: &[RequestedPath],
    stop: &(dyn Fn() -> bool + Sync),
) -> Several {
    let census = InodeScan { known: reports_inodes(top), stop, seen: Mutex::default() };
    for item in items {
        let names = item.inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let Ok(names) = names.map(c_name).collect::<io::Result<Vec<_>>>() else { continue };
        let Ok(at) = top.try_clone() else { continue };
        let (mut place, mut at) = (TreePath::top(None), Some(at));
        for (number, name) in names.iter().enumerate() {
            let Some(dir) = at.take() else { break };
            if number + 1 == names.len()
                && let Ok(Some(meta)) = dir.find(name)
                && meta.kind != Kind::Folder
            {
                census.one(&meta);
            }
            place = place.child(name, None);
            at = dir.child(name).ok();
        }
        if let Some(dir) = at {
            explore(&dir, &place, workers(), &census);
        }
    }
    unpoisoned(census.seen.into_inner()).several
}

impl InodeScan<'_> {
    fn one(&self, meta: &Meta) {
        let mut seen = lock(&self.seen);
        seen.several.entries += 1;
        if let Some(id) = meta.id {
            seen.see(id.ino);
        }
    }
}

impl Visitor for InodeScan<'_> {
    fn folder(&self, _: &Arc<TreePath>, dir: &Dir, enter: &mut dyn FnMut(&CStr)) -> io::Result<()> {
        let (mut inodes, mut entries, mut unknown) = (Vec::new(), 0, Vec::new());
        dir.names(|entry| {
            entries += 1;
            if entry.folder {
                enter(entry.name);
            } else if self.known {
                inodes.push(entry.ino);
            } else {
                unknown.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        for name in unknown {
            match dir.stat(&name) {
                Ok(meta) if meta.kind == Kind::Folder => enter(&name),
                Ok(meta) if meta.links > 1 => inodes.extend(meta.id.map(|id| id.ino)),
                _ => {}
            }
        }
        let mut seen = lock(&self.seen);
        seen.several.entries += entries;
        inodes.into_iter().for_each(|ino| seen.see(ino));
        Ok(())
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}

    fn enough(&self) -> bool {
        (self.stop)()
    }
}

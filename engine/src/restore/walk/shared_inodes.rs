//! Finds the inodes with several names among the restored entries. The link count does not show this, because
//! every unchanged file has a name in each snapshot.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::entry::escape::shown;
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::Dir;
use crate::fs::file_system::reports_inodes;
use crate::fs::traverse::{Visitor, explore};
use crate::repository::records::report::Report;
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
    /// The sizes of all files together, where they were wanted.
    pub(crate) bytes: u64,
}

/// Where the scan takes the sizes of files from, for a display.
pub(crate) struct Sizes<'a> {
    /// Whether the sizes are wanted at all.
    pub(crate) wanted: bool,
    /// The report of the snapshot. It has the bytes of whole source roots, which the scan then does not look up.
    pub(crate) report: Option<&'a Report>,
}

impl Sizes<'_> {
    /// The bytes below `inside`, if the report has them: of the whole snapshot, or of a source root.
    fn known(&self, inside: &[u8]) -> Option<u64> {
        let report = self.report?;
        if inside.is_empty() {
            return Some(report.counts.bytes);
        }
        report.roots.iter().find(|root| root.inside == shown(inside))?.bytes
    }
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
    /// Whether each file is looked up for its size.
    sizes: AtomicBool,
    stop: &'a (dyn Fn() -> bool + Sync),
    seen: Mutex<SeenInodes>,
}

/// Scans all names of `items` in the snapshot `top`. Ignores read errors: the restore reports them later.
pub(crate) fn several(
    top: &Dir,
    items: &[RequestedPath],
    sizes: &Sizes<'_>,
    stop: &(dyn Fn() -> bool + Sync),
) -> Several {
    let sizes_off = AtomicBool::new(false);
    let census =
        InodeScan { known: reports_inodes(top), sizes: sizes_off, stop, seen: Mutex::default() };
    for item in items {
        let known = sizes.wanted.then(|| sizes.known(&item.inside)).flatten();
        lock(&census.seen).several.bytes += known.unwrap_or(0);
        census.sizes.store(sizes.wanted && known.is_none(), Ordering::Relaxed);
        let names = item.inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let Ok(names) = names.map(c_name).collect::<io::Result<Vec<_>>>() else { continue };
        let Ok(at) = top.try_clone() else { continue };
        let (mut place, mut at) = (TreePath::top(None), Some(at));
        for (number, name) in names.iter().enumerate() {
            let Some(dir) = at.take() else { break };
            if number + 1 == names.len()
                && let Ok(Some(meta)) = dir.find(name)
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
        if self.sizes.load(Ordering::Relaxed) && meta.kind == Kind::File {
            seen.several.bytes += meta.size;
        }
        if let Some(id) = meta.id.filter(|_| meta.kind != Kind::Folder) {
            seen.see(id.ino);
        }
    }
}

impl Visitor for InodeScan<'_> {
    fn folder(&self, _: &Arc<TreePath>, dir: &Dir, enter: &mut dyn FnMut(&CStr)) -> io::Result<()> {
        let (mut inodes, mut entries, mut unknown) = (Vec::new(), 0, Vec::new());
        let (sizes, mut bytes) = (self.sizes.load(Ordering::Relaxed), 0);
        dir.names(|entry| {
            entries += 1;
            if entry.folder {
                enter(entry.name);
            } else if self.known && !sizes {
                inodes.push(entry.ino);
            } else {
                unknown.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        for name in unknown {
            let Ok(meta) = dir.stat(&name) else { continue };
            match meta.kind {
                Kind::Folder => {
                    enter(&name);
                    continue;
                }
                Kind::File if sizes => bytes += meta.size,
                _ => {}
            }
            if meta.links > 1 {
                inodes.extend(meta.id.map(|id| id.ino));
            }
        }
        let mut seen = lock(&self.seen);
        seen.several.entries += entries;
        seen.several.bytes += bytes;
        inodes.into_iter().for_each(|ino| seen.see(ino));
        Ok(())
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}

    fn enough(&self) -> bool {
        (self.stop)()
    }
}

//! Finds names that a snapshot still has and that may be links to an inode of which it lacks another name.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex};

use crate::entry::digest::{NameDigest, name_digest};
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::traverse::{Visitor, each_inode, explore};
use crate::repository::manifest::index::{PathDigest, digest_of};
use crate::repository::manifest::read::ManifestReader;
use crate::repository::manifest::record::{ManifestRecord, folder_digest};
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;
use crate::verify::heal::side::{OpenSnapshot, split};

/// What a snapshot lacks of what was backed up: the digests of names in its folders.
#[derive(Debug, Default)]
pub(super) struct Lacked {
    names: HashMap<Vec<u8>, HashSet<NameDigest>>,
    /// Whether some of the names are missing.
    is_gone: bool,
}

impl Lacked {
    /// Adds names that are missing in `folder`.
    pub(super) fn gone(&mut self, folder: &[u8], names: &HashSet<NameDigest>) {
        self.names.entry(folder.to_vec()).or_default().extend(names);
        self.is_gone = true;
    }

    /// Adds a name that has something else now.
    pub(super) fn changed(&mut self, path: &[u8]) {
        let (parent, name) = split(path);
        self.names.entry(parent.inside()).or_default().insert(name_digest(&name));
    }
}

/// What all names of an inode have in common in the manifest ([`ManifestRecord::fingerprint`]).
type Fingerprint = u64;

/// The paths in a snapshot whose records equal those of what it has `lacked`, but of folders. Folders that are missing as a
/// whole are found by the manifest.
pub(super) fn alike(snapshot: &OpenSnapshot, lacked: &Lacked) -> Vec<Vec<u8>> {
    let Some(manifest) = &snapshot.manifest else { return Vec::new() };
    let mut wanted = HashSet::new();
    let mut is_folder_gone = false;
    for (of, names) in &lacked.names {
        let Ok(Some(mut folder)) = manifest.folder_at(of) else { continue };
        folder.records.retain(|record| names.contains(&record.name));
        is_folder_gone |= folder.records.iter().any(is_folder);
        add(&mut wanted, &folder.records);
    }
    if is_folder_gone && lacked.is_gone {
        let folders = Folders::default();
        explore(&snapshot.top, &TreePath::top(None), workers(), &folders);
        let there = unpoisoned(folders.0.into_inner());
        for entry in manifest.index.iter().filter(|entry| !there.contains(&entry.path)) {
            if let Ok(folder) = manifest.recorded(&entry, None) {
                add(&mut wanted, &folder.records);
            }
        }
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let search = Search { manifest, wanted, found: Mutex::default() };
    explore(&snapshot.top, &TreePath::top(None), workers(), &search);
    unpoisoned(search.found.into_inner())
}

/// Adds the fingerprints of all but folders.
fn add(wanted: &mut HashSet<Fingerprint>, records: &[ManifestRecord]) {
    wanted.extend(
        records.iter().filter(|record| !is_folder(record)).map(ManifestRecord::fingerprint),
    );
}

fn is_folder(record: &ManifestRecord) -> bool {
    record.meta == folder_digest()
}

/// Collects the folders that a snapshot has.
#[derive(Default)]
struct Folders(Mutex<HashSet<PathDigest>>);

impl Visitor for Folders {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        lock(&self.0).insert(digest_of(&place.inside()));
        each_inode(dir, true, enter, |_, _| ())
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}
}

/// Finds the files with these fingerprints.
struct Search<'a> {
    manifest: &'a ManifestReader,
    wanted: HashSet<Fingerprint>,
    found: Mutex<Vec<Vec<u8>>>,
}

impl Visitor for Search<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        // Records that cannot be read show no links.
        let records = self.manifest.folder(place).ok().flatten().map(|folder| folder.records);
        let records = records.unwrap_or_default().into_iter();
        let is_wanted = |record: &ManifestRecord| {
            !is_folder(record) && self.wanted.contains(&record.fingerprint())
        };
        let names: HashSet<_> = records.filter(is_wanted).map(|record| record.name).collect();
        each_inode(dir, true, enter, |name, _| {
            if !names.is_empty() && names.contains(&name_digest(name)) {
                lock(&self.found).push(place.inside_of(name));
            }
        })
    }

    fn failed(&self, _: &Arc<TreePath>, _: io::Error) {}
}

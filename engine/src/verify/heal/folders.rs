//! Heals folders: brings names that the manifest records and the snapshot lacks, names that have the inode of another
//! one, and the metadata of the folder itself.

use std::collections::{BTreeSet, HashSet};
use std::ffi::CString;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::entry::Kind;
use crate::entry::digest::name_digest;
use crate::entry::tree_path::{TreePath, place_of};
use crate::repository::manifest::record::{ManifestRecord, RecordedHash, folder_digest};
use crate::repository::records::damage;
use crate::snapshot::name::SnapshotName;
use crate::verify::compared::Compared;
use crate::verify::heal::make::Made;
use crate::verify::heal::side::{NameIn, OpenSnapshot, Recorded, digests};
use crate::verify::heal::{Heal, Healing};
use crate::verify::inode_names::by_number;
use crate::verify::outcome::{Damage, Flaw};

const NOT_REMOVED: &str = "what was added or renamed is never removed; remove it yourself";

impl Heal<'_> {
    /// Heals what the flaws of snapshots show.
    pub(super) fn flaws(&mut self, flaws: &[(SnapshotName, Flaw)]) {
        let mut folders: BTreeSet<(String, Vec<u8>)> = BTreeSet::new();
        self.look_for_links(flaws);
        for (snapshot, flaw) in flaws.iter().filter(|(_, flaw)| flaw.is_damage()) {
            let name = |path: &[u8]| (snapshot.clone(), path.to_vec());
            match flaw {
                Flaw::Gone { folder, .. } => {
                    folders.insert((snapshot.to_string(), folder.clone()));
                }
                Flaw::Altered(path, _) => match self.is_folder(snapshot, path) {
                    Some(true) => {
                        folders.insert((snapshot.to_string(), path.clone()));
                    }
                    Some(false) => self.exchanged(&name(path)),
                    None => self.left(vec![name(path)], "an entry of another kind is in its place"),
                },
                Flaw::Added(path) => self.left(vec![name(path)], NOT_REMOVED),
                flaw => {
                    let path = flaw.path().unwrap_or_default();
                    self.left(
                        vec![name(path)],
                        &format!("the other folder cannot help here: {flaw}"),
                    );
                }
            }
        }
        // The sorted order has parents before what is below them.
        for (snapshot, path) in folders {
            let known = self.history.iter().find(|name| name.to_string() == snapshot).cloned();
            if let Some(snapshot) = known.filter(|_| !self.context.stop.asked()) {
                self.folder(&snapshot, &place_of(&path));
            }
        }
    }

    /// Whether the manifest and the disk have a folder there; `None` when only one of them has.
    fn is_folder(&mut self, snapshot: &SnapshotName, path: &[u8]) -> Option<bool> {
        let ours = self.our(snapshot).ok()?;
        if path.is_empty() {
            return Some(true);
        }
        let (_, record) = ours.record(path).ok()??;
        let (then, now) =
            (record.meta == folder_digest(), ours.on_disk(path).ok()??.kind == Kind::Folder);
        (then == now).then_some(now)
    }

    /// A name whose inode was backed up under another name.
    fn exchanged(&mut self, name: &NameIn) {
        let recorded =
            self.our(&name.0).ok().and_then(|ours| ours.recorded(&name.1).ok().flatten());
        match recorded {
            Some(recorded) => self.bring(name, &recorded, true),
            None => self.left(vec![name.clone()], "nothing records what it held"),
        }
    }

    /// Brings what a folder lacks, with everything below, and its metadata.
    fn folder(&mut self, snapshot: &SnapshotName, top: &Arc<TreePath>) {
        let mut below = vec![(Arc::clone(top), false)];
        // Folders that were made get their metadata after their content, from the deepest on.
        let mut filled = Vec::new();
        while let Some((place, is_new)) = below.pop() {
            if self.context.stop.asked() {
                return;
            }
            match self.names(snapshot, &place) {
                Ok(folders) => below.extend(folders.into_iter().map(|folder| (folder, true))),
                Err(why) => self.left(vec![(snapshot.clone(), place.inside())], &why),
            }
            filled.push((place, is_new));
        }
        for (place, is_new) in filled.into_iter().rev() {
            let name = (snapshot.clone(), place.inside());
            if self.maker.is_none() {
                continue;
            }
            let settled = self
                .open(snapshot, &place)
                .and_then(|mut opened| {
                    if is_new {
                        opened.before = self.folder_there(snapshot, &place)?.1.meta;
                    }
                    self.settle(snapshot, &place, &opened)
                })
                .and_then(|()| self.check(snapshot, &place));
            match settled {
                Ok(()) => self.report(name, Healing::Healed),
                Err(why) => self.left(vec![name], &why),
            }
        }
        if self.maker.is_none() {
            self.report((snapshot.clone(), top.inside()), Healing::Would);
        }
    }

    /// Brings the names that a folder lacks. Returns the subfolders that it made.
    fn names(
        &mut self,
        snapshot: &SnapshotName,
        place: &Arc<TreePath>,
    ) -> Result<Vec<Arc<TreePath>>, String> {
        let ours = self.our(snapshot)?;
        let manifest = ours.manifest.as_ref().ok_or("the snapshot has no manifest")?;
        let records = manifest.folder(place).map_err(|error| error.to_string())?;
        let Some(records) = records else { return Ok(Vec::new()) };
        let there = match ours.folder(place) {
            // In a dry run the folder above was not made.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.maker.is_none() => {
                HashSet::new()
            }
            dir => dir.and_then(|dir| digests(&dir)).map_err(|error| error.to_string())?,
        };
        let mut missing = Vec::new();
        let theirs = self.other.snapshot(snapshot).map_err(|error| error.to_string())?;
        let theirs = theirs.ok_or("the other folder has no snapshot of this name")?;
        let listed = theirs.folder(place).and_then(|dir| {
            dir.names(|entry| {
                let record = records.get(&name_digest(entry.name));
                if let Some(record) = record.filter(|record| !there.contains(&record.name)) {
                    missing.push((entry.name.to_owned(), *record));
                }
                ControlFlow::Continue(())
            })
        });
        listed.map_err(|error| format!("the other folder's folder cannot be read: {error}"))?;
        let mut folders = Vec::new();
        for (name, record) in missing {
            if self.context.stop.asked() {
                break;
            }
            folders.extend(self.missing(&ours, (snapshot, place), &name, &record)?);
        }
        Ok(folders)
    }

    /// Brings one name. Returns the folder if it is one.
    fn missing(
        &mut self,
        ours: &OpenSnapshot,
        (snapshot, place): (&SnapshotName, &Arc<TreePath>),
        name: &CString,
        record: &ManifestRecord,
    ) -> Result<Option<Arc<TreePath>>, String> {
        let path = place.inside_of(name);
        if record.meta == folder_digest() {
            self.put_folder(snapshot, place, name)?;
            return Ok(Some(place.child(name, None)));
        }
        let Some(fields) = ours.manifest.as_ref().map(|manifest| manifest.coverage()) else {
            return Ok(None);
        };
        let name = (snapshot.clone(), path);
        let content = match record.content.is_known() {
            true => record.content,
            false => self.lacked_content(&name),
        };
        let recorded = Recorded { meta: Some((fields, record.meta)), content };
        self.bring(&name, &recorded, false);
        Ok(None)
    }

    /// What the other side records of the content of a file that this copy lacks. The marks of damage there were enough not to
    /// copy it, so no hash came with it.
    fn lacked_content(&mut self, (snapshot, path): &NameIn) -> RecordedHash {
        let marks = damage::load(self.ours.repository, snapshot);
        if marks.get(path).is_none_or(|what| !what.starts_with(damage::LACKED)) {
            return RecordedHash::default();
        }
        let theirs = self.other.snapshot(snapshot).ok().flatten();
        let recorded = theirs.and_then(|theirs| theirs.recorded(path).ok().flatten());
        recorded.map(|recorded| recorded.content).unwrap_or_default()
    }

    /// Gives `name` an inode that is what was recorded: one of another name or snapshot on this side, if the other side
    /// has it there too, or else a new one.
    fn bring(&mut self, name: &NameIn, recorded: &Recorded, over: bool) {
        let number = self.number_there(name);
        let twin = self.twin(std::slice::from_ref(name), recorded, number);
        let brought = match twin {
            Some(made) => Ok(Some(made)),
            None => self.copied_from_other(std::slice::from_ref(name), recorded),
        };
        match brought {
            Ok(None) => self.report(name.clone(), Healing::Would),
            Ok(Some(made)) => match self.put(&made, name, false, over) {
                Ok(_) => {
                    self.drop_made(&made);
                    self.prove(name.clone(), recorded);
                    if let Some(number) = number {
                        self.twins.insert(number, name.clone());
                    }
                }
                Err(why) => {
                    self.drop_made(&made);
                    self.left(vec![name.clone()], &why);
                }
            },
            Err(why) => self.left(vec![name.clone()], &why),
        }
    }

    /// The inode number of a name on the other side, where the inode has several names.
    pub(super) fn number_there(&mut self, (snapshot, path): &NameIn) -> Option<u64> {
        let theirs = self.other.snapshot(snapshot).ok()??;
        let meta = theirs.on_disk(path).ok()??;
        (meta.links > 1).then_some(meta.id?.ino)
    }

    /// A hard link to an inode of this side that belongs under the first of `names` as well: the other side has one inode
    /// there, and the inode of this side is what was recorded. `names` themselves are not looked at.
    pub(super) fn twin(
        &mut self,
        names: &[NameIn],
        recorded: &Recorded,
        number: Option<u64>,
    ) -> Option<Made> {
        let (name, number) = (names.first()?, number.filter(|_| self.maker.is_some())?);
        let mut candidates: Vec<NameIn> = self.twins.get(&number).cloned().into_iter().collect();
        // The same path in the snapshots before and after.
        let at = self.history.iter().position(|one| *one == name.0)?;
        let near = [at.checked_sub(1), Some(at + 1)].into_iter().flatten();
        let near: Vec<_> = near.filter_map(|at| self.history.get(at).cloned()).collect();
        candidates.extend(near.into_iter().map(|snapshot| (snapshot, name.1.clone())));
        candidates.extend(self.names_there(&name.0, number));
        candidates.retain(|candidate| !names.contains(candidate));
        for candidate in candidates {
            if self.number_there(&candidate) == Some(number) && self.is_good(&candidate, recorded) {
                let made = self.linked(&candidate);
                if made.is_some() {
                    return made;
                }
            }
        }
        None
    }

    /// The names of an inode of the other side: all of them, or those in the given snapshot.
    fn names_there(&mut self, snapshot: &SnapshotName, number: u64) -> Vec<NameIn> {
        if let Some(names) = self.names_there.get(&number) {
            return names.clone();
        }
        if let Some(links) = self.links_there.get(snapshot) {
            return links.get(&number).cloned().unwrap_or_default();
        }
        if self.twins.contains_key(&number) {
            return Vec::new();
        }
        let wanted = Damage { what: String::new(), bytes: 0, names: Vec::new() };
        let snapshots = std::slice::from_ref(snapshot);
        let found = by_number(self.other.repository, snapshots, [(number, wanted)].into());
        found.into_values().flat_map(|found| found.names).collect()
    }

    /// A temporary hard link to an entry of this side.
    fn linked(&mut self, (snapshot, path): &NameIn) -> Option<Made> {
        let ours = self.our(snapshot).ok()?;
        let (dir, file_name, _) = ours.entry(path).ok()??;
        let maker = self.maker.as_ref()?;
        let (store, name) = (&maker.store, maker.temporary().ok()?);
        store.link(&name, &dir, &file_name).ok()?;
        let id = store.stat(&name).ok().and_then(|meta| meta.id);
        let is_same = id.is_some() && dir.stat(&file_name).is_ok_and(|meta| meta.id == id);
        match id.filter(|_| is_same) {
            Some(id) => Some(Made { name, id }),
            None => {
                let _ = store.unlink(&name);
                None
            }
        }
    }

    /// Compares the names and the metadata of a folder with the manifest again.
    fn check(&mut self, snapshot: &SnapshotName, place: &Arc<TreePath>) -> Result<(), String> {
        let ours = self.our(snapshot)?;
        let compared = ours.folder(place).and_then(|dir| {
            let mut compared = Compared::new(ours.manifest.as_ref(), place);
            dir.names(|entry| {
                let record = compared.find(entry.name);
                if entry.folder {
                    compared.folder(entry.name, record);
                }
                ControlFlow::Continue(())
            })?;
            Ok(compared.finish(&dir.meta()?))
        });
        match compared.map_err(|error| error.to_string())? {
            Some(flaws) => match flaws.first() {
                None => Ok(()),
                Some(flaw) => Err(flaw.to_string()),
            },
            None => Err("the manifest does not have this folder".to_owned()),
        }
    }
}

//! Writes the manifest of a snapshot while the snapshot is built.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::entry::digest::{NameDigest, first, name_digest};
use crate::entry::tree_path::TreePath;
use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::Dir;
use crate::fs::metadata::xattrs;
use crate::fs::small_file::give;
use crate::repository::manifest::changes::{ContentOrigin, FolderChanges};
use crate::repository::manifest::index::{IndexEntry, PathDigest, path_digest};
use crate::repository::manifest::lacking::Lacking;
use crate::repository::manifest::read::{ManifestReader, Only, records};
use crate::repository::manifest::record::{
    LENGTH, ManifestRecord, MetaDigest, RecordedFields, RecordedHash,
};
use crate::repository::manifest::remove;
use crate::threads::lock::lock;

/// Stands for the new pack until all packs get their final numbers.
pub(super) const NEW: u16 = u16::MAX;
/// The maximum number of records of one folder in memory at once.
const PART: usize = 64 * 1024;

/// The manifest of the snapshot under construction. Its errors do not end the run.
pub(crate) struct Writer {
    /// The manifest's folder, and the metadata whose owner all its files get.
    pub(super) dir: Option<(Dir, Meta)>,
    /// The name of the new pack.
    pub(super) pack: String,
    pub(super) base: Option<ManifestReader>,
    pub(super) coverage: RecordedFields,
    /// Whether directory listings contain inode numbers.
    pub(super) known: bool,
    /// Hashes of files that have none in the base and none in an attribute, by inode number.
    hashes: Arc<HashMap<u64, RecordedHash>>,
    lacking: Lacking,
    pub(super) state: Mutex<State>,
    pub(super) failed: Mutex<Option<io::Error>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) pack: Option<BufWriter<File>>,
    pub(super) length: u64,
    pub(super) entries: Vec<IndexEntry>,
}

/// A folder of the snapshot that will not change any more.
pub(crate) struct Finished<'a> {
    pub(crate) place: &'a Arc<TreePath>,
    pub(crate) here: &'a Dir,
    pub(crate) base: Option<&'a Dir>,
    pub(crate) changes: &'a FolderChanges,
    /// The run processed only some of the folder's entries this time.
    pub(crate) partial: bool,
    /// The number of entries in the source folder.
    pub(crate) seen: usize,
    /// The metadata of the folder itself; `None` where it is not recorded.
    pub(crate) own: Option<Meta>,
}

impl Writer {
    /// Begins the manifest `name` in `all`, the folder of all manifests. `base` is the manifest of the base.
    /// `finish` returns an error of this step.
    pub(crate) fn create(
        all: io::Result<Dir>,
        name: &str,
        base: Option<ManifestReader>,
        coverage: RecordedFields,
        known: bool,
    ) -> Self {
        let made = all.and_then(|all| {
            let name = c_name(name)?;
            remove(&all, &name)?;
            all.make_folder(&name, 0o700)?;
            let (dir, owner) = (all.child(&name)?, all.meta()?);
            give(&dir, &owner)?;
            Ok((dir, owner))
        });
        let (dir, failed) = match made {
            Ok(made) => (Some(made), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            dir,
            pack: name.to_owned(),
            base,
            coverage,
            known,
            hashes: Arc::default(),
            lacking: Lacking::default(),
            state: Mutex::default(),
            failed: Mutex::new(failed),
        }
    }

    /// Sets the name of the pack, and the `hashes`, by inode number, to record for files without another known
    /// hash.
    pub(crate) fn recording(
        mut self,
        pack: String,
        hashes: Arc<HashMap<u64, RecordedHash>>,
    ) -> Self {
        (self.pack, self.hashes) = (pack, hashes);
        self
    }

    fn result(&self, result: io::Result<()>) {
        if let Err(error) = result {
            lock(&self.failed).get_or_insert(error);
        }
    }

    fn is_failed(&self) -> bool {
        lock(&self.failed).is_some()
    }

    /// Records a folder.
    pub(crate) fn folder(&self, folder: &Finished<'_>) {
        if self.is_failed() {
            return;
        }
        let path = path_digest(folder.place);
        let digest = |meta: &Meta| self.coverage.digest(meta, None, false);
        let own = folder.own.as_ref().map(digest).unwrap_or_default();
        let base = self.base.as_ref().and_then(|base| base.index.find(&path));
        if let Some(base) = base.filter(|base| {
            base.count as usize == folder.seen
                && !folder.changes.any()
                && !folder.partial
                && self.is_comparable()
        }) {
            return lock(&self.state).entries.push(IndexEntry { own, ..base });
        }
        self.result(self.build(folder, path, own, base));
    }

    /// Records a file of the folder `place` that the snapshot lacks: a check finds that it is gone. The folder must not be
    /// recorded yet, and be altered.
    pub(crate) fn lack(
        &self,
        place: &Arc<TreePath>,
        name: &CStr,
        meta: &Meta,
        content: RecordedHash,
    ) {
        let meta = self.coverage.digest(meta, None, true);
        let record = ManifestRecord { name: name_digest(name), meta, content };
        self.lacking.add(path_digest(place), record);
    }

    /// Updates the recorded metadata of a folder that got its final mode after it was recorded.
    pub(crate) fn set_own(&self, place: &Arc<TreePath>, meta: &Meta) {
        let path = path_digest(place);
        let mut state = lock(&self.state);
        if let Some(entry) = state.entries.iter_mut().rfind(|entry| entry.path == path)
            && entry.own != MetaDigest::default()
        {
            entry.own = self.coverage.digest(meta, None, false);
        }
    }

    /// Whether the base's metadata digests cover the same fields.
    fn is_comparable(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.coverage() == self.coverage)
    }

    /// Lists the folder and records its entries.
    fn build(
        &self,
        folder: &Finished<'_>,
        path: PathDigest,
        own: MetaDigest,
        base: Option<IndexEntry>,
    ) -> io::Result<()> {
        // What this run recorded at an earlier visit of the folder.
        let earlier =
            |state: &State| state.entries.iter().rfind(|entry| entry.path == path).copied();
        let earlier = if folder.partial { earlier(&lock(&self.state)) } else { None };
        // Processes a very large folder in parts, by the first two bytes of the name digests, to bound the
        // memory.
        let recorded = |entry: Option<IndexEntry>| entry.map_or(0, |entry| entry.count as usize);
        let names = folder.seen.max(recorded(base)).max(recorded(earlier));
        let parts = (names / PART + 1).min(1 << 16) as u32;
        let part_of = |name: &NameDigest| {
            u32::from(u16::from_be_bytes([name[0], name[1]])) * parts / (1 << 16)
        };
        let mut written = Written::default();
        // Holds the lock for the whole folder, because its records must be contiguous in the pack.
        let mut state = (parts > 1).then(|| lock(&self.state));
        for part in 0..parts {
            let held = |name: &NameDigest| part_of(name) == part;
            let earlier = match (&earlier, &mut state) {
                (Some(earlier), Some(state)) => self.read(earlier, state, Some(&held))?,
                (Some(earlier), None) => self.read(earlier, &mut lock(&self.state), None)?,
                (None, _) => Vec::new(),
            };
            let recorded = Recorded {
                base: self.base_records(base.as_ref(), &held),
                earlier: by_name(earlier),
            };
            let mut records = self.part(folder, &path, &recorded, &held)?;
            records.sort_unstable_by_key(|record| record.name);
            let bytes: Vec<u8> = records.iter().flat_map(ManifestRecord::encode).collect();
            let state = state.get_or_insert_with(|| lock(&self.state));
            self.append(state, &bytes, &mut written)?;
        }
        let mut state = state.unwrap_or_else(|| lock(&self.state));
        state.entries.push(written.entry(path, own));
        Ok(())
    }

    pub(super) fn create_file(&self, name: &CStr) -> io::Result<File> {
        let (dir, owner) = self.dir.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = dir.create_file(name, 0o600)?;
        give(&file, owner)?;
        Ok(file)
    }

    /// Appends records to the new pack.
    pub(super) fn append(
        &self,
        state: &mut State,
        bytes: &[u8],
        written: &mut Written,
    ) -> io::Result<()> {
        let pack = match &mut state.pack {
            Some(pack) => pack,
            None => {
                let file = self.create_file(&c_name(self.pack.as_str())?)?;
                state.pack.insert(BufWriter::with_capacity(256 * 1024, file))
            }
        };
        if written.hasher.count() == 0 {
            written.offset = state.length;
        }
        pack.write_all(bytes)?;
        written.hasher.update(bytes);
        state.length += bytes.len() as u64;
        Ok(())
    }

    /// The records of those entries of a folder whose names `held` accepts.
    fn part(
        &self,
        folder: &Finished<'_>,
        path: &PathDigest,
        recorded: &Recorded,
        held: &dyn Fn(&NameDigest) -> bool,
    ) -> io::Result<Vec<ManifestRecord>> {
        let Recorded { base: known, earlier } = recorded;
        let inodes = self.base_inodes(folder, known.is_empty(), held)?;
        let origins = folder.changes.origins();
        let mut records = Vec::new();
        let mut result = Ok(());
        folder.here.names(|entry| {
            let name = name_digest(entry.name);
            if !held(&name) {
                return ControlFlow::Continue(());
            }
            let of_base = known.get(&name);
            // A hard link to the base keeps the hash in the base's manifest, even if the content has changed
            // since.
            let linked = of_base.filter(|_| {
                !entry.folder && inodes.get(&name).is_some_and(|ino| *ino == entry.ino)
            });
            let content = linked.map(|record| record.content).or(match origins.get(&name) {
                Some(ContentOrigin::Source(content)) => Some(*content),
                Some(ContentOrigin::Base) => of_base.map(|record| record.content),
                None => None,
            });
            let content = match content.filter(|content| content.is_known()) {
                Some(content) => Some(content),
                None => self.hashes.get(&entry.ino).copied().or(content),
            };
            let record = match linked {
                Some(record) if self.is_comparable() => {
                    Ok(ManifestRecord { content: content.unwrap_or(record.content), ..*record })
                }
                _ => self.record(folder.here, entry.name, name, content, earlier.get(&name)),
            };
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    result = Err(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        self.lacking.complete(path, &mut records, held);
        result.map(|()| records)
    }

    /// Creates the record of an entry from its present metadata.
    fn record(
        &self,
        here: &Dir,
        name: &CStr,
        digest: NameDigest,
        content: Option<RecordedHash>,
        earlier: Option<&ManifestRecord>,
    ) -> io::Result<ManifestRecord> {
        let meta = here.stat(name)?;
        let target = match meta.kind {
            Kind::Symlink => Some(here.read_link(name)?),
            _ => None,
        };
        let of_meta = self.coverage.digest(&meta, target.as_deref(), true);
        let content = match (meta.kind, content) {
            (Kind::File, Some(content)) => content,
            (Kind::File, None) => {
                let earlier = earlier.filter(|earlier| earlier.meta == of_meta);
                let earlier = earlier.map(|earlier| earlier.content);
                earlier.filter(|it| it.is_known()).unwrap_or_else(|| by_attribute(here, name))
            }
            _ => RecordedHash::default(),
        };
        Ok(ManifestRecord { name: digest, meta: of_meta, content })
    }

    /// The base's records of a folder. Empty when they are damaged.
    fn base_records(
        &self,
        base: Option<&IndexEntry>,
        held: &dyn Fn(&NameDigest) -> bool,
    ) -> HashMap<NameDigest, ManifestRecord> {
        let (Some(reader), Some(base)) = (&self.base, base) else { return HashMap::new() };
        let Ok(found) = reader.recorded(base, Some(held)) else { return HashMap::new() };
        by_name(found.records)
    }

    /// The inode numbers of the entries in the base's folder.
    fn base_inodes(
        &self,
        folder: &Finished<'_>,
        useless: bool,
        held: &dyn Fn(&NameDigest) -> bool,
    ) -> io::Result<HashMap<NameDigest, u64>> {
        let mut inodes = HashMap::new();
        let Some(base) = folder.base.filter(|_| self.known && !useless) else { return Ok(inodes) };
        base.names(|entry| {
            let name = name_digest(entry.name);
            if held(&name) {
                inodes.insert(name, entry.ino);
            }
            ControlFlow::Continue(())
        })?;
        Ok(inodes)
    }

    pub(super) fn read(
        &self,
        entry: &IndexEntry,
        state: &mut State,
        only: Only<'_>,
    ) -> io::Result<Vec<ManifestRecord>> {
        if entry.pack == NEW {
            let Some(pack) = &mut state.pack else { return Ok(Vec::new()) };
            pack.flush()?;
            return records(pack.get_ref(), entry, only);
        }
        let base = self.base.as_ref().ok_or(io::ErrorKind::NotFound)?;
        base.recorded(entry, only).map(|found| found.records)
    }
}

/// What is recorded of a folder, or of a part of it: in the base's manifest, and by an earlier visit of this run.
struct Recorded {
    base: HashMap<NameDigest, ManifestRecord>,
    earlier: HashMap<NameDigest, ManifestRecord>,
}

fn by_name(records: Vec<ManifestRecord>) -> HashMap<NameDigest, ManifestRecord> {
    records.into_iter().map(|record| (record.name, record)).collect()
}

/// The records of one folder that have been written so far.
#[derive(Default)]
pub(super) struct Written {
    pub(super) hasher: blake3::Hasher,
    pub(super) offset: u64,
}

impl Written {
    pub(super) fn entry(&self, path: PathDigest, own: MetaDigest) -> IndexEntry {
        IndexEntry {
            path,
            block: first(&self.hasher.finalize()),
            own,
            pack: NEW,
            count: (self.hasher.count() / LENGTH as u64) as u32,
            offset: self.offset,
        }
    }
}

/// The hash in the attribute of a file.
fn by_attribute(here: &Dir, name: &CStr) -> RecordedHash {
    let found = here.open_file(name).and_then(|file| xattrs::hash_and_method(&file));
    found.ok().flatten().map(|(method, hash)| RecordedHash::new(method, &hash)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::entry::digest::Method;

    #[test]
    fn a_second_visit_of_a_large_folder_keeps_what_the_first_recorded() {
        const COUNT: usize = PART + 1000;
        let folder = tempfile::tempdir().unwrap();
        let [all, content] = ["all", "content"].map(|name| {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            Dir::at(&folder.path().join(name)).unwrap()
        });
        let name = |number: usize| CString::new(number.to_string()).unwrap();
        let first_changes = FolderChanges::default();
        for number in 0..COUNT {
            content.create_file(&name(number), 0o600).unwrap();
            let hash = blake3::hash(name(number).to_bytes());
            first_changes.stored(&name(number), Method::Plain, &hash);
        }
        let base = Ok(all.try_clone().unwrap());
        let writer = Writer::create(base, "one", None, RecordedFields::ALL, true);
        let place = TreePath::top(None);
        let visit = |changes: &FolderChanges, partial: bool, seen: usize| {
            let (place, here) = (&place, &content);
            writer.folder(&Finished { place, here, base: None, changes, partial, seen, own: None });
        };
        visit(&first_changes, false, COUNT);
        let changes = FolderChanges::default();
        changes.stored(&name(7), Method::Plain, &blake3::hash(b"other"));
        visit(&changes, true, 1);
        writer.finish(&[], false).unwrap();

        let reader = ManifestReader::open(Some(&all), c"one").unwrap().unwrap();
        let found = reader.folder(&place).unwrap().unwrap();
        assert_eq!((found.count, found.records.len()), (COUNT, COUNT));
        let is = |number: usize, content: &[u8]| {
            let record = found.get(&name_digest(&name(number))).unwrap();
            record.content.is(&blake3::hash(content))
        };
        assert!(is(7, b"other") && !is(7, b"7"));
        let kept = (0..COUNT).filter(|number| is(*number, number.to_string().as_bytes())).count();
        // The hashes of no more than so many files are in memory.
        assert_eq!(kept, PART - 1);
    }
}

//! Writes the manifest of a snapshot while that is built.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use crate::entry::tree_path::Place;
use crate::entry::{Kind, Meta, c_name};
use crate::fs::dir::Dir;
use crate::fs::small_file::give;
use crate::fs::xattrs;
use crate::repository::manifest::changes::{Changes, Origin};
use crate::repository::manifest::index::{Entry, Index, PathDigest, digest_of, path_digest};
use crate::repository::manifest::read::{Reader, records};
use crate::repository::manifest::record::{
    Content, Coverage, LENGTH, MetaDigest, NameDigest, Record, first, name_digest,
};
use crate::repository::manifest::{INDEX, remove};
use crate::threads::lock::lock;

/// The number of the pack that is being written, until all packs get theirs.
const NEW: u16 = u16::MAX;
/// Records of one folder that are held at once.
const PART: usize = 64 * 1024;
/// Packs that a manifest may have.
const PACKS: usize = 24;

/// The manifest of the snapshot that is being built. What goes wrong with it ends no run.
pub(crate) struct Writer {
    /// With whom its files belong to.
    dir: Option<(Dir, Meta)>,
    /// The name of the pack that is written.
    pack: String,
    base: Option<Reader>,
    coverage: Coverage,
    /// Whether listings tell inodes.
    known: bool,
    /// Of files of which neither the base nor an attribute tells it, by inode number.
    hashes: Arc<HashMap<u64, Content>>,
    state: Mutex<State>,
    failed: Mutex<Option<io::Error>>,
}

#[derive(Default)]
struct State {
    pack: Option<BufWriter<File>>,
    length: u64,
    entries: Vec<Entry>,
}

/// A folder of the snapshot that is as it will be.
pub(crate) struct Finished<'a> {
    pub(crate) place: &'a Arc<Place>,
    pub(crate) here: &'a Dir,
    pub(crate) base: Option<&'a Dir>,
    pub(crate) changes: &'a Changes,
    /// Only some of its entries were looked at this time.
    pub(crate) partial: bool,
    /// How many entries were seen in the source.
    pub(crate) seen: usize,
    /// What the folder itself is; `None` where that is of no matter.
    pub(crate) own: Option<Meta>,
}

impl Writer {
    /// Begins the manifest `name` in `all`, the folder of all manifests. `base` is that of the base.
    /// What goes wrong is told at the end.
    pub(crate) fn create(
        all: io::Result<Dir>,
        name: &str,
        base: Option<Reader>,
        coverage: Coverage,
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
            state: Mutex::default(),
            failed: Mutex::new(failed),
        }
    }

    /// Calls the pack `pack`, and records these `hashes`, by inode number, where no other is known.
    pub(crate) fn recording(mut self, pack: String, hashes: Arc<HashMap<u64, Content>>) -> Self {
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
            return lock(&self.state).entries.push(Entry { own, ..base });
        }
        self.result(self.build(folder, path, own, base));
    }

    /// Sets what a folder that was recorded is itself, when it got its mode late.
    pub(crate) fn set_own(&self, place: &Arc<Place>, meta: &Meta) {
        let path = path_digest(place);
        let mut state = lock(&self.state);
        if let Some(entry) = state.entries.iter_mut().rfind(|entry| entry.path == path)
            && entry.own != MetaDigest::default()
        {
            entry.own = self.coverage.digest(meta, None, false);
        }
    }

    /// Whether the base's digests of metadata are made as ours are.
    fn is_comparable(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.coverage() == self.coverage)
    }

    /// Lists the folder and records what is there.
    fn build(
        &self,
        folder: &Finished<'_>,
        path: PathDigest,
        own: MetaDigest,
        base: Option<Entry>,
    ) -> io::Result<()> {
        // Of a very large folder a part of all names at a time is held, by the first two bytes of their digests.
        let names = folder.seen.max(base.map_or(0, |base| base.count as usize));
        let parts = (names / PART + 1).min(1 << 16) as u32;
        let part_of = |name: &NameDigest| {
            u32::from(u16::from_be_bytes([name[0], name[1]])) * parts / (1 << 16)
        };
        let mut written = Written::default();
        // A large folder is written while others wait.
        let mut state = (parts > 1).then(|| lock(&self.state));
        for part in 0..parts {
            let held = |name: &NameDigest| part_of(name) == part;
            let mut records =
                self.part(folder, &path, base.as_ref(), state.as_deref_mut(), &held)?;
            records.sort_unstable_by_key(|record| record.name);
            let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
            let state = state.get_or_insert_with(|| lock(&self.state));
            self.append(state, &bytes, &mut written)?;
        }
        let mut state = state.unwrap_or_else(|| lock(&self.state));
        state.entries.push(written.entry(path, own));
        Ok(())
    }

    fn create_file(&self, name: &CStr) -> io::Result<File> {
        let (dir, owner) = self.dir.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let file = dir.create_file(name, 0o600)?;
        give(&file, owner)?;
        Ok(file)
    }

    /// Adds records to the pack.
    fn append(&self, state: &mut State, bytes: &[u8], written: &mut Written) -> io::Result<()> {
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

    /// The records of the entries of a folder whose names are `held`.
    fn part(
        &self,
        folder: &Finished<'_>,
        path: &PathDigest,
        base: Option<&Entry>,
        state: Option<&mut State>,
        held: &dyn Fn(&NameDigest) -> bool,
    ) -> io::Result<Vec<Record>> {
        let known = self.base_records(base, held);
        let inodes = self.base_inodes(folder, known.is_empty(), held)?;
        let earlier = if folder.partial { self.earlier(path, state)? } else { HashMap::new() };
        let origins = folder.changes.origins();
        let mut records = Vec::new();
        let mut result = Ok(());
        folder.here.names(|entry| {
            let name = name_digest(entry.name);
            if !held(&name) {
                return ControlFlow::Continue(());
            }
            let of_base = known.get(&name);
            // What is linked from the base is what the base's manifest says, whatever it has become.
            let linked = of_base.filter(|_| {
                !entry.folder && inodes.get(&name).is_some_and(|ino| *ino == entry.ino)
            });
            let content = linked.map(|record| record.content).or(match origins.get(&name) {
                Some(Origin::Source(content)) => Some(*content),
                Some(Origin::Base) => of_base.map(|record| record.content),
                None => None,
            });
            let content = match content.filter(|content| content.is_known()) {
                Some(content) => Some(content),
                None => self.hashes.get(&entry.ino).copied().or(content),
            };
            let record = match linked {
                Some(record) if self.is_comparable() => {
                    Ok(Record { content: content.unwrap_or(record.content), ..*record })
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
        result.map(|()| records)
    }

    /// Records an entry by looking at it.
    fn record(
        &self,
        here: &Dir,
        name: &CStr,
        digest: NameDigest,
        content: Option<Content>,
        earlier: Option<&Record>,
    ) -> io::Result<Record> {
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
            _ => Content::default(),
        };
        Ok(Record { name: digest, meta: of_meta, content })
    }

    /// The base's records of a folder; none where they are not whole.
    fn base_records(
        &self,
        base: Option<&Entry>,
        held: &dyn Fn(&NameDigest) -> bool,
    ) -> HashMap<NameDigest, Record> {
        let (Some(reader), Some(base)) = (&self.base, base) else { return HashMap::new() };
        let Ok(found) = reader.recorded(base, Some(held)) else { return HashMap::new() };
        found.records.into_iter().map(|record| (record.name, record)).collect()
    }

    /// The inodes that the base has in a folder.
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

    /// What this run recorded of a folder before it came to it again.
    fn earlier(
        &self,
        path: &PathDigest,
        state: Option<&mut State>,
    ) -> io::Result<HashMap<NameDigest, Record>> {
        let found = match state {
            Some(state) => self.recorded_earlier(path, state),
            None => self.recorded_earlier(path, &mut lock(&self.state)),
        }?;
        Ok(found.into_iter().map(|record| (record.name, record)).collect())
    }

    fn recorded_earlier(&self, path: &PathDigest, state: &mut State) -> io::Result<Vec<Record>> {
        match state.entries.iter().rfind(|entry| entry.path == *path).copied() {
            Some(entry) => self.read(&entry, state),
            None => Ok(Vec::new()),
        }
    }

    fn read(&self, entry: &Entry, state: &mut State) -> io::Result<Vec<Record>> {
        if entry.pack == NEW {
            let Some(pack) = &mut state.pack else { return Ok(Vec::new()) };
            pack.flush()?;
            return records(pack.get_ref(), entry, None);
        }
        let base = self.base.as_ref().ok_or(io::ErrorKind::NotFound)?;
        base.recorded(entry, None).map(|found| found.records)
    }

    /// Completes the manifest, without the empty folders that are `gone` from the snapshot.
    ///
    /// # Errors
    /// What went wrong with it, at any time: then there is none.
    pub(crate) fn finish(&self, gone: &[Vec<u8>], sync: bool) -> io::Result<()> {
        if let Some(error) = lock(&self.failed).take() {
            return Err(error);
        }
        let state = &mut *lock(&self.state);
        self.leave_out(state, gone)?;
        // Of a folder that was recorded twice the last one counts.
        state.entries.reverse();
        state.entries.sort_by_key(|entry| entry.path);
        state.entries.dedup_by_key(|entry| entry.path);
        let (dir, _) = self.dir.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let packs = self.link_packs(state, dir)?;
        if let Some(pack) = &mut state.pack {
            pack.flush()?;
            if sync {
                pack.get_ref().sync_all()?;
            }
        }
        let index = Index::of(self.coverage, packs, &state.entries).encode();
        let mut file = self.create_file(INDEX)?;
        file.write_all(&index)?;
        if sync {
            file.sync_all()?;
            dir.sync()?;
        }
        Ok(())
    }

    /// Takes folders that are `gone` out of the index and out of the records of their parents.
    fn leave_out(&self, state: &mut State, gone: &[Vec<u8>]) -> io::Result<()> {
        let mut parents: HashMap<PathDigest, Vec<NameDigest>> = HashMap::new();
        for path in gone {
            let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(at) => (&path[..at], &path[at + 1..]),
                None => (&b""[..], &path[..]),
            };
            let own = digest_of(path);
            state.entries.retain(|entry| entry.path != own);
            parents.entry(digest_of(parent)).or_default().push(name_digest(&c_name(name)?));
        }
        for (parent, names) in parents {
            let Some(entry) = state.entries.iter().rfind(|entry| entry.path == parent).copied()
            else {
                continue;
            };
            let mut records = self.read(&entry, state)?;
            records.retain(|record| !names.contains(&record.name));
            let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
            let mut written = Written::default();
            self.append(state, &bytes, &mut written)?;
            state.entries.push(written.entry(parent, entry.own));
        }
        Ok(())
    }

    /// Links the packs of the base that are still of use, and copies what is left of the others. The
    /// names of all packs, which their numbers in the entries then stand for.
    fn link_packs(&self, state: &mut State, dir: &Dir) -> io::Result<Vec<String>> {
        let mut live: Vec<u64> = Vec::new();
        for entry in state.entries.iter().filter(|entry| entry.pack != NEW) {
            let number = usize::from(entry.pack);
            live.resize(live.len().max(number + 1), 0);
            live[number] += entry.length();
        }
        let mut sizes = Vec::new();
        for (number, live) in live.iter().enumerate().filter(|(_, live)| **live > 0) {
            let base = self.base.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let name = c_name(base.index.packs[number].as_str())?;
            let size = base.dir.stat(&name)?.size;
            sizes.push(Pack { number, live: *live, size });
        }
        let mut absorbed = absorbed(&sizes, state.length);
        let mut names = Vec::new();
        let mut numbers: HashMap<u16, u16> = HashMap::new();
        for pack in &sizes {
            let Some(base) = self.base.as_ref().filter(|_| !absorbed.contains(&pack.number)) else {
                continue;
            };
            let name = &base.index.packs[pack.number];
            let linked = c_name(name.as_str()).and_then(|name| dir.link(&name, &base.dir, &name));
            // No hard links here, or not one more of this file.
            if linked.is_err() {
                absorbed.push(pack.number);
                continue;
            }
            numbers.insert(pack.number as u16, names.len() as u16);
            names.push(name.clone());
        }
        self.absorb(state, &absorbed)?;
        let new = names.len() as u16;
        if state.pack.is_some() {
            names.push(self.pack.clone());
        }
        for entry in &mut state.entries {
            entry.pack = numbers.get(&entry.pack).copied().unwrap_or(new);
        }
        Ok(names)
    }

    /// Copies the records that are still of use of some packs of the base.
    fn absorb(&self, state: &mut State, packs: &[usize]) -> io::Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        for number in 0..state.entries.len() {
            let entry = state.entries[number];
            if entry.pack == NEW || !packs.contains(&usize::from(entry.pack)) {
                continue;
            }
            let bytes: Vec<u8> =
                self.read(&entry, state)?.iter().flat_map(Record::encode).collect();
            let mut written = Written::default();
            self.append(state, &bytes, &mut written)?;
            state.entries[number] = written.entry(entry.path, entry.own);
        }
        Ok(())
    }
}

/// A pack of the base.
#[derive(Debug, Clone, Copy)]
struct Pack {
    number: usize,
    /// Bytes of it that are still of use.
    live: u64,
    size: u64,
}

/// Which packs are copied into the new one, which has `new` bytes: those of which little is of use, and
/// small ones beside it, so that there are always few.
fn absorbed(packs: &[Pack], new: u64) -> Vec<usize> {
    let mut packs = packs.to_vec();
    packs.sort_by_key(|pack| pack.live);
    let (mut size, mut left) = (new, packs.len());
    let mut absorbed = Vec::new();
    for pack in packs {
        if pack.live <= size || 2 * pack.live < pack.size || left >= PACKS {
            size += pack.live;
            absorbed.push(pack.number);
            left -= 1;
        }
    }
    absorbed
}

/// Records of one folder that were written.
#[derive(Default)]
struct Written {
    hasher: blake3::Hasher,
    offset: u64,
}

impl Written {
    fn entry(&self, path: PathDigest, own: MetaDigest) -> Entry {
        Entry {
            path,
            block: first(&self.hasher.finalize()),
            own,
            pack: NEW,
            count: (self.hasher.count() / LENGTH as u64) as u32,
            offset: self.offset,
        }
    }
}

/// The hash that a file bears.
fn by_attribute(here: &Dir, name: &CStr) -> Content {
    let found = here.open_file(name).and_then(|file| xattrs::hash_and_method(&file));
    found.ok().flatten().map(|(method, hash)| Content::new(method, &hash)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unchanged_snapshot_shares_all_packs_and_a_dead_one_goes() {
        let pack = |number, live, size| Pack { number, live, size };
        assert_eq!(absorbed(&[pack(0, 1000, 1000), pack(1, 100, 100)], 0), [0; 0]);
        assert_eq!(absorbed(&[pack(0, 1000, 1000), pack(1, 100, 300)], 0), [1]);
        assert_eq!(absorbed(&[pack(0, 1000, 1000), pack(1, 100, 100)], 100), [1]);
    }

    proptest! {
        #[test]
        fn packs_stay_few_and_mostly_of_use(runs in prop::collection::vec(0_u64..5_000, 1..200)) {
            let mut packs: Vec<Pack> = Vec::new();
            for new in runs {
                let gone = absorbed(&packs, new);
                let live: u64 = packs.iter().filter(|pack| gone.contains(&pack.number)).map(|pack| pack.live).sum();
                packs.retain(|pack| !gone.contains(&pack.number));
                let size = new + live;
                if size > 0 {
                    packs.push(Pack { number: 0, live: size, size });
                }
                for (number, pack) in packs.iter_mut().enumerate() {
                    pack.number = number;
                }
                prop_assert!(packs.len() <= PACKS);
            }
        }
    }
}

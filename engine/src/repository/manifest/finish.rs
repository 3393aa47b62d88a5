//! Completes the manifest of a snapshot: sorts its folders, links the packs of the base that are still needed,
//! and writes the index.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::entry::c_name;
use crate::entry::digest::{NameDigest, name_digest};
use crate::fs::dir::Dir;
use crate::repository::manifest::INDEX;
use crate::repository::manifest::index::{PathDigest, digest_of, write_index};
use crate::repository::manifest::read::each_chunk;
use crate::repository::manifest::record::ManifestRecord;
use crate::repository::manifest::write::{NEW, State, Writer, Written};
use crate::threads::lock::lock;

/// The maximum number of packs of a manifest.
const PACKS: usize = 24;

impl Writer {
    /// Completes the manifest. Leaves out the empty folders `gone`, which were removed from the snapshot.
    ///
    /// # Errors
    /// The first error of the manifest since it was begun. Then the snapshot has no manifest.
    pub(crate) fn finish(&self, gone: &[Vec<u8>], sync: bool) -> io::Result<()> {
        if let Some(error) = lock(&self.failed).take() {
            return Err(error);
        }
        let state = &mut *lock(&self.state);
        self.leave_out(state, gone)?;
        // When a folder was recorded twice, the last record counts.
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
        let mut file = self.create_file(INDEX)?;
        write_index(&mut file, self.coverage, &packs, &state.entries)?;
        if sync {
            file.sync_all()?;
            dir.sync()?;
        }
        Ok(())
    }

    /// Removes the folders `gone` from the index and from the records of their parents.
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
            let mut records = self.read(&entry, state, None)?;
            records.retain(|record| !names.contains(&record.name));
            let bytes: Vec<u8> = records.iter().flat_map(ManifestRecord::encode).collect();
            let mut written = Written::default();
            self.append(state, &bytes, &mut written)?;
            state.entries.push(written.entry(parent, entry.own));
        }
        Ok(())
    }

    /// Links the packs of the base that are still needed, and copies the live records of the other packs.
    /// Returns the names of all packs. The pack numbers in the entries are indexes into these names.
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
            // The file system has no hard links, or this file has reached its maximum link count.
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

    /// Copies the live records of some packs of the base into the new pack.
    fn absorb(&self, state: &mut State, packs: &[usize]) -> io::Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        for number in 0..state.entries.len() {
            let entry = state.entries[number];
            if entry.pack == NEW || !packs.contains(&usize::from(entry.pack)) {
                continue;
            }
            let base = self.base.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let mut written = Written::default();
            each_chunk(base.pack(&entry)?, &entry, |part| self.append(state, part, &mut written))?;
            state.entries[number] = written.entry(entry.path, entry.own);
        }
        Ok(())
    }
}

/// A pack of the base.
#[derive(Debug, Clone, Copy)]
struct Pack {
    number: usize,
    /// Bytes that entries still refer to.
    live: u64,
    size: u64,
}

/// Chooses the packs to copy into the new pack, which has `new` bytes: packs with few live bytes, and packs
/// that are small compared with the new one. This keeps the number of packs low.
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

//! Stored leaders in a file, for a source with more inodes of several names than fit into memory. A table in memory says
//! where each of them is, in 8 bytes.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use crate::entry::FileId;
use crate::entry::hard_links::leader::StoredGroup;

/// Groups begin at multiples of this many bytes, so that 32 bits are enough for 64 GiB.
const ALIGNED: u64 = 16;

/// The number of slots of a new table, as a power of two.
const FEW: u32 = 12;

/// Bytes that are read at a time. Most groups are shorter.
const READ: usize = 512;

/// Where a group is, with bits of the hash of its inode. An empty slot ends a search, one whose group was removed does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    hash: u32,
    at: u32,
}

const EMPTY: Slot = Slot { hash: 0, at: u32::MAX };
const REMOVED: Slot = Slot { hash: 0, at: u32::MAX - 1 };

/// Leaders in a file, found by inode.
#[derive(Debug)]
pub(super) struct LeaderFile {
    file: File,
    /// A power of two of them. A group is in one of those that follow the one which the first bits of its hash name.
    slots: Vec<Slot>,
    /// Slots that are not empty, and those among them that have a group.
    used: usize,
    live: usize,
    end: u64,
    hasher: RandomState,
}

/// The number of a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

impl LeaderFile {
    /// An empty one.
    pub(super) fn new(file: File) -> Self {
        let (slots, hasher) = (vec![EMPTY; 1 << FEW], RandomState::new());
        Self { file, slots, used: 0, live: 0, end: 0, hasher }
    }

    fn hash(&self, id: FileId) -> u32 {
        // The high half of the hash.
        u32::try_from(self.hasher.hash_one(id) >> 32).unwrap_or_default()
    }

    /// The slots in which a group with this hash may be, in the order of a search.
    fn search(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        let first = (u64::from(hash) >> (u32::BITS - self.slots.len().ilog2())) as usize;
        (0..=mask).map(move |step| (first + step) & mask)
    }

    /// Adds a group. It has no other one for its inode.
    ///
    /// # Errors
    /// Those of `pwrite(2)`; the file is too long.
    pub(super) fn insert(&mut self, group: &StoredGroup) -> io::Result<()> {
        let at = u32::try_from(self.end / ALIGNED).ok().filter(|at| *at < REMOVED.at);
        let at = at.ok_or(io::ErrorKind::FileTooLarge)?;
        let bytes = group.encode()?;
        self.file.write_all_at(&bytes, self.end)?;
        self.end += (bytes.len() as u64).next_multiple_of(ALIGNED);
        if self.used >= self.slots.len() / 4 * 3 {
            self.grow();
        }
        self.put(Slot { hash: self.hash(group.id), at });
        self.live += 1;
        Ok(())
    }

    fn put(&mut self, slot: Slot) {
        let free = |number: &usize| [EMPTY, REMOVED].contains(&self.slots[*number]);
        if let Some(number) = self.search(slot.hash).find(free) {
            self.used += usize::from(self.slots[number] == EMPTY);
            self.slots[number] = slot;
        }
    }

    /// Makes room in the table.
    fn grow(&mut self) {
        let more = if self.live >= self.slots.len() / 2 { 2 } else { 1 };
        let slots = vec![EMPTY; self.slots.len() * more];
        self.used = 0;
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.at < REMOVED.at {
                self.put(slot);
            }
        }
    }

    /// The group of an inode.
    pub(super) fn find(&self, id: FileId) -> Option<(Place, StoredGroup)> {
        let hash = self.hash(id);
        for number in self.search(hash) {
            match self.slots[number] {
                EMPTY => return None,
                slot if slot.hash == hash && slot != REMOVED => {
                    let from = At { file: &self.file, at: u64::from(slot.at) * ALIGNED };
                    // What cannot be read back is as if it had not been kept: its other names become files of their own.
                    let group = StoredGroup::decode(&mut BufReader::with_capacity(READ, from));
                    if let Some(group) = group.ok().filter(|group| group.id == id) {
                        return Some((Place(number), group));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Records how many names of a group were not seen yet.
    pub(super) fn set_left(&mut self, Place(number): Place, left: u64) {
        let at = u64::from(self.slots[number].at) * ALIGNED;
        // Without it, the group is kept longer than needed.
        let _ = self.file.write_all_at(&left.to_le_bytes(), at);
    }

    /// Removes a group.
    pub(super) fn remove(&mut self, Place(number): Place) {
        self.slots[number] = REMOVED;
        self.live -= 1;
        if self.live == 0 {
            self.slots = vec![EMPTY; 1 << FEW];
            (self.used, self.end) = (0, 0);
        }
    }

    /// The number of groups.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.live
    }
}

/// A file that is read from an offset on.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::entry::Time;
    use crate::entry::hard_links::leader::Leader;
    use crate::entry::overlay::SidecarRecord;
    use crate::entry::tree_path::TreePath;

    fn group(ino: u64) -> StoredGroup {
        let place = TreePath::top(None).child(c"folder", None).child(c"\xff\n", None);
        let mut name = format!("{ino} ").into_bytes();
        name.resize(if ino.is_multiple_of(7) { 255 } else { 9 }, b'n');
        let record = SidecarRecord { uid: Some(7), ..SidecarRecord::default() };
        let leader = Leader {
            place,
            name: std::ffi::CString::new(name).unwrap(),
            id: (!ino.is_multiple_of(3)).then_some(FileId { dev: 8, ino: u64::MAX }),
            record: ino.is_multiple_of(5).then(|| Arc::new(record)),
        };
        let times = (Time { secs: -4, nanos: 5 }, Time { secs: i64::MAX, nanos: 999_999_999 });
        let version = (ino, times.0, times.1);
        StoredGroup { id: FileId { dev: 1, ino }, version, leader, left: 2 }
    }

    #[track_caller]
    fn assert_found(file: &LeaderFile, ino: u64) {
        let found = file.find(FileId { dev: 1, ino }).expect("it is in the file").1;
        let (found, kept) = (found, group(ino));
        assert_eq!((found.id, found.version, found.left), (kept.id, kept.version, kept.left));
        let parts = |leader: &Leader| {
            let Leader { place, name, id, record } = leader.clone();
            (place.inside(), name, id, record)
        };
        assert_eq!(parts(&found.leader), parts(&kept.leader));
    }

    #[test]
    fn leaders_come_back_from_the_file_until_they_are_removed() {
        const COUNT: u64 = 20_000;
        let mut file = LeaderFile::new(tempfile::tempfile().unwrap());
        for round in 0..3 {
            (0..COUNT).for_each(|ino| file.insert(&group(ino)).unwrap());
            (0..COUNT).step_by(11).for_each(|ino| assert_found(&file, ino));
            assert!(file.find(FileId { dev: 2, ino: 1 }).is_none());
            assert_eq!(file.len() as u64, COUNT);
            // Half of them go and come back, so the table has slots of removed groups.
            for ino in (0..COUNT).step_by(2) {
                let (place, _) = file.find(FileId { dev: 1, ino }).unwrap();
                file.remove(place);
                assert!(file.find(FileId { dev: 1, ino }).is_none());
            }
            (0..COUNT).step_by(2).for_each(|ino| file.insert(&group(ino)).unwrap());
            (0..COUNT).step_by(13).for_each(|ino| assert_found(&file, ino));
            assert!(file.slots.len() <= 1 << 16, "{round}: {} slots", file.slots.len());
            for ino in 0..COUNT {
                let (place, _) = file.find(FileId { dev: 1, ino }).unwrap();
                file.remove(place);
            }
            assert_eq!((file.len(), file.end), (0, 0), "the file is used again");
        }
    }

    #[test]
    fn the_number_of_names_that_are_left_is_kept() {
        let mut file = LeaderFile::new(tempfile::tempfile().unwrap());
        file.insert(&group(3)).unwrap();
        let (place, _) = file.find(FileId { dev: 1, ino: 3 }).unwrap();
        file.set_left(place, 77);
        assert_eq!(file.find(FileId { dev: 1, ino: 3 }).unwrap().1.left, 77);
    }
}

//! Stored leaders in a file, for a source with more inodes of several names than fit into memory. A table in the same file
//! says where each of them is, so memory does not grow with their number.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use crate::entry::FileId;
use crate::entry::hard_links::leader::StoredGroup;

/// Groups and tables begin at multiples of this many bytes, so that 32 bits are enough for 64 GiB.
const ALIGNED: u64 = 16;

/// The number of slots of a new table, as a power of two.
const FEW: u32 = 12;

/// Bytes of a group that are read at a time. Most groups are shorter.
const READ: usize = 512;

/// Slots that are read at a time. Most searches end within them.
const TOGETHER: usize = 32;

/// Where a group is, with bits of the hash of its inode. An empty slot ends a search, one whose group was removed does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    hash: u32,
    /// The number of the group's first bytes, in multiples of [`ALIGNED`], plus [`Slot::FIRST`].
    at: u32,
}

impl Slot {
    /// As the file has it where nothing was written.
    const EMPTY: Self = Self { hash: 0, at: 0 };
    const REMOVED: Self = Self { hash: 0, at: 1 };
    const FIRST: u32 = 2;
    const BYTES: usize = size_of::<u64>();

    fn has_group(self) -> bool {
        self.at >= Self::FIRST
    }

    fn offset(self) -> u64 {
        u64::from(self.at - Self::FIRST) * ALIGNED
    }

    fn encode(self) -> [u8; Self::BYTES] {
        let ([a, b, c, d], [e, f, g, h]) = (self.hash.to_le_bytes(), self.at.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }

    fn decode([a, b, c, d, e, f, g, h]: [u8; Self::BYTES]) -> Self {
        Self { hash: u32::from_le_bytes([a, b, c, d]), at: u32::from_le_bytes([e, f, g, h]) }
    }
}

/// The slots in the file: a power of two of them. A group is in one of those that follow the one which the first bits of its hash name.
#[derive(Debug, Clone, Copy)]
struct Table {
    at: u64,
    slots: u64,
}

impl Table {
    /// Passes on the slots in which a group with this hash may be, in the order of a search.
    fn search<T>(
        self,
        file: &File,
        hash: u32,
        mut look: impl FnMut(Place, Slot) -> ControlFlow<T>,
    ) -> io::Result<Option<T>> {
        let first = u64::from(hash) >> (u32::BITS - self.slots.ilog2());
        let mut seen = 0;
        while seen < self.slots {
            let number = (first + seen) % self.slots;
            let mut bytes = [0; TOGETHER * Slot::BYTES];
            let count = (TOGETHER as u64).min(self.slots - number);
            let bytes = &mut bytes[..count as usize * Slot::BYTES];
            let from = self.at + number * Slot::BYTES as u64;
            file.read_exact_at(bytes, from)?;
            for (slot, at) in bytes.as_chunks().0.iter().zip((from..).step_by(Slot::BYTES)) {
                if let ControlFlow::Break(found) = look(Place(at), Slot::decode(*slot)) {
                    return Ok(Some(found));
                }
            }
            seen += count;
        }
        Ok(None)
    }

    /// Writes `slot` over an empty one or over one whose group was removed. Returns whether it was empty.
    fn put(self, file: &File, slot: Slot) -> io::Result<bool> {
        let free = self.search(file, slot.hash, |place, found| match found.has_group() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break((place, found == Slot::EMPTY)),
        });
        let (Place(at), was_empty) = free?.ok_or(io::ErrorKind::StorageFull)?;
        file.write_all_at(&slot.encode(), at)?;
        Ok(was_empty)
    }
}

/// Leaders in a file, found by inode.
#[derive(Debug)]
pub(super) struct LeaderFile {
    file: File,
    table: Option<Table>,
    /// Slots that are not empty, and those among them that have a group.
    used: u64,
    live: u64,
    end: u64,
    hasher: RandomState,
}

/// Where a slot is in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(u64);

impl LeaderFile {
    /// One in an empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file, table: None, used: 0, live: 0, end: 0, hasher: RandomState::new() }
    }

    fn hash(&self, id: FileId) -> u32 {
        // The high half of the hash.
        u32::try_from(self.hasher.hash_one(id) >> 32).unwrap_or_default()
    }

    /// Adds a group. It has no other one for its inode.
    ///
    /// # Errors
    /// Those of `pread(2)`, `pwrite(2)` and `ftruncate(2)`; the file is too long.
    pub(super) fn insert(&mut self, group: &StoredGroup) -> io::Result<()> {
        let table = match self.table {
            Some(table) if self.used < table.slots / 4 * 3 => table,
            before => self.grow(before)?,
        };
        let at = u32::try_from(self.end / ALIGNED).ok();
        let at =
            at.and_then(|at| at.checked_add(Slot::FIRST)).ok_or(io::ErrorKind::FileTooLarge)?;
        let bytes = group.encode()?;
        self.file.write_all_at(&bytes, self.end)?;
        self.end += (bytes.len() as u64).next_multiple_of(ALIGNED);
        let was_empty = table.put(&self.file, Slot { hash: self.hash(group.id), at })?;
        self.used += u64::from(was_empty);
        self.live += 1;
        Ok(())
    }

    /// Makes a table with room behind what is in the file. The earlier ones together take as much again.
    fn grow(&mut self, before: Option<Table>) -> io::Result<Table> {
        let slots = match before {
            Some(before) if self.live >= before.slots / 2 => before.slots * 2,
            Some(before) => before.slots,
            None => 1 << FEW,
        };
        let table = Table { at: self.end, slots };
        self.end += slots * Slot::BYTES as u64;
        // What was never written reads as zeros.
        self.file.set_len(self.end)?;
        let mut used = 0;
        if let Some(before) = before {
            let from = At { file: &self.file, at: before.at };
            let mut from = BufReader::new(from.take(before.slots * Slot::BYTES as u64));
            for _ in 0..before.slots {
                let mut slot = [0; Slot::BYTES];
                from.read_exact(&mut slot)?;
                let slot = Slot::decode(slot);
                if slot.has_group() {
                    table.put(&self.file, slot)?;
                    used += 1;
                }
            }
        }
        (self.table, self.used) = (Some(table), used);
        Ok(table)
    }

    /// The group of an inode.
    pub(super) fn find(&self, id: FileId) -> Option<(Place, StoredGroup)> {
        let hash = self.hash(id);
        let found = self.table?.search(&self.file, hash, |place, slot| {
            if slot == Slot::EMPTY {
                return ControlFlow::Break(None);
            }
            if slot.hash != hash || !slot.has_group() {
                return ControlFlow::Continue(());
            }
            let from = At { file: &self.file, at: slot.offset() };
            // What cannot be read back is as if it had not been kept: its other names become files of their own.
            let group = StoredGroup::decode(&mut BufReader::with_capacity(READ, from));
            match group.ok().filter(|group| group.id == id) {
                Some(group) => ControlFlow::Break(Some((place, group))),
                None => ControlFlow::Continue(()),
            }
        });
        found.ok()??
    }

    /// Records how many names of a group were not seen yet.
    pub(super) fn set_left(&mut self, Place(at): Place, left: u64) {
        let mut slot = [0; Slot::BYTES];
        let read = self.file.read_exact_at(&mut slot, at);
        let slot = Slot::decode(slot);
        // Without it, the group is kept longer than needed.
        if read.is_ok() && slot.has_group() {
            let _ = self.file.write_all_at(&left.to_le_bytes(), slot.offset());
        }
    }

    /// Removes a group.
    pub(super) fn remove(&mut self, Place(at): Place) {
        // A group that stays is found by its inode, so another inode with its number differs in its times.
        let _ = self.file.write_all_at(&Slot::REMOVED.encode(), at);
        self.live = self.live.saturating_sub(1);
        if self.live == 0 && self.file.set_len(0).is_ok() {
            (self.table, self.used, self.end) = (None, 0, 0);
        }
    }

    /// The number of groups.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
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
            assert_eq!(file.len(), COUNT);
            // Half of them go and come back, so the table has slots of removed groups.
            for ino in (0..COUNT).step_by(2) {
                let (place, _) = file.find(FileId { dev: 1, ino }).unwrap();
                file.remove(place);
                assert!(file.find(FileId { dev: 1, ino }).is_none());
            }
            (0..COUNT).step_by(2).for_each(|ino| file.insert(&group(ino)).unwrap());
            (0..COUNT).step_by(13).for_each(|ino| assert_found(&file, ino));
            let slots = file.table.unwrap().slots;
            assert!(slots <= 1 << 16, "{round}: {slots} slots");
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

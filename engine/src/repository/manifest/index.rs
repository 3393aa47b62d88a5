//! The index of a manifest: the location of the records of each folder. Pure.

use std::io::{self, Write};
use std::sync::Arc;

use crate::entry::digest::first;
use crate::entry::tree_path::TreePath;
use crate::repository::manifest::record::{MetaDigest, RecordedFields};

/// The first bytes of an index: file type and format version.
const MAGIC: &[u8; 8] = b"bm-man\x00\x01";
/// Bytes per entry.
const LENGTH: usize = 40;
/// Entries that are written at a time.
const WRITTEN: usize = 4096;
const OWNER: u8 = 1;
const MODE: u8 = 2;

/// The first bytes of the BLAKE3 of a folder's path inside the snapshot.
pub(crate) type PathDigest = [u8; 12];

pub(crate) fn path_digest(place: &Arc<TreePath>) -> PathDigest {
    digest_of(&place.inside())
}

pub(crate) fn digest_of(inside: &[u8]) -> PathDigest {
    first(&blake3::hash(inside))
}

/// The location of the records of one folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) path: PathDigest,
    /// The first bytes of the BLAKE3 of all records of the folder.
    pub(crate) block: [u8; 8],
    /// The digest of the folder's own metadata; all zero where it is not recorded.
    pub(crate) own: MetaDigest,
    /// The number of the pack.
    pub(crate) pack: u16,
    /// The number of records.
    pub(crate) count: u32,
    /// The offset of the first record in the pack.
    pub(crate) offset: u64,
}

impl IndexEntry {
    /// The length of the records in bytes.
    pub(crate) fn length(&self) -> u64 {
        u64::from(self.count) * crate::repository::manifest::record::LENGTH as u64
    }

    fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..12].copy_from_slice(&self.path);
        bytes[12..20].copy_from_slice(&self.block);
        bytes[20..26].copy_from_slice(&self.own);
        bytes[26..28].copy_from_slice(&self.pack.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.count.to_le_bytes());
        bytes[32..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            path: array(bytes, 0),
            block: array(bytes, 12),
            own: array(bytes, 20),
            pack: u16::from_le_bytes(array(bytes, 26)),
            count: u32::from_le_bytes(array(bytes, 28)),
            offset: u64::from_le_bytes(array(bytes, 32)),
        }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// Writes the content of an index file, without a copy of it in memory: a tree may have millions of folders. `entries` are
/// sorted by path digest.
///
/// # Errors
/// Those of `to`.
pub(crate) fn write_index(
    to: &mut impl Write,
    coverage: RecordedFields,
    packs: &[String],
    entries: &[IndexEntry],
) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    let RecordedFields { owner, mode, granularity_ns } = coverage;
    bytes.push(u8::from(owner) * OWNER + u8::from(mode) * MODE);
    bytes.extend(granularity_ns.to_le_bytes());
    bytes.extend((packs.len() as u16).to_le_bytes());
    for pack in packs {
        bytes.push(pack.len() as u8);
        bytes.extend(pack.as_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    for some in entries.chunks(WRITTEN) {
        bytes.extend(some.iter().flat_map(IndexEntry::encode));
        hasher.update(&bytes);
        to.write_all(&bytes)?;
        bytes.clear();
    }
    hasher.update(&bytes);
    to.write_all(&bytes)?;
    to.write_all(hasher.finalize().as_bytes())
}

/// A decoded index.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) coverage: RecordedFields,
    /// The names of the packs, by number.
    pub(crate) packs: Vec<String>,
    /// Encoded entries, sorted by path digest.
    entries: Vec<u8>,
}

impl Index {
    /// Decodes the content of an index file.
    ///
    /// # Errors
    /// `InvalidData` when the content is no index, or is damaged.
    pub(crate) fn decode(mut bytes: Vec<u8>) -> io::Result<Self> {
        let end = bytes.len().checked_sub(blake3::OUT_LEN).ok_or(io::ErrorKind::InvalidData)?;
        if blake3::hash(&bytes[..end]).as_bytes() != &bytes[end..] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.truncate(end);
        Self::parse(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let (magic, rest) = bytes.split_at_checked(MAGIC.len())?;
        let (head, mut rest) = rest.split_at_checked(7)?;
        let granularity_ns = u32::from_le_bytes(array(head, 1));
        if magic != MAGIC || granularity_ns == 0 {
            return None;
        }
        let coverage = RecordedFields {
            owner: head[0] & OWNER != 0,
            mode: head[0] & MODE != 0,
            granularity_ns,
        };
        let mut packs = Vec::new();
        for _ in 0..u16::from_le_bytes(array(head, 5)) {
            let (length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            packs.push(String::from_utf8(name.to_vec()).ok()?);
            rest = after;
        }
        let entries = rest.len();
        if entries % LENGTH != 0 {
            return None;
        }
        bytes.drain(..bytes.len() - entries);
        bytes.shrink_to_fit();
        Some(Self { coverage, packs, entries: bytes })
    }

    /// A copy of the index without the entries for which `left_out` returns true.
    pub(crate) fn without(self, left_out: impl Fn(&IndexEntry) -> bool) -> Self {
        let held = self.iter().filter(|entry| !left_out(entry));
        let entries = held.flat_map(|entry| entry.encode()).collect();
        Self { entries, ..self }
    }

    /// All entries, sorted by path digest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexEntry> {
        (0..self.len()).map(|number| self.entry(number))
    }

    /// The number of folders.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() / LENGTH
    }

    pub(crate) fn entry(&self, number: usize) -> IndexEntry {
        IndexEntry::decode(&self.entries[number * LENGTH..(number + 1) * LENGTH])
    }

    /// The entry of a folder.
    pub(crate) fn find(&self, path: &PathDigest) -> Option<IndexEntry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let at = middle * LENGTH;
            match self.entries[at..at + path.len()].cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.entry(middle)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(number: u64) -> IndexEntry {
        IndexEntry {
            path: digest_of(&number.to_le_bytes()),
            block: [3; 8],
            own: [4; 6],
            pack: 5,
            count: number as u32,
            offset: number << 33,
        }
    }

    const COVERAGE: RecordedFields =
        RecordedFields { owner: true, mode: false, granularity_ns: 100 };

    fn index(count: u64) -> (Vec<u8>, Vec<IndexEntry>) {
        let mut entries: Vec<_> = (0..count).map(entry).collect();
        entries.sort_by_key(|entry| entry.path);
        let mut written = Vec::new();
        let packs = ["a".to_owned(), "bc".to_owned()];
        write_index(&mut written, COVERAGE, &packs, &entries).unwrap();
        (written, entries)
    }

    #[test]
    fn an_index_of_many_folders_is_written_in_parts() {
        let (written, entries) = index(2 * WRITTEN as u64 + 1);
        let read = Index::decode(written).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), entries);
    }

    proptest! {
        #[test]
        fn every_folder_is_found_again_and_no_other(count in 0_u64..70) {
            let (written, entries) = index(count);
            let read = Index::decode(written).unwrap();
            prop_assert_eq!(read.coverage, COVERAGE);
            prop_assert_eq!(&read.packs, &["a", "bc"]);
            for entry in &entries {
                prop_assert_eq!(read.find(&entry.path), Some(*entry));
            }
            prop_assert_eq!(read.find(&digest_of(b"other")), None);
        }

        #[test]
        fn a_torn_or_changed_index_is_none(at in 0_usize..300, byte in 1_u8..=255, cut in 0_usize..300) {
            let bytes = index(5).0;
            let mut changed = bytes.clone();
            let at = at % changed.len();
            changed[at] ^= byte;
            prop_assert!(Index::decode(changed).is_err());
            prop_assert!(Index::decode(bytes[..cut % bytes.len()].to_vec()).is_err());
        }
    }
}

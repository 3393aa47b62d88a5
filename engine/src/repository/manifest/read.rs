//! Reads the manifest of a snapshot.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use crate::entry::c_name;
use crate::entry::digest::{NameDigest, first};
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::repository::manifest::INDEX;
use crate::repository::manifest::index::{Index, IndexEntry, PathDigest, digest_of};
use crate::repository::manifest::record::{LENGTH, ManifestRecord, MetaDigest, RecordedFields};

/// Bytes per read call.
const CHUNK: usize = 16 * 1024 * LENGTH;

/// The manifest of one snapshot.
pub(crate) struct ManifestReader {
    pub(crate) dir: Dir,
    pub(crate) index: Index,
    packs: Vec<OnceLock<File>>,
}

impl ManifestReader {
    /// Opens the manifest of the snapshot `name` in `all`, the folder of all manifests. `None` when there is
    /// none.
    ///
    /// # Errors
    /// `InvalidData` when the manifest is damaged; any I/O error.
    pub(crate) fn open(all: Option<&Dir>, name: &CStr) -> io::Result<Option<Self>> {
        let Some(all) = all else { return Ok(None) };
        let opened = all.child(name).and_then(|dir| Ok((dir.open_file(INDEX)?, dir)));
        let (mut file, dir) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let index = Index::decode(bytes)?;
        let packs = index.packs.iter().map(|_| OnceLock::new()).collect();
        Ok(Some(Self { dir, index, packs }))
    }

    /// Opens the same manifest again.
    ///
    /// # Errors
    /// Any I/O error.
    pub(crate) fn reopened(&self) -> io::Result<Self> {
        let packs = self.index.packs.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { dir: self.dir.try_clone()?, index: self.index.clone(), packs })
    }

    /// Reads all records, and drops the folders whose records are damaged from the index, so that no new
    /// manifest uses them. Returns whether there were any.
    pub(crate) fn prove(mut self) -> (Self, bool) {
        let mut entries: Vec<IndexEntry> = self.index.iter().collect();
        entries.sort_unstable_by_key(|entry| (entry.pack, entry.offset));
        entries.retain(|entry| self.recorded(entry, Some(&|_| false)).is_err());
        let broken: HashSet<PathDigest> = entries.iter().map(|entry| entry.path).collect();
        if !broken.is_empty() {
            self.index = self.index.without(|entry| broken.contains(&entry.path));
        }
        (self, !broken.is_empty())
    }

    /// Which metadata the digests cover.
    pub(crate) fn coverage(&self) -> RecordedFields {
        self.index.coverage
    }

    /// Reads the records of the folder at `place`. `None` when the manifest does not have the folder.
    ///
    /// # Errors
    /// `InvalidData` when the records are damaged; any I/O error.
    pub(crate) fn folder(&self, place: &Arc<TreePath>) -> io::Result<Option<FolderRecords>> {
        self.folder_at(&place.inside())
    }

    /// As [`ManifestReader::folder`], by the path inside the snapshot.
    ///
    /// # Errors
    /// As [`ManifestReader::folder`].
    pub(crate) fn folder_at(&self, inside: &[u8]) -> io::Result<Option<FolderRecords>> {
        self.index.find(&digest_of(inside)).map(|entry| self.recorded(&entry, None)).transpose()
    }

    /// Reads the records of a folder. With `only`, returns just the records of the names that it accepts.
    pub(crate) fn recorded(&self, entry: &IndexEntry, only: Only<'_>) -> io::Result<FolderRecords> {
        let records = records(self.pack(entry)?, entry, only)?;
        Ok(FolderRecords { own: entry.own, count: entry.count as usize, records })
    }

    /// The pack with the records of a folder.
    pub(super) fn pack(&self, entry: &IndexEntry) -> io::Result<&File> {
        let number = usize::from(entry.pack);
        let pack = self.packs.get(number).ok_or(io::ErrorKind::InvalidData)?;
        Ok(match pack.get() {
            Some(file) => file,
            None => {
                let opened = self.dir.open_file(&c_name(self.index.packs[number].as_str())?)?;
                pack.get_or_init(|| opened)
            }
        })
    }
}

/// A filter of names; `None` accepts all.
pub(super) type Only<'a> = Option<&'a dyn Fn(&NameDigest) -> bool>;

/// Reads the records of a folder from its pack and verifies their hash. With `only`, returns just the records
/// of the names that it accepts.
pub(crate) fn records(
    pack: &File,
    entry: &IndexEntry,
    only: Only<'_>,
) -> io::Result<Vec<ManifestRecord>> {
    let mut found = Vec::new();
    each_chunk(pack, entry, |part| {
        let (all, _) = part.as_chunks::<LENGTH>();
        let wanted = |record: &ManifestRecord| only.is_none_or(|only| only(&record.name));
        found.extend(all.iter().map(ManifestRecord::decode).filter(wanted));
        Ok(())
    })?;
    Ok(found)
}

/// Reads the records of a folder from its pack, some whole records at a time, and verifies their hash at the end.
pub(super) fn each_chunk(
    pack: &File,
    entry: &IndexEntry,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    let (mut at, end) = (entry.offset, entry.offset.saturating_add(entry.length()));
    let mut buffer = vec![0; entry.length().min(CHUNK as u64) as usize];
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..count];
        pack.read_exact_at(part, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
            _ => error,
        })?;
        hasher.update(part);
        each(part)?;
        at += count as u64;
    }
    if first::<8>(&hasher.finalize()) != entry.block {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(())
}

/// The records of one folder.
#[derive(Debug, Clone)]
pub(crate) struct FolderRecords {
    /// The digest of the folder's own metadata; all zero where it is not recorded.
    pub(crate) own: MetaDigest,
    /// The number of entries in the folder.
    pub(crate) count: usize,
    /// The records of all or some of its entries, sorted by name digest.
    pub(crate) records: Vec<ManifestRecord>,
}

impl FolderRecords {
    /// The record of an entry.
    pub(crate) fn get(&self, name: &NameDigest) -> Option<&ManifestRecord> {
        let found = self.records.binary_search_by(|record| record.name.cmp(name)).ok()?;
        self.records.get(found)
    }
}

//! Looks up the recorded hashes of single files. Caches the records of the most recently used folders.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex};

use crate::entry::digest::name_digest;
use crate::repository::manifest::read::{FolderRecords, ManifestReader};
use crate::repository::manifest::record::RecordedHash;
use crate::threads::lock::lock;

/// The maximum number of cached records, except for those of the last `FOLDERS` folders.
const RECORDS: usize = 256 * 1024;
/// The number of folders that stay cached independent of the number of their records.
const FOLDERS: usize = 2;

/// A manifest with a cache of recently used folders.
pub(crate) struct Recent {
    reader: ManifestReader,
    folders: Mutex<VecDeque<(Vec<u8>, Arc<FolderRecords>)>>,
}

impl Recent {
    pub(crate) fn new(reader: ManifestReader) -> Self {
        Self { reader, folders: Mutex::default() }
    }

    /// The recorded hash of the file `name` in the folder at the path `inside`. `None` when none is recorded.
    ///
    /// # Errors
    /// `InvalidData` when the records of the folder are damaged; any I/O error.
    pub(crate) fn content(&self, inside: Vec<u8>, name: &CStr) -> io::Result<Option<RecordedHash>> {
        let Some(folder) = self.folder(inside)? else { return Ok(None) };
        let record = folder.get(&name_digest(name));
        Ok(record.map(|record| record.content).filter(|content| content.is_known()))
    }

    /// Whether the folder at the path `inside` has recorded entries that are not among `names`.
    ///
    /// # Errors
    /// As [`Recent::content`].
    pub(crate) fn has_more_than<'a>(
        &self,
        inside: Vec<u8>,
        names: impl Iterator<Item = &'a CStr>,
    ) -> io::Result<bool> {
        let Some(folder) = self.folder(inside)? else { return Ok(false) };
        let known = names.filter(|name| folder.get(&name_digest(name)).is_some()).count();
        Ok(known < folder.count)
    }

    fn folder(&self, inside: Vec<u8>) -> io::Result<Option<Arc<FolderRecords>>> {
        let folders = || lock(&self.folders);
        let find = |(path, folder): &(Vec<u8>, Arc<FolderRecords>)| {
            (*path == inside).then(|| Arc::clone(folder))
        };
        if let Some(found) = folders().iter().rev().find_map(find) {
            return Ok(Some(found));
        }
        let Some(found) = self.reader.folder_at(&inside)?.map(Arc::new) else { return Ok(None) };
        let mut folders = folders();
        folders.push_back((inside, Arc::clone(&found)));
        let mut records: usize = folders.iter().map(|(_, folder)| folder.count).sum();
        while records > RECORDS && folders.len() > FOLDERS {
            records -= folders.pop_front().map_or(0, |(_, folder)| folder.count);
        }
        Ok(Some(found))
    }
}

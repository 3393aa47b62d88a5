//! Looks up the content of single files, and holds what is recorded of the folders that were asked for last.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::sync::{Arc, Mutex};

use crate::repository::manifest::read::{Reader, Recorded};
use crate::repository::manifest::record::{RecordedHash, name_digest};
use crate::threads::lock::lock;

/// So many records are held at most, but for those of the last folders.
const RECORDS: usize = 256 * 1024;
/// So many folders are held however many records they have.
const FOLDERS: usize = 2;

/// A manifest with the folders that were asked for last.
pub(crate) struct Recent {
    reader: Reader,
    folders: Mutex<VecDeque<(Vec<u8>, Arc<Recorded>)>>,
}

impl Recent {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, folders: Mutex::default() }
    }

    /// The hash that is recorded of the file `name` in the folder of the path `inside`; `None` where there is none.
    ///
    /// # Errors
    /// `InvalidData` when the records of the folder are not whole; the system's.
    pub(crate) fn content(&self, inside: Vec<u8>, name: &CStr) -> io::Result<Option<RecordedHash>> {
        let Some(folder) = self.folder(inside)? else { return Ok(None) };
        let record = folder.get(&name_digest(name));
        Ok(record.map(|record| record.content).filter(|content| content.is_known()))
    }

    /// Whether entries are recorded of the folder of the path `inside` that are not among `names`.
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

    fn folder(&self, inside: Vec<u8>) -> io::Result<Option<Arc<Recorded>>> {
        let folders = || lock(&self.folders);
        let find = |(path, folder): &(Vec<u8>, Arc<Recorded>)| {
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

//! Files that an interrupted run linked to a file of the base under another path, in bounded memory.

use std::ffi::CString;
use std::sync::Arc;

use crate::entry::tree_path::TreePath;
use crate::entry::{FileId, Time};

/// The most memory of such files, bytes. Further ones count as kept only.
const MOST_MEMORY: usize = 2 << 20;

/// A file of the incomplete snapshot whose inode has names elsewhere.
#[derive(Debug)]
pub(crate) struct TakenUp {
    pub(crate) place: Arc<TreePath>,
    pub(crate) name: CString,
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) id: FileId,
    pub(crate) area: Option<usize>,
}

/// Such files, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct AllTakenUp {
    pub(crate) files: Vec<TakenUp>,
    bytes: usize,
}

impl AllTakenUp {
    pub(crate) fn add(&mut self, file: TakenUp) {
        let more = size_of::<TakenUp>() + file.name.as_bytes_with_nul().len();
        if self.bytes + more <= MOST_MEMORY {
            self.bytes += more;
            self.files.push(file);
        }
    }
}

//! Opens a file of a snapshot that is copied, with the hash that is recorded for it.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use crate::copy::read::{SnapshotFolder, SnapshotReader};
use crate::entry::digest::Method;
use crate::entry::{Kind, Meta};
use crate::fs::metadata::{stat, xattrs};
use crate::repository::content::Proof;
use crate::source::SourceError;

/// What is recorded of the content of a file.
#[derive(Debug, Clone, Copy)]
pub enum RecordedContent {
    /// Nothing: another program made the snapshot.
    Nothing,
    /// The whole hash.
    Whole(Method, blake3::Hash),
    /// The first bytes of the hash.
    Start(Method, Proof),
}

/// A file of a snapshot, open for reading.
#[derive(Debug)]
pub struct OpenedContent {
    /// The file, at its start.
    pub file: File,
    /// Its metadata on the disk.
    pub meta: Meta,
    /// The recorded hash.
    pub recorded: RecordedContent,
}

impl SnapshotReader {
    /// Opens the file `name` of `folder`, which was listed with the metadata `listed`.
    ///
    /// # Errors
    /// [`SourceError::Damaged`] when a check found it damaged, or its record is not valid; any I/O error.
    pub fn content(
        &self,
        folder: &SnapshotFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<OpenedContent, SourceError> {
        self.check_marks(folder, name)?;
        let read = |error| SourceError::from_io("read", error);
        let file = folder.dir.open_file(name).map_err(read)?;
        let meta = stat::meta(&file).map_err(read)?;
        if meta.kind != Kind::File || meta.id != listed.id || meta.size != listed.size {
            return Err(SourceError::Replaced);
        }
        let recorded = self.recorded(folder, name, &file)?;
        Ok(OpenedContent { file, meta, recorded })
    }

    fn recorded(
        &self,
        folder: &SnapshotFolder,
        name: &CStr,
        file: &File,
    ) -> Result<RecordedContent, SourceError> {
        // Records that are damaged prove nothing. The hash in the attribute is left.
        let manifest = self
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.content(folder.place.inside(), name).ok().flatten());
        let read = |error: io::Error| SourceError::from_io("read", error);
        let whole =
            |(method, bytes): (Method, Vec<u8>)| (method, blake3::Hash::from_slice(&bytes).ok());
        let attribute = xattrs::recorded(file).map_err(read)?.map(whole);
        Ok(match (manifest, attribute) {
            // The owner of the file can change the attribute, but not the manifest.
            (Some(content), Some((method, Some(hash))))
                if content.method() == method && content.is(&hash) =>
            {
                RecordedContent::Whole(method, hash)
            }
            (Some(content), _) => {
                RecordedContent::Start(content.method(), Proof::new(content.bytes()))
            }
            (None, Some((method, Some(hash)))) => RecordedContent::Whole(method, hash),
            (None, Some((_, None))) => return Err(SourceError::Damaged),
            (None, None) => RecordedContent::Nothing,
        })
    }
}

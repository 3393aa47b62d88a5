//! A snapshot as the source of its copy. It answers each request on the calling thread.

use std::ffi::CStr;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::copy::{OpenedContent, RecordedContent, SnapshotFolder, SnapshotReader};
use engine::entry::{Batch, Entry, Meta};
use engine::source::{
    Answers, BATCH, ConnectionReport, ContentSink, Crossing, ListSink, Root, Wanted,
};
use engine::{Method, Preserve, Source, SourceError};

use crate::snapshots::content::send;

/// A file of a snapshot that is read at any offset.
pub(crate) struct AnyOffset {
    pub(crate) file: File,
    /// Its metadata on the disk.
    pub(crate) meta: Meta,
    /// The recorded hash, if there is one; an error if only the sender of the whole file can check the record.
    pub(crate) hash: Result<Option<[u8; 32]>, ()>,
}

/// A complete snapshot. Its only root is `/`.
pub struct SnapshotSource {
    reader: SnapshotReader,
}

impl SnapshotSource {
    /// The snapshot that is open in `reader`.
    #[must_use]
    pub fn new(reader: SnapshotReader) -> Self {
        Self { reader }
    }

    /// Opens the file `name`, which is listed with this metadata, to be read at any offset.
    ///
    /// # Errors
    /// It is damaged, gone, or cannot be opened.
    pub(crate) fn open_at_any_offset(
        &self,
        folder: &SnapshotFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<AnyOffset, SourceError> {
        let OpenedContent { file, meta, recorded } = self.reader.content(folder, name, listed)?;
        let hash = match recorded {
            RecordedContent::Nothing => Ok(None),
            RecordedContent::Whole(by, hash) if by == Method::of(listed) => Ok(Some(hash.into())),
            RecordedContent::Whole(..) | RecordedContent::Start(..) => Err(()),
        };
        Ok(AnyOffset { file, meta, hash })
    }

    fn describe(&self, folder: &SnapshotFolder, name: &CStr) -> Result<Entry, SourceError> {
        let found = self.reader.entry(folder, name);
        let found = found.map_err(|error| SourceError::from_io("look at", error))?;
        found.ok_or(SourceError::Vanished)
    }
}

impl Source for SnapshotSource {
    type Folder = SnapshotFolder;

    fn answers(&self) -> Answers {
        Answers::AtOnce
    }

    fn time_granularity_ns(&self) -> u32 {
        1
    }

    fn reports(&self, keep: Preserve) -> Preserve {
        keep
    }

    fn connection(&self) -> Option<ConnectionReport> {
        None
    }

    fn hashes(&self) -> bool {
        true
    }

    fn root(&self, path: &Path) -> Result<Root<SnapshotFolder>, SourceError> {
        if path != Path::new("/") {
            return Err(SourceError::Vanished);
        }
        let (folder, entry) =
            self.reader.top().map_err(|error| SourceError::from_io("open", error))?;
        Ok(Root { entry, folder: Arc::new(folder), was_link: false, file_system: None })
    }

    fn roots(&self, paths: &[PathBuf]) -> Vec<Result<Root<SnapshotFolder>, SourceError>> {
        paths.iter().map(|path| self.root(path)).collect()
    }

    fn folder(
        &self,
        parent: &SnapshotFolder,
        name: &CStr,
        _: &Meta,
    ) -> Result<SnapshotFolder, SourceError> {
        self.reader.folder(parent, name).map_err(|error| SourceError::from_io("open", error))
    }

    fn look(&self, folder: &SnapshotFolder, name: &CStr) -> Result<Entry, SourceError> {
        self.describe(folder, name)
    }

    fn crossing(&self, _: &SnapshotFolder, _: &CStr) -> Crossing {
        Crossing::default()
    }

    fn list(&self, folder: &Arc<SnapshotFolder>, mut sink: Box<dyn ListSink>) {
        let listed = self.reader.names(folder, BATCH, |names| {
            let mut batch = Batch::default();
            for name in names {
                let described = self.describe(folder, &name).and_then(|entry| {
                    let pushed = batch.push(name.to_bytes(), entry.meta, entry.extra);
                    pushed.map_err(SourceError::BadName)
                });
                if let Err(error) = described {
                    sink.unreadable(&name, error);
                }
            }
            if batch.is_empty() { ControlFlow::Continue(()) } else { sink.batch(batch) }
        });
        sink.end(listed.map_err(|error| SourceError::from_io("list", error)));
    }

    fn fetch(
        &self,
        folder: &Arc<SnapshotFolder>,
        files: Vec<Wanted>,
        mut sink: Box<dyn ContentSink>,
    ) {
        for (index, wanted) in files.iter().enumerate() {
            let after = send(&self.reader, folder, wanted, (index, sink.as_mut()));
            sink.file_end(index, after);
        }
        sink.end();
    }
}

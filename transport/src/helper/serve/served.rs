//! What a far end reads: folders of this machine, and snapshots that are copied.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

use engine::copy::SnapshotFolder;
use engine::entry::{Entry, FileId, Kind, Meta, Time};
use engine::source::{ContentSink, Crossing, ListSink, Root, Wanted};
use engine::{Source, SourceError};

use crate::helper::serve::folders::Opener;
use crate::local::read::Opened;
use crate::local::{LocalFolder, LocalSource};
use crate::snapshots::SnapshotSource;
use crate::snapshots::source::AnyOffset;

/// Whether a file of a snapshot is the one that was listed.
fn is_same(now: &Meta, listed: &Meta) -> bool {
    let known = |meta: &Meta| (meta.kind, meta.id, meta.size, meta.mtime);
    known(now) == known(listed)
}

/// The source of a far end.
pub(crate) struct Served(LocalSource);

/// A file that was opened to be read at any offset.
pub(crate) struct OpenedFile {
    pub(crate) opened: Opened,
    /// What is known of a file of a snapshot.
    pub(crate) of_snapshot: Option<OfSnapshot>,
}

/// A file of a snapshot.
pub(crate) struct OfSnapshot {
    /// The hash of the whole content that is recorded.
    pub(crate) recorded: Option<[u8; 32]>,
    /// Its metadata as it is listed. The disk may have others.
    pub(crate) listed: Meta,
}

/// The metadata to report of a file after its last byte, when the handle shows `after`.
pub(crate) fn shown(of_snapshot: Option<&OfSnapshot>, after: Meta) -> Meta {
    match of_snapshot {
        Some(OfSnapshot { listed, .. }) if (after.id, after.size) == (listed.id, listed.size) => {
            listed.clone()
        }
        _ => after,
    }
}

/// A folder of it.
pub(crate) enum ServedFolder {
    Local(Arc<LocalFolder>),
    Snapshot(Arc<SnapshotSource>, Arc<SnapshotFolder>),
}

impl Served {
    pub(crate) fn new(local: LocalSource) -> Self {
        Self(local)
    }

    pub(crate) fn root(&self, path: &Path) -> Result<Root<ServedFolder>, SourceError> {
        let Root { entry, folder, was_link, file_system } = self.0.root(path)?;
        Ok(Root { entry, folder: Arc::new(ServedFolder::Local(folder)), was_link, file_system })
    }

    pub(crate) fn clock(&self) -> Option<Time> {
        self.0.clock()
    }

    pub(crate) fn look(&self, folder: &ServedFolder, name: &CStr) -> Result<Entry, SourceError> {
        match folder {
            ServedFolder::Local(folder) => self.0.look(folder, name),
            ServedFolder::Snapshot(source, folder) => source.look(folder, name),
        }
    }

    pub(crate) fn crossing(&self, folder: &ServedFolder, name: &CStr) -> Crossing {
        match folder {
            ServedFolder::Local(folder) => self.0.crossing(folder, name),
            ServedFolder::Snapshot(source, folder) => source.crossing(folder, name),
        }
    }

    pub(crate) fn list(&self, folder: &ServedFolder, sink: Box<dyn ListSink>) {
        match folder {
            ServedFolder::Local(folder) => self.0.list(folder, sink),
            ServedFolder::Snapshot(source, folder) => source.list(folder, sink),
        }
    }

    pub(crate) fn fetch(
        &self,
        folder: &ServedFolder,
        wanted: Wanted,
        mut sink: Box<dyn ContentSink>,
    ) {
        match folder {
            ServedFolder::Local(folder) => self.0.fetch(folder, vec![wanted], sink),
            ServedFolder::Snapshot(source, folder) => {
                // The near end has sent only what tells whether it is the same file.
                match source.look(folder, &wanted.entry.name) {
                    Ok(entry) if is_same(&entry.meta, &wanted.entry.meta) => {
                        source.fetch(folder, vec![Wanted { entry, ..wanted }], sink);
                    }
                    Ok(other) => sink.file_end(0, Ok(other.meta)),
                    Err(error) => sink.file_end(0, Err(error)),
                }
            }
        }
    }

    /// The folder `name` of `parent`, which was listed with this metadata.
    pub(crate) fn child(
        &self,
        parent: &ServedFolder,
        name: &CStr,
        listed: &Meta,
    ) -> Result<ServedFolder, SourceError> {
        Ok(match parent {
            ServedFolder::Local(parent) => {
                ServedFolder::Local(Arc::new(self.0.folder(parent, name, listed)?))
            }
            ServedFolder::Snapshot(source, parent) => {
                let folder = Arc::new(source.folder(parent, name, listed)?);
                ServedFolder::Snapshot(Arc::clone(source), folder)
            }
        })
    }

    /// Opens a file to be read at any offset.
    ///
    /// # Errors
    /// It is gone, cannot be opened, or is known to be damaged.
    pub(crate) fn open_at_any_offset(
        &self,
        folder: &ServedFolder,
        wanted: &Wanted,
    ) -> Result<OpenedFile, SourceError> {
        match folder {
            ServedFolder::Local(folder) => {
                let opened = self.0.open_at_any_offset(folder, wanted)?;
                Ok(OpenedFile { opened, of_snapshot: None })
            }
            ServedFolder::Snapshot(source, folder) => {
                let listed = source.look(folder, &wanted.entry.name)?.meta;
                if !is_same(&listed, &wanted.entry.meta) {
                    return Ok(OpenedFile { opened: Opened::Other(listed), of_snapshot: None });
                }
                let AnyOffset { file, meta, hash } =
                    source.open_at_any_offset(folder, &wanted.entry.name, &listed)?;
                // A record that only this end can check is checked when the whole file is sent.
                let (opened, recorded) = match hash {
                    Ok(hash) => (Opened::Wanted(file, meta), hash),
                    Err(()) => (Opened::WithoutSize, None),
                };
                Ok(OpenedFile { opened, of_snapshot: Some(OfSnapshot { recorded, listed }) })
            }
        }
    }
}

impl ServedFolder {
    /// The inode of the folder.
    pub(crate) fn id(&self) -> Option<FileId> {
        match self {
            Self::Local(folder) => folder.id(),
            Self::Snapshot(_, folder) => engine::fs::stat::meta(&**folder).ok()?.id,
        }
    }

    /// Whether an entry with this metadata is in the base of the near end, if its digest is that of the base.
    pub(crate) fn is_shared(&self, meta: &Meta) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Snapshot(..) => meta.is_shared || meta.kind == Kind::Folder,
        }
    }
}

impl Opener for Served {
    type Folder = ServedFolder;

    fn open_child(
        &self,
        parent: &ServedFolder,
        name: &CStr,
        id: Option<FileId>,
    ) -> Result<ServedFolder, SourceError> {
        self.child(parent, name, &Meta { id, ..Meta::of(Kind::Folder) })
    }
}

//! Compares the names of a folder with the manifest.

use std::ffi::CStr;
use std::sync::Arc;

use crate::entry::Meta;
use crate::entry::digest::name_digest;
use crate::entry::tree_path::TreePath;
use crate::repository::manifest::read::{FolderRecords, ManifestReader};
use crate::repository::manifest::record::{
    ManifestRecord, MetaDigest, RecordedFields, folder_digest,
};
use crate::verify::outcome::Flaw;

/// The message for an entry whose metadata differs from the manifest.
pub(crate) const ALTERED: &str =
    "its kind, owner, mode, size, time or target is not what was backed up";

/// Compares the names of one folder with the manifest.
pub(crate) struct Compared<'a> {
    place: &'a Arc<TreePath>,
    coverage: Option<RecordedFields>,
    recorded: Option<FolderRecords>,
    found: usize,
    flaws: Vec<Flaw>,
    /// Whether the manifest of the snapshot cannot be read.
    pub(crate) unreadable: bool,
}

impl<'a> Compared<'a> {
    /// Reads what `manifest` records of the folder `place`.
    pub(crate) fn new(manifest: Option<&ManifestReader>, place: &'a Arc<TreePath>) -> Self {
        let coverage = manifest.map(ManifestReader::coverage);
        let read = manifest.map(|manifest| manifest.folder(place));
        let unreadable = matches!(read, Some(Err(_)));
        let recorded = read.and_then(Result::ok).flatten();
        Self { place, coverage, recorded, found: 0, flaws: Vec::new(), unreadable }
    }

    /// The record of a name; adds a flaw if it has none.
    pub(crate) fn find(&mut self, name: &CStr) -> Option<ManifestRecord> {
        let recorded = self.recorded.as_ref()?;
        let record = recorded.get(&name_digest(name)).copied();
        match record {
            Some(_) => self.found += 1,
            None => self.flaws.push(Flaw::Added(self.place.inside_of(name))),
        }
        record
    }

    /// Checks the record of a subfolder.
    pub(crate) fn folder(&mut self, name: &CStr, record: Option<ManifestRecord>) {
        if record.is_some_and(|record| record.meta != folder_digest()) {
            self.flaws.push(Flaw::Altered(self.place.inside_of(name), ALTERED));
        }
    }

    /// Called after all names, with the metadata of the folder itself. Returns the flaws; `None` if
    /// the manifest does not contain the folder.
    pub(crate) fn finish(mut self, meta: &Meta) -> Option<Vec<Flaw>> {
        let recorded = self.recorded?;
        let path = || self.place.inside();
        if let Some(count) = recorded.count.checked_sub(self.found).filter(|count| *count > 0) {
            self.flaws.push(Flaw::Gone { folder: path(), count });
        }
        let own = self.coverage.map(|coverage| coverage.digest(meta, None, false));
        // Adding or removing a name changes the mtime of the folder, which is then not a second
        // flaw.
        if self.flaws.is_empty()
            && recorded.own != MetaDigest::default()
            && own.is_some_and(|own| own != recorded.own)
        {
            self.flaws.push(Flaw::Altered(path(), ALTERED));
        }
        Some(self.flaws)
    }
}

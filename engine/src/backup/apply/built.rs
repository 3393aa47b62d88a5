//! A file that the source builds from parts of the base's copy, see [`Wanted::base`], or that shares blocks with it.
//!
//! [`Wanted::base`]: crate::source::Wanted::base

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::plan::planned::{PendingEntry, Renamed};
use crate::backup::walk::folder::FolderHandles;
use crate::entry::Kind;
use crate::source::{BaseFile, OfBase, Source};

/// The base's copy of a file, by its name in the base's folder, which is held open.
struct InBase<F> {
    handles: Arc<FolderHandles<F>>,
    name: CString,
}

impl<F> std::fmt::Debug for InBase<F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("InBase").field(&self.name).finish()
    }
}

impl<F: Send + Sync> BaseFile for InBase<F> {
    fn open(&self) -> io::Result<File> {
        self.handles.base.as_ref().ok_or(Errno::NOENT)?.open_file(&self.name)
    }
}

/// What the base has of `item`: an older state or the same content, if there is one.
///
/// `is_same`: the base's file under the same path probably has the same content.
pub(crate) fn base_file<F: Send + Sync + 'static>(
    handles: &Arc<FolderHandles<F>>,
    item: &PendingEntry,
    is_same: bool,
) -> Option<OfBase> {
    match &item.renamed {
        Some(Renamed::Same(origins)) => {
            return origins
                .first()
                .map(|origin| OfBase::Same(Arc::clone(origin) as Arc<dyn BaseFile>));
        }
        Some(Renamed::Older(origin)) => {
            return Some(OfBase::Older(Arc::clone(origin) as Arc<dyn BaseFile>));
        }
        None => {}
    }
    let base = item.base.as_ref().filter(|base| base.on_disk && base.meta.kind == Kind::File)?;
    let possible = handles.base.is_some() && base.meta.size > 0;
    let file = InBase { handles: Arc::clone(handles), name: item.entry.name.clone() };
    let file = possible.then(|| Arc::new(file) as Arc<dyn BaseFile>)?;
    Some(if is_same { OfBase::Same(file) } else { OfBase::Older(file) })
}

impl<S: Source> SnapshotWriter<S> {
    /// What the base has of `item`, opened to share blocks with it.
    pub(crate) fn base_to_share(
        &self,
        handles: &Arc<FolderHandles<S::Folder>>,
        item: &PendingEntry,
    ) -> Option<File> {
        // A network file system would send the base's bytes, to compare them, instead of the file's.
        let reflinks = self.metadata_writer.abilities.reflinks && !self.sync_each;
        if !reflinks || self.walk.keep().whole_files {
            return None;
        }
        match base_file(handles, item, false)? {
            OfBase::Older(base) | OfBase::Same(base) => base.open().ok(),
        }
    }
}

/// What is known of a file that the source builds.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// Bytes that came from the base.
    pub(crate) bytes: u64,
    /// An earlier run stored bytes of the base in it.
    pub(crate) taken_up: bool,
    /// The hash of the whole file, from the source.
    pub(crate) hash: Option<[u8; 32]>,
}

impl Built {
    /// Whether the content with `hash` is not what the source has, or may not be.
    pub(crate) fn differs(&self, hash: &blake3::Hash) -> bool {
        match &self.hash {
            Some(expected) => hash != expected,
            None => self.bytes > 0 || self.taken_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hash_of_the_source_proves_bytes_of_the_base() {
        let hash = blake3::hash(b"content");
        let built = |bytes, hash| Built { bytes, taken_up: false, hash };
        assert!(!built(0, None).differs(&hash));
        assert!(built(1, None).differs(&hash));
        assert!(!built(1, Some(hash.into())).differs(&hash));
        assert!(built(0, Some([0; 32])).differs(&hash));
        assert!(Built { taken_up: true, ..Built::default() }.differs(&hash));
    }
}

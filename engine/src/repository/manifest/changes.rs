//! The changes of a run in one folder, as far as the manifest needs them.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::entry::digest::Method;
use crate::entry::digest::{NameDigest, name_digest};
use crate::repository::manifest::record::RecordedHash;
use crate::threads::lock::lock;

/// The maximum number of hashes in memory per folder. The hashes of further files are read from their
/// attribute, which is safe because other users have no access to an incomplete snapshot.
const HASHES: usize = 64 * 1024;

/// The origin of the content of a newly stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentOrigin {
    /// Read from the source.
    Source(RecordedHash),
    /// Copied from the file of the same name in the base.
    Base,
}

/// The differences between a folder and the base.
#[derive(Debug, Default)]
pub(crate) struct FolderChanges {
    altered: AtomicBool,
    origins: Mutex<HashMap<NameDigest, ContentOrigin>>,
}

impl FolderChanges {
    /// Records that an entry of the folder is not a link to the base, or that the base has a different entry
    /// there.
    pub(crate) fn alter(&self) {
        self.altered.store(true, Ordering::Relaxed);
    }

    /// Records that the file `name` was read from the source and has this hash.
    pub(crate) fn stored(&self, name: &CStr, method: Method, hash: &blake3::Hash) {
        self.note(name, ContentOrigin::Source(RecordedHash::new(method, hash)));
    }

    /// Records that the file `name` was copied from the file of the same name in the base.
    pub(crate) fn copied(&self, name: &CStr) {
        self.note(name, ContentOrigin::Base);
    }

    fn note(&self, name: &CStr, origin: ContentOrigin) {
        self.alter();
        let mut origins = self.origins();
        if origins.len() < HASHES {
            origins.insert(name_digest(name), origin);
        }
    }

    /// Whether anything changed.
    pub(crate) fn any(&self) -> bool {
        self.altered.load(Ordering::Relaxed)
    }

    pub(crate) fn origins(&self) -> MutexGuard<'_, HashMap<NameDigest, ContentOrigin>> {
        lock(&self.origins)
    }
}

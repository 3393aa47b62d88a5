//! What a run stores in one folder, as far as its manifest has to know.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::entry::digest::Method;
use crate::repository::manifest::record::{NameDigest, RecordedHash, name_digest};
use crate::threads::lock::lock;

/// So many hashes are held of one folder. Of further files the hash is read from their attribute: nobody
/// else can reach into an incomplete snapshot.
const HASHES: usize = 64 * 1024;

/// Where the content of a file comes from that is stored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was read from the source.
    Source(RecordedHash),
    /// It was copied from the base's file of the same name.
    Base,
}

/// What changed in a folder against the base.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    altered: AtomicBool,
    origins: Mutex<HashMap<NameDigest, Origin>>,
}

impl Changes {
    /// Something in the folder is not a link to the base, or the base has something else there.
    pub(crate) fn alter(&self) {
        self.altered.store(true, Ordering::Relaxed);
    }

    /// The file `name` was read from the source, and has this hash.
    pub(crate) fn stored(&self, name: &CStr, method: Method, hash: &blake3::Hash) {
        self.note(name, Origin::Source(RecordedHash::new(method, hash)));
    }

    /// The file `name` was copied from the base's of the same name.
    pub(crate) fn copied(&self, name: &CStr) {
        self.note(name, Origin::Base);
    }

    fn note(&self, name: &CStr, origin: Origin) {
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

    pub(crate) fn origins(&self) -> MutexGuard<'_, HashMap<NameDigest, Origin>> {
        lock(&self.origins)
    }
}

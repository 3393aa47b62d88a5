//! What the near end expects of a folder, and how a source confirms it instead of listing it.

use std::ffi::CString;
use std::sync::Mutex;

use crate::entry::folder_digest::{Digest, DigestKey};
use crate::entry::racy::may_have_changed;
use crate::entry::{FileId, Kind, Meta, Time};
use crate::threads::lock::lock;

/// The most folders below each other whose content one digest covers.
pub const DEEPEST: usize = 64;

/// What else must hold for a folder with an equal digest. It rarely changes within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The key of the digests.
    pub key: DigestKey,
    /// A file that may have changed after this time is not confirmed, whatever its size and modification time.
    pub since: Option<Time>,
    /// Whether the source reports entries with several names.
    pub links: bool,
}

impl Terms {
    /// Whether an entry with this metadata can be confirmed.
    #[must_use]
    pub fn admit(&self, meta: &Meta) -> bool {
        let changed = |since| meta.kind == Kind::File && may_have_changed(meta, since, true);
        !self.since.is_some_and(changed)
    }
}

/// What the entries of a folder are, if nothing has changed.
#[derive(Debug, Clone)]
pub struct Expected {
    /// What else must hold.
    pub terms: Terms,
    /// The digest of the entries.
    pub digest: Digest,
    /// Whether it also covers everything below the folder.
    pub below: bool,
    /// The number of entries that it covers.
    pub entries: u64,
    /// The number of folders among them.
    pub folders: usize,
    /// If the only entry is a folder: the digest of its entries, if the only one of these is a folder, the digest of the entries
    /// of that one, and so on. The source confirms as many of them as are equal, one after the other.
    pub chain: Vec<Digest>,
}

/// What the near end cannot know of a folder whose entries are as expected.
///
/// Folders are numbered in the order in which a walk reaches them that enters the subfolders of each folder in the
/// order of the bytes of their names, at once. The folder itself has the number 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The inodes of the folders, beginning with number 1. Those of a chain follow, as many as are confirmed.
    pub folders: Vec<FileId>,
    /// The entries with several names that are no folders, if [`Terms::links`] asks for them.
    pub several: Vec<SeveralNames>,
}

/// An entry with several names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeveralNames {
    /// The number of its folder.
    pub folder: usize,
    /// Its name there.
    pub name: CString,
    /// The inode.
    pub id: FileId,
    /// The number of its names.
    pub links: u64,
    /// Its change time.
    pub ctime: Time,
}

/// What a source found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Everything is as expected.
    Same(Confirmed),
    /// Something below the folder differs. The source listed nothing.
    Differs,
}

/// Where a source puts what it found before it ends a listing without entries. Without it, the listing has the entries.
#[derive(Debug, Default)]
pub struct Reply(Mutex<Option<Found>>);

impl Reply {
    /// Sets what was found.
    pub fn set(&self, found: Found) {
        *lock(&self.0) = Some(found);
    }

    /// Takes what was found.
    #[must_use]
    pub fn take(&self) -> Option<Found> {
        lock(&self.0).take()
    }
}

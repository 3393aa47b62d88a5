//! A listing that is being received.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use engine::SourceError;
use engine::entry::Batch;

use crate::delivery::{Delivery, ListingPart, shown_name};
use crate::helper::protocol::entry::SentEntry;
use crate::helper::read::asked::Asked;
use crate::helper::read::folder::FolderHandle;
use crate::ssh::framing::Violation;

/// Maximum number of entries in a folder. Above it, a far end that sends names without end is more likely. The hashes
/// of this many names fit into 40 MiB.
const ENTRIES_MAX: usize = 3_600_000;

/// A listing, and what was delivered of it.
pub(crate) struct FolderListing {
    pub(crate) folder: Arc<FolderHandle>,
    /// The channel, and the number of the request on it.
    pub(crate) asked: Option<(usize, u32)>,
    /// Hashes of the names that were delivered: a listing that is repeated on a new connection delivers the others.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl FolderListing {
    pub(crate) fn new(folder: Arc<FolderHandle>) -> Self {
        Self { folder, asked: None, seen: HashSet::new(), hasher: RandomState::new() }
    }

    fn is_new(&mut self, name: &[u8]) -> bool {
        self.seen.insert(self.hasher.hash_one(name))
    }

    /// Whether the far end lists more entries than a folder has.
    pub(crate) fn is_endless(&self) -> bool {
        self.seen.len() > ENTRIES_MAX
    }

    /// Delivers entries.
    ///
    /// # Errors
    /// An entry that no folder can have.
    pub(crate) fn entries(
        &mut self,
        id: u64,
        entries: Vec<SentEntry>,
        asked: &Asked,
        delivery: &mut Delivery,
    ) -> Result<(), Violation> {
        let mut batch = Batch::default();
        for entry in entries {
            let parts = entry.parts(|name| asked.keeps(name));
            let (name, meta, extra) = parts.map_err(|_| Violation("metadata that no entry has"))?;
            if !self.is_new(&name) {
                continue;
            }
            if let Err(error) = batch.push(&name, meta, extra) {
                let error = SourceError::BadName(error);
                delivery.listed(id, ListingPart::Unreadable(shown_name(&name), error));
            }
        }
        delivery.listed(id, ListingPart::Batch(batch));
        Ok(())
    }

    /// Delivers an entry that cannot be described.
    pub(crate) fn unreadable(
        &mut self,
        id: u64,
        name: &[u8],
        error: SourceError,
        delivery: &mut Delivery,
    ) {
        if self.is_new(name) {
            delivery.listed(id, ListingPart::Unreadable(shown_name(name), error));
        }
    }
}

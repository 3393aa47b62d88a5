//! A listing that is being received.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use engine::SourceError;
use engine::entry::Batch;
use engine::source::{Expected, Found, Reply, Terms};

use crate::delivery::{Delivery, ListingPart, shown_name};
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::known::SentSame;
use crate::helper::protocol::message::Request;
use crate::helper::read::asked::Asked;
use crate::helper::read::folder::FolderHandle;
use crate::ssh::framing::Violation;

const UNASKED: Violation = Violation("it confirmed what it was not asked about");

/// Maximum number of entries in all folders that are being listed. Above it, a far end that sends names without end is
/// more likely. The hashes of this many names take 29 MB.
pub(crate) const ENTRIES_MAX: usize = 3_600_000;

/// The most names that no entry can have in one listing. Each is reported.
const BAD_NAMES: usize = 100;

/// A listing, and what was delivered of it.
pub(crate) struct FolderListing {
    pub(crate) folder: Arc<FolderHandle>,
    /// The channel, and the number of the request on it.
    pub(crate) asked: Option<(usize, u32)>,
    /// Hashes of the names that were delivered on this connection. The engine notices a name that comes twice.
    seen: Vec<u64>,
    /// Those of earlier connections, sorted: a listing that is repeated delivers the others.
    seen_before: Vec<u64>,
    /// The number of names that came on this connection, also of those that were delivered before.
    came: usize,
    /// The number of names that no entry can have.
    bad_names: usize,
    hasher: RandomState,
    /// What the far end may confirm, as long as it has listed nothing.
    awaited: Option<Awaited>,
}

/// The entries that the engine expects, and where it learns that the source has them.
pub(crate) struct Awaited {
    pub(crate) expected: Expected,
    pub(crate) reply: Arc<Reply>,
}

impl FolderListing {
    pub(crate) fn new(folder: Arc<FolderHandle>, awaited: Option<Awaited>) -> Self {
        let (seen, seen_before, hasher) = (Vec::new(), Vec::new(), RandomState::new());
        Self { folder, asked: None, seen, seen_before, came: 0, bad_names: 0, hasher, awaited }
    }

    /// The message that requests what is not delivered yet, and the terms that must be known for it.
    pub(crate) fn request(&self) -> (Request<'static>, Option<Terms>) {
        let folder = self.folder.number;
        match &self.awaited {
            Some(Awaited { expected, .. }) => {
                (Request::Confirm { folder, expected: expected.into() }, Some(expected.terms))
            }
            None => (Request::List { folder }, None),
        }
    }

    /// The far end confirms the expected entries.
    ///
    /// # Errors
    /// It was not asked to, has listed something, or confirms others.
    pub(crate) fn same(&mut self, same: SentSame) -> Result<(), Violation> {
        let Awaited { expected, reply } = self.awaited.take().ok_or(UNASKED)?;
        let confirmed = same.confirmed(&expected).map_err(|_| UNASKED)?;
        reply.set(Found::Same(confirmed));
        Ok(())
    }

    /// The far end has other entries than expected somewhere below the folder.
    ///
    /// # Errors
    /// It was not asked about what is below, or has listed something.
    pub(crate) fn differs(&mut self) -> Result<(), Violation> {
        let Awaited { expected, reply } = self.awaited.take().ok_or(UNASKED)?;
        if !expected.below {
            return Err(UNASKED);
        }
        reply.set(Found::Differs);
        Ok(())
    }

    /// The connection on which it was asked for is lost.
    pub(crate) fn interrupted(&mut self) {
        (self.asked, self.came) = (None, 0);
        self.seen_before.append(&mut self.seen);
        self.seen_before.sort_unstable();
    }

    fn is_new(&mut self, name: &[u8]) -> bool {
        self.came += 1;
        let hash = self.hasher.hash_one(name);
        if self.seen_before.binary_search(&hash).is_ok() {
            return false;
        }
        self.seen.push(hash);
        true
    }

    /// Whether more names came that no entry can have than a message can be worth.
    pub(crate) fn has_too_many_bad_names(&self) -> bool {
        self.bad_names > BAD_NAMES
    }

    /// The number of names that came: in all, or on this connection if these are more.
    pub(crate) fn names(&self) -> usize {
        self.came.max(self.seen.len() + self.seen_before.len())
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
        self.awaited = None;
        let parts = entries.into_iter().map(|entry| entry.parts(|name| asked.keeps(name)));
        // All or none: an entry that counts as delivered is not delivered by the next connection.
        let parts: Result<Vec<_>, _> = parts.collect();
        let parts = parts.map_err(|_| Violation("metadata that no entry has"))?;
        let bytes = parts.iter().map(|(name, ..)| name.len()).sum();
        let mut batch = Batch::with_capacity(parts.len(), bytes);
        for (name, meta, extra) in parts {
            if !self.is_new(&name) {
                continue;
            }
            if let Err(error) = batch.push(&name, meta, extra) {
                self.bad_names += 1;
                if self.has_too_many_bad_names() {
                    break;
                }
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
        self.awaited = None;
        if self.is_new(name) {
            delivery.listed(id, ListingPart::Unreadable(shown_name(name), error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use engine::entry::folder_digest::DigestKey;

    use super::*;
    use crate::helper::read::folder::Way;

    fn listing(awaited: Option<bool>) -> (FolderListing, Arc<Reply>) {
        let folder = FolderHandle::root(1, Way::Root(PathBuf::from("/")), None, Arc::new(|_| {}));
        let reply = Arc::<Reply>::default();
        let terms = Terms { key: DigestKey::new([0; 32]), since: None, links: false };
        let awaited = awaited.map(|below| Awaited {
            expected: Expected {
                terms,
                digest: [0; 16],
                below,
                entries: 0,
                folders: 0,
                chain: Vec::new(),
            },
            reply: Arc::clone(&reply),
        });
        (FolderListing::new(Arc::new(folder), awaited), reply)
    }

    #[test]
    fn only_what_was_asked_for_is_confirmed_once_and_before_any_entry() {
        let same = || SentSame::default();
        let (mut plain, _) = listing(None);
        assert!(plain.same(same()).is_err() && plain.differs().is_err());
        let (mut folder, reply) = listing(Some(false));
        assert!(folder.differs().is_err() && reply.take().is_none());
        let (mut folder, reply) = listing(Some(false));
        assert!(folder.same(same()).is_ok() && folder.same(same()).is_err());
        assert!(matches!(reply.take(), Some(Found::Same(_))));
        let (mut tree, reply) = listing(Some(true));
        assert!(tree.differs().is_ok() && tree.same(same()).is_err());
        assert_eq!(reply.take(), Some(Found::Differs));
        let (commands, _) = tokio::sync::mpsc::unbounded_channel::<crate::delivery::Unwanted>();
        let (mut delivery, _) = Delivery::start(&commands).unwrap();
        let (mut late, reply) = listing(Some(false));
        late.unreadable(1, b"name", SourceError::Vanished, &mut delivery);
        assert!(matches!(late.request(), (Request::List { .. }, None)));
        assert!(late.same(same()).is_err() && reply.take().is_none());
        let (mut late, _) = listing(Some(false));
        late.entries(1, Vec::new(), &Asked::default(), &mut delivery).unwrap();
        assert!(late.same(same()).is_err());
    }
}

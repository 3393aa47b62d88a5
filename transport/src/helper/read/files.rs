//! A file whose content is being fetched.

use std::sync::Arc;

use engine::Method;
use engine::entry::Meta;
use engine::source::{OfBase, Wanted};

use crate::helper::delta::SIZES;
use crate::helper::protocol::delta::SentSums;
use crate::helper::protocol::message::Request;
use crate::helper::read::delta::DeltaFile;
use crate::helper::read::delta::rules::DeltaRules;
use crate::helper::read::folder::FolderHandle;
use crate::helper::read::ranges::{Piece, Ranges, WORTH_DIVIDING};
use crate::ssh::framing::Violation;

/// The most bytes that a file may have beyond its listed size, as for a local source. Without a limit, a file could
/// go on without end.
const MOST_UNTOLD: u64 = 4 << 30;

/// A file that is fetched, and how much of it was delivered.
pub(crate) struct FileFetch {
    /// The request of the engine, and the index of the file in it.
    pub(crate) request: u64,
    pub(crate) index: usize,
    pub(crate) folder: Arc<FolderHandle>,
    wanted: Wanted,
    /// The channel, and the number of the request on it.
    pub(crate) asked: Option<(usize, u32)>,
    /// The file is built from the base.
    pub(crate) delta: Option<DeltaState>,
    /// The file is fetched in ranges.
    pub(crate) ranges: Option<Ranges>,
    /// The metadata of its handle after the last range that arrived.
    pub(crate) after: Option<Meta>,
    /// The far end cannot divide it into ranges.
    undivided: bool,
    /// The hash that was asked for has arrived.
    hashed: bool,
    /// The recorded hash, if it is a file of a snapshot.
    pub(crate) recorded: Option<[u8; 32]>,
}

/// The state of a file that is built from the base.
#[derive(Default)]
pub(crate) struct DeltaState {
    /// The number of the connection for which it is asked.
    pub(crate) round: u32,
    /// `None` until it is asked for.
    pub(crate) rules: Option<DeltaRules>,
}

impl FileFetch {
    pub(crate) fn new(
        request: u64,
        index: usize,
        folder: &Arc<FolderHandle>,
        wanted: Wanted,
        deltas: bool,
    ) -> Self {
        let has_older = matches!(wanted.base, Some(OfBase::Older(_)));
        let is_delta = deltas && has_older && SIZES.contains(&wanted.entry.meta.size);
        let delta = is_delta.then(DeltaState::default);
        let folder = Arc::clone(folder);
        let (asked, ranges, after, recorded) = (None, None, None, None);
        let (undivided, hashed) = (false, false);
        Self {
            request,
            index,
            folder,
            wanted,
            asked,
            delta,
            ranges,
            after,
            undivided,
            hashed,
            recorded,
        }
    }

    /// Whether it is large enough to be fetched in ranges. A file that has changed is read with one handle, so that
    /// it is accepted as it is. In one with large holes there is less to fetch than its size says.
    pub(crate) fn is_divisible(&self) -> bool {
        let Wanted { entry, from, again, .. } = &self.wanted;
        let has_no_large_holes = Method::of(&entry.meta) == Method::Plain;
        let left = entry.meta.size.saturating_sub(*from);
        !self.undivided && !again && has_no_large_holes && left >= WORTH_DIVIDING
    }

    /// Whether the hash is asked for first: the near end probably has the content.
    pub(crate) fn may_be_same(&self) -> bool {
        matches!(self.wanted.base, Some(OfBase::Same(_)))
    }

    /// The content has to be fetched whatever the near end has.
    pub(crate) fn fetch_content(&mut self) {
        (self.wanted.base, self.asked) = (None, None);
    }

    /// Records that the hash arrived.
    ///
    /// # Errors
    /// It arrived before.
    pub(crate) fn has_hash(&mut self) -> Result<(), Violation> {
        match std::mem::replace(&mut self.hashed, true) {
            true => Err(Violation("two hashes of a file")),
            false => Ok(()),
        }
    }

    /// The message that requests the hash.
    pub(crate) fn hash_request(&self) -> Request<'static> {
        Request::Hash { folder: self.folder.number, file: (&self.wanted).into() }
    }

    /// Begins to fetch in ranges what is not delivered.
    pub(crate) fn divide(&mut self) {
        self.ranges = Some(Ranges::new(self.wanted.from, self.wanted.entry.meta.size));
    }

    /// The connection with all requests is lost. Returns whether something of the file is still wanted.
    pub(crate) fn forget_requests(&mut self) -> bool {
        (self.asked, self.after, self.hashed) = (None, None, false);
        !self.ranges.take().is_some_and(|ranges| ranges.has_ended())
    }

    /// The same file, which is fetched in one piece from where it is.
    pub(crate) fn undivided(&self) -> Self {
        let (folder, wanted) = (&self.folder, self.wanted.clone());
        let whole = Self::new(self.request, self.index, folder, wanted, false);
        Self { undivided: true, ..whole }
    }

    /// The message that requests the next range, and its length.
    pub(crate) fn next_range(&self) -> Option<(Request<'static>, u64)> {
        let (from, length) = self.ranges.as_ref()?.next()?;
        let file = (&Wanted { from, ..self.wanted.clone() }).into();
        Some((Request::Range { folder: self.folder.number, file, length }, length))
    }

    /// The next piece to deliver. A fetch that is repeated goes on behind it.
    pub(crate) fn take_piece(&mut self) -> Option<Piece> {
        let piece = self.ranges.as_mut()?.take()?;
        self.wanted.from += piece.length();
        Some(piece)
    }

    /// What the thread that builds files needs to know of it.
    pub(crate) fn to_build(&self) -> Option<DeltaFile> {
        let Wanted { entry, from, base, .. } = &self.wanted;
        Some(DeltaFile {
            request: self.request,
            index: self.index,
            base: match base.as_ref()? {
                OfBase::Older(base) => Arc::clone(base),
                OfBase::Same(_) => return None,
            },
            listed: entry.meta.clone(),
            from: *from,
        })
    }

    /// The message that requests the chunks from an offset on.
    pub(crate) fn delta_request(&self, from: u64, sums: SentSums) -> Request<'static> {
        let wanted = Wanted { from, ..self.wanted.clone() };
        Request::Delta { folder: self.folder.number, file: (&wanted).into(), sums }
    }

    /// The result of a file that is not asked for any more: as it was listed.
    pub(crate) fn listed(&self) -> Meta {
        self.wanted.entry.meta.clone()
    }

    /// The listed size, bytes.
    pub(crate) fn size(&self) -> u64 {
        self.wanted.entry.meta.size
    }

    /// The message that requests what is not delivered yet.
    pub(crate) fn request(&self) -> Request<'static> {
        Request::Fetch { folder: self.folder.number, file: (&self.wanted).into() }
    }

    /// Counts delivered bytes: a fetch that is repeated goes on behind them.
    ///
    /// # Errors
    /// The file has far more bytes than its size.
    pub(crate) fn delivered(&mut self, bytes: u64) -> Result<(), Violation> {
        let most = self.wanted.entry.meta.size.saturating_add(MOST_UNTOLD);
        let from = self.wanted.from.checked_add(bytes).filter(|from| *from <= most);
        // Of a message that breaks the protocol nothing was delivered.
        self.wanted.from = from.ok_or(Violation("a file without an end"))?;
        Ok(())
    }
}

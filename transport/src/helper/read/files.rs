//! A file whose content is being fetched.

use std::sync::Arc;

use engine::source::Wanted;

use crate::helper::protocol::message::Request;
use crate::helper::read::folder::FolderHandle;
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
}

impl FileFetch {
    pub(crate) fn new(
        request: u64,
        index: usize,
        folder: &Arc<FolderHandle>,
        wanted: Wanted,
    ) -> Self {
        Self { request, index, folder: Arc::clone(folder), wanted, asked: None }
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
        self.wanted.from = self.wanted.from.saturating_add(bytes);
        let most = self.wanted.entry.meta.size.saturating_add(MOST_UNTOLD);
        match self.wanted.from > most {
            true => Err(Violation("a file without an end")),
            false => Ok(()),
        }
    }
}

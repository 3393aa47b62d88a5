//! The commands that the engine sends to the network thread.

use std::sync::Arc;

use engine::SourceError;
use engine::source::{ContentSink, ListSink, Wanted};

use crate::delivery::Unwanted;
use crate::sftp::read::query::PendingQuery;

/// A command to the network thread.
pub(crate) enum Command {
    /// Lists a folder: its path, the real path that the server must report for it, and the sink for its
    /// entries.
    List(Arc<[u8]>, Option<Arc<[u8]>>, Box<dyn ListSink>),
    /// Fetches files: their folder (as in `List`), the files, and the sink for their content.
    Fetch(Arc<[u8]>, Option<Arc<[u8]>>, Vec<Part>, Box<dyn ContentSink>),
    Ask(Vec<PendingQuery>),
    /// Cancels a listing, or the fetch of one file.
    Unwanted(Unwanted),
}

/// A file to fetch, or a part of it.
pub(crate) struct Part {
    pub(crate) wanted: Wanted,
    /// The most bytes to fetch; `None` for the rest of the file.
    pub(crate) length: Option<u64>,
}

impl Part {
    /// A file to its end.
    pub(crate) fn whole(wanted: Wanted) -> Self {
        Self { wanted, length: None }
    }
}

impl From<Unwanted> for Command {
    fn from(unwanted: Unwanted) -> Self {
        Self::Unwanted(unwanted)
    }
}

impl Command {
    /// Fails the command when the network thread can no longer accept it.
    pub(crate) fn refuse(self) {
        match self {
            Self::List(_, _, sink) => sink.end(Err(gone())),
            Self::Fetch(_, _, files, mut sink) => {
                (0..files.len()).for_each(|index| sink.file_end(index, Err(gone())));
                sink.end();
            }
            Self::Ask(asked) => asked.into_iter().for_each(|asked| asked.reply(Err(gone()))),
            Self::Unwanted(_) => {}
        }
    }
}

/// The error when the connection has ended.
pub(crate) fn gone() -> SourceError {
    SourceError::Lost("the connection has ended".to_owned())
}

//! What the engine asks of the network thread.

use std::sync::Arc;

use engine::source::{ContentSink, ListSink, SourceError, Wanted};

use crate::sftp::read::query::Asked;

/// What is asked of the network thread.
pub(crate) enum Command {
    /// A folder by its path, where the server has to say that it is, and who takes its entries.
    List(Arc<[u8]>, Option<Arc<[u8]>>, Box<dyn ListSink>),
    /// A folder as above, files in it, and who takes their content.
    Fetch(Arc<[u8]>, Option<Arc<[u8]>>, Vec<Wanted>, Box<dyn ContentSink>),
    Ask(Vec<Asked>),
    /// No more of this listing is wanted.
    UnwantedFolder(u64),
    /// No more of this file is wanted.
    UnwantedFile(u64, usize),
}

impl Command {
    /// Answers it where no other thread can.
    pub(crate) fn refuse(self) {
        match self {
            Self::List(_, _, sink) => sink.end(Err(gone())),
            Self::Fetch(_, _, files, mut sink) => {
                (0..files.len()).for_each(|index| sink.file_end(index, Err(gone())));
                sink.end();
            }
            Self::Ask(asked) => asked.into_iter().for_each(|asked| asked.reply(Err(gone()))),
            Self::UnwantedFolder(_) | Self::UnwantedFile(..) => {}
        }
    }
}

/// The error when there is no connection any more.
pub(crate) fn gone() -> SourceError {
    SourceError::Lost("the connection has ended".to_owned())
}

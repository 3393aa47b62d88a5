//! The commands that the engine sends to the network thread.

use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use engine::SourceError;
use engine::source::{ContentSink, ListSink, Wanted};

use crate::delivery::Unwanted;
use crate::helper::protocol::message::Answer;
use crate::helper::read::delta::DeltaCommand;
use crate::helper::read::folder::FolderHandle;
use crate::helper::read::listing::Awaited;

/// A command to the network thread.
pub(crate) enum Command {
    List(Arc<FolderHandle>, Option<Awaited>, Box<dyn ListSink>),
    Fetch(Arc<FolderHandle>, Vec<Wanted>, Box<dyn ContentSink>),
    Ask(PendingQuery),
    Unwanted(Unwanted),
    /// From the thread that builds files.
    Delta(DeltaCommand),
    /// The engine has dropped the folder with this number.
    Forget(u64),
}

/// A request with a single answer.
pub(crate) enum Query {
    /// Opens the root at a path and gives its folder a number.
    Root(u64, PathBuf),
    Look(Arc<FolderHandle>, CString),
    Crossing(Arc<FolderHandle>, CString),
    Clock,
}

/// A query, and where its answer goes.
pub(crate) struct PendingQuery {
    pub(crate) query: Query,
    pub(crate) reply: SyncSender<Result<Answer, SourceError>>,
}

impl PendingQuery {
    pub(crate) fn reply(self, answer: Result<Answer, SourceError>) {
        // The thread that asked may have ended.
        let _ = self.reply.send(answer);
    }
}

impl Command {
    /// Fails the command when the network thread accepts no more.
    pub(crate) fn refuse(self) {
        match self {
            Self::List(_, _, sink) => sink.end(Err(gone())),
            Self::Fetch(_, files, mut sink) => {
                (0..files.len()).for_each(|index| sink.file_end(index, Err(gone())));
                sink.end();
            }
            Self::Ask(asked) => asked.reply(Err(gone())),
            Self::Unwanted(_) | Self::Delta(_) | Self::Forget(_) => {}
        }
    }
}

impl From<Unwanted> for Command {
    fn from(unwanted: Unwanted) -> Self {
        Self::Unwanted(unwanted)
    }
}

/// The error when the connection has ended.
pub(crate) fn gone() -> SourceError {
    SourceError::Lost("the connection has ended".to_owned())
}

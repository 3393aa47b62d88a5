//! The commands that the engine sends to the network thread.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use engine::SourceError;
use engine::source::{ContentSink, ListSink, Wanted};

use crate::delivery::Unwanted;
use crate::helper::protocol::copy::{CopyAnswer, CopyRequest};
use crate::helper::protocol::message::{Answer, Request};
use crate::helper::read::delta::DeltaCommand;
use crate::helper::read::folder::{FolderHandle, NamedSnapshot};
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
    /// Opens a snapshot and gives its folder a number.
    Open(u64, Arc<NamedSnapshot>),
    /// The snapshots of a backups folder with a prefix.
    Snapshots(Vec<u8>, String),
    /// The records beside a snapshot, from a byte on.
    Beside(Arc<NamedSnapshot>, u64),
    /// Reports on a copy.
    Tell(Vec<u8>),
    /// The holds of a backups folder with a prefix, from a byte on.
    Holds(Vec<u8>, String, u64),
}

impl Query {
    /// The folder that it is about.
    pub(crate) fn folder(&self) -> Option<&Arc<FolderHandle>> {
        match self {
            Self::Look(folder, _) | Self::Crossing(folder, _) => Some(folder),
            _ => None,
        }
    }

    /// The number of the folder that it opens.
    pub(crate) fn opens(&self) -> Option<u64> {
        match self {
            Self::Root(folder, _) | Self::Open(folder, _) => Some(*folder),
            _ => None,
        }
    }

    /// The message.
    pub(crate) fn request(&self) -> Request<'_> {
        match self {
            Self::Root(folder, path) => {
                Request::Root { folder: *folder, path: path.as_os_str().as_bytes(), id: None }
            }
            Self::Look(folder, name) => {
                Request::Look { folder: folder.number, name: name.to_bytes() }
            }
            Self::Crossing(folder, name) => {
                Request::Crossing { folder: folder.number, name: name.to_bytes() }
            }
            Self::Clock => Request::Clock,
            Self::Open(folder, snapshot) => {
                let (folder, snapshot) = (*folder, snapshot.sent());
                Request::Copy(CopyRequest::Open { folder, snapshot, id: None })
            }
            Self::Snapshots(dir, prefix) => Request::Copy(CopyRequest::Snapshots { dir, prefix }),
            Self::Beside(snapshot, from) => {
                let (snapshot, from) = (snapshot.sent(), *from);
                Request::Copy(CopyRequest::Beside { snapshot, from })
            }
            Self::Tell(what) => Request::Copy(CopyRequest::Tell { what }),
            Self::Holds(dir, prefix, from) => {
                Request::Copy(CopyRequest::Holds { dir, prefix, from: *from })
            }
        }
    }

    /// Whether this is the last answer; `None` if it is none to this query.
    pub(crate) fn is_last(&self, answer: &Answer) -> Option<bool> {
        let fits = matches!(
            (self, answer),
            (Self::Root(..) | Self::Open(..), Answer::Root(_))
                | (Self::Look(..), Answer::Look(_))
                | (Self::Crossing(..), Answer::Crossing(_))
                | (Self::Clock, Answer::Clock(_))
                | (Self::Snapshots(..), Answer::Copy(CopyAnswer::Snapshots(_)))
                | (Self::Beside(..), Answer::Copy(CopyAnswer::Beside(_)))
                | (Self::Tell(_), Answer::Copy(CopyAnswer::Told(..)))
                | (Self::Holds(..), Answer::Copy(CopyAnswer::Holds(_)))
        );
        let goes_on = matches!((self, answer), (Self::Open(..), Answer::Copy(CopyAnswer::Working)));
        (fits || goes_on).then_some(fits)
    }
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

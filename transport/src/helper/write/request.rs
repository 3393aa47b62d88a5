//! The messages between the restoring threads and the network thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use engine::threads::Permit;

use crate::helper::protocol::write::{WriteAnswer, WriteRequest};
use crate::helper::write::fault::RequestError;
use crate::helper::write::folder::FolderHandle;

/// A channel of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelId {
    /// The number of the connection, counted from the first.
    pub(crate) connection: u64,
    pub(crate) number: usize,
}

/// A command to the network thread.
pub(crate) enum WriteCommand {
    Ask(Box<Ask>),
    /// A part of a large file, or its end.
    Part(Part),
    /// A large file is not wanted any more.
    Discard(u64),
    /// No more answers to the request with this ID are wanted.
    Cancel(u64),
    /// This many bytes of listings were used.
    Used(ChannelId, usize),
    /// The engine has dropped the folder with this number.
    Forget(u64),
}

/// A request.
pub(crate) struct Ask {
    pub(crate) id: u64,
    /// The folders that it uses.
    pub(crate) folders: Vec<Arc<FolderHandle>>,
    /// The number of the folder that it opens.
    pub(crate) opens: Option<u64>,
    /// The frame, whose number is set when it is sent.
    pub(crate) frame: Vec<u8>,
    /// Bytes of content at its end.
    pub(crate) content: usize,
    pub(crate) expected: Expected,
    pub(crate) room: Option<Permit>,
    pub(crate) reply: Sender<Event>,
}

/// A part of a large file.
pub(crate) struct Part {
    /// The ID of the request that began the file.
    pub(crate) file: u64,
    pub(crate) frame: Vec<u8>,
    pub(crate) content: usize,
    pub(crate) room: Option<Permit>,
}

/// The answers that fit a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Target,
    Folder,
    /// This many entries.
    Looked(usize),
    Names,
    Found,
    Creator,
    /// This many results.
    Stored(usize),
    /// The result of a large file; whether the far end says first where it goes on.
    File(bool),
    Shortfall,
    Done,
}

impl Expected {
    pub(crate) fn of(request: &WriteRequest<'_>) -> Self {
        match request {
            WriteRequest::Target { .. } => Self::Target,
            WriteRequest::Enter { .. } | WriteRequest::MakeFolder { .. } => Self::Folder,
            WriteRequest::Look { names, .. } => Self::Looked(names.len()),
            WriteRequest::Names { .. } => Self::Names,
            WriteRequest::Explore { .. } => Self::Found,
            WriteRequest::Creator { .. } => Self::Creator,
            WriteRequest::Store { files, .. } => Self::Stored(files.len()),
            WriteRequest::Make { .. } => Self::Stored(1),
            WriteRequest::Begin { again, .. } => Self::File(*again),
            WriteRequest::FileMetadata { .. } | WriteRequest::FolderMetadata { .. } => {
                Self::Shortfall
            }
            _ => Self::Done,
        }
    }

    /// Whether `answer` fits; if so, what is expected after it. `None`: it is the last one.
    pub(crate) fn after(self, answer: &WriteAnswer) -> Result<Option<Self>, ()> {
        match (self, answer) {
            (Self::Target, WriteAnswer::Target(_))
            | (Self::Folder, WriteAnswer::Folder(_))
            | (Self::Names | Self::Found, WriteAnswer::Ended(_))
            | (Self::Creator, WriteAnswer::Creator(_))
            | (Self::Shortfall, WriteAnswer::Shortfall(_))
            | (Self::Done, WriteAnswer::Done(_)) => Ok(None),
            (Self::Names, WriteAnswer::Names(_)) | (Self::Found, WriteAnswer::Found(_)) => {
                Ok(Some(self))
            }
            (Self::Looked(left), WriteAnswer::Looked(some)) if some.len() <= left => {
                let left = left - some.len();
                Ok((left > 0).then_some(Self::Looked(left)))
            }
            (Self::Stored(count), WriteAnswer::Stored(results)) if results.len() == count => {
                Ok(None)
            }
            (Self::File(_), WriteAnswer::Stored(results)) if results.len() == 1 => Ok(None),
            (Self::File(true), WriteAnswer::From(_)) => Ok(Some(Self::File(false))),
            _ => Err(()),
        }
    }
}

/// What the network thread says of a request.
pub(crate) enum Event {
    /// A request for a large file has its channel.
    Placed,
    /// An answer, and for a listing its channel and its bytes.
    Answer(WriteAnswer, Option<(ChannelId, usize)>),
    Failed(RequestError),
}

/// A request whose answers are awaited. The network thread drops its end when it ends, so no thread waits forever.
pub(crate) struct PendingAnswer {
    pub(crate) id: u64,
    pub(crate) events: Receiver<Event>,
    pub(crate) used: Arc<dyn Fn(ChannelId, usize) + Send + Sync>,
}

impl PendingAnswer {
    /// The next answer.
    pub(crate) fn next(&self) -> Result<WriteAnswer, RequestError> {
        loop {
            match self.events.recv() {
                Ok(Event::Placed) => {}
                Ok(Event::Answer(answer, listing)) => {
                    if let Some((channel, bytes)) = listing {
                        (self.used)(channel, bytes);
                    }
                    return Ok(answer);
                }
                Ok(Event::Failed(error)) => return Err(error),
                Err(_) => return Err(RequestError::ended()),
            }
        }
    }

    /// Waits until the request has a channel.
    pub(crate) fn placed(&self) -> Result<(), RequestError> {
        match self.events.recv() {
            Ok(Event::Failed(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(RequestError::ended()),
        }
    }

    /// An answer that has arrived already.
    pub(crate) fn early(&self) -> Option<Result<WriteAnswer, RequestError>> {
        match self.events.try_recv().ok()? {
            Event::Placed => None,
            Event::Answer(answer, _) => Some(Ok(answer)),
            Event::Failed(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(count: usize) -> WriteAnswer {
        WriteAnswer::Stored(vec![Ok(((false, false, false, Vec::new()), None)); count])
    }

    #[test]
    fn only_answers_that_fit_a_request_are_taken() {
        let looked = |count| WriteAnswer::Looked(vec![Ok(None); count]);
        for (expected, answer, after) in [
            (Expected::Looked(3), looked(1), Ok(Some(Expected::Looked(2)))),
            (Expected::Looked(3), looked(3), Ok(None)),
            (Expected::Looked(3), looked(4), Err(())),
            (Expected::Stored(2), stored(2), Ok(None)),
            (Expected::Stored(2), stored(1), Err(())),
            (Expected::File(false), WriteAnswer::From(1), Err(())),
            (Expected::File(true), WriteAnswer::From(1), Ok(Some(Expected::File(false)))),
            (Expected::File(true), stored(1), Ok(None)),
            (Expected::File(true), stored(2), Err(())),
            (Expected::Names, WriteAnswer::Names(Vec::new()), Ok(Some(Expected::Names))),
            (Expected::Names, WriteAnswer::Found(Vec::new()), Err(())),
            (Expected::Found, WriteAnswer::Ended(Ok(true)), Ok(None)),
            (Expected::Done, WriteAnswer::Ended(Ok(true)), Err(())),
            (Expected::Done, WriteAnswer::Working, Err(())),
            (Expected::Folder, WriteAnswer::Credit(1), Err(())),
        ] {
            assert_eq!(expected.after(&answer), after, "{expected:?} {answer:?}");
        }
    }
}

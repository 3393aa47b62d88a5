//! The messages between the restoring threads and the network thread: batches of requests, and their answers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc::UnboundedSender;

use crate::sftp::protocol::packet::{
    Answer, Attrs, Expected, FileSystem, Limits, Request, StatusCode,
};
use crate::sftp::protocol::write_packet::Change;
use crate::sftp::write::link::error::RequestError;

/// A channel of one connection. A handle is valid only on its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelId {
    /// The number of the connection, counted from the first.
    pub(crate) connection: u64,
    pub(crate) number: usize,
}

/// The channel to send requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// The channel with the fewest requests.
    Any,
    /// The channel with this number, modulo the number of channels.
    Nth(usize),
    /// This channel only.
    Same(ChannelId),
}

/// Requests that are sent together on one channel, in this order. They may be sent again on another channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    /// For each frame, its end and the kind of answer that fits.
    parts: Vec<(usize, Expected)>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn ask(mut self, request: Request<'_>) -> Self {
        request.write(0, &mut self.bytes);
        self.parts.push((self.bytes.len(), request.expected()));
        self
    }

    pub(crate) fn change(mut self, change: Change<'_>) -> Self {
        change.write(&mut self.bytes);
        self.parts.push((self.bytes.len(), change.expected()));
        self
    }

    /// Appends `others`.
    pub(crate) fn and(mut self, others: Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend(others.bytes);
        self.parts.extend(others.parts.into_iter().map(|(end, fits)| (start + end, fits)));
        self
    }

    /// The last `length` bytes: those that the last WRITE carries.
    pub(crate) fn tail(&self, length: usize) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(length)..]
    }

    /// Number of requests.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The frames, each with the kind of answer that fits.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (&[u8], Expected)> {
        let starts = std::iter::once(0).chain(self.parts.iter().map(|(end, _)| *end));
        starts
            .zip(&self.parts)
            .map(|(start, (end, expected))| (&self.bytes[start..*end], *expected))
    }
}

/// Requests, and the channel for their answers.
pub(crate) struct RequestBatch {
    pub(crate) requests: Arc<Requests>,
    pub(crate) via: Via,
    pub(crate) reply: SyncSender<Result<Answers, RequestError>>,
}

/// An answer of the server, with its own memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnedAnswer {
    Status(StatusCode),
    Handle(Box<[u8]>),
    Attrs(Attrs),
    Names(Vec<(Box<[u8]>, Attrs)>),
    FileSystem(FileSystem),
    Limits(Limits),
    Data(Box<[u8]>),
}

impl From<Answer<'_>> for OwnedAnswer {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::Status(status, _) => Self::Status(status),
            Answer::Handle(handle) => Self::Handle(handle.into()),
            Answer::Attrs(attrs) => Self::Attrs(attrs),
            Answer::Names(names) => {
                Self::Names(names.into_iter().map(|(name, attrs)| (name.into(), attrs)).collect())
            }
            Answer::FileSystem(found) => Self::FileSystem(found),
            Answer::Limits(limits) => Self::Limits(limits),
            Answer::Data(bytes) => Self::Data(bytes.into()),
        }
    }
}

impl OwnedAnswer {
    /// Checks that the request was fulfilled.
    pub(crate) fn done(self) -> Result<(), RequestError> {
        match self {
            Self::Status(StatusCode::Ok) => Ok(()),
            Self::Status(status) => Err(RequestError::Refused(status)),
            _ => Err(RequestError::Refused(StatusCode::Failure)),
        }
    }

    pub(crate) fn handle(self) -> Result<Box<[u8]>, RequestError> {
        match self {
            Self::Handle(handle) => Ok(handle),
            other => Err(other.refused()),
        }
    }

    pub(crate) fn attrs(self) -> Result<Attrs, RequestError> {
        match self {
            Self::Attrs(attrs) => Ok(attrs),
            other => Err(other.refused()),
        }
    }

    /// The single name in the answer.
    pub(crate) fn name(self) -> Result<Box<[u8]>, RequestError> {
        match self {
            Self::Names(mut names) if names.len() == 1 => Ok(names.remove(0).0),
            other => Err(other.refused()),
        }
    }

    fn refused(self) -> RequestError {
        match self {
            Self::Status(status) => RequestError::Refused(status),
            _ => RequestError::Refused(StatusCode::Failure),
        }
    }
}

/// The answers to requests, in the same order.
#[derive(Debug)]
pub(crate) struct Answers {
    answer: std::vec::IntoIter<OwnedAnswer>,
    /// The channel on which they arrived.
    pub(crate) channel: ChannelId,
}

impl Answers {
    pub(crate) fn new(answer: Vec<OwnedAnswer>, channel: ChannelId) -> Self {
        Self { answer: answer.into_iter(), channel }
    }

    /// The next answer; a failure if there is none.
    pub(crate) fn next(&mut self) -> OwnedAnswer {
        self.answer.next().unwrap_or(OwnedAnswer::Status(StatusCode::Failure))
    }
}

/// Pending answers. The network thread drops them when an answer takes too long or the connection is lost, so
/// no thread waits forever.
pub(crate) struct PendingAnswers(Receiver<Result<Answers, RequestError>>);

impl PendingAnswers {
    /// For requests that will get no answer.
    pub(crate) fn never() -> Self {
        Self(sync_channel(1).1)
    }

    /// Whether everything was answered. If so, this call discards the answers.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.0.try_recv(), Ok(Ok(_)))
    }

    pub(crate) fn wait(self) -> Result<Answers, RequestError> {
        self.0.recv().unwrap_or_else(|_| Err(RequestError::ended()))
    }
}

/// Passes requests to the network thread.
#[derive(Debug)]
pub(crate) struct Requester(UnboundedSender<RequestBatch>);

impl Requester {
    pub(crate) fn new(batches: UnboundedSender<RequestBatch>) -> Self {
        Self(batches)
    }

    /// Sends requests; the caller waits for the answers.
    pub(crate) fn send(&self, via: Via, requests: &Arc<Requests>) -> PendingAnswers {
        let (reply, answers) = sync_channel(1);
        let batch = RequestBatch { requests: Arc::clone(requests), via, reply };
        // If the network thread has ended, the batch is dropped and `wait` reports the end.
        let _ = self.0.send(batch);
        PendingAnswers(answers)
    }

    /// Sends requests and waits for the answers.
    pub(crate) fn ask(&self, via: Via, requests: Requests) -> Result<Answers, RequestError> {
        self.send(via, &Arc::new(requests)).wait()
    }
}

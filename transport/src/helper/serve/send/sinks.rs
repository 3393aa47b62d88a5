//! Sends what the local source lists and reads.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::SourceError;
use engine::entry::{Batch, Meta};
use engine::source::{ContentProof, ContentSink, ListSink};

use crate::helper::protocol::CONTENT_MAX;
use crate::helper::protocol::entry::{SentEntry, SentMeta};
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::frame::{TooLong, append};
use crate::helper::protocol::message::Answer;
use crate::helper::serve::send::credit::Credit;
use crate::helper::serve::send::outbox::{Ended, Outbox};

/// Bytes of entries after which a message is full. One entry more must still fit into a frame.
const FULL: usize = 48 * 1024;

/// Bytes of messages about one file after which they are sent.
const TOGETHER: usize = 16 * 1024;

/// Bytes of a message about the content of a file besides the content: its frame, or the metadata of the file.
const AROUND: usize = 128;

/// The way to the near end, shared by all requests.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) outbox: Outbox,
    pub(crate) listings: Credit,
    pub(crate) contents: Credit,
}

impl Line {
    /// Ends all waiting: the connection is gone.
    pub(crate) fn end(&self) {
        self.outbox.end();
        self.listings.end();
        self.contents.end();
    }
}

/// A request that is being answered.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) line: Arc<Line>,
    pub(crate) number: u32,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Reply {
    fn wanted(&self, sent: Result<(), Ended>) -> ControlFlow<()> {
        match sent {
            Ok(()) if !self.cancelled.load(Ordering::Relaxed) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    /// Sends the answer. An error means that the connection has ended, which the reader of requests notices.
    pub(crate) fn answer(&self, answer: &Answer) {
        let _ = self.line.outbox.answer(self.number, answer);
    }
}

impl Reply {
    /// Sends the answer, unless it is longer than a frame. Returns whether it is not.
    pub(crate) fn answer_if_short(&self, answer: &Answer) -> bool {
        let mut frame = Vec::new();
        let short = append(&mut frame, self.number, answer, &[]).is_ok();
        if short {
            // An error means that the connection has ended, which the reader of requests notices.
            let _ = self.line.outbox.framed(frame);
        }
        short
    }
}

/// Sends a listing.
pub(crate) struct Listing {
    pub(crate) reply: Reply,
}

impl Listing {
    fn send(&self, entries: &mut Vec<SentEntry>) -> Result<(), Ended> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut frame = Vec::new();
        let message = Answer::Batch(std::mem::take(entries));
        if append(&mut frame, self.reply.number, &message, &[]).is_err() {
            let Answer::Batch(entries) = message else { return Ok(()) };
            return entries.into_iter().try_for_each(|entry| self.send_alone(entry));
        }
        self.send_frame(frame)
    }

    /// Sends one entry of a batch that did not fit into a frame.
    fn send_alone(&self, entry: SentEntry) -> Result<(), Ended> {
        let (mut frame, name) = (Vec::new(), entry.name.clone());
        let number = self.reply.number;
        if append(&mut frame, number, &Answer::Batch(vec![entry]), &[]).is_err() {
            let why = "its attributes are longer than 256 KiB together".to_owned();
            let error = SentError::Unreadable(1, None, why);
            append(&mut frame, number, &Answer::Unreadable(name, error), &[]).map_err(|_| Ended)?;
        }
        self.send_frame(frame)
    }

    /// Sends a frame when the near end is ready for its bytes.
    fn send_frame(&self, frame: Vec<u8>) -> Result<(), Ended> {
        self.reply.line.listings.take(frame.len())?;
        self.reply.line.outbox.framed(frame)
    }
}

impl ListSink for Listing {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in batch.iter() {
            let entry = SentEntry::from(entry);
            bytes += entry.bytes();
            entries.push(entry);
            if bytes >= FULL {
                bytes = 0;
                self.reply.wanted(self.send(&mut entries))?;
            }
        }
        self.reply.wanted(self.send(&mut entries))
    }

    fn unreadable(&mut self, name: &CStr, error: SourceError) {
        let answer = Answer::Unreadable(name.to_bytes().to_vec(), (&error).into());
        let mut frame = Vec::new();
        // The text of an error is far shorter than a frame.
        if append(&mut frame, self.reply.number, &answer, &[]).is_ok() {
            let _ = self.send_frame(frame);
        }
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        self.reply.answer(&Answer::Listed(result.map_err(|error| SentError::from(&error))));
    }
}

/// Sends the content of one file.
pub(crate) struct Content {
    reply: Reply,
    /// Messages that are sent together: all of a small file.
    held: Vec<u8>,
}

impl Content {
    /// Answers the request of `reply`.
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply, held: Vec::new() }
    }

    fn send(&mut self, answer: &Answer, bytes: &[u8]) -> Result<(), Ended> {
        // The near end allows more when it has what is held here.
        if !self.reply.line.contents.take_now(bytes.len()) {
            self.flush()?;
            self.reply.line.contents.take(bytes.len())?;
        }
        self.hold(answer, bytes)?;
        if self.held.len() >= TOGETHER { self.flush() } else { Ok(()) }
    }

    fn hold(&mut self, answer: &Answer, bytes: &[u8]) -> Result<(), Ended> {
        self.held.reserve_exact(bytes.len() + AROUND);
        append(&mut self.held, self.reply.number, answer, bytes).map_err(|TooLong| Ended)
    }

    fn flush(&mut self) -> Result<(), Ended> {
        match std::mem::take(&mut self.held) {
            none if none.is_empty() => Ok(()),
            frames => self.reply.line.outbox.framed_content(frames),
        }
    }
}

impl ContentSink for Content {
    fn data(&mut self, _: usize, bytes: &[u8]) -> ControlFlow<()> {
        bytes.chunks(CONTENT_MAX).try_for_each(|part| {
            let sent = self.send(&Answer::Data, part);
            self.reply.wanted(sent)
        })
    }

    fn hole(&mut self, _: usize, length: u64) -> ControlFlow<()> {
        let sent = self.send(&Answer::Hole(length), &[]);
        self.reply.wanted(sent)
    }

    /// The far end has no base.
    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    /// The recorded hash of a snapshot's file. Without credit the last byte was not sent, so it is not sent either.
    fn hashed(&mut self, _: usize, hash: [u8; 32]) {
        let _ = self.hold(&Answer::Hashed(hash), &[]);
    }

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, _: usize, after: Result<Meta, SourceError>) {
        let after = after.as_ref().map(SentMeta::from).map_err(SentError::from);
        // Behind the content of the file, in the same queue. An error means that the connection has ended.
        let _ = self.hold(&Answer::Read(after), &[]).and_then(|()| self.flush());
    }

    fn end(self: Box<Self>) {}
}

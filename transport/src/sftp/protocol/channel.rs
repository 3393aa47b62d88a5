//! A channel's requests: numbered, sent, and remembered until they are answered.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Sender;
use tokio::sync::Notify;

use crate::sftp::protocol::packet::{Expected, Request, Violation, answered, renumber};

/// How long a single answer may take while others arrive: requests are answered in order by
/// most servers, and a slow line takes its time for 64 MiB.
const OVERTAKEN: Duration = Duration::from_secs(3600);

/// How many files are opened at once: sftp-server may have 1024 descriptors, often.
const FILES_MOST: usize = 500;

/// One channel; `P` is the purpose of a request.
pub(crate) struct Channel<P> {
    out: Vec<u8>,
    to: Rc<Sender>,
    /// Told when there is more to send than the pipe takes.
    pub(crate) full: Rc<Notify>,
    pending: HashMap<u32, Pending<P>>,
    next: u32,
    /// When something was last heard, or asked after a silence without requests.
    heard: Instant,
    /// Files that are open or being opened.
    pub(crate) files: usize,
    /// How many it allows.
    pub(crate) files_most: usize,
    opens: u32,
}

/// A request that is not answered.
pub(crate) struct Pending<P> {
    pub(crate) purpose: P,
    pub(crate) expected: Expected,
    pub(crate) asked: Instant,
}

impl<P> Channel<P> {
    /// Closes a handle, without waiting for the answer, whose purpose is `nobody`.
    pub(crate) fn close(&mut self, handle: &[u8], nobody: P) {
        self.ask(Request::Close(handle), nobody);
    }

    pub(crate) fn new(to: Rc<Sender>) -> Self {
        Self {
            out: Vec::new(),
            to,
            full: Rc::new(Notify::new()),
            pending: HashMap::new(),
            next: 0,
            heard: Instant::now(),
            files: 0,
            files_most: FILES_MOST,
            opens: 0,
        }
    }

    /// Asks; [`Channel::flush`] sends it.
    pub(crate) fn ask(&mut self, request: Request<'_>, purpose: P) {
        let id = self.note(request.expected(), purpose);
        request.write(id, &mut self.out);
    }

    /// The same with a request that was framed elsewhere.
    pub(crate) fn pass_on(&mut self, frame: &[u8], expected: Expected, purpose: P) {
        let id = self.note(expected, purpose);
        let start = self.out.len();
        self.out.extend_from_slice(frame);
        renumber(&mut self.out[start..], id);
    }

    /// Remembers a request; its number.
    fn note(&mut self, expected: Expected, purpose: P) -> u32 {
        let now = Instant::now();
        if self.pending.is_empty() {
            self.heard = now;
        }
        while self.pending.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.pending.insert(id, Pending { purpose, expected, asked: now });
        self.next = self.next.wrapping_add(1);
        id
    }

    /// The request that a frame answers: each is answered once.
    pub(crate) fn answered(&mut self, frame: &[u8], now: Instant) -> Result<Pending<P>, Violation> {
        let id = answered(frame)?;
        self.heard = now;
        self.pending.remove(&id).ok_or(Violation("an answer to nothing that was asked"))
    }

    /// Sends as much as the pipe takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.to.try_write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full.notify_one();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..sent);
        Ok(())
    }

    /// A file could be opened: perhaps more can be open at once than was thought.
    pub(crate) fn opened(&mut self) {
        self.opens += 1;
        if self.opens.is_multiple_of(16) {
            self.files_most = (self.files_most + 1).min(FILES_MOST);
        }
    }

    /// Bytes that the pipe has not taken.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// How many requests are out.
    pub(crate) fn load(&self) -> usize {
        self.pending.len()
    }

    /// Bytes are arriving, also within an answer that takes long.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether an answer is overdue.
    pub(crate) fn stalled(&self, now: Instant, limit: Duration) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since);
        !self.pending.is_empty()
            && (silent(self.heard) > limit
                || self
                    .pending
                    .values()
                    .any(|pending| silent(pending.asked) > limit.max(OVERTAKEN)))
    }
}

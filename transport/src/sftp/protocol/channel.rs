//! Numbers and sends the requests of one channel, and remembers them until they are answered.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::sftp::protocol::packet::{Expected, Request, answered, renumber};
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;

/// Maximum time for a single answer while other answers arrive. Most servers answer in order, and a slow
/// connection needs time for 64 MiB.
const OVERTAKEN: Duration = Duration::from_secs(3600);

/// One channel; `P` identifies the purpose of a request.
pub(crate) struct Channel<P> {
    pub(crate) outbox: Outbox,
    pending: HashMap<u32, Pending<P>>,
    next: u32,
    /// When bytes last arrived, or when the first request after an idle time was sent.
    heard: Instant,
    /// Number of files that are open or being opened.
    pub(crate) files: usize,
    /// The handles of files and those of folders.
    handles: [HandleCounts; 2],
}

/// What a handle refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandleKind {
    File,
    Folder,
}

/// Number of handles that are requested, open, and being closed.
#[derive(Debug, Clone, Copy, Default)]
struct HandleCounts {
    opening: usize,
    open: usize,
    closing: usize,
}

/// A request without an answer yet.
pub(crate) struct Pending<P> {
    pub(crate) purpose: P,
    pub(crate) expected: Expected,
    pub(crate) asked: Instant,
}

impl<P> Channel<P> {
    /// Closes a handle without waiting for the answer. The caller passes it to [`Channel::closed`].
    pub(crate) fn close(&mut self, kind: HandleKind, handle: &[u8], purpose: P) {
        let counts = &mut self.handles[kind as usize];
        counts.open = counts.open.saturating_sub(1);
        counts.closing += 1;
        self.ask(Request::Close(handle), purpose);
    }

    pub(crate) fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            pending: HashMap::new(),
            next: 0,
            heard: Instant::now(),
            files: 0,
            handles: Default::default(),
        }
    }

    /// Queues a request; [`Outbox::flush`] sends it.
    pub(crate) fn ask(&mut self, request: Request<'_>, purpose: P) {
        match request {
            Request::Open(_) => self.handles[HandleKind::File as usize].opening += 1,
            Request::OpenDir(_) => self.handles[HandleKind::Folder as usize].opening += 1,
            _ => {}
        }
        let id = self.note(request.expected(), purpose);
        request.write(id, self.outbox.buffer());
    }

    /// Queues a request that is already framed.
    pub(crate) fn pass_on(&mut self, frame: &[u8], expected: Expected, purpose: P) {
        let id = self.note(expected, purpose);
        renumber(self.outbox.push(frame), id);
    }

    /// Remembers a request and returns its number.
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

    /// Removes and returns the request that a frame answers. Each request is answered once.
    pub(crate) fn answered(&mut self, frame: &[u8], now: Instant) -> Result<Pending<P>, Violation> {
        let id = answered(frame)?;
        self.heard = now;
        self.pending.remove(&id).ok_or(Violation("an answer to nothing that was asked"))
    }

    /// Counts the answer to a request for a handle.
    pub(crate) fn opened(&mut self, kind: HandleKind, has_handle: bool) {
        let counts = &mut self.handles[kind as usize];
        counts.opening = counts.opening.saturating_sub(1);
        counts.open += usize::from(has_handle);
    }

    /// Counts a handle that the server closed.
    pub(crate) fn closed(&mut self, kind: HandleKind) {
        let counts = &mut self.handles[kind as usize];
        counts.closing = counts.closing.saturating_sub(1);
    }

    /// Number of handles that are certainly open on the server.
    pub(crate) fn handles_at_least(&self, kind: HandleKind) -> usize {
        self.handles[kind as usize].open
    }

    /// Number of handles that may be open on the server.
    pub(crate) fn handles_at_most(&self, kind: HandleKind) -> usize {
        let HandleCounts { opening, open, closing } = self.handles[kind as usize];
        opening + open + closing
    }

    /// Number of unanswered requests.
    pub(crate) fn load(&self) -> usize {
        self.pending.len()
    }

    /// Records that bytes arrived, possibly in the middle of a long answer.
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

//! One process at the far end: what is asked of it, which folders it knows, and what it may be sent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use engine::threads::Permit;

use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::frame::append;
use crate::helper::protocol::message::Request;
use crate::helper::protocol::write::{REQUESTS, WriteRequest};
use crate::helper::write::folder::FolderHandle;
use crate::helper::write::request::{Ask, Event, Expected, Part};
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;

/// Bytes of listings that a far end may send ahead.
const LISTINGS: i64 = 512 << 10;

/// Maximum bytes framed ahead for a channel's pipe.
const AHEAD: usize = 1 << 20;

/// Maximum time for a single answer while the far end says that it works. The longest work is the removal of a tree.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// A request without its last answer.
pub(crate) struct PendingAsk {
    pub(crate) id: u64,
    pub(crate) expected: Expected,
    pub(crate) asked: Instant,
    pub(crate) reply: Option<Sender<Event>>,
    /// The bytes of the request, beside content.
    bytes: usize,
    /// The end of a large file is on its way.
    ended: bool,
    /// Bytes of a listing that nobody wants any more. They are allowed again when the far end has ended it: one that
    /// goes on without end uses up what it may send.
    pub(crate) unwanted: usize,
}

/// A frame that waits for its turn, because it or one before it has content.
struct Queued {
    request: u32,
    frame: Vec<u8>,
    content: usize,
    /// Held until the frame is on its way.
    _room: Option<Permit>,
}

/// A channel.
pub(crate) struct WriteChannel {
    pub(crate) outbox: Outbox,
    /// The process at the far end, as its temporary names have it.
    pub(crate) maker: Option<String>,
    pending: HashMap<u32, PendingAsk>,
    next: u32,
    /// When bytes last arrived, or the channel last began to wait for some.
    heard: Instant,
    open: HashSet<u64>,
    /// Requests that wait until the far end holds fewer bytes of requests.
    waiting: VecDeque<Ask>,
    held: usize,
    queue: VecDeque<Queued>,
    /// Bytes of content that the far end takes now.
    allowed: i64,
    /// Bytes of listings that the far end may still send.
    listings: i64,
}

impl WriteChannel {
    /// `earlier` are the processes of lost connections.
    pub(crate) fn new(outbox: Outbox, earlier: &[String]) -> Self {
        let mut channel = Self {
            outbox,
            maker: None,
            pending: HashMap::new(),
            next: CONNECTION + 1,
            heard: Instant::now(),
            open: HashSet::new(),
            waiting: VecDeque::new(),
            held: 0,
            queue: VecDeque::new(),
            allowed: 0,
            listings: 0,
        };
        channel.used(LISTINGS.unsigned_abs());
        if !earlier.is_empty() {
            let makers = earlier.iter().map(String::as_str).collect();
            channel.send(CONNECTION, &Request::Write(WriteRequest::Earlier { makers }));
        }
        channel
    }

    fn send(&mut self, number: u32, request: &Request<'_>) {
        // These requests are shorter than a frame.
        let _ = append(self.outbox.buffer(), number, request, &[]);
    }

    /// The number of requests without their last answer, and of those that wait.
    pub(crate) fn load(&self) -> usize {
        self.pending.len() + self.waiting.len()
    }

    /// Whether the far end knows the folder.
    pub(crate) fn knows(&self, folder: u64) -> bool {
        self.open.contains(&folder)
    }

    /// Sends a request, or lets it wait. Returns its number if it is sent.
    pub(crate) fn ask(&mut self, ask: Ask) -> Option<u32> {
        let is_file = matches!(ask.expected, Expected::File(_));
        let bytes = ask.frame.len() - ask.content;
        let is_full = self.held > 0 && self.held + bytes > REQUESTS / 2;
        // The parts of a file follow its request at once.
        if !is_file && (is_full || !self.waiting.is_empty()) {
            self.waiting.push_back(ask);
            return None;
        }
        Some(self.start(ask))
    }

    fn start(&mut self, ask: Ask) -> u32 {
        let Ask { id, folders, opens, frame, content, expected, room, reply } = ask;
        folders.iter().for_each(|folder| self.open(folder));
        self.open.extend(opens);
        let bytes = frame.len() - content;
        let number = self.note(id, expected, Some(reply), bytes);
        let queued =
            Queued { request: number, frame: numbered(frame, number), content, _room: room };
        match content {
            0 => drop(self.outbox.push(&queued.frame)),
            _ => self.queue.push_back(queued),
        }
        number
    }

    fn note(
        &mut self,
        id: u64,
        expected: Expected,
        reply: Option<Sender<Event>>,
        bytes: usize,
    ) -> u32 {
        let asked = Instant::now();
        if self.pending.is_empty() {
            self.heard = asked;
        }
        while self.pending.contains_key(&self.next) || self.next == CONNECTION {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.held += bytes;
        self.pending.insert(
            number,
            PendingAsk { id, expected, asked, reply, bytes, ended: false, unwanted: 0 },
        );
        number
    }

    /// Names a folder, and those above it, to the far end.
    fn open(&mut self, folder: &Arc<FolderHandle>) {
        let mut unknown = Vec::new();
        let mut next = Some(folder);
        while let Some(folder) = next.filter(|folder| !self.open.contains(&folder.number)) {
            unknown.push(folder);
            next = folder.parent();
        }
        for folder in unknown.into_iter().rev() {
            self.open.insert(folder.number);
            let request = folder.request();
            let number = match request {
                // The answer changes nothing: an error belongs to the first request that uses the folder.
                WriteRequest::Target { .. } => self.note(0, Expected::Target, None, 0),
                _ => CONNECTION,
            };
            self.send(number, &Request::Write(request));
        }
    }

    /// Tells the far end that the folder is not needed any more.
    pub(crate) fn forget(&mut self, folder: u64) {
        if self.open.remove(&folder) {
            self.send(CONNECTION, &Request::Write(WriteRequest::Forget { folder }));
        }
    }

    /// Queues a part of the large file that the request `number` began.
    pub(crate) fn part(&mut self, number: u32, part: Part) {
        let Part { frame, content, room, .. } = part;
        let frame = numbered(frame, number);
        self.queue.push_back(Queued { request: number, frame, content, _room: room });
    }

    /// Drops the rest of a large file, which nobody waits for any more. The far end still answers.
    pub(crate) fn discard(&mut self, number: u32) {
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.reply = None;
            if !pending.ended {
                self.drop_rest(number);
            }
        }
    }

    fn drop_rest(&mut self, number: u32) {
        self.queue.retain(|queued| queued.request != number);
        self.send(number, &Request::Write(WriteRequest::Discard));
    }

    /// Tells the far end that no more answers to a request are wanted.
    pub(crate) fn cancel(&mut self, id: u64) {
        let number = self.pending.iter().find(|(_, pending)| pending.id == id);
        if let Some(request) = number.map(|(number, _)| *number) {
            self.send(CONNECTION, &Request::Cancel { request });
        }
    }

    /// Allows the far end to send this many more bytes of listings.
    pub(crate) fn used(&mut self, bytes: u64) {
        self.listings = self.listings.saturating_add_unsigned(bytes);
        self.send(CONNECTION, &Request::Credit { listings: bytes, contents: 0 });
    }

    /// Counts bytes of a listing. Only the last message before the far end waits may exceed what is allowed.
    pub(crate) fn listed(&mut self, bytes: usize) -> Result<(), Violation> {
        if self.listings <= 0 {
            return Err(Violation("it sent more than was allowed"));
        }
        self.listings -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(())
    }

    /// The far end takes this many more bytes of content.
    pub(crate) fn granted(&mut self, bytes: u64) {
        self.allowed = self.allowed.saturating_add_unsigned(bytes);
    }

    /// The request with this number.
    pub(crate) fn pending(&mut self, number: u32) -> Result<&mut PendingAsk, Violation> {
        self.pending.get_mut(&number).ok_or(Violation("an answer to no request"))
    }

    /// Removes a request that has its last answer.
    pub(crate) fn answered(&mut self, number: u32) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.held -= pending.bytes;
        if pending.unwanted > 0 {
            self.used(pending.unwanted as u64);
        }
        // A large file that failed before its end. One that nobody waits for was discarded before.
        let is_file = matches!(pending.expected, Expected::File(_));
        if is_file && !pending.ended && pending.reply.is_some() {
            self.drop_rest(number);
        }
    }

    /// Sends what may be sent now.
    pub(crate) fn pump(&mut self) -> io::Result<()> {
        while let Some(ask) = self.waiting.front()
            && (self.held == 0 || self.held + ask.frame.len() - ask.content <= REQUESTS / 2)
            && let Some(ask) = self.waiting.pop_front()
        {
            self.start(ask);
        }
        while self.outbox.unsent() < AHEAD
            && let Some(next) = self.queue.front()
            && (next.content == 0 || self.allowed > 0)
            && let Some(next) = self.queue.pop_front()
        {
            self.allowed -= i64::try_from(next.content).unwrap_or(i64::MAX);
            self.outbox.push(&next.frame);
            if next.content == 0
                && let Some(pending) = self.pending.get_mut(&next.request)
            {
                pending.ended = true;
            }
        }
        self.outbox.flush()
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether an answer is overdue. The far end says every second that it works on a request.
    pub(crate) fn stalled(&self, now: Instant, limit: Duration) -> bool {
        let silent = |since: Instant| now.saturating_duration_since(since);
        let is_file = |pending: &PendingAsk| matches!(pending.expected, Expected::File(_));
        let mut waiting = self.pending.values().filter(|pending| !is_file(pending));
        !self.pending.is_empty()
            && (silent(self.heard) > limit
                || waiting.any(|pending| silent(pending.asked) > limit.max(LONGEST)))
    }

    /// Those who wait for answers.
    pub(crate) fn waiters(self) -> impl Iterator<Item = Sender<Event>> {
        let pending = self.pending.into_values().filter_map(|pending| pending.reply);
        pending.chain(self.waiting.into_iter().map(|ask| ask.reply))
    }
}

/// Sets the number of a frame.
fn numbered(mut frame: Vec<u8>, number: u32) -> Vec<u8> {
    if let Some(bytes) = frame.get_mut(4..8) {
        bytes.copy_from_slice(&number.to_be_bytes());
    }
    frame
}

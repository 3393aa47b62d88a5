//! One process at the far end: what is asked of it, which folders it knows, and what it may send.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::source::Terms;

use crate::helper::delta::{ALL_PARTS, FILES};
use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::delta::SentPart;
use crate::helper::protocol::frame::append;
use crate::helper::protocol::message::{Answer, Request};
use crate::helper::read::folder::FolderHandle;
use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;

/// Bytes of listings and of contents that a far end may send ahead.
const LISTINGS: i64 = 512 << 10;
const CONTENTS: i64 = 4 << 20;

/// Bytes that may still come in answer to a request after its rest is not wanted any more: what the far end may send
/// before it learns that, and as much again.
const UNWANTED: usize = 8 << 20;

/// The answer is none to the request.
pub(crate) const WRONG: Violation = Violation("an answer to another question");

/// A kind of answers whose amount is limited, see [`Request::Credit`].
#[derive(Debug)]
struct Window {
    size: i64,
    /// Bytes that the far end may still send. Below 0 after a message that is longer than was left.
    allowed: i64,
}

impl Window {
    fn new(size: i64) -> Self {
        Self { size, allowed: 0 }
    }

    /// The bytes to allow now. Small amounts are saved up.
    fn grant(&mut self, ready: bool) -> u64 {
        let more = self.size - self.allowed;
        if !ready || more < self.size / 4 {
            return 0;
        }
        self.allowed += more;
        more.unsigned_abs()
    }

    /// Counts bytes that arrived. Only the last message before the far end waits may exceed what is allowed.
    fn took(&mut self, bytes: usize) -> Result<(), Violation> {
        if self.allowed <= 0 {
            return Err(Violation("it sent more than was allowed"));
        }
        self.allowed -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(())
    }

    fn is_used_up(&self) -> bool {
        self.allowed <= 0
    }
}

/// What a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Query(u64),
    Listing(u64),
    File(u64),
    /// A range of a file.
    Range(u64),
    /// A root that is opened on a further channel; its answer changes nothing.
    Opening,
    /// A listing or a file that has ended for the engine. What still comes of it is dropped.
    Unwanted,
}

/// The credit without which the far end cannot send the answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Listings,
    Contents,
}

impl From<Purpose> for Takes {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Listing(_) => Self::Listings,
            Purpose::File(_) | Purpose::Range(_) => Self::Contents,
            Purpose::Query(_) | Purpose::Opening | Purpose::Unwanted => Self::Nothing,
        }
    }
}

/// A request without its last answer.
struct Pending {
    purpose: Purpose,
    takes: Takes,
    asked: Instant,
    /// The far end waits for this end.
    idle: bool,
    /// Bytes that came after it was not wanted any more.
    unwanted: usize,
    is_delta: bool,
    /// The parts that were asked for and not answered.
    parts: usize,
}

/// A channel.
pub(crate) struct HelperChannel {
    pub(crate) outbox: Outbox,
    pending: HashMap<u32, Pending>,
    /// The requests for which the far end does not wait for this end, by what their answers take.
    expected: [usize; 3],
    next: u32,
    /// When bytes last arrived, or the channel last began to wait for some.
    heard: Instant,
    open: HashSet<u64>,
    listings: Window,
    contents: Window,
    /// The ranges of files that were asked for and have no last answer.
    pub(crate) ranges: usize,
    /// The deltas without their last answer, also those that are not wanted any more: the far end counts these too.
    deltas: usize,
    /// Their parts without an answer.
    parts: usize,
    /// What holds for digests.
    terms: Option<Terms>,
}

impl HelperChannel {
    /// `under_way`: the most bytes of content that the far end may send ahead, if the job limits the rate.
    pub(crate) fn new(outbox: Outbox, under_way: Option<u64>) -> Self {
        let limit = under_way.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(CONTENTS);
        Self {
            outbox,
            pending: HashMap::new(),
            expected: [0; 3],
            next: CONNECTION + 1,
            heard: Instant::now(),
            open: HashSet::new(),
            listings: Window::new(LISTINGS),
            contents: Window::new(limit.min(CONTENTS)),
            ranges: 0,
            deltas: 0,
            parts: 0,
            terms: None,
        }
    }

    fn send(&mut self, number: u32, request: &Request<'_>) {
        // No request is longer than a frame: a path has at most 4,096 bytes.
        let _ = append(self.outbox.buffer(), number, request, &[]);
    }

    /// Sends a request; returns its number.
    pub(crate) fn ask(&mut self, request: &Request<'_>, purpose: Purpose) -> u32 {
        let asked = Instant::now();
        if !self.expects() {
            self.heard = asked;
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1).max(CONNECTION + 1);
        let takes = Takes::from(purpose);
        self.expected[takes as usize] += 1;
        let (idle, is_delta) = (false, matches!(request, Request::Delta { .. }));
        self.deltas += usize::from(is_delta);
        let pending = Pending { purpose, takes, asked, idle, unwanted: 0, is_delta, parts: 0 };
        self.pending.insert(number, pending);
        self.send(number, request);
        number
    }

    /// Whether the far end accepts one delta more.
    pub(crate) fn takes_deltas(&self) -> bool {
        self.deltas < FILES
    }

    /// Whether the far end accepts so many parts more.
    pub(crate) fn takes_parts(&self, count: usize) -> bool {
        self.parts + count <= ALL_PARTS
    }

    /// Records that a part of a request was answered.
    pub(crate) fn part_answered(&mut self, request: u32) {
        if let Some(pending) = self.pending.get_mut(&request).filter(|it| it.parts > 0) {
            pending.parts -= 1;
            self.parts -= 1;
        }
    }

    /// Opens a root, which the caller asks for as `purpose`.
    pub(crate) fn ask_root(&mut self, number: u64, request: &Request<'_>, purpose: Purpose) {
        self.open.insert(number);
        self.ask(request, purpose);
    }

    /// Names a folder, and those above it, to the far end.
    pub(crate) fn open(&mut self, folder: &Arc<FolderHandle>) {
        let mut unknown = Vec::new();
        let mut next = Some(folder);
        while let Some(folder) = next.filter(|folder| !self.open.contains(&folder.number)) {
            unknown.push(folder);
            next = folder.parent();
        }
        for folder in unknown.into_iter().rev() {
            self.open.insert(folder.number);
            folder.is_named();
            match folder.request() {
                root @ (Request::Root { .. } | Request::Copy(_)) => {
                    let _ = self.ask(&root, Purpose::Opening);
                }
                child => self.send(CONNECTION, &child),
            }
        }
    }

    /// Tells the far end what holds for the digests that follow, if it does not know.
    pub(crate) fn agree(&mut self, terms: Option<Terms>) {
        let Some(terms) = terms.filter(|_| self.terms != terms) else { return };
        self.terms = Some(terms);
        self.send(CONNECTION, &Request::Terms((&terms).into()));
    }

    /// Whether the far end knows the folder.
    pub(crate) fn knows(&self, folder: u64) -> bool {
        self.open.contains(&folder)
    }

    /// Tells the far end that the folder is not needed any more.
    pub(crate) fn forget(&mut self, folder: u64) {
        if self.open.remove(&folder) {
            self.send(CONNECTION, &Request::Forget { folder });
        }
    }

    /// Tells the far end that no more answers to a request are wanted.
    pub(crate) fn cancel(&mut self, request: u32) {
        if self.pending.contains_key(&request) {
            self.send(CONNECTION, &Request::Cancel { request });
        }
    }

    /// Tells the far end that no more answers to a request are wanted, and drops what still comes.
    pub(crate) fn abandon(&mut self, request: u32) {
        self.cancel(request);
        self.set_idle(request, false);
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.purpose = Purpose::Unwanted;
        }
    }

    /// Drops an answer of `bytes` bytes, of which `content` are the content of a file, to a request that was abandoned.
    /// Returns whether it is the last one.
    ///
    /// # Errors
    /// The far end goes on, although it must know that nothing more is wanted.
    pub(crate) fn dropped(
        &mut self,
        request: u32,
        answer: &Answer,
        (content, bytes): (usize, usize),
    ) -> Result<bool, Violation> {
        match answer {
            Answer::Batch(_) | Answer::Unreadable(..) => self.listed(bytes)?,
            Answer::Data | Answer::Hole(_) => self.read(content)?,
            Answer::Chunks(_) | Answer::Part(_) => self.read(bytes)?,
            Answer::Hashed(_) if self.is_delta(request) => self.read(bytes)?,
            Answer::Hashed(_) => {}
            Answer::Listed(_) | Answer::Same(_) | Answer::Differs => return Ok(true),
            Answer::Read(_) | Answer::Undivided => return Ok(true),
            _ => return Err(WRONG),
        }
        if matches!(answer, Answer::Part(_)) {
            self.part_answered(request);
        }
        let Some(pending) = self.pending.get_mut(&request) else { return Ok(true) };
        pending.unwanted += bytes;
        match pending.unwanted > UNWANTED {
            true => Err(Violation("it goes on with what is not wanted any more")),
            false => Ok(false),
        }
    }

    fn is_delta(&self, request: u32) -> bool {
        self.pending.get(&request).is_some_and(|pending| pending.is_delta)
    }

    /// Allows the far end to send more, if this end is ready for more listings and contents.
    pub(crate) fn grant(&mut self, listings: bool, contents: bool) {
        let expected = self.expects();
        let (listings, contents) = (self.listings.grant(listings), self.contents.grant(contents));
        if listings > 0 || contents > 0 {
            if !expected {
                self.heard = Instant::now();
            }
            self.send(CONNECTION, &Request::Credit { listings, contents });
        }
    }

    /// Asks for parts of a file whose chunks were asked for.
    pub(crate) fn ask_parts(&mut self, request: u32, parts: Vec<SentPart>, last: bool) {
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.parts += parts.len();
            self.parts += parts.len();
        }
        self.send(CONNECTION, &Request::Parts { request, parts, last });
    }

    /// Records whether the far end waits for this end before it goes on with a request.
    pub(crate) fn set_idle(&mut self, request: u32, idle: bool) {
        let expected = self.expects();
        if let Some(pending) = self.pending.get_mut(&request)
            && pending.idle != idle
        {
            pending.idle = idle;
            match idle {
                true => self.expected[pending.takes as usize] -= 1,
                false => self.expected[pending.takes as usize] += 1,
            }
        }
        if !expected {
            self.heard = Instant::now();
        }
    }

    /// Whether the far end has to send something. A far end without credit for listings still has to send contents, and
    /// the other way round: listings may not be used up because this end waits for a content that never comes.
    fn expects(&self) -> bool {
        let [nothing, listings, contents] = self.expected;
        nothing > 0
            || listings > 0 && !self.listings.is_used_up()
            || contents > 0 && !self.contents.is_used_up()
    }

    /// Counts a message of a listing of this many bytes.
    pub(crate) fn listed(&mut self, bytes: usize) -> Result<(), Violation> {
        self.listings.took(bytes)
    }

    /// Counts this many bytes of content.
    pub(crate) fn read(&mut self, bytes: usize) -> Result<(), Violation> {
        self.contents.took(bytes)
    }

    /// What the answer with this number belongs to, and when it was asked for.
    pub(crate) fn purpose(&self, number: u32) -> Result<(Purpose, Instant), Violation> {
        let pending = self.pending.get(&number).ok_or(Violation("an answer to no request"))?;
        Ok((pending.purpose, pending.asked))
    }

    /// Removes a request that has its last answer.
    pub(crate) fn answered(&mut self, number: u32) {
        let Some(pending) = self.pending.remove(&number) else { return };
        self.deltas -= usize::from(pending.is_delta);
        self.parts -= pending.parts;
        self.expected[pending.takes as usize] -= usize::from(!pending.idle);
    }

    /// The number of requests without their last answer.
    pub(crate) fn load(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether an answer is overdue.
    pub(crate) fn stalled(&self, now: Instant, limit: Duration) -> bool {
        let silent = now.saturating_duration_since(self.heard) > limit;
        silent && self.expects()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.outbox.flush()
    }
}

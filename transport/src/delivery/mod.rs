//! Passes answers to the sinks on two threads, one for listings and one for contents. A slow disk that blocks
//! one thread stops neither the network thread nor the other one.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use engine::SourceError;
use engine::entry::{Batch, Meta};
use engine::source::{ContentProof, ContentSink, ListSink};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

/// Zeros become a hole in runs of this many bytes, aligned to this length.
const BLOCK: usize = 4096;

/// Maximum bytes of listings that may wait for the sinks before the scheduler requests no more.
pub(crate) const LISTINGS: usize = 8 << 20;

/// Memory of an unreadable entry in addition to its name, in bytes: the message and the queue slot.
const UNREADABLE: usize = 200;

/// Memory of a batch in addition to its entries, in bytes: the queue slot.
const BATCH: usize = 100;

/// Memory of a part of a file in addition to its bytes: a far end may send one byte at a time.
const PART: usize = 200;

/// What a sink no longer wants. The delivery threads send it back to the network thread as a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// The rest of a listing: its number.
    Folder(u64),
    /// The rest of one file: the number of the request, and the file's index in it.
    File(u64, usize),
}

/// Counts what waits for the sinks.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Bytes of content, with the memory that each part takes beside them.
    pub(crate) bytes: AtomicUsize,
    /// Bytes of messages that wait for the thread that builds files, without the bytes of content.
    pub(crate) events: AtomicUsize,
    /// Bytes of listings.
    pub(crate) listings: AtomicUsize,
    /// Notified when there is room again.
    pub(crate) less: Arc<Notify>,
}

impl Backlog {
    /// Records that a sink has taken `count` bytes of content. Wakes the network thread only when the total
    /// falls below the limit at which it may be waiting: a wake-up for each small file would cost more than
    /// the file itself.
    pub(crate) fn taken(&self, count: usize) {
        let before = self.bytes.fetch_sub(count, Ordering::Relaxed);
        if before >= QUEUED && before - count < QUEUED {
            self.less.notify_one();
        }
    }
}

/// A part of a listing.
pub(crate) enum ListingPart {
    Begin(Box<dyn ListSink>),
    Batch(Batch),
    Unreadable(CString, SourceError),
    End(Result<(), SourceError>),
}

impl ListingPart {
    /// Approximate memory in bytes that the part takes while it waits.
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => BATCH + batch.bytes(),
            Self::Unreadable(name, _) => UNREADABLE + name.as_bytes().len(),
            Self::Begin(_) | Self::End(_) => 0,
        }
    }
}

/// A part of fetched content; the `usize` is the file's index in the request.
pub(crate) enum ContentPart {
    /// The sink of a request, and its number of files.
    Begin(Box<dyn ContentSink>, usize),
    /// Bytes at this offset of the file. Runs of zeros in them are passed on as holes.
    Data(usize, u64, Vec<u8>),
    /// Bytes that are passed on as they are.
    Bytes(usize, Vec<u8>),
    /// A hole of this length.
    Hole(usize, u64),
    /// Bytes of the base, in a buffer that goes back to its thread.
    OfBase(usize, Lent),
    /// The hash of the whole file.
    Hashed(usize, [u8; 32]),
    /// The file has the content of the base's file, or its hash shows whether it has.
    Same(usize, ContentProof),
    /// The end of a file; after that of its last file a request ends.
    FileEnd(usize, Result<Meta, SourceError>),
}

/// A buffer that goes back to the thread that filled it when it is dropped. So this thread is only so far ahead of
/// the sinks as it has buffers.
pub(crate) struct Lent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) back: Sender<Vec<u8>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        // The thread may have ended.
        let _ = self.back.send(std::mem::take(&mut self.bytes));
    }
}

impl ContentPart {
    /// Approximate memory in bytes that the part takes while it waits.
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Data(_, _, bytes) | Self::Bytes(_, bytes) => bytes.len(),
            Self::Begin(..) | Self::Hole(..) | Self::OfBase(..) => 0,
            Self::Hashed(..) | Self::Same(..) | Self::FileEnd(..) => 0,
        };
        content + self.around()
    }

    /// The same, without the bytes of content.
    pub(crate) fn around(&self) -> usize {
        match self {
            Self::Data(..) | Self::Bytes(..) | Self::Hole(..) | Self::Same(..) => PART,
            Self::Begin(..) | Self::OfBase(..) | Self::Hashed(..) | Self::FileEnd(..) => 0,
        }
    }
}

/// Collects answers and sends them to the delivery threads in batches.
pub(crate) struct Delivery {
    listed: Vec<(u64, ListingPart)>,
    fetched: Vec<(u64, ContentPart)>,
    to_lister: Sender<Vec<(u64, ListingPart)>>,
    to_fetcher: Sender<Vec<(u64, ContentPart)>>,
    pub(crate) backlog: Arc<Backlog>,
    /// Bytes of listings that were received but not yet passed on.
    pub(crate) unproven: usize,
}

impl Delivery {
    /// Starts the threads. They end after `self` is dropped and everything is delivered. They report through
    /// `commands` what a sink no longer wants.
    pub(crate) fn start<C: From<Unwanted> + Send + 'static>(
        commands: &UnboundedSender<C>,
    ) -> std::io::Result<(Self, [JoinHandle<()>; 2])> {
        let backlog = Arc::new(Backlog::default());
        let (to_lister, listed) = channel();
        let (to_fetcher, fetched) = channel();
        let (back, log) = (commands.clone(), Arc::clone(&backlog));
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let lister =
            thread("delivery-listings").spawn(move || deliver_listings(&listed, &back, &log))?;
        let (back, log) = (commands.clone(), Arc::clone(&backlog));
        let fetcher =
            thread("delivery-contents").spawn(move || deliver_contents(&fetched, &back, &log))?;
        let (listed, fetched) = (Vec::new(), Vec::new());
        let delivery = Self { listed, fetched, to_lister, to_fetcher, backlog, unproven: 0 };
        Ok((delivery, [lister, fetcher]))
    }

    pub(crate) fn listed(&mut self, id: u64, part: ListingPart) {
        self.backlog.listings.fetch_add(part.bytes(), Ordering::Relaxed);
        self.listed.push((id, part));
    }

    pub(crate) fn fetched(&mut self, id: u64, part: ContentPart) {
        let count = part.bytes();
        if count > 0 {
            self.backlog.bytes.fetch_add(count, Ordering::Relaxed);
        }
        self.fetched.push((id, part));
    }

    /// Whether the listings that wait for the sinks or for proof reach the limit, so that the scheduler
    /// should request no more.
    pub(crate) fn is_full_of_listings(&self) -> bool {
        self.backlog.listings.load(Ordering::Relaxed) + self.unproven >= LISTINGS
    }

    /// The way to the sinks of contents for another thread. What it sends of a file and what [`Delivery::fetched`] sends
    /// of it must not mix.
    pub(crate) fn to_contents(&self) -> Sender<Vec<(u64, ContentPart)>> {
        self.to_fetcher.clone()
    }

    /// Sends the collected answers to the threads.
    pub(crate) fn flush(&mut self) {
        // The threads live as long as `self`, so sending cannot fail.
        if !self.listed.is_empty() {
            let _ = self.to_lister.send(std::mem::take(&mut self.listed));
        }
        if !self.fetched.is_empty() {
            let _ = self.to_fetcher.send(std::mem::take(&mut self.fetched));
        }
    }
}

/// Why a thread panics. Sinks that are dropped meanwhile tell the engine that something is missing. Without the panic they would
/// look like sinks that received everything.
const NO_END: &str = "the network thread ended without the answers to all requests";

fn deliver_listings<C: From<Unwanted>>(
    parts: &Receiver<Vec<(u64, ListingPart)>>,
    commands: &UnboundedSender<C>,
    backlog: &Backlog,
) {
    let mut sinks: HashMap<u64, Box<dyn ListSink>> = HashMap::new();
    for (id, part) in parts.iter().flatten() {
        let count = part.bytes();
        match part {
            ListingPart::Begin(sink) => drop(sinks.insert(id, sink)),
            ListingPart::Batch(batch) => {
                if let Some(sink) = sinks.get_mut(&id)
                    && sink.batch(batch).is_break()
                {
                    let _ = commands.send(Unwanted::Folder(id).into());
                }
            }
            ListingPart::Unreadable(name, error) => {
                if let Some(sink) = sinks.get_mut(&id) {
                    sink.unreadable(&name, error);
                }
            }
            ListingPart::End(result) => {
                if let Some(sink) = sinks.remove(&id) {
                    sink.end(result);
                }
            }
        }
        if count > 0 {
            backlog.listings.fetch_sub(count, Ordering::Relaxed);
            backlog.less.notify_one();
        }
    }
    assert!(sinks.is_empty(), "{NO_END}");
}

fn deliver_contents<C: From<Unwanted>>(
    parts: &Receiver<Vec<(u64, ContentPart)>>,
    commands: &UnboundedSender<C>,
    backlog: &Backlog,
) {
    let mut sinks: HashMap<u64, Receiving> = HashMap::new();
    for (id, part) in parts.iter().flatten() {
        let count = part.bytes();
        let wanted = match part {
            ContentPart::Begin(sink, 0) => {
                sink.end();
                None
            }
            ContentPart::Begin(sink, files) => {
                sinks.insert(id, Receiving { sink, files });
                None
            }
            ContentPart::FileEnd(index, after) => {
                if let Some(receiving) = sinks.get_mut(&id) {
                    receiving.sink.file_end(index, after);
                    receiving.files -= 1;
                    if receiving.files == 0
                        && let Some(ended) = sinks.remove(&id)
                    {
                        ended.sink.end();
                    }
                }
                None
            }
            part => sinks.get_mut(&id).and_then(|receiving| pass_on(receiving, part)),
        };
        if let Some((index, ControlFlow::Break(()))) = wanted {
            let _ = commands.send(Unwanted::File(id, index).into());
        }
        if count > 0 {
            backlog.taken(count);
        }
    }
    assert!(sinks.is_empty(), "{NO_END}");
}

/// A sink, and its number of files without an end.
struct Receiving {
    sink: Box<dyn ContentSink>,
    files: usize,
}

/// Passes a part of a file to its sink. Returns the index of the file and whether more is wanted.
fn pass_on(receiving: &mut Receiving, part: ContentPart) -> Option<(usize, ControlFlow<()>)> {
    let sink = receiving.sink.as_mut();
    match part {
        ContentPart::Data(index, offset, bytes) => {
            Some((index, deliver(sink, index, offset, &bytes)))
        }
        ContentPart::Bytes(index, bytes) => Some((index, sink.data(index, &bytes))),
        ContentPart::Hole(index, length) => Some((index, sink.hole(index, length))),
        ContentPart::OfBase(index, lent) => Some((index, sink.of_base(index, &lent.bytes))),
        ContentPart::Hashed(index, hash) => {
            sink.hashed(index, hash);
            None
        }
        ContentPart::Same(index, proof) => {
            sink.same(index, proof);
            None
        }
        ContentPart::Begin(..) | ContentPart::FileEnd(..) => None,
    }
}

/// Passes bytes to the sink, and runs of zeros as holes.
fn deliver(sink: &mut dyn ContentSink, index: usize, offset: u64, bytes: &[u8]) -> ControlFlow<()> {
    let (mut rest, mut at) = (bytes, offset);
    while !rest.is_empty() {
        let (zeros, run) = next_run(rest, at);
        let (now, later) = rest.split_at(run);
        if zeros {
            sink.hole(index, run as u64)?;
        } else {
            sink.data(index, now)?;
        }
        (rest, at) = (later, at + run as u64);
    }
    ControlFlow::Continue(())
}

/// The first run in `bytes`, which starts at offset `at` of the file: whether it consists of whole blocks of
/// zeros, and its length.
fn next_run(bytes: &[u8], at: u64) -> (bool, usize) {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    let to_block = (BLOCK as u64 - at % BLOCK as u64) % BLOCK as u64;
    let head = usize::try_from(to_block).unwrap_or(usize::MAX).min(bytes.len());
    let mut end = head;
    let zero = |end: usize| bytes.get(end..end + BLOCK) == Some(&ZEROS[..]);
    if head == 0 && zero(0) {
        while zero(end) {
            end += BLOCK;
        }
        return (true, end);
    }
    while end < bytes.len() && !zero(end) {
        end = (end + BLOCK).min(bytes.len());
    }
    (false, end)
}

/// The name of an entry for messages. Impossible names are cut and escaped.
pub(crate) fn shown_name(name: &[u8]) -> CString {
    let cut = &name[..name.len().min(engine::entry::NAME_MAX)];
    CString::new(cut).unwrap_or_else(|_| {
        let escaped = engine::entry::escape::shown(cut);
        CString::new(escaped)
            .unwrap_or_else(|_| CStr::from_bytes_until_nul(b"?\0").unwrap_or_default().to_owned())
    })
}

pub(crate) const QUEUED: usize = 28 << 20;

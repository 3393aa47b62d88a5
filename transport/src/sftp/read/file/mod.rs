//! The content of one file: OPEN, reads ahead of the answers, FSTAT after the last byte, CLOSE.
//!
//! A small file takes one READ on one channel. A large file is open on several channels, and its pieces are
//! put in order here. If a part of the file was delivered before, by an earlier run or over a lost
//! connection, the server is asked for the metadata before the first byte. The read continues only if the
//! file is as it was listed.

pub(crate) mod answers;
pub(crate) mod context;
pub(crate) mod identity;
pub(crate) mod unreadable;

use std::collections::BTreeMap;
use std::time::SystemTime;

use engine::SourceError;
use engine::entry::Meta;

use crate::delivery::{ContentPart, Delivery};
use crate::sftp::protocol::channel::HandleKind;
use crate::sftp::protocol::packet::{READ_MAX, Request};
use crate::sftp::read::command::Part;
use crate::sftp::read::file::context::{ByteCounts, FileContext, Stream};
use crate::sftp::read::file::identity::same_version;
use crate::sftp::read::file::unreadable::{UNSIZED_MOST, is_of_the_kernel};
use crate::sftp::read::handle_limit::{Others, Refusals};
use crate::sftp::read::location::Location;
use crate::sftp::read::purpose::{FileStep, Purpose, ReadChannel, StepOutcome};

/// A large file is opened on one more channel for each of these bytes.
const A_CHANNEL: u64 = 4 << 20;

/// Memory of a waiting piece in addition to its bytes: a server may send one byte per answer.
const PIECE: u64 = 128;

/// Length in bytes of the READ that is sent with the OPEN of a file listed with size 0. Such a file may have
/// content: procfs and some FUSE file systems report no sizes.
const UNSIZED_FIRST: u32 = 4 * 1024;

/// If it has content, further READs have a large file's length while fewer bytes than this are outstanding.
const UNSIZED_AHEAD: u64 = 8 << 20;

/// A file that is being read.
pub(crate) struct FileRead {
    pub(crate) id: u64,
    /// The fetch request that the file belongs to, and its index there.
    pub(crate) request: u64,
    index: usize,
    path: Box<[u8]>,
    size: u64,
    listed: Meta,
    streams: Vec<Stream>,
    /// When the first delivered byte was read, by the local clock.
    since: Option<SystemTime>,
    /// Check the file with LSTAT before it is opened, because an earlier attempt had a problem.
    check_first: bool,
    /// A part was delivered before; it is not yet checked whether the file is still the same.
    unchecked: bool,
    refusals: Refusals,
    /// Other handles that may have been open when OPEN was sent.
    beside: Others,
    /// Offsets: the next read, the end of the delivered bytes, and the end of the file.
    next: u64,
    delivered: u64,
    end: u64,
    /// Pieces that arrived before the bytes in front of them.
    parts: BTreeMap<u64, Vec<u8>>,
    /// Ranges that short answers left out.
    again: Vec<(u64, u32)>,
    reads: usize,
    /// Number of unanswered FSTAT requests.
    stats: usize,
    /// Whether the last FSTAT was sent after the last byte.
    closing: bool,
    after: Option<Meta>,
    /// Checked before and after OPEN, if the file was not as listed before.
    location: Option<Location>,
}

impl FileRead {
    pub(crate) fn new(id: u64, request: u64, index: usize, path: Vec<u8>, part: &Part) -> Self {
        let Part { wanted, length } = part;
        let size = wanted.entry.meta.size;
        let from = wanted.from.min(size);
        let is_unsized = size == 0 && !is_of_the_kernel(&path);
        Self {
            id,
            request,
            index,
            path: path.into(),
            size,
            listed: wanted.entry.meta.clone(),
            streams: Vec::new(),
            since: None,
            check_first: false,
            unchecked: from > 0,
            refusals: Refusals::default(),
            beside: Others::default(),
            next: from,
            delivered: from,
            end: match length {
                Some(length) => from.saturating_add(*length).min(size),
                None if is_unsized => UNSIZED_MOST,
                None => size,
            },
            parts: BTreeMap::new(),
            again: Vec::new(),
            reads: 0,
            stats: 0,
            closing: false,
            after: None,
            location: None,
        }
    }

    /// Accepts the file only if its folder is at `location` before and after OPEN.
    pub(crate) fn require_location(&mut self, location: Location) {
        self.location = Some(location);
    }

    /// Whether a single READ covers the file.
    pub(crate) fn is_small(&self) -> bool {
        self.size <= u64::from(READ_MAX)
    }

    /// The bytes that a small file reserves in `ByteCounts::small` while it is read.
    pub(crate) fn reserve(&self) -> u64 {
        match self.size {
            0 => u64::from(UNSIZED_FIRST),
            size if self.is_small() => size,
            _ => 0,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Starts the file, or continues it after a lost connection.
    pub(crate) fn start(&mut self, channel: usize, context: &mut FileContext<'_>) {
        context.channels[channel].files += 1;
        if self.check_first {
            self.ask(channel, Request::LStat(&self.path), FileStep::CheckFirst, context.channels);
        } else {
            self.open(channel, context.channels);
        }
        self.streams.push(Stream { channel, handle: None, ready: false, reads: 0 });
        if !self.check_first && !self.unchecked {
            self.spread(context);
        }
    }

    fn open(&mut self, channel: usize, channels: &mut [ReadChannel]) {
        self.beside = Others::at_most(channels, channel, HandleKind::File);
        self.ask_for_location(channel, channels);
        self.ask(channel, Request::Open(&self.path), FileStep::Open(0), channels);
        self.ask_for_location(channel, channels);
    }

    fn ask_for_location(&mut self, channel: usize, channels: &mut [ReadChannel]) {
        if let Some(location) = &mut self.location {
            channels[channel].ask(location.query(), Purpose::File(self.id, FileStep::Location));
        }
    }

    fn ask(
        &self,
        channel: usize,
        request: Request<'_>,
        step: FileStep,
        channels: &mut [ReadChannel],
    ) {
        channels[channel].ask(request, Purpose::File(self.id, step));
    }

    /// Discards the state that is invalid after a lost connection.
    pub(crate) fn reset(&mut self, counts: &mut ByteCounts) {
        counts.held -= self.held();
        self.parts.clear();
        self.check_first |= self.delivered > 0 || !self.streams.is_empty();
        self.unchecked = self.delivered > 0;
        self.streams.clear();
        self.again.clear();
        self.location.iter_mut().for_each(Location::reset);
        (self.reads, self.stats, self.closing) = (0, 0, false);
        (self.next, self.after) = (self.delivered, None);
    }

    fn held(&self) -> u64 {
        self.parts.values().map(|part| part.len() as u64 + PIECE).sum()
    }

    /// Stops the file because the sink wants no more of it.
    pub(crate) fn cut(&mut self, context: &mut FileContext<'_>) -> StepOutcome {
        self.end_here(context.counts);
        self.settle(context)
    }

    /// Discards everything that is not delivered yet and delivers nothing further.
    fn end_here(&mut self, counts: &mut ByteCounts) {
        counts.held -= self.held();
        self.parts.clear();
        self.again.clear();
        self.end = self.delivered;
    }

    /// Requests more of the file: at most `most` READs outstanding, at most `pieces` of them new.
    pub(crate) fn read(&mut self, most: usize, pieces: usize, context: &mut FileContext<'_>) {
        if self.streams.first().is_some_and(|stream| stream.ready) {
            self.spread(context);
        }
        while let Some((offset, length)) = self.again.pop() {
            self.read_piece(offset, length, context);
        }
        for _ in 0..pieces {
            if self.next >= self.end || self.reads >= most {
                return;
            }
            let most = self.piece(context.counts);
            let length = (self.end - self.next).min(u64::from(most)) as u32;
            if !self.read_piece(self.next, length, context) {
                return;
            }
            self.next += u64::from(length);
        }
    }

    /// Maximum length of one READ, in bytes.
    fn piece(&self, counts: &ByteCounts) -> u32 {
        let is_unsized = self.size == 0;
        if is_unsized && (self.delivered == 0 || counts.asked > UNSIZED_AHEAD) {
            UNSIZED_FIRST
        } else {
            READ_MAX
        }
    }

    fn read_piece(&mut self, offset: u64, length: u32, context: &mut FileContext<'_>) -> bool {
        let ready = self.streams.iter().enumerate().filter(|(_, stream)| stream.ready);
        let Some((number, _)) = ready.min_by_key(|(_, stream)| stream.reads) else { return false };
        let small = self.is_small() && u64::from(length) <= self.reserve();
        let stream = &mut self.streams[number];
        let Some(handle) = &stream.handle else { return false };
        stream.reads += 1;
        self.reads += 1;
        if !small {
            context.counts.asked += u64::from(length);
        }
        let step = FileStep::Read { stream: number, offset, length, small };
        context.channels[stream.channel]
            .ask(Request::Read { handle, offset, length }, Purpose::File(self.id, step));
        true
    }

    /// Opens a large file on further channels.
    fn spread(&mut self, context: &mut FileContext<'_>) {
        if self.location.is_some() || self.is_small() || context.handles.is_limited() {
            return;
        }
        let most = usize::try_from(self.end.saturating_sub(self.next) / A_CHANNEL);
        let most = most.unwrap_or(usize::MAX);
        let channels = &mut *context.channels;
        for channel in 0..channels.len() {
            if self.streams.len() >= most {
                return;
            }
            if self.streams.iter().all(|stream| stream.channel != channel) {
                channels[channel].files += 1;
                let step = FileStep::Open(self.streams.len());
                self.ask(channel, Request::Open(&self.path), step, channels);
                self.streams.push(Stream { channel, handle: None, ready: false, reads: 0 });
            }
        }
    }

    fn stat(&mut self, number: usize, channels: &mut [ReadChannel]) {
        let stream = &self.streams[number];
        if let Some(handle) = &stream.handle {
            self.stats += 1;
            self.ask(stream.channel, Request::FStat(handle), FileStep::Stat(number), channels);
        }
    }

    /// Continues with the next step if nothing is missing for it.
    fn settle(&mut self, context: &mut FileContext<'_>) -> StepOutcome {
        let placed = self.location.as_ref().is_none_or(Location::is_known);
        let missing = self.delivered < self.end || !self.again.is_empty();
        if !placed || self.reads > 0 || self.stats > 0 || missing {
            return StepOutcome::Continues;
        }
        // OPEN is not answered yet.
        if self.streams.first().is_none_or(|stream| stream.handle.is_none()) {
            return StepOutcome::Continues;
        }
        if !self.closing {
            self.closing = true;
            for number in 0..self.streams.len() {
                self.stat(number, context.channels);
            }
            return StepOutcome::Continues;
        }
        let Some(after) = self.after.clone() else { return StepOutcome::Continues };
        if !same_version(&self.listed, &after) && !self.check_first {
            // OPEN follows symlinks, so LSTAT decides whether this file changed or another one was opened.
            self.check_first = true;
            self.stats += 1;
            self.ask(
                self.streams[0].channel,
                Request::LStat(&self.path),
                FileStep::Name,
                context.channels,
            );
            return StepOutcome::Continues;
        }
        // The reported size is 0, so the size is the number of bytes read.
        let is_unsized = self.size == 0 && after.size == 0;
        let size = if is_unsized { self.delivered } else { after.size };
        self.finish(Ok(Meta { size, ..after }), context)
    }

    fn finish(
        &mut self,
        result: Result<Meta, SourceError>,
        context: &mut FileContext<'_>,
    ) -> StepOutcome {
        context.counts.held -= self.held();
        self.parts.clear();
        self.close(context.channels);
        self.abandon(result, context.delivery)
    }

    /// Ends the file when there is no connection any more.
    pub(crate) fn abandon(
        &mut self,
        result: Result<Meta, SourceError>,
        delivery: &mut Delivery,
    ) -> StepOutcome {
        delivery.fetched(self.request, ContentPart::FileEnd(self.index, result));
        StepOutcome::Ended
    }

    fn close(&mut self, channels: &mut [ReadChannel]) {
        for stream in self.streams.drain(..) {
            let channel = &mut channels[stream.channel];
            channel.files = channel.files.saturating_sub(1);
            if let Some(handle) = stream.handle {
                channel.close(HandleKind::File, &handle, Purpose::Close(HandleKind::File));
            }
        }
    }
}

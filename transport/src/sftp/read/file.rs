//! The content of one file: OPEN, reads ahead of the answers, FSTAT behind the last byte, CLOSE.
//!
//! A small file is one read on one channel. A large one is open on several, and its pieces are put in
//! order here. One of which a part was read before, by an earlier run or over a connection that was
//! lost, is looked at in front of the first byte, and goes on only where it is as it was listed.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::entry::{Kind, Meta};
use engine::source::{SourceError, Wanted};

use crate::sftp::protocol::attributes::{meta, refusal, undescribed};
use crate::sftp::protocol::packet::{Answer, READ_MAX, Request, Status};
use crate::sftp::read::delivery::{Fetched, Post};
use crate::sftp::read::listing::Going;
use crate::sftp::read::location::Place;
use crate::sftp::read::purpose::{FileStep, Purpose, ReadLine};
use crate::sftp::read::unreadable_file::{
    MOST_UNTOLD, cut_short, denied, endless, is_replaced, unaskable,
};

/// A file is opened on one more channel for each so many bytes.
const A_CHANNEL: u64 = 4 << 20;

/// How often OPEN is tried that fails without a reason: the server may have no handle left.
const TRIES: u32 = 4;

/// What a piece that waits takes beside its bytes: a server may answer with a byte at a time.
const PIECE: u64 = 128;

/// A file that is listed with the size 0 may hold something: procfs and some FUSE file systems tell no sizes. So
/// one READ of so many bytes goes out with its OPEN.
const UNTOLD: u32 = 4 * 1024;

/// When it holds something, further READs are as long as a large file's while fewer bytes than that are asked for.
const UNTOLD_AHEAD: u64 = 8 << 20;

/// Seconds that a modification time has to be older than a read to prove what was read: FAT counts two, and
/// clocks differ.
const TICK: i64 = 5;

/// A file that is being read.
pub(crate) struct File {
    pub(crate) id: u64,
    /// Which request it belongs to, and its number there.
    pub(crate) request: u64,
    index: usize,
    path: Box<[u8]>,
    size: u64,
    listed: Meta,
    streams: Vec<Stream>,
    /// When the first of what is told was read, by this machine's clock.
    since: Option<SystemTime>,
    /// Look at it before it is opened: something went wrong with it before.
    wary: bool,
    /// A part was read before, and whether the file is still the same has to be looked at.
    unchecked: bool,
    tries: u32,
    /// Whether no other file was open on the channel, or being opened, when OPEN was sent.
    alone: bool,
    /// Where the next read starts, how far the bytes are told, and where they end.
    next: u64,
    told: u64,
    end: u64,
    /// Pieces that came before those in front of them.
    parts: BTreeMap<u64, Vec<u8>>,
    /// What short answers left out.
    again: Vec<(u64, u32)>,
    reads: usize,
    /// FSTAT that are not answered.
    stats: usize,
    /// Whether the last FSTAT is behind the last byte.
    closing: bool,
    after: Option<Meta>,
    /// Asked for in front of OPEN and behind it, when it was not what was listed before.
    place: Option<Place>,
}

/// A file's handle on one channel.
struct Stream {
    line: usize,
    handle: Option<Box<[u8]>>,
    /// Whether reads may go there.
    ready: bool,
    reads: usize,
}

/// Bytes that are asked for or wait for those in front of them.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Of small files that were started.
    pub(crate) small: u64,
    /// Asked for, of all others.
    pub(crate) asked: u64,
    /// Come before those in front of them, with what each piece takes beside.
    pub(crate) held: u64,
}

/// What a file needs of the rest while it takes an answer.
pub(crate) struct Around<'a> {
    pub(crate) lines: &'a mut [ReadLine],
    pub(crate) post: &'a mut Post,
    pub(crate) books: &'a mut Books,
}

impl File {
    pub(crate) fn new(id: u64, request: u64, index: usize, path: Vec<u8>, wanted: &Wanted) -> Self {
        let size = wanted.entry.meta.size;
        let from = wanted.from.min(size);
        Self {
            id,
            request,
            index,
            path: path.into(),
            size,
            listed: wanted.entry.meta.clone(),
            streams: Vec::new(),
            since: None,
            wary: false,
            unchecked: from > 0,
            tries: 0,
            alone: false,
            next: from,
            told: from,
            end: if size == 0 { MOST_UNTOLD } else { size },
            parts: BTreeMap::new(),
            again: Vec::new(),
            reads: 0,
            stats: 0,
            closing: false,
            after: None,
            place: None,
        }
    }

    /// It counts only when its folder is in this place while it is opened.
    pub(crate) fn has_to_lie_in(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Whether one read takes it.
    pub(crate) fn is_small(&self) -> bool {
        self.size <= u64::from(READ_MAX)
    }

    /// What it takes of the books while it is being read, if it is small.
    pub(crate) fn reserve(&self) -> u64 {
        match self.size {
            0 => u64::from(UNTOLD),
            size if self.is_small() => size,
            _ => 0,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Starts, or goes on after a lost connection.
    pub(crate) fn start(&mut self, line: usize, around: &mut Around<'_>) {
        around.lines[line].files += 1;
        if self.wary {
            self.ask(line, Request::LStat(&self.path), FileStep::Wary, around.lines);
        } else {
            self.open(line, around.lines);
        }
        self.streams.push(Stream { line, handle: None, ready: false, reads: 0 });
        if !self.wary && !self.unchecked {
            self.spread(around.lines);
        }
    }

    fn open(&mut self, line: usize, lines: &mut [ReadLine]) {
        self.alone = lines[line].files == 1;
        self.ask_for_place(line, lines);
        self.ask(line, Request::Open(&self.path), FileStep::Open(0), lines);
        self.ask_for_place(line, lines);
    }

    fn ask_for_place(&mut self, line: usize, lines: &mut [ReadLine]) {
        if let Some(place) = &mut self.place {
            lines[line].ask(place.question(), Purpose::File(self.id, FileStep::Place));
        }
    }

    fn ask(&self, line: usize, request: Request<'_>, step: FileStep, lines: &mut [ReadLine]) {
        lines[line].ask(request, Purpose::File(self.id, step));
    }

    /// Forgets what a lost connection took with it.
    pub(crate) fn reset(&mut self, books: &mut Books) {
        books.held -= self.held();
        self.parts.clear();
        self.wary |= self.told > 0 || !self.streams.is_empty();
        self.unchecked = self.told > 0;
        self.streams.clear();
        self.again.clear();
        self.place.iter_mut().for_each(Place::reset);
        (self.reads, self.stats, self.closing) = (0, 0, false);
        (self.next, self.after) = (self.told, None);
    }

    fn held(&self) -> u64 {
        self.parts.values().map(|part| part.len() as u64 + PIECE).sum()
    }

    /// No more of it is wanted.
    pub(crate) fn cut(&mut self, around: &mut Around<'_>) -> Going {
        self.end_here(around.books);
        self.settle(around)
    }

    /// Nothing is told behind what is told already.
    fn end_here(&mut self, books: &mut Books) {
        books.held -= self.held();
        self.parts.clear();
        self.again.clear();
        self.end = self.told;
    }

    /// Asks for more of it: at most `most` reads out, at most `pieces` of them new.
    pub(crate) fn read(&mut self, most: usize, pieces: usize, around: &mut Around<'_>) {
        if self.streams.first().is_some_and(|stream| stream.ready) {
            self.spread(around.lines);
        }
        while let Some((offset, length)) = self.again.pop() {
            self.read_piece(offset, length, around);
        }
        for _ in 0..pieces {
            if self.next >= self.end || self.reads >= most {
                return;
            }
            let most = self.piece(around.books);
            let length = (self.end - self.next).min(u64::from(most)) as u32;
            if !self.read_piece(self.next, length, around) {
                return;
            }
            self.next += u64::from(length);
        }
    }

    /// Most bytes that one READ asks for.
    fn piece(&self, books: &Books) -> u32 {
        let is_untold = self.size == 0;
        if is_untold && (self.told == 0 || books.asked > UNTOLD_AHEAD) { UNTOLD } else { READ_MAX }
    }

    fn read_piece(&mut self, offset: u64, length: u32, around: &mut Around<'_>) -> bool {
        let ready = self.streams.iter().enumerate().filter(|(_, stream)| stream.ready);
        let Some((number, _)) = ready.min_by_key(|(_, stream)| stream.reads) else { return false };
        let small = self.is_small() && u64::from(length) <= self.reserve();
        let stream = &mut self.streams[number];
        let Some(handle) = &stream.handle else { return false };
        stream.reads += 1;
        self.reads += 1;
        if !small {
            around.books.asked += u64::from(length);
        }
        let step = FileStep::Read { stream: number, offset, length, small };
        around.lines[stream.line]
            .ask(Request::Read { handle, offset, length }, Purpose::File(self.id, step));
        true
    }

    /// Opens a large file on more channels.
    fn spread(&mut self, lines: &mut [ReadLine]) {
        if self.place.is_some() || self.is_small() {
            return;
        }
        let most = usize::try_from(self.end.saturating_sub(self.next) / A_CHANNEL);
        let most = most.unwrap_or(usize::MAX);
        for line in 0..lines.len() {
            if self.streams.len() >= most {
                return;
            }
            if self.streams.iter().all(|stream| stream.line != line) {
                lines[line].files += 1;
                let step = FileStep::Open(self.streams.len());
                self.ask(line, Request::Open(&self.path), step, lines);
                self.streams.push(Stream { line, handle: None, ready: false, reads: 0 });
            }
        }
    }

    /// Takes an answer.
    pub(crate) fn answer(
        &mut self,
        step: FileStep,
        answer: Answer<'_>,
        around: &mut Around<'_>,
    ) -> Result<Going, Again> {
        match self.step(step, answer, around) {
            Ok(()) => {
                if self.is_small() {
                    self.read(1, 1, around);
                }
                Ok(self.settle(around))
            }
            Err(Failed::Again) => {
                self.close(around.lines);
                self.reset(around.books);
                Err(Again)
            }
            Err(Failed::With(error)) => Ok(self.finish(Err(error), around)),
        }
    }

    fn step(
        &mut self,
        step: FileStep,
        answer: Answer<'_>,
        around: &mut Around<'_>,
    ) -> Result<(), Failed> {
        match (step, answer) {
            (FileStep::Wary, Answer::Attrs(attrs)) => {
                self.check_kind(meta(attrs))?;
                self.open(self.streams[0].line, around.lines);
            }
            (FileStep::Open(number), Answer::Handle(handle)) => {
                self.streams[number].handle = Some(handle.into());
                around.lines[self.streams[number].line].opened();
                // Of a small one that is read by the next request, behind it.
                let small = self.is_small() && !self.unchecked;
                // What FSTAT tells comes before what is read behind it. Only the first one decides
                // whether to go on inside a file.
                self.streams[number].ready = !self.unchecked;
                if small && self.next < self.end {
                    self.read(1, 1, around);
                }
                self.stat(number, around.lines);
                self.closing = small || self.told == self.end;
            }
            // A large file does without this channel.
            (FileStep::Open(number), Answer::Status(_)) if number > 0 => {}
            (FileStep::Open(_), Answer::Status(Status::Failure)) if self.tries < TRIES => {
                let line = &mut around.lines[self.streams[0].line];
                // The server had handles left if it had no other file open then. Now others may be closed.
                self.tries += if self.alone { TRIES } else { 1 };
                line.files_most = (line.files / 2).max(2);
                return Err(Failed::Again);
            }
            // Not every server that says so means it: the name may be one that it cannot take.
            (FileStep::Open(_), Answer::Status(Status::NoSuchFile)) => {
                self.ask(
                    self.streams[0].line,
                    Request::LStat(&self.path),
                    FileStep::There,
                    around.lines,
                );
            }
            (FileStep::There, Answer::Attrs(_)) => return Err(Failed::With(denied())),
            (FileStep::There, Answer::Status(status)) => {
                let found = match refusal("look at", status) {
                    SourceError::Vanished if is_replaced(&self.path) => unaskable(),
                    error => error,
                };
                return Err(Failed::With(found));
            }
            (FileStep::Wary | FileStep::Open(_), Answer::Status(status)) => {
                return Err(Failed::With(refusal("open", status)));
            }
            (FileStep::Place, answer) => {
                self.place.as_mut().map_or(Ok(()), |place| place.answer(&answer))?;
            }
            (FileStep::Stat(number), Answer::Attrs(attrs)) => {
                self.stats -= 1;
                let now = self.check_kind(meta(attrs))?;
                if !self.is_whose_was_listed(&now) {
                    return Err(Failed::With(SourceError::Replaced));
                }
                let same = self.is_as_listed(&now);
                if std::mem::take(&mut self.unchecked) && !(same && self.proves_what_was_told()) {
                    if self.size == 0 {
                        return Err(Failed::With(cut_short()));
                    }
                    // What was told and what would follow are of two different files.
                    self.end_here(around.books);
                    self.closing = true;
                }
                // It got a size since it was listed: it is read again with that.
                if self.size == 0 && now.size > 0 {
                    self.end_here(around.books);
                }
                // What one channel tells otherwise is what counts.
                if !same || self.after.as_ref().is_none_or(|after| self.is_as_listed(after)) {
                    self.after = Some(now);
                }
                self.streams[number].ready = true;
            }
            (FileStep::Stat(_), Answer::Status(status)) => {
                return Err(Failed::With(refusal("look at", status)));
            }
            (FileStep::Read { stream, offset, length, .. }, Answer::Data(bytes)) => {
                self.streams[stream].reads -= 1;
                self.reads -= 1;
                let missing = length - bytes.len() as u32;
                if missing > 0 && offset + (bytes.len() as u64) < self.end {
                    self.again.push((offset + bytes.len() as u64, missing));
                    self.closing = false;
                }
                // What was told of it was told before its end was read.
                self.closing &= self.size > 0;
                self.take(offset, bytes, around);
                if self.size == 0 && self.told >= MOST_UNTOLD {
                    return Err(Failed::With(endless()));
                }
            }
            (FileStep::Read { stream, offset, .. }, Answer::Status(Status::Eof)) => {
                self.streams[stream].reads -= 1;
                self.reads -= 1;
                self.end = self.end.min(offset.max(self.told));
                self.again.retain(|(offset, _)| *offset < self.end);
            }
            (FileStep::Read { .. }, Answer::Status(status)) => {
                return Err(Failed::With(refusal("read", status)));
            }
            (FileStep::Name, Answer::Attrs(attrs)) => {
                self.stats -= 1;
                self.check_kind(meta(attrs))?;
            }
            (FileStep::Name, Answer::Status(_)) => self.stats -= 1,
            _ => return Err(Failed::With(undescribed())),
        }
        Ok(())
    }

    fn stat(&mut self, number: usize, lines: &mut [ReadLine]) {
        let stream = &self.streams[number];
        if let Some(handle) = &stream.handle {
            self.stats += 1;
            self.ask(stream.line, Request::FStat(handle), FileStep::Stat(number), lines);
        }
    }

    /// Whether size and time prove that what was told is of the file as it is now: what changed within the
    /// tick in which it was read has the same. What an earlier run read is that one's to judge.
    fn proves_what_was_told(&self) -> bool {
        let Some(since) = self.since else { return true };
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.listed.mtime.secs < i64::try_from(since).unwrap_or(i64::MAX).saturating_sub(TICK)
    }

    fn is_as_listed(&self, now: &Meta) -> bool {
        now.size == self.size && now.mtime == self.listed.mtime
    }

    /// Whether the open file has the owner and mode that its copy gets. SFTP opens by path, through whatever
    /// symlink a folder above turned into: so nobody gets to read a copy of what he may not read there.
    fn is_whose_was_listed(&self, now: &Meta) -> bool {
        let whose = |meta: &Meta| (meta.uid, meta.gid, meta.mode);
        whose(now) == whose(&self.listed)
    }

    fn check_kind(&self, now: Option<Meta>) -> Result<Meta, SourceError> {
        let now = now.ok_or_else(undescribed)?;
        if now.kind == Kind::File { Ok(now) } else { Err(SourceError::Replaced) }
    }

    /// Puts bytes in their place, and tells those that nothing is missing in front of.
    fn take(&mut self, offset: u64, bytes: &[u8], around: &mut Around<'_>) {
        let room = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        if bytes.is_empty() {
            return;
        }
        around.books.held += bytes.len() as u64 + PIECE;
        self.parts.insert(offset, bytes.to_vec());
        while let Some(first) = self.parts.first_entry() {
            if *first.key() != self.told {
                break;
            }
            let part = first.remove();
            around.books.held -= part.len() as u64 + PIECE;
            self.told += part.len() as u64;
            self.since.get_or_insert_with(SystemTime::now);
            let at = self.told - part.len() as u64;
            around.post.fetched(self.request, Fetched::Data(self.index, at, part));
        }
    }

    /// Goes on to the next step when nothing is missing for it.
    fn settle(&mut self, around: &mut Around<'_>) -> Going {
        let placed = self.place.as_ref().is_none_or(Place::is_known);
        let missing = self.told < self.end || !self.again.is_empty();
        if !placed || self.reads > 0 || self.stats > 0 || missing {
            return Going::On;
        }
        // Still being opened.
        if self.streams.first().is_none_or(|stream| stream.handle.is_none()) {
            return Going::On;
        }
        if !self.closing {
            self.closing = true;
            for number in 0..self.streams.len() {
                self.stat(number, around.lines);
            }
            return Going::On;
        }
        let Some(after) = self.after.clone() else { return Going::On };
        if !self.is_as_listed(&after) && !self.wary {
            // OPEN follows symlinks: is it the file that changed, or another one?
            self.wary = true;
            self.stats += 1;
            self.ask(
                self.streams[0].line,
                Request::LStat(&self.path),
                FileStep::Name,
                around.lines,
            );
            return Going::On;
        }
        // Its size is what could be read of it.
        let is_untold = self.size == 0 && after.size == 0;
        let size = if is_untold { self.told } else { after.size };
        self.finish(Ok(Meta { size, ..after }), around)
    }

    fn finish(&mut self, result: Result<Meta, SourceError>, around: &mut Around<'_>) -> Going {
        around.books.held -= self.held();
        self.parts.clear();
        self.close(around.lines);
        self.abandon(result, around.post)
    }

    /// Ends it where there is no connection any more.
    pub(crate) fn abandon(&mut self, result: Result<Meta, SourceError>, post: &mut Post) -> Going {
        post.fetched(self.request, Fetched::FileEnd(self.index, result));
        Going::Ended
    }

    fn close(&mut self, lines: &mut [ReadLine]) {
        for stream in self.streams.drain(..) {
            let line = &mut lines[stream.line];
            line.files = line.files.saturating_sub(1);
            if let Some(handle) = stream.handle {
                line.close(&handle, Purpose::Nobody);
            }
        }
    }
}

/// The file is to be started again, later.
#[derive(Debug)]
pub(crate) struct Again;

enum Failed {
    Again,
    With(SourceError),
}

impl From<SourceError> for Failed {
    fn from(error: SourceError) -> Self {
        Self::With(error)
    }
}

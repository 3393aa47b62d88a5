//! A file that is sent as its differences from the base's copy, which the near end has.
//!
//! The far end reads the file once and sends the sums of its chunks. Meanwhile and afterwards it sends the parts that
//! the near end asks for, without the pages whose sums the base has too. No thread waits for the near end: what can
//! be done is done in a task of the workers, and the next message of the near end starts another one.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::source::Wanted;
use engine::threads::lock;
use engine::{ContentDigest, Method, SourceError};

use crate::helper::delta::chunker::{Chunker, Piece};
use crate::helper::delta::sums::PIECE_SUM;
use crate::helper::delta::{ALL_PARTS, FILES, PART_MAX, PARTS, pieces};
use crate::helper::protocol::delta::{Origin, SentChunk, SentPart, SentRun, SentSums};
use crate::helper::protocol::frame::append;
use crate::helper::protocol::message::Answer;
use crate::helper::serve::folders::{Folders, NamedFolder, Violation};
use crate::helper::serve::send::outbox::Ended;
use crate::helper::serve::send::sinks::Reply;
use crate::helper::serve::served::{OfSnapshot, OpenedFile, Served, shown};
use crate::local::read::Opened;

/// Bytes and chunks of a file after which their sums are sent.
const TOGETHER: u64 = 4 << 20;
const CHUNKS: usize = 256;

/// How long the far end is silent while it hashes what the near end has of a file.
const SILENCE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// The files of a channel that are sent as differences.
#[derive(Default)]
pub(crate) struct Deltas {
    files: Mutex<HashMap<u32, Arc<Delta>>>,
    /// Parts of all of them that were asked for and not sent.
    parts: AtomicUsize,
}

impl Deltas {
    /// Adds a file.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn add(&self, delta: Delta) -> Result<Arc<Delta>, Violation> {
        let delta = Arc::new(delta);
        let mut files = lock(&self.files);
        if files.len() >= FILES {
            return Err(Violation("too many deltas at a time"));
        }
        files.insert(delta.number(), Arc::clone(&delta));
        Ok(delta)
    }

    pub(crate) fn get(&self, number: u32) -> Option<Arc<Delta>> {
        lock(&self.files).get(&number).cloned()
    }

    pub(crate) fn remove(&self, number: u32) {
        if let Some(delta) = lock(&self.files).remove(&number) {
            let left = lock(&delta.asked).parts.len();
            self.parts.fetch_sub(left, Ordering::Relaxed);
        }
    }
}

/// A file that is sent as differences.
pub(crate) struct Delta {
    reply: Reply,
    sums: SentSums,
    asked: Mutex<Asked>,
    progress: Mutex<Progress>,
}

/// What the near end asks for.
struct Asked {
    parts: VecDeque<SentPart>,
    last: bool,
    /// The file up to this offset was read, and may be asked for.
    known: u64,
    /// A task works on the file, or waits for a thread.
    busy: bool,
}

/// How far the file is.
enum Progress {
    Asked(Arc<NamedFolder<Served>>, Box<Wanted>),
    Reading(Box<Reading>),
    Ended(Box<Answer>),
}

/// A file that is being read.
struct Reading {
    file: File,
    hash: ContentDigest,
    /// What the near end has of it already, which is only hashed.
    stored: Option<Chunker>,
    /// When the near end was last told that the work goes on.
    told: Instant,
    /// `None` when all sums were sent.
    rest: Option<Chunker>,
    of_snapshot: Option<OfSnapshot>,
}

/// Why the work on a file ended.
enum End {
    Line,
    Source(SourceError),
    /// The last answer.
    Answer(Box<Answer>),
}

impl From<Ended> for End {
    fn from(_: Ended) -> Self {
        Self::Line
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Source(SourceError::from_io("read", error))
    }
}

impl Delta {
    /// The file `wanted` in `folder`, which the request of `reply` asks for.
    ///
    /// # Errors
    /// A size of chunks that this program does not use.
    pub(crate) fn new(
        reply: Reply,
        folder: Arc<NamedFolder<Served>>,
        wanted: Wanted,
        sums: SentSums,
    ) -> Result<Self, Violation> {
        if !sums.chunk.is_allowed() {
            return Err(Violation("a size of chunks that is not allowed"));
        }
        let parts = VecDeque::new();
        let asked = Asked { parts, last: false, known: wanted.from, busy: true };
        let progress = Progress::Asked(folder, Box::new(wanted));
        Ok(Self { reply, sums, asked: Mutex::new(asked), progress: Mutex::new(progress) })
    }

    /// The number of the request.
    pub(crate) fn number(&self) -> u32 {
        self.reply.number
    }

    /// Accepts what the near end asks for; returns whether a task must be started.
    ///
    /// # Errors
    /// Parts that the file does not have, too many of them, or any after the last ones.
    pub(crate) fn ask(
        &self,
        parts: Vec<SentPart>,
        last: bool,
        all: &Deltas,
    ) -> Result<bool, Violation> {
        let mut asked = lock(&self.asked);
        let count = parts.len();
        let waiting = all.parts.fetch_add(count, Ordering::Relaxed) + count;
        if asked.last || waiting > ALL_PARTS || asked.parts.len() + count > PARTS {
            return Err(Violation("too many parts of a file"));
        }
        for part in parts {
            let length = u64::from(part.length);
            let end = part.offset.checked_add(length);
            let count = pieces(part.offset.min(asked.known), length.min(PART_MAX)).count();
            let fits = |sums: &[u8]| sums.is_empty() || sums.len() == count * PIECE_SUM;
            if !(1..=PART_MAX).contains(&length)
                || end.is_none_or(|end| end > asked.known)
                || !fits(&part.before)
                || !fits(&part.behind)
            {
                return Err(Violation("a part that the file does not have"));
            }
            asked.parts.push_back(part);
        }
        asked.last = last;
        Ok(!std::mem::replace(&mut asked.busy, true))
    }

    /// Whether a task must be started to notice that the request was cancelled.
    pub(crate) fn wake(&self) -> bool {
        !std::mem::replace(&mut lock(&self.asked).busy, true)
    }

    /// Does what can be done now; returns whether the file has ended.
    pub(crate) fn work(&self, source: &Served, folders: &Folders<Served>, all: &Deltas) -> bool {
        let mut progress = lock(&self.progress);
        let end = loop {
            match self.advance(&mut progress, source, folders, all) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(end) => break end,
            }
        };
        let answer = match end {
            End::Answer(answer) => answer,
            End::Source(error) => Box::new(Answer::Read(Err((&error).into()))),
            End::Line => Box::new(Answer::Undivided),
        };
        *progress = Progress::Ended(answer);
        true
    }

    /// Sends the last answer, after the number of the request is free again.
    pub(crate) fn end(&self) {
        if let Progress::Ended(answer) = &*lock(&self.progress) {
            // Behind what was sent of the file, in the same queue.
            let _ = self.reply.line.outbox.content(self.number(), answer, &[]);
        }
    }

    /// One step; `false` when the file waits for the near end.
    fn advance(
        &self,
        progress: &mut Progress,
        source: &Served,
        folders: &Folders<Served>,
        all: &Deltas,
    ) -> Result<bool, End> {
        if let Progress::Asked(folder, wanted) = &*progress {
            let folder = folders.open(folder, source).map_err(End::Source)?;
            let opened = source.open_at_any_offset(&folder, wanted).map_err(End::Source)?;
            *progress = Progress::Reading(Box::new(self.opened(opened, wanted.from)?));
        }
        let Progress::Reading(reading) = progress else { return Err(End::Line) };
        let (part, is_last) = {
            let mut asked = lock(&self.asked);
            let part = asked.parts.pop_front();
            all.parts.fetch_sub(usize::from(part.is_some()), Ordering::Relaxed);
            (part, asked.last)
        };
        if self.reply.cancelled.load(Ordering::Relaxed) {
            return Err(reading.answer());
        }
        if let Some(part) = part {
            self.send_part(reading, &part)?;
        } else if reading.stored.is_some() {
            reading.hash_stored()?;
            self.tell_that_it_goes_on(reading)?;
        } else if reading.rest.is_some() {
            self.send_chunks(reading)?;
        } else if is_last {
            return Err(reading.answer());
        } else {
            let mut asked = lock(&self.asked);
            let waits = asked.parts.is_empty()
                && !asked.last
                && !self.reply.cancelled.load(Ordering::Relaxed);
            asked.busy = !waits;
            return Ok(!waits);
        }
        Ok(true)
    }

    fn opened(&self, opened: OpenedFile, from: u64) -> Result<Reading, End> {
        let OpenedFile { opened, of_snapshot } = opened;
        let (file, meta) = match opened {
            Opened::Wanted(file, meta) => (file, meta),
            Opened::Other(meta) => {
                return Err(End::Answer(Box::new(Answer::Read(Ok((&meta).into())))));
            }
            Opened::WithoutSize => return Err(End::Answer(Box::new(Answer::Undivided))),
        };
        let has_holes = meta.allocated < meta.size;
        let chunker = |from, to| Chunker::new(self.sums.chunk, from, to, has_holes);
        let method = if self.sums.runs { Method::Runs } else { Method::Plain };
        Ok(Reading {
            file,
            hash: method.begin(),
            stored: (from > 0).then(|| chunker(0, from.min(meta.size))),
            told: Instant::now(),
            rest: Some(chunker(from, meta.size)),
            of_snapshot,
        })
    }

    /// Sends a message without chunks now and then, as long as there are none to send: the near end takes a silent far
    /// end for a lost one. Without credit it does not.
    fn tell_that_it_goes_on(&self, reading: &mut Reading) -> Result<(), End> {
        if reading.told.elapsed() < SILENCE {
            return Ok(());
        }
        reading.told = Instant::now();
        let mut frame = Vec::new();
        append(&mut frame, self.number(), &Answer::Chunks(Vec::new()), &[])
            .map_err(|_| End::Line)?;
        match self.reply.line.contents.take_now(frame.len()) {
            true => Ok(self.reply.line.outbox.framed_content(frame)?),
            false => Ok(()),
        }
    }

    /// Sends the next chunks, or the hash after the last one.
    fn send_chunks(&self, reading: &mut Reading) -> Result<(), End> {
        let Some(chunker) = &mut reading.rest else { return Ok(()) };
        let (mut chunks, mut bytes): (Vec<SentChunk>, u64) = (Vec::new(), 0);
        let (mut hole, mut ended) = (None, false);
        while chunks.len() < CHUNKS && bytes < TOGETHER && hole.is_none() && !ended {
            match chunker.next(&reading.file)? {
                Some(Piece::Chunk(chunk)) => {
                    reading.hash.update(chunk);
                    bytes += chunk.len() as u64;
                    let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
                    chunks.push((length, self.sums.key.chunk(chunk)));
                }
                Some(Piece::Hole(length)) => {
                    reading.hash.zeros(length, &|| self.reply.cancelled.load(Ordering::Relaxed));
                    hole = Some(length);
                }
                None => ended = true,
            }
        }
        lock(&self.asked).known += bytes + hole.unwrap_or_default();
        if !chunks.is_empty() {
            self.send(&Answer::Chunks(chunks), &[])?;
        }
        if let Some(length) = hole {
            self.send(&Answer::Hole(length), &[])?;
        }
        if ended {
            reading.rest = None;
            let hash: [u8; 32] = reading.hash.finish().into();
            let recorded = reading.of_snapshot.as_ref().and_then(|it| it.recorded);
            if recorded.is_some_and(|recorded| recorded != hash) {
                return Err(End::Source(SourceError::Damaged));
            }
            self.send(&Answer::Hashed(hash), &[])?;
        }
        Ok(())
    }

    /// Sends what the base does not have of a part.
    fn send_part(&self, reading: &Reading, part: &SentPart) -> Result<(), End> {
        let mut bytes = vec![0; usize::try_from(part.length).unwrap_or_default()];
        // Zeros stand for what the file no longer has. Its size and times show that it changed.
        read_up_to(&reading.file, &mut bytes, part.offset)?;
        let (mut runs, mut literal): (Vec<SentRun>, Vec<u8>) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (number, (_, length)) in pieces(part.offset, part.length.into()).enumerate() {
            let piece = &bytes[start..start + length];
            start += length;
            let origin = self.origin(part, number, piece);
            if origin == Origin::Sent {
                literal.extend_from_slice(piece);
            }
            match runs.last_mut() {
                Some((last, count)) if *last == origin => *count += 1,
                _ => runs.push((origin, 1)),
            }
        }
        self.send(&Answer::Part(runs), &literal)
    }

    fn origin(&self, part: &SentPart, number: usize, piece: &[u8]) -> Origin {
        if part.before.is_empty() && part.behind.is_empty() {
            return Origin::Sent;
        }
        let sum = self.sums.key.piece(piece);
        let of_base = |sums: &[u8]| {
            let place = number * PIECE_SUM..(number + 1) * PIECE_SUM;
            sums.get(place).is_some_and(|of_base| *of_base == sum)
        };
        match () {
            () if of_base(&part.before) => Origin::Before,
            () if of_base(&part.behind) => Origin::Behind,
            () => Origin::Sent,
        }
    }

    /// Sends a message when the near end is ready for it.
    fn send(&self, answer: &Answer, content: &[u8]) -> Result<(), End> {
        let mut frame = Vec::with_capacity(content.len() + 1024);
        append(&mut frame, self.number(), answer, content).map_err(|_| End::Line)?;
        let cost = if matches!(answer, Answer::Hole(_)) { 0 } else { frame.len() };
        self.reply.line.contents.take(cost)?;
        Ok(self.reply.line.outbox.framed_content(frame)?)
    }
}

impl Reading {
    /// Hashes some of what the near end has already.
    fn hash_stored(&mut self) -> io::Result<()> {
        let Some(chunker) = &mut self.stored else { return Ok(()) };
        let mut bytes = 0;
        while bytes < TOGETHER {
            match chunker.next(&self.file)? {
                Some(Piece::Chunk(chunk)) => {
                    self.hash.update(chunk);
                    bytes += chunk.len() as u64;
                }
                Some(Piece::Hole(length)) => {
                    self.hash.zeros(length, &|| false);
                    bytes += length;
                }
                None => {
                    self.stored = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The last answer: the metadata after the last byte.
    fn answer(&self) -> End {
        match engine::fs::stat::meta(&self.file) {
            Ok(after) => {
                let after = shown(self.of_snapshot.as_ref(), after);
                End::Answer(Box::new(Answer::Read(Ok((&after).into()))))
            }
            Err(error) => error.into(),
        }
    }
}

/// Reads at an offset until `bytes` are full or the file ends.
fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => return Ok(()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

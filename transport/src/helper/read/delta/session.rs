//! One file that is being built from the base's copy and from what the far end sends.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use engine::SourceError;
use engine::entry::Meta;

use crate::delivery::ContentPart;
use crate::helper::delta::{PART_MAX, PARTS, pieces};
use crate::helper::protocol::delta::{Origin, SentChunk, SentPart, SentRun, SentSums};
use crate::helper::read::command::gone;
use crate::helper::read::delta::index::{BaseChunk, Index, Indexing};
use crate::helper::read::delta::lookahead::goes_on;
use crate::helper::read::delta::output::Output;
use crate::helper::read::delta::page_sums::sums_of_base;
use crate::helper::read::delta::plan::{Part, Plan, Step};
use crate::helper::read::delta::{DeltaCommand, DeltaFile};

/// Bytes of the base that are divided, bytes that are planned, and bytes that are delivered, before the thread looks at
/// what arrived.
const DIVIDED: u64 = 8 << 20;
const PLANNED: u64 = 2 << 20;
const DELIVERED: u64 = 4 << 20;

/// Parts that are asked for in one message.
const TOGETHER: usize = 64;

/// After so many parts without a page of the base, sums are sent for one part of 16 only.
const FRUITLESS: u32 = 64;

/// A piece of the far end that is not planned yet.
enum Listed {
    Chunk(SentChunk),
    Hole(u64),
}

/// Whether the base has a chunk.
enum Found {
    Yes(usize, BaseChunk),
    No,
    /// That shows when more of the base is divided, or more of the file is listed.
    NotYet,
}

/// The state of a session after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more to do now.
    Goes,
    /// It waits for the far end.
    Waits,
    /// The file has ended.
    Ended,
}

/// A file that is being built.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) file: DeltaFile,
    round: u32,
    base: File,
    base_size: u64,
    sums: SentSums,
    /// `None` when `index` is complete.
    indexing: Option<Indexing>,
    index: Index,
    /// How many of the next chunks are known not to be in the base's next ones.
    missing: usize,
    /// Bytes of the base to divide next.
    step: u64,
    /// The chunk that was found last has just been read.
    at_hand: bool,
    /// The offset up to which the file was passed on.
    delivered: u64,
    listed: VecDeque<Listed>,
    list_ended: bool,
    plan: Plan,
    planned: bool,
    steps: VecDeque<Step>,
    unsent: VecDeque<Part>,
    last_sent: bool,
    awaited: usize,
    answers: VecDeque<(Vec<SentRun>, Vec<u8>)>,
    fruitless: u32,
    hash: Option<[u8; 32]>,
    ended: Option<Result<Meta, SourceError>>,
    failed: bool,
}

impl Session {
    /// Begins to build `file` from `base`, and asks for its chunks.
    pub(crate) fn new(
        id: u64,
        file: DeltaFile,
        round: u32,
        (base, meta): (File, &Meta),
        sums: SentSums,
        output: &Output,
    ) -> Self {
        let has_holes = meta.allocated < meta.size;
        let session = Self {
            id,
            round,
            base,
            base_size: meta.size,
            sums,
            indexing: Some(Indexing::new(sums, meta.size, has_holes)),
            index: Index::default(),
            missing: 0,
            step: first_step(&sums),
            at_hand: false,
            delivered: file.from,
            listed: VecDeque::new(),
            list_ended: false,
            plan: Plan::new(file.from),
            planned: false,
            steps: VecDeque::new(),
            unsent: VecDeque::new(),
            last_sent: false,
            awaited: 0,
            answers: VecDeque::new(),
            fruitless: 0,
            hash: None,
            ended: None,
            failed: false,
            file,
        };
        session.ask(output);
        session
    }

    fn ask(&self, output: &Output) {
        let (file, round, from, sums) = (self.id, self.round, self.delivered, self.sums);
        output.command(DeltaCommand::Ask { file, round, from, sums });
    }

    /// The most chunks that the index of the base has, approximately.
    pub(crate) fn weight(&self) -> u64 {
        self.sums.chunk.most_chunks(self.base_size)
    }

    /// Parts without an answer.
    pub(crate) fn awaited(&self) -> usize {
        self.awaited
    }

    /// Asks on a new connection for what was not passed on.
    pub(crate) fn again(&mut self, round: u32, output: &Output) {
        self.round = round;
        self.discard(output);
        (self.list_ended, self.planned, self.last_sent) = (false, false, false);
        (self.awaited, self.hash, self.ended) = (0, None, None);
        self.plan = Plan::new(self.delivered);
        match self.failed {
            true => output.command(DeltaCommand::GiveUp { file: self.id, round }),
            false => self.ask(output),
        }
    }

    fn discard(&mut self, output: &Output) {
        self.answers.drain(..).for_each(|(_, bytes)| output.taken(bytes.len()));
        self.listed.clear();
        self.missing = 0;
        self.steps.clear();
        self.unsent.clear();
    }

    pub(crate) fn chunks(&mut self, chunks: Vec<SentChunk>) {
        if !self.failed {
            self.listed.extend(chunks.into_iter().map(Listed::Chunk));
        }
    }

    pub(crate) fn hole(&mut self, length: u64) {
        if self.failed {
            return;
        }
        self.listed.push_back(Listed::Hole(length));
    }

    /// Chunks and steps that wait.
    pub(crate) fn pieces(&self) -> usize {
        self.listed.len() + self.steps.len()
    }

    pub(crate) fn hashed(&mut self, hash: [u8; 32]) {
        (self.hash, self.list_ended) = (Some(hash), true);
    }

    pub(crate) fn part(&mut self, runs: Vec<SentRun>, bytes: Vec<u8>, output: &Output) {
        self.awaited = self.awaited.saturating_sub(1);
        match self.failed {
            true => output.taken(bytes.len()),
            false => self.answers.push_back((runs, bytes)),
        }
    }

    pub(crate) fn ended(&mut self, result: Result<Meta, SourceError>) {
        self.ended = Some(result);
    }

    /// Builds no more of the file. The engine receives it as one that has to be read again.
    pub(crate) fn fail(&mut self, output: &Output) {
        if !std::mem::replace(&mut self.failed, true) {
            self.discard(output);
            if self.ended.is_none() {
                let (file, round) = (self.id, self.round);
                output.command(DeltaCommand::GiveUp { file, round });
            }
        }
    }

    /// Does some of what can be done. `may_ask`: the parts that may be asked for.
    pub(crate) fn turn(&mut self, may_ask: usize, output: &Output) -> Turn {
        let turned = match self.failed {
            true => Ok(false),
            false => self.advance(may_ask, output),
        };
        let goes = turned.unwrap_or_else(|_| {
            self.fail(output);
            false
        });
        match &self.ended {
            Some(Err(_)) => {}
            Some(Ok(_)) if self.failed || !goes => {}
            _ if goes => return Turn::Goes,
            _ => return Turn::Waits,
        }
        self.end(output);
        Turn::Ended
    }

    /// Ends the file because the network thread has ended.
    pub(crate) fn abandon(&mut self, output: &Output) {
        self.ended = Some(Err(gone()));
        self.end(output);
    }

    fn end(&mut self, output: &Output) {
        let whole = !self.failed && self.steps.is_empty() && self.listed.is_empty();
        self.discard(output);
        // Without the hash, the engine accepts no byte of the base.
        let hash = self.hash.filter(|_| whole).unwrap_or_default();
        let result = self.ended.take().unwrap_or(Err(SourceError::Replaced));
        let (request, index) = (self.file.request, self.file.index);
        output.end(request, index, hash, result);
    }

    /// One turn; returns whether there is more to do now.
    fn advance(&mut self, may_ask: usize, output: &Output) -> io::Result<bool> {
        let plans = self.plan(output)?;
        let asks = self.send_parts(may_ask, output)?;
        let goes = self.deliver(output)?;
        Ok(plans || asks || goes)
    }

    /// Plans some of what can be planned now; returns whether there is more.
    fn plan(&mut self, output: &Output) -> io::Result<bool> {
        let (before, end) = (self.steps.len(), self.plan.at() + PLANNED);
        let mut waits = false;
        while let Some(next) = self.listed.front()
            && self.plan.at() < end
        {
            match *next {
                Listed::Hole(length) => self.plan.hole(length, &mut self.steps),
                Listed::Chunk(chunk) => {
                    let found = match self.find(&chunk)? {
                        Found::Yes(position, of_base) => Some((position, of_base)),
                        Found::No => None,
                        Found::NotYet => {
                            waits = true;
                            break;
                        }
                    };
                    let at_hand = std::mem::take(&mut self.at_hand) && self.steps.is_empty();
                    self.plan.chunk(&chunk, found, &mut self.steps);
                    // With a gap before it, there are more steps.
                    if at_hand && self.steps.len() == 1 {
                        self.pass_on(chunk.0, output);
                    }
                }
            }
            self.listed.pop_front();
        }
        if self.list_ended && self.listed.is_empty() && !self.planned {
            self.planned = true;
            self.plan.end(self.base_size, &mut self.steps);
        }
        self.unsent.extend(self.steps.range(before..).filter_map(|step| match step {
            Step::Part(part) => Some(*part),
            Step::Base { .. } | Step::Hole(_) => None,
        }));
        if waits {
            self.divide()?;
        }
        Ok(!self.listed.is_empty())
    }

    /// Passes on the chunk of the only step, which has just been read.
    fn pass_on(&mut self, length: u32, output: &Output) {
        let Some(indexing) = &self.indexing else { return };
        output.read_of_base(self.file.request, self.file.index, indexing.followed(length));
        self.steps.clear();
        self.delivered += u64::from(length);
    }

    /// Divides more of the base: some chunks at first, because most files go on with what follows a change.
    fn divide(&mut self) -> io::Result<()> {
        let Some(indexing) = &mut self.indexing else { return Ok(()) };
        if indexing.advance(&mut self.index, &self.base, self.step)? {
            self.indexing = None;
        }
        self.step = (2 * self.step).min(DIVIDED);
        Ok(())
    }

    /// Whether the base has the next chunk.
    fn find(&mut self, chunk: &SentChunk) -> io::Result<Found> {
        let expected = self.plan.expected();
        let Some(indexing) = &mut self.indexing else {
            let found = self.index.find(&chunk.1, expected);
            return Ok(found.map_or(Found::No, |(at, of_base)| Found::Yes(at, of_base)));
        };
        if self.missing > 0 {
            self.missing -= 1;
            return Ok(Found::No);
        }
        let next = self.listed.iter().map_while(|listed| match listed {
            Listed::Chunk(chunk) => Some(chunk),
            Listed::Hole(_) => None,
        });
        let is_end = self.index.chunks().len() == expected;
        let found = match is_end {
            true => {
                let followed = indexing.follow(&mut self.index, &self.base, next)?;
                followed.map(|missing| (missing, expected + missing))
            }
            false => goes_on(self.index.chunks(), expected, next),
        };
        Ok(match found {
            Some((0, position)) => {
                (self.step, self.at_hand) = (first_step(&self.sums), is_end);
                Found::Yes(position, self.index.chunks()[position])
            }
            Some((missing, position)) => {
                self.missing = missing - 1;
                self.plan.expect(position);
                Found::No
            }
            None => Found::NotYet,
        })
    }

    /// Asks for parts; returns whether it could ask for more now.
    fn send_parts(&mut self, may_ask: usize, output: &Output) -> io::Result<bool> {
        let room = may_ask.min(PARTS.saturating_sub(self.awaited));
        let count = room.min(TOGETHER).min(self.unsent.len());
        let mut parts = Vec::with_capacity(count);
        for part in self.unsent.drain(..count) {
            let Part { offset, length, before, behind } = part;
            let hopeless = self.fruitless >= FRUITLESS
                && behind.is_none()
                && !(offset / PART_MAX).is_multiple_of(16);
            let sums_at = |shift: Option<i64>| match shift {
                Some(shift) => sums_of_base(&self.base, self.base_size, &self.sums, &part, shift),
                None => Ok(Vec::new()),
            };
            parts.push(SentPart {
                offset,
                // A part is at most `PART_MAX`.
                length: u32::try_from(length).unwrap_or_default(),
                before: sums_at((!hopeless).then_some(before))?,
                behind: sums_at(behind)?,
            });
        }
        let last = self.planned && self.unsent.is_empty();
        if !parts.is_empty() || (last && !self.last_sent) {
            self.awaited += parts.len();
            self.last_sent = last;
            let (file, round) = (self.id, self.round);
            output.command(DeltaCommand::Parts { file, round, parts, last });
        }
        Ok(count == TOGETHER && !self.unsent.is_empty())
    }

    /// Passes on what can be passed on; returns whether there is more of it.
    fn deliver(&mut self, output: &Output) -> io::Result<bool> {
        let (request, index) = (self.file.request, self.file.index);
        let end = self.delivered + DELIVERED;
        while self.delivered < end {
            match self.steps.front_mut() {
                Some(Step::Base { offset, length }) => {
                    let count = output.of_base(request, index, &self.base, *offset, *length)?;
                    (*offset, *length) = (*offset + count, *length - count);
                    self.delivered += count;
                    if *length == 0 {
                        self.steps.pop_front();
                    }
                }
                Some(Step::Hole(length)) => {
                    let length = *length;
                    output.content(request, ContentPart::Hole(index, length));
                    self.delivered += length;
                    self.steps.pop_front();
                }
                Some(Step::Part(part)) => {
                    let part = *part;
                    let Some((runs, bytes)) = self.answers.pop_front() else { return Ok(false) };
                    self.steps.pop_front();
                    let mut rest = &bytes[..];
                    let passed = self.part_of_file(part, &runs, &mut rest, output);
                    // After an error nobody takes the others.
                    output.taken(rest.len());
                    passed?;
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Passes on a part. What it passes on of the bytes `rest` is no longer in them.
    fn part_of_file(
        &mut self,
        part: Part,
        runs: &[SentRun],
        rest: &mut &[u8],
        output: &Output,
    ) -> io::Result<()> {
        let (request, index) = (self.file.request, self.file.index);
        let is_of_base = |(origin, _): &SentRun| *origin != Origin::Sent;
        self.fruitless = match runs.iter().any(is_of_base) {
            true => 0,
            false => self.fruitless.saturating_add(1),
        };
        let mut pieces = pieces(part.offset, part.length);
        for (origin, count) in runs {
            let length: usize = pieces.by_ref().take(*count as usize).map(|(_, it)| it).sum();
            let shift = match origin {
                Origin::Sent => None,
                Origin::Before => Some(part.before),
                Origin::Behind => part.behind,
            };
            match shift.map(|shift| self.delivered.checked_add_signed(shift)) {
                None => {
                    // `rules` checked that the bytes are there.
                    let (now, later) = rest.split_at(length.min(rest.len()));
                    output.content(request, ContentPart::Bytes(index, now.to_vec()));
                    (*rest, self.delivered) = (later, self.delivered + length as u64);
                }
                // A sum for bytes that the base does not have is equal to that of some others.
                Some(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Some(mut offset)) => {
                    let mut left = length as u64;
                    while left > 0 {
                        let count = output.of_base(request, index, &self.base, offset, left)?;
                        (offset, left) = (offset + count, left - count);
                        self.delivered += count;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Bytes of the base that are divided where a change begins: about two chunks.
fn first_step(sums: &SentSums) -> u64 {
    sums.chunk.longest() as u64 / 2
}

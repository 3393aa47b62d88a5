//! A near end on random answers: valid ones, wrong ones and damaged ones, to what it asks. `FUZZ_INPUTS` is the number of
//! messages.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use engine::SourceError;
use engine::entry::folder_digest::DigestKey;
use engine::entry::{Batch, Entry, Kind, ListedEntry, Meta};
use engine::source::{
    BaseFile, ContentProof, ContentSink, Expected, ListSink, OfBase, Reply, Terms, Wanted,
};
use fixtures::random::Random;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Asked;
use super::command::{Command, PendingQuery, Query};
use super::delta::worker;
use super::folder::{FolderHandle, Way};
use super::listing::Awaited;
use super::scheduler::HelperScheduler;
use super::service::Greeting;
use crate::delivery::Delivery;
use crate::helper::delta::chunker::{ChunkSize, Chunker, Piece};
use crate::helper::delta::pieces;
use crate::helper::protocol::delta::{Origin, SentChunk, SentPart, SentSums};
use crate::helper::protocol::entry::{SentEntry, SentMeta};
use crate::helper::protocol::error::SentError;
use crate::helper::protocol::frame;
use crate::helper::protocol::fuzz_tests::{damaged, encoded, inputs, message};
use crate::helper::protocol::known::SentSame;
use crate::helper::protocol::message::{Answer, Request, SentCrossing, SentRoot};
use crate::helper::version::Version;
use crate::ssh::options::Traffic;
use crate::ssh::outbox::Outbox;
use crate::ssh::scheduler::Scheduler;

/// The messages of one scheduler, and of one of its connections at most. Each connection asks again for everything that has
/// no last answer, so many connections of one scheduler would read the base of each file many times.
const OF_SCHEDULER: u64 = 600;
const OF_CONNECTION: u64 = 60;

/// The most bytes that may wait for sinks, which take them at once here, and for the line.
const WAITS: usize = 64 << 20;
const UNSENT: usize = 4 << 20;

/// What has begun and what has ended.
#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// A sink of either kind; it may refuse what it receives.
struct Sink {
    counts: Arc<Counts>,
    refuses: bool,
    hasher: blake3::Hasher,
    hash: Option<[u8; 32]>,
    content: blake3::Hash,
}

impl Sink {
    fn new(counts: &Arc<Counts>, refuses: bool, content: blake3::Hash) -> Box<Self> {
        counts.begun.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(counts);
        Box::new(Self { counts, refuses, hasher: blake3::Hasher::new(), hash: None, content })
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.refuses { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl ListSink for Sink {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        assert!(batch.iter().all(|it| engine::entry::check_name(it.name.to_bytes()).is_ok()));
        self.flow()
    }

    fn unreadable(&mut self, _: &std::ffi::CStr, _: SourceError) {}

    fn end(self: Box<Self>, _: Result<(), SourceError>) {
        self.counts.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl ContentSink for Sink {
    fn data(&mut self, _: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.hasher.update(bytes);
        self.flow()
    }

    fn hole(&mut self, _: usize, _: u64) -> ControlFlow<()> {
        // Holes are no content of the file here.
        self.hasher.update(b"hole");
        self.flow()
    }

    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.data(index, bytes)
    }

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn hashed(&mut self, _: usize, hash: [u8; 32]) {
        self.hash = Some(hash);
    }

    fn file_end(&mut self, _: usize, _: Result<Meta, SourceError>) {
        // The engine accepts a file that is built from the base under this condition.
        let built = self.hasher.finalize();
        assert!(self.hash != Some(built.into()) || built == self.content, "false content");
    }

    fn end(self: Box<Self>) {
        self.counts.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Base(File);

impl BaseFile for Base {
    fn open(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

/// The file that is asked for: its content and that of its base.
struct Sample {
    content: Vec<u8>,
    /// The lengths of its chunks, of the average size that the near end takes.
    lengths: Vec<usize>,
    hash: blake3::Hash,
    base: Arc<Base>,
}

impl Sample {
    fn new() -> Self {
        let mut content = Random::new(9).bytes(270_000);
        let base = tempfile::tempfile().unwrap();
        base.write_all_at(&content, 0).unwrap();
        content[100_000] ^= 1;
        let (hash, lengths) = (blake3::hash(&content), lengths(&content));
        Self { hash, lengths, content, base: Arc::new(Base(base)) }
    }

    fn meta(&self) -> Meta {
        let size = self.content.len() as u64;
        Meta { size, allocated: size, ..Meta::of(Kind::File) }
    }

    fn wanted(&self, base: bool) -> Wanted {
        let entry = Entry { name: c"file".to_owned(), meta: self.meta(), extra: None };
        let base = base.then(|| OfBase::Older(Arc::clone(&self.base) as Arc<dyn BaseFile>));
        Wanted { entry, from: 0, again: false, base }
    }
}

/// What a request without its last answer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Open {
    Root,
    Look,
    Crossing,
    Clock,
    List,
    Confirm,
    Fetch,
    /// The sums, and the parts that are asked for.
    Delta(SentSums, Vec<SentPart>),
}

/// A near end without a line.
struct Near<'a> {
    sample: &'a Sample,
    scheduler: HelperScheduler,
    commands: UnboundedReceiver<Command>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
    replies: Vec<Receiver<Result<Answer, SourceError>>>,
    root: Arc<FolderHandle>,
    open: Vec<(u32, Open)>,
    chunks: Chunks,
}

/// The chunks of the sample with the last key.
#[derive(Default)]
struct Chunks(Option<(SentSums, Vec<SentChunk>)>);

impl Chunks {
    fn of(&mut self, sample: &Sample, sums: SentSums) -> Vec<SentChunk> {
        if self.0.as_ref().is_none_or(|(of, _)| *of != sums) {
            let mut rest = &sample.content[..];
            let sum = |length: &usize| {
                let (chunk, later) = rest.split_at(*length);
                rest = later;
                (chunk.len() as u32, sums.key.chunk(chunk))
            };
            self.0 = Some((sums, sample.lengths.iter().map(sum).collect()));
        }
        self.0.as_ref().map(|(_, chunks)| chunks.clone()).unwrap_or_default()
    }
}

impl<'a> Near<'a> {
    fn start(sample: &'a Sample) -> Self {
        let (to_network, commands) = unbounded_channel();
        let (delivery, threads) = Delivery::start(&to_network).unwrap();
        let (deltas, builder) = worker::start(&delivery, to_network).unwrap();
        let asked = Arc::new(Asked::default());
        Self {
            sample,
            scheduler: HelperScheduler::new(asked, delivery, deltas, None),
            commands,
            threads: threads.into_iter().chain([builder]).collect(),
            counts: Arc::default(),
            replies: Vec::new(),
            root: Arc::new(FolderHandle::root(
                1,
                Way::Root(PathBuf::from("/r")),
                None,
                Arc::new(|_| {}),
            )),
            open: Vec::new(),
            chunks: Chunks::default(),
        }
    }

    /// Makes a connection, which repeats what has no last answer.
    fn connect(&mut self) {
        self.scheduler.reset("fuzzed");
        self.open.clear();
        let (to, _) = tokio::net::unix::pipe::pipe().unwrap();
        let outbox = Outbox::new(Rc::new(to), Traffic::default(), None);
        let greeting = Greeting {
            version: Version::default(),
            compression: None,
            hashes: true,
            copies: false,
            only_adds: false,
        };
        self.scheduler.add_channel(outbox, greeting, true);
    }

    /// Lets the engine ask for something.
    fn ask(&mut self, random: &mut Random) {
        let folder = Arc::clone(&self.root);
        let refuses = random.one_in(9);
        let sink = || Sink::new(&self.counts, refuses, self.sample.hash);
        let command = match random.below(8) {
            0 | 1 => Command::List(folder, None, sink()),
            2 | 3 => {
                let terms = Terms { key: DigestKey::new([3; 32]), since: None, links: true };
                let (below, entries) = (random.one_in(2), random.below(9));
                let expected = Expected {
                    terms,
                    digest: [0; 16],
                    below,
                    entries,
                    folders: 1,
                    chain: vec![[0; 16]],
                };
                let awaited = Awaited { expected, reply: Arc::<Reply>::default() };
                Command::List(folder, Some(awaited), sink())
            }
            4 | 5 => {
                let files = (0..=random.below(3)).map(|_| self.sample.wanted(random.one_in(3)));
                Command::Fetch(folder, files.collect(), sink())
            }
            _ => {
                let (reply, answer) = sync_channel(1);
                self.replies.push(answer);
                let query = match random.below(4) {
                    0 => Query::Root(2, PathBuf::from("/s")),
                    1 => Query::Look(folder, c"name".to_owned()),
                    2 => Query::Crossing(folder, c"name".to_owned()),
                    _ => Query::Clock,
                };
                Command::Ask(PendingQuery { query, reply })
            }
        };
        self.scheduler.command(command);
    }

    /// Carries out what the threads ask for, and reads what is sent.
    fn turn(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.scheduler.command(command);
        }
        self.scheduler.pump().unwrap();
        let sent = std::mem::take(self.scheduler.outbox(0).buffer());
        assert!(sent.len() < UNSENT, "{} bytes of requests", sent.len());
        let mut rest = &sent[..];
        while let Some((length, after)) = rest.split_first_chunk() {
            let (now, later) = after.split_at(u32::from_be_bytes(*length) as usize);
            let (number, request, _) = frame::read::<Request<'_>>(now).unwrap();
            self.asked(number, request);
            rest = later;
        }
    }

    fn asked(&mut self, number: u32, request: Request<'_>) {
        let open = match request {
            Request::Root { .. } => Open::Root,
            Request::Look { .. } => Open::Look,
            Request::Crossing { .. } => Open::Crossing,
            Request::Clock => Open::Clock,
            Request::List { .. } => Open::List,
            Request::Confirm { .. } => Open::Confirm,
            Request::Fetch { .. } => Open::Fetch,
            Request::Delta { sums, .. } => Open::Delta(sums, Vec::new()),
            Request::Parts { request, parts, .. } => {
                let mut all = self.open.iter_mut();
                if let Some((_, Open::Delta(_, asked))) = all.find(|(of, _)| *of == request) {
                    asked.extend(parts);
                }
                return;
            }
            _ => return,
        };
        self.open.push((number, open));
    }

    /// The frame of an answer that a far end could give.
    fn answer(&mut self, random: &mut Random) -> Vec<u8> {
        let at = random.below(self.open.len() as u64 + 1) as usize;
        let Some((number, open)) = self.open.get_mut(at) else {
            return framed(random.below(50) as u32, &message(random), &[]);
        };
        let (mut content, number) = (Vec::new(), *number);
        let answer = match (random.below(5), &mut *open) {
            (0, Open::Delta(sums, _)) => Answer::Chunks(self.chunks.of(self.sample, *sums)),
            (1, Open::Delta(..)) if random.one_in(4) => Answer::Hashed([random.below(4) as u8; 32]),
            (1, Open::Delta(..)) => Answer::Hashed(self.sample.hash.into()),
            (2, Open::Delta(..)) if random.one_in(9) => Answer::Undivided,
            (2 | 3, Open::Delta(_, parts)) if !parts.is_empty() => {
                let part = parts.remove(0);
                let (from, length) = (part.offset as usize, part.length as usize);
                content = self.sample.content[from..from + length].to_vec();
                let count = pieces(part.offset, part.length.into()).count() as u32;
                let origin =
                    *random.pick(&[Origin::Sent, Origin::Sent, Origin::Before, Origin::Behind]);
                if origin != Origin::Sent {
                    content.clear();
                }
                Answer::Part(vec![(origin, count)])
            }
            (_, Open::Delta(..)) if random.one_in(3) => Answer::Hole(random.below(9000)),
            (_, Open::Delta(..)) => Answer::Read(end(random, self.sample)),
            (0 | 1, Open::Fetch) => {
                content = random.bytes(random.clone().below(5000) as usize);
                Answer::Data
            }
            (2, Open::Fetch) => Answer::Hole(random.number() >> random.below(64)),
            (_, Open::Fetch) => Answer::Read(end(random, self.sample)),
            (0 | 1, Open::List | Open::Confirm) => {
                // One that is empty breaks the protocol.
                let least = u64::from(!random.one_in(20));
                Answer::Batch((0..least + random.below(9)).map(|_| entry(random)).collect())
            }
            (2, Open::List | Open::Confirm) => {
                Answer::Unreadable(vec![b'u'; random.below(300) as usize], SentError::Vanished)
            }
            (3, Open::Confirm) if random.one_in(2) => Answer::Differs,
            (3, Open::Confirm) => Answer::Same(same(random)),
            (_, Open::List | Open::Confirm) if random.one_in(9) => {
                Answer::Listed(Err(SentError::Replaced))
            }
            (_, Open::List | Open::Confirm) => Answer::Listed(Ok(())),
            (_, Open::Root) => Answer::Root(Ok(SentRoot {
                entry: entry(random),
                was_link: false,
                file_system: None,
            })),
            (_, Open::Look) => Answer::Look(Ok(entry(random))),
            (_, Open::Crossing) => {
                Answer::Crossing(SentCrossing { file_system: None, subvolume: None })
            }
            (_, Open::Clock) => Answer::Clock(None),
        };
        let whole = encoded(&answer);
        let bytes = if random.one_in(40) { damaged(random, &whole) } else { whole };
        // An answer may also be the last one; then another one to this number breaks the protocol.
        if random.one_in(3) && !matches!(answer, Answer::Data | Answer::Hole(_) | Answer::Batch(_))
        {
            self.open.remove(at);
        }
        framed(number, &bytes, &content)
    }

    /// Checks that what waits is bounded.
    fn assert_bounded(&self) {
        let waits = self.scheduler.waits();
        assert!(waits < WAITS, "{waits} bytes wait");
    }

    /// Ends everything: each sink and each question has its end.
    fn end(self) {
        let Self { mut scheduler, threads, counts, replies, .. } = self;
        scheduler.give_up("fuzzed");
        drop(scheduler);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(counts.ended.load(Ordering::Relaxed), counts.begun.load(Ordering::Relaxed));
        assert!(
            replies.iter().all(|reply| reply.try_recv().is_ok()),
            "a question without an answer"
        );
    }
}

fn framed(number: u32, message: &[u8], content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), message, content].concat()
}

/// The lengths of the chunks of a file.
fn lengths(content: &[u8]) -> Vec<usize> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    let size = content.len() as u64;
    let mut chunker = Chunker::new(ChunkSize::of(size), 0, size, false);
    let mut all = Vec::new();
    while let Some(Piece::Chunk(chunk)) = chunker.next(&file).unwrap() {
        all.push(chunk.len());
    }
    all
}

fn end(random: &mut Random, sample: &Sample) -> Result<SentMeta, SentError> {
    match random.below(4) {
        0 => Err(SentError::Vanished),
        _ => Ok(SentMeta::from(&sample.meta())),
    }
}

fn entry(random: &mut Random) -> SentEntry {
    let kind = *random.pick(&[Kind::File, Kind::Folder, Kind::Fifo, Kind::Symlink]);
    let entry = Entry { name: c"entry".to_owned(), meta: Meta::of(kind), extra: None };
    let mut sent = SentEntry::from(ListedEntry::from(&entry));
    sent.name = match random.below(8) {
        0 => b"a/b".to_vec(),
        1 => Vec::new(),
        _ => random.below(30).to_string().into_bytes(),
    };
    sent
}

fn same(random: &mut Random) -> SentSame {
    let Ok(same) = postcard::from_bytes(&message(random)) else { return SentSame::default() };
    same
}

#[test]
fn a_near_end_survives_random_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let (sample, mut random) = (Sample::new(), Random::new(4));
    let (mut left, mut refused, mut taken) = (inputs(), 0_u64, 0_u64);
    while left > 0 {
        let mut near = Near::start(&sample);
        for _ in 0..OF_SCHEDULER / OF_CONNECTION {
            near.connect();
            for _ in 0..1 + random.below(OF_CONNECTION) {
                left = left.saturating_sub(1);
                if random.one_in(4) {
                    near.ask(&mut random);
                }
                near.turn();
                let frame = near.answer(&mut random);
                let received = near.scheduler.receive(0, &frame, Instant::now());
                near.assert_bounded();
                match received {
                    Ok(()) => taken += 1,
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
            }
        }
        near.end();
        // Tokio keeps the registration of each closed pipe until the runtime turns.
        runtime.block_on(tokio::task::yield_now());
    }
    // So many are taken that states behind the first message of a connection are reached.
    assert!(refused > 0 && taken > refused / 2, "{taken} were taken, {refused} refused");
}

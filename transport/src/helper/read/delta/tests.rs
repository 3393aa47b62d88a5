//! Builds files from those of a base, with a far end that knows only the specification.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use engine::SourceError;
use engine::entry::{Kind, Meta};
use engine::source::{BaseFile, ContentProof, ContentSink};
use proptest::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::delivery::{ContentPart, Delivery};
use crate::helper::delta::chunker::{ChunkSize, Chunker, Piece};
use crate::helper::delta::pieces;
use crate::helper::delta::sums::{Key, PIECE_SUM};
use crate::helper::protocol::delta::{Origin, SentRun};
use crate::helper::read::command::Command;
use crate::helper::read::delta::output::Output;
use crate::helper::read::delta::session::{Session, Turn};

/// What a sink received of a file.
#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    of_base: usize,
    hash: [u8; 32],
    result: Option<Result<Meta, SourceError>>,
}

struct Sink(Received, Sender<Received>);

impl ContentSink for Sink {
    fn data(&mut self, _: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.0.bytes.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn hole(&mut self, _: usize, length: u64) -> ControlFlow<()> {
        self.0.bytes.resize(self.0.bytes.len() + length as usize, 0);
        ControlFlow::Continue(())
    }

    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.0.of_base += bytes.len();
        self.data(index, bytes)
    }

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn hashed(&mut self, _: usize, hash: [u8; 32]) {
        self.0.hash = hash;
    }

    fn file_end(&mut self, _: usize, after: Result<Meta, SourceError>) {
        self.0.result = Some(after);
    }

    fn end(self: Box<Self>) {
        let _ = self.1.send(self.0);
    }
}

#[derive(Debug)]
struct Kept(File);

impl BaseFile for Kept {
    fn open(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

fn file_of(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn meta_of(size: usize) -> Meta {
    Meta { size: size as u64, allocated: size as u64, ..Meta::of(Kind::File) }
}

/// The far end of one file.
struct Far<'a> {
    content: &'a [u8],
    events: &'a Sender<Event>,
    delivery: &'a Delivery,
    sums: Option<SentSums>,
}

const ID: u64 = 7;

impl Far<'_> {
    fn send(&self, event: Event) {
        self.events.send(event).unwrap();
    }

    fn list(&mut self, from: u64, sums: SentSums) {
        self.sums = Some(sums);
        let file = file_of(self.content);
        let mut chunker = Chunker::new(sums.chunk, from, self.content.len() as u64, false);
        while let Some(Piece::Chunk(chunk)) = chunker.next(&file).unwrap() {
            let chunk = (chunk.len() as u32, sums.key.chunk(chunk));
            self.send(Event::Chunks(ID, vec![chunk]));
        }
        self.send(Event::Hashed(ID, blake3::hash(self.content).into()));
    }

    fn answer(&self, part: &SentPart) {
        let (runs, literal) = answer(self.content, self.sums.unwrap().key, part);
        self.delivery.backlog.bytes.fetch_add(literal.len(), Ordering::Relaxed);
        self.send(Event::Part(ID, runs, literal));
    }
}

/// What a far end that has `content` answers to `part`.
fn answer(content: &[u8], key: Key, part: &SentPart) -> (Vec<SentRun>, Vec<u8>) {
    let (mut runs, mut literal) = (Vec::new(), Vec::new());
    for (number, (at, length)) in pieces(part.offset, part.length.into()).enumerate() {
        let piece = &content[at as usize..][..length];
        let has = |sums: &[u8]| {
            sums.get(number * PIECE_SUM..).is_some_and(|sums| sums.starts_with(&key.piece(piece)))
        };
        let origin = match () {
            () if has(&part.before) => Origin::Before,
            () if has(&part.behind) => Origin::Behind,
            () => Origin::Sent,
        };
        if origin == Origin::Sent {
            literal.extend_from_slice(piece);
        }
        runs.push((origin, 1));
    }
    (runs, literal)
}

/// Builds `content` from `base`. The connection is lost before the command `cut`; `meanwhile` changes the base after
/// the first parts were asked for.
fn build(base: &[u8], content: &[u8], cut: Option<u32>, meanwhile: impl FnOnce(&File)) -> Received {
    let (to_network, mut commands) = unbounded_channel::<Command>();
    let (mut delivery, threads) = Delivery::start(&to_network).unwrap();
    let (events, thread) = worker::start(&delivery, to_network.clone()).unwrap();
    let (received, sink) = channel();
    let sink_of = Box::new(Sink(Received::default(), received));
    delivery.fetched(1, ContentPart::Begin(sink_of, 1));
    delivery.flush();
    let kept = file_of(base);
    let mut meanwhile = Some(meanwhile);
    let listed = meta_of(content.len());
    let base = Arc::new(Kept(kept.try_clone().unwrap()));
    let file = DeltaFile { request: 1, index: 0, base, listed: listed.clone(), from: 0 };
    events.send(Event::Start(ID, Box::new(file), 1)).unwrap();
    let mut far = Far { content, events: &events, delivery: &delivery, sums: None };
    let (mut round, mut number) = (1, 0);
    while let Some(Command::Delta(command)) = commands.blocking_recv() {
        number += 1;
        if cut == Some(number) {
            round += 1;
            far.send(Event::Again(ID, round));
            continue;
        }
        match command {
            DeltaCommand::Ask { round: of, from, sums, .. } if of == round => far.list(from, sums),
            DeltaCommand::Parts { round: of, parts, last, .. } if of == round => {
                meanwhile.take().into_iter().for_each(|change| change(&kept));
                parts.iter().for_each(|part| far.answer(part));
                if last {
                    far.send(Event::Ended(ID, (1, 0), Ok(listed.clone())));
                    break;
                }
            }
            DeltaCommand::GiveUp { .. } => {
                far.send(Event::Ended(ID, (1, 0), Ok(listed.clone())));
                break;
            }
            DeltaCommand::Whole { .. } => panic!("the base can be read"),
            DeltaCommand::Ask { .. } | DeltaCommand::Parts { .. } => {}
        }
    }
    let received = sink.recv().unwrap();
    assert_eq!(delivery.backlog.bytes.load(Ordering::Relaxed), 0);
    drop((events, delivery));
    threads.into_iter().chain([thread]).for_each(|thread| thread.join().unwrap());
    received
}

fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn what_changed_is_asked_for_before_the_whole_base_is_divided() {
    let base = noise(1, 24 << 20);
    let mut content = base.clone();
    content[1 << 20..][..4096].copy_from_slice(&noise(2, 4096));
    content.splice(2 << 20..2 << 20, noise(3, 5000));
    let (to_network, mut commands) = unbounded_channel::<Command>();
    let (delivery, threads) = Delivery::start(&to_network).unwrap();
    let output = Output::new(&delivery, to_network);
    let (kept, listed) = (file_of(&base), meta_of(content.len()));
    let of_base = Arc::new(Kept(kept.try_clone().unwrap()));
    let file = DeltaFile { request: 1, index: 0, base: of_base, listed: listed.clone(), from: 0 };
    let sums = SentSums { chunk: ChunkSize::of(listed.size), key: Key::new([1; 32]), runs: false };
    let mut session = Session::new(ID, file, 1, (kept, &meta_of(base.len())), sums, &output);
    let (file, size) = (file_of(&content), content.len() as u64);
    let mut chunker = Chunker::new(sums.chunk, 0, size, false);
    while let Some(Piece::Chunk(chunk)) = chunker.next(&file).unwrap() {
        session.chunks(vec![(chunk.len() as u32, sums.key.chunk(chunk))]);
    }
    // A turn divides 8 MiB of the base.
    assert!(session.turn(100, &output) == Turn::Goes);
    assert!(matches!(commands.try_recv(), Ok(Command::Delta(DeltaCommand::Ask { .. }))));
    let Ok(Command::Delta(DeltaCommand::Parts { parts, last: false, .. })) = commands.try_recv()
    else {
        panic!()
    };
    let covered: u64 = parts.iter().map(|part| u64::from(part.length)).sum();
    assert!(parts.len() == session.awaited() && parts.len() >= 2, "{}", parts.len());
    assert!((4096 + 5000..100_000).contains(&covered), "{covered}");
    session.abandon(&output);
    drop((output, delivery));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_page_of_a_large_file_is_all_that_is_asked_for() {
    let base = noise(1, 2 << 20);
    let mut content = base.clone();
    content[1 << 20..][..4096].copy_from_slice(&noise(2, 4096));
    let received = build(&base, &content, None, |_| {});
    assert!(received.bytes == content && received.hash == *blake3::hash(&content).as_bytes());
    assert_eq!(received.of_base, content.len() - 4096);
    assert_eq!(received.result.unwrap().unwrap(), meta_of(content.len()));
}

/// A base, and a file whose first page differs: nothing of the base is passed on before that page arrives.
fn other_first_page() -> (Vec<u8>, Vec<u8>) {
    let base = noise(1, 2 << 20);
    let content = [&noise(2, 4096)[..], &base[4096..]].concat();
    (base, content)
}

/// A file that is built on the thread of the test.
struct Alone {
    session: Session,
    output: Output,
    delivery: Delivery,
    threads: [JoinHandle<()>; 2],
    commands: UnboundedReceiver<Command>,
    sink: Receiver<Received>,
    kept: File,
    sums: SentSums,
    listed: Meta,
}

impl Alone {
    /// The far end has sent all chunks of `content`, and the file is planned: the whole base was compared.
    fn planned(base: &[u8], content: &[u8]) -> Self {
        let (to_network, commands) = unbounded_channel::<Command>();
        let (mut delivery, threads) = Delivery::start(&to_network).unwrap();
        let (received, sink) = channel();
        delivery.fetched(1, ContentPart::Begin(Box::new(Sink(Received::default(), received)), 1));
        delivery.flush();
        let output = Output::new(&delivery, to_network);
        let (kept, listed) = (file_of(base), meta_of(content.len()));
        let of_base = Arc::new(Kept(kept.try_clone().unwrap()));
        let file =
            DeltaFile { request: 1, index: 0, base: of_base, listed: listed.clone(), from: 0 };
        let chunk = ChunkSize::of(listed.size);
        let sums = SentSums { chunk, key: Key::new([1; 32]), runs: false };
        let of_base = (kept.try_clone().unwrap(), &meta_of(base.len()));
        let mut session = Session::new(ID, file, 1, of_base, sums, &output);
        let of_content = file_of(content);
        let mut chunker = Chunker::new(sums.chunk, 0, content.len() as u64, false);
        while let Some(Piece::Chunk(chunk)) = chunker.next(&of_content).unwrap() {
            session.chunks(vec![(chunk.len() as u32, sums.key.chunk(chunk))]);
        }
        session.hashed(blake3::hash(content).into());
        while session.turn(100, &output) == Turn::Goes {}
        Self { session, output, delivery, threads, commands, sink, kept, sums, listed }
    }

    /// The parts that were asked for first.
    fn parts(&mut self) -> Vec<SentPart> {
        let mut asked = std::iter::from_fn(|| self.commands.try_recv().ok());
        let parts = asked.find_map(|command| match command {
            Command::Delta(DeltaCommand::Parts { parts, .. }) => Some(parts),
            _ => None,
        });
        parts.unwrap()
    }

    /// The far end has sent a part.
    fn part(&mut self, runs: Vec<SentRun>, bytes: Vec<u8>) {
        self.delivery.backlog.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        self.session.part(runs, bytes, &self.output);
        while self.session.turn(100, &self.output) == Turn::Goes {}
    }

    /// The file has ended. Returns what the sink received.
    fn end(mut self) -> Received {
        self.session.ended(Ok(self.listed));
        assert!(self.session.turn(100, &self.output) == Turn::Ended);
        let received = self.sink.recv().unwrap();
        let backlog = Arc::clone(&self.delivery.backlog);
        drop((self.output, self.delivery));
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(backlog.bytes.load(Ordering::Relaxed), 0);
        received
    }
}

#[test]
fn a_base_that_rots_meanwhile_never_gives_a_file_with_the_right_hash() {
    let (base, content) = other_first_page();
    let mut alone = Alone::planned(&base, &content);
    // The base was compared, and what is behind the first page was not passed on yet.
    alone.kept.write_all_at(b"rotten", 1 << 20).unwrap();
    for part in alone.parts() {
        let (runs, bytes) = answer(&content, alone.sums.key, &part);
        alone.part(runs, bytes);
    }
    let received = alone.end();
    assert!(received.bytes.len() == content.len() && received.bytes != content);
    assert_ne!(received.hash, *blake3::hash(&received.bytes).as_bytes());
}

#[test]
fn a_base_that_becomes_shorter_gives_the_file_up() {
    let (base, content) = other_first_page();
    let received = build(&base, &content, None, |base| base.set_len(70_000).unwrap());
    assert_eq!(received.hash, [0; 32]);
    assert!(received.result.unwrap().is_ok());
}

#[test]
fn no_byte_of_a_part_that_the_base_breaks_off_stays_counted() {
    let base = noise(1, 2 << 20);
    let content = [&noise(2, 16 << 10)[..], &base[16 << 10..]].concat();
    let mut alone = Alone::planned(&base, &content);
    let length = u64::from(alone.parts()[0].length);
    // The second piece is the base's, which is empty now, and those behind it are sent.
    alone.kept.set_len(0).unwrap();
    let pieces = u32::try_from(pieces(0, length).count()).unwrap();
    assert!(pieces > 3, "{pieces}");
    let runs = vec![(Origin::Sent, 1), (Origin::Before, 1), (Origin::Sent, pieces - 2)];
    alone.part(runs, vec![7; length as usize - 4096]);
    assert_eq!(alone.end().hash, [0; 32]);
}

/// An edit: where, how many bytes go, how many come.
type Edit = (usize, usize, usize);

fn edited(base: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut content = base.to_vec();
    for (seed, (at, gone, new)) in (100..).zip(edits) {
        let at = at % (content.len() + 1);
        let end = content.len().min(at + gone);
        content.splice(at..end, noise(seed, *new));
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_edits_and_any_cut_give_the_file(
        size in 70_000_usize..700_000,
        repeats in any::<bool>(),
        edits in prop::collection::vec((any::<usize>(), 0_usize..80_000, 0_usize..80_000), 0..6),
        cut in prop::option::of(1_u32..5),
    ) {
        let base = if repeats { noise(1, 3000).repeat(size / 3000 + 1) } else { noise(1, size) };
        let content = edited(&base, &edits);
        let received = build(&base, &content, cut, |_| {});
        prop_assert!(received.bytes == content);
        prop_assert!(received.hash == *blake3::hash(&content).as_bytes());
    }
}

//! A near end with a far end that breaks the rules.

use std::ffi::CStr;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use engine::entry::{Batch, Entry, Kind, ListedEntry, Meta};
use engine::source::{BaseFile, ContentProof, ContentSink, ListSink, OfBase, Wanted};
use tokio::sync::mpsc::unbounded_channel;

use super::flood::{CONTENTS_HARD, LISTINGS_HARD};
use super::*;
use crate::delivery::{LISTINGS, Unwanted};
use crate::helper::delta::chunker::ChunkSize;
use crate::helper::delta::sums::Key;
use crate::helper::protocol::delta::{Origin, SentPart, SentSums};
use crate::helper::protocol::entry::{SentEntry, SentMeta};
use crate::helper::protocol::error::SentError;
use crate::helper::read::delta::worker;
use crate::helper::read::folder::Way;
use crate::helper::version::Version;
use crate::ssh::options::Traffic;

/// What a sink was told at its end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Listing(Option<String>),
    File(Option<String>),
}

struct Sink(Sender<End>);

impl ListSink for Sink {
    fn batch(&mut self, _: Batch) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {}

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        let _ = self.0.send(End::Listing(result.err().map(|error| error.to_string())));
    }
}

impl ContentSink for Sink {
    fn data(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hole(&mut self, _: usize, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, _: usize, after: Result<Meta, SourceError>) {
        let _ = self.0.send(End::File(after.err().map(|error| error.to_string())));
    }

    fn end(self: Box<Self>) {}
}

/// A near end whose requests go nowhere.
struct Near {
    scheduler: HelperScheduler,
    root: Arc<FolderHandle>,
    ends: Receiver<End>,
    to: Sender<End>,
    threads: Vec<JoinHandle<()>>,
    _runtime: tokio::runtime::Runtime,
}

/// The number of the first request: the one before it opens the root.
const FIRST: u32 = 2;

impl Near {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let (to_network, _) = unbounded_channel();
        let (delivery, threads) = Delivery::start(&to_network).unwrap();
        let (deltas, builder) = worker::start(&delivery, to_network).unwrap();
        let (to, ends) = channel();
        let mut near = Self {
            scheduler: HelperScheduler::new(Arc::default(), delivery, deltas, None),
            root: Arc::new(FolderHandle::root(
                1,
                Way::Root(PathBuf::from("/r")),
                None,
                Arc::new(|_| {}),
            )),
            ends,
            to,
            threads: threads.into_iter().chain([builder]).collect(),
            _runtime: runtime,
        };
        near.connect();
        near
    }

    fn connect(&mut self) {
        self.scheduler.reset("tested");
        let _entered = self._runtime.enter();
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
        self.pump();
    }

    fn pump(&mut self) {
        self.scheduler.pump().unwrap();
        self.scheduler.outbox(0).buffer().clear();
    }

    fn list(&mut self) {
        let sink = Box::new(Sink(self.to.clone()));
        self.scheduler.command(Command::List(Arc::clone(&self.root), None, sink));
        self.pump();
    }

    /// Fetches a file of this size. Without `allocated` bytes it has large holes, and is not divided.
    fn fetch(&mut self, size: u64, allocated: u64) -> Meta {
        let meta = Meta { size, allocated, ..Meta::of(Kind::File) };
        let entry = Entry { name: c"file".to_owned(), meta: meta.clone(), extra: None };
        let wanted = Wanted { entry, from: 0, again: false, base: None };
        let sink = Box::new(Sink(self.to.clone()));
        self.scheduler.command(Command::Fetch(Arc::clone(&self.root), vec![wanted], sink));
        self.pump();
        meta
    }

    /// Receives an answer to a request. The sinks take all of it at once.
    fn receive(&mut self, number: u32, answer: &Answer, content: &[u8]) -> Result<(), Violation> {
        let mut frame = Vec::new();
        frame::append(&mut frame, number, answer, content).unwrap();
        self.scheduler.receive(0, &frame[4..], Instant::now())?;
        self.pump();
        while self.scheduler.waits() > 0 {
            std::thread::yield_now();
        }
        self.pump();
        Ok(())
    }

    fn end(mut self) {
        self.scheduler.give_up("tested");
        drop(self.scheduler);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn names(from: usize, count: usize) -> Answer {
    let entry = |number: usize| {
        let name = std::ffi::CString::new(number.to_string()).unwrap();
        let entry = Entry { name, meta: Meta::of(Kind::Fifo), extra: None };
        SentEntry::from(ListedEntry::from(&entry))
    };
    Answer::Batch((from..from + count).map(entry).collect())
}

/// A file of the base that cannot be opened: only the test asks for chunks and parts.
#[derive(Debug)]
struct Unopened;

impl BaseFile for Unopened {
    fn open(&self) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Near {
    /// Fetches a file as its differences. Returns its number.
    fn fetch_delta(&mut self) -> u64 {
        let meta = Meta { size: 1 << 30, allocated: 1 << 30, ..Meta::of(Kind::File) };
        let entry = Entry { name: c"file".to_owned(), meta, extra: None };
        let wanted =
            Wanted { entry, from: 0, again: false, base: Some(OfBase::Older(Arc::new(Unopened))) };
        let sink = Box::new(Sink(self.to.clone()));
        self.scheduler.command(Command::Fetch(Arc::clone(&self.root), vec![wanted], sink));
        let file = self.scheduler.next_id;
        let sums = SentSums { chunk: ChunkSize::of(0), key: Key::new([1; 32]), runs: false };
        self.delta(DeltaCommand::Ask { file, round: 1, from: 0, sums });
        file
    }

    fn delta(&mut self, command: DeltaCommand) {
        self.scheduler.command(Command::Delta(command));
        self.pump();
    }

    fn ask_parts(&mut self, file: u64, count: usize) {
        let part = SentPart { offset: 0, length: 10, before: Vec::new(), behind: Vec::new() };
        self.delta(DeltaCommand::Parts { file, round: 1, parts: vec![part; count], last: false });
    }

    fn channel(&self) -> &HelperChannel {
        &self.scheduler.channels[0]
    }
}

#[test]
fn a_delta_that_is_not_wanted_any_more_counts_until_the_far_end_has_ended_it() {
    let mut near = Near::new();
    let files: Vec<u64> = (0..8).map(|_| near.fetch_delta()).collect();
    near.delta(DeltaCommand::GiveUp { file: files[0], round: 1 });
    assert_eq!(near.ends.recv(), Ok(End::File(None)));
    let ninth = near.fetch_delta();
    assert!(near.channel().purpose(FIRST + 8).is_err(), "the far end accepts eight");
    near.receive(FIRST, &Answer::Read(Err(SentError::Vanished)), &[]).unwrap();
    assert_eq!(near.channel().purpose(FIRST + 8).unwrap().0, Purpose::File(ninth));
    // One that waits, and is not wanted before it could be asked for, is not.
    let tenth = near.fetch_delta();
    near.delta(DeltaCommand::GiveUp { file: tenth, round: 1 });
    near.receive(FIRST + 1, &Answer::Read(Err(SentError::Vanished)), &[]).unwrap();
    assert!(near.channel().purpose(FIRST + 9).is_err());
    near.end();
}

#[test]
fn parts_that_are_not_wanted_any_more_count_until_the_far_end_has_passed_over_them() {
    let part = Answer::Part(vec![(Origin::Sent, 1)]);
    let mut near = Near::new();
    let files: Vec<u64> = (0..5).map(|_| near.fetch_delta()).collect();
    files[..4].iter().for_each(|file| near.ask_parts(*file, 1024));
    near.delta(DeltaCommand::GiveUp { file: files[0], round: 1 });
    near.ask_parts(files[4], 2);
    near.ask_parts(files[4], 1);
    let sent = |near: &mut Near| near.receive(FIRST + 4, &part, &[0; 10]).is_ok();
    // Room for one part is not enough for the two that come first.
    near.receive(FIRST, &part, &[0; 10]).unwrap();
    assert!(!sent(&mut near), "it was not asked for");
    near.receive(FIRST + 1, &part, &[0; 10]).unwrap();
    assert!((0..3).all(|_| sent(&mut near)) && !sent(&mut near));
    near.ask_parts(files[4], 3);
    assert!(!sent(&mut near), "it was not asked for");
    near.receive(FIRST, &Answer::Read(Err(SentError::Vanished)), &[]).unwrap();
    assert!((0..3).all(|_| sent(&mut near)));
    near.end();
}

/// Sends an answer until it is refused. Returns how many were taken, and why the next one was not.
fn until_refused(near: &mut Near, answer: &Answer, content: &[u8]) -> (usize, &'static str) {
    for count in 0..10_000 {
        if let Err(Violation(why)) = near.receive(FIRST, answer, content) {
            return (count, why);
        }
    }
    panic!("it goes on without an end");
}

const GOES_ON: &str = "it goes on with what is not wanted any more";

#[test]
fn a_file_that_is_not_wanted_any_more_ends_although_the_far_end_goes_on() {
    for answer in [Answer::Data, Answer::Hole(4096)] {
        let mut near = Near::new();
        near.fetch(1 << 40, 0);
        let content = vec![1; if answer == Answer::Data { 100_000 } else { 0 }];
        near.receive(FIRST, &answer, &content).unwrap();
        near.scheduler.command(Command::Unwanted(Unwanted::File(1, 0)));
        near.pump();
        assert_eq!(near.ends.recv(), Ok(End::File(None)));
        // What was on its way when the far end learned it is no violation.
        for _ in 0..40 {
            near.receive(FIRST, &answer, &content).unwrap();
        }
        if answer == Answer::Data {
            let (count, why) = until_refused(&mut near, &answer, &content);
            assert!((40..60).contains(&count) && why == GOES_ON, "{count}: {why}");
        }
        near.connect();
        assert_eq!(near.scheduler.channels[0].load(), 0, "it is not asked for again");
        near.end();
    }
}

#[test]
fn the_last_answer_to_what_is_not_wanted_any_more_changes_nothing() {
    let mut near = Near::new();
    let meta = near.fetch(1 << 40, 0);
    near.list();
    near.scheduler.command(Command::Unwanted(Unwanted::File(1, 0)));
    near.scheduler.command(Command::Unwanted(Unwanted::Folder(3)));
    near.pump();
    let mut ends = [near.ends.recv().unwrap(), near.ends.recv().unwrap()];
    ends.sort_by_key(|end| matches!(end, End::Listing(_)));
    assert_eq!(ends, [End::File(None), End::Listing(None)]);
    near.scheduler.progressed();
    assert!(near.receive(FIRST, &Answer::Listed(Ok(())), &[]).is_ok());
    assert!(near.receive(FIRST + 1, &Answer::Read(Ok(SentMeta::from(&meta))), &[]).is_ok());
    assert!(near.receive(FIRST, &Answer::Listed(Ok(())), &[]).is_err(), "it had its last answer");
    assert!(!near.scheduler.progressed() && near.ends.try_recv().is_err());
    near.end();
}

#[test]
fn a_listing_with_more_names_than_folders_have_ends() {
    let mut near = Near::new();
    near.scheduler.most_names = 20_000;
    near.list();
    // The same names again and again count too, also when they came on an earlier connection.
    near.receive(FIRST, &names(0, 100), &[]).unwrap();
    near.connect();
    let mut messages = 0;
    while near.ends.try_recv().map_or(true, |end| {
        assert!(matches!(end, End::Listing(Some(why)) if why.contains("does not end")));
        false
    }) {
        near.receive(FIRST, &names(0, 100), &[]).unwrap();
        messages += 1;
        assert!(messages < 1000);
    }
    assert!(messages >= 200, "{messages}");
    let (_, why) = until_refused(&mut near, &names(0, 3000), &[]);
    assert_eq!(why, GOES_ON);
    near.end();
}

#[test]
fn a_part_of_a_listing_is_not_empty() {
    let mut near = Near::new();
    near.list();
    assert!(near.receive(FIRST, &names(0, 1), &[]).is_ok());
    assert!(near.receive(FIRST, &names(0, 0), &[]).is_err());
    near.end();
}

#[test]
fn only_ranges_that_are_delivered_are_progress() {
    const RANGE: u64 = crate::helper::read::ranges::RANGE;
    let mut near = Near::new();
    let meta = near.fetch(6 * RANGE, 6 * RANGE);
    let whole = Answer::Read(Ok(SentMeta::from(&meta)));
    near.scheduler.progressed();
    // The second range arrives, and waits for the first one. It is lost with the connection.
    near.receive(FIRST + 1, &Answer::Hole(RANGE), &[]).unwrap();
    near.receive(FIRST + 1, &whole, &[]).unwrap();
    assert!(!near.scheduler.progressed(), "nothing of the file was delivered");
    near.connect();
    near.receive(FIRST, &Answer::Hole(RANGE), &[]).unwrap();
    assert!(near.scheduler.progressed());
    // A file that ends is not asked for again.
    near.receive(FIRST + 1, &Answer::Read(Err(SentError::Vanished)), &[]).unwrap();
    assert!(near.scheduler.progressed());
    assert!(matches!(near.ends.recv(), Ok(End::File(Some(_)))));
    near.end();
}

#[test]
fn contents_are_overdue_also_when_listings_are_used_up() {
    let later = || Instant::now() + Duration::from_secs(61);
    let limit = Duration::from_secs(60);
    let mut near = Near::new();
    near.list();
    near.receive(FIRST - 1, &Answer::Root(Err(SentError::Vanished)), &[]).unwrap();
    // The sink of the listing waits for the content, so this end allows no more listings.
    near.scheduler.delivery.unproven = LISTINGS;
    for count in 0.. {
        if near.receive(FIRST, &names(count * 1000, 1000), &[]).is_err() {
            break;
        }
    }
    assert!(!near.scheduler.stalled(later(), limit), "the far end waits for this end");
    near.fetch(100, 100);
    assert!(near.scheduler.stalled(later(), limit), "it may send contents");
    near.scheduler.delivery.unproven = 0;
    near.pump();
    assert!(near.scheduler.stalled(later(), limit), "it may send both");
    near.end();
}

#[test]
fn a_far_end_from_which_a_slow_disk_lets_nothing_be_read_is_not_silent() {
    let limit = Duration::from_secs(60);
    let mut near = Near::new();
    near.fetch(100, 100);
    let waits = Arc::clone(&near.scheduler.delivery.backlog);
    let later = Instant::now() + 2 * limit;
    assert!(near.scheduler.stalled(later, limit));
    waits.bytes.store(CONTENTS_HARD + 1, Ordering::Relaxed);
    assert!(near.scheduler.is_flooded(0) && !near.scheduler.stalled(later, limit));
    near.pump();
    assert!(!near.scheduler.stalled(later, limit));
    // It has the whole time again when this end reads again.
    waits.bytes.store(0, Ordering::Relaxed);
    let end = Instant::now();
    assert!(!near.scheduler.stalled(later, limit));
    near.pump();
    assert!(!near.scheduler.is_flooded(0) && !near.scheduler.stalled(end + limit, limit));
    assert!(near.scheduler.stalled(Instant::now() + 2 * limit, limit));
    // Listings may wait for contents, which never come while nothing is read.
    waits.listings.store(LISTINGS_HARD + 1, Ordering::Relaxed);
    near.pump();
    assert!(near.scheduler.is_flooded(0));
    assert!(near.scheduler.stalled(Instant::now() + 2 * limit, limit));
    waits.listings.store(0, Ordering::Relaxed);
    near.end();
}

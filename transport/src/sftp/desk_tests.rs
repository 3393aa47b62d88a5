//! What any answers of a server may do to those who ask: each of them is told an end, once.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use engine::entry::{Batch, Entry, Kind, Meta, Time};
use engine::source::{ContentSink, ListSink, SourceError, Wanted};
use proptest::prelude::*;
use tokio::net::unix::pipe;
use tokio::sync::mpsc::unbounded_channel;

use super::desk::{Command, Desk};
use super::line::Line;
use super::post::Post;
use super::question::{Asked, Question};

/// Counts what is told.
#[derive(Default)]
struct Counts {
    lists: AtomicUsize,
    files: AtomicUsize,
    fetches: AtomicUsize,
    most: AtomicUsize,
}

struct Sink(Arc<Counts>, Vec<usize>);

impl ListSink for Sink {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        for listed in batch.iter() {
            assert!(engine::entry::check_name(listed.name.to_bytes()).is_ok());
        }
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {}

    fn end(self: Box<Self>, _: Result<(), SourceError>) {
        self.0.lists.fetch_add(1, Ordering::Relaxed);
    }
}

impl ContentSink for Sink {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.1[index] += bytes.len();
        self.0.most.fetch_max(self.1[index], Ordering::Relaxed);
        ControlFlow::Continue(())
    }

    fn hole(&mut self, _: usize, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn file_end(&mut self, _: usize, _: Result<Meta, SourceError>) {
        self.0.files.fetch_add(1, Ordering::Relaxed);
    }

    fn end(self: Box<Self>) {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
    }
}

const SIZES: [u64; 6] = [0, 1, 5000, 300_000, 2_000_000, u64::MAX >> 1];

fn wanted(size: u64) -> Wanted {
    let meta = Meta {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: Time { secs: 7, nanos: 0 },
        ctime: Time::default(),
        id: None,
        links: 1,
        rdev: 0,
        allocated: size,
    };
    Wanted { entry: Entry { name: c"name".to_owned(), meta, extra: None }, from: 0 }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

fn attrs(out: &mut Vec<u8>, choice: u8) {
    let size = SIZES[choice as usize % SIZES.len()];
    let mode = [0o100_644_u32, 0o100_600, 0o100_644, 0o040_755, 0o120_777, 0][choice as usize % 6];
    out.extend_from_slice(&13_u32.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&mode.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 7 + choice / 200]);
}

/// An answer to `request`: one that fits, mostly.
fn answer(request: &[u8], choice: u8, other: u8) -> Vec<u8> {
    let fits = match request[0] {
        3 | 11 => 102,
        5 => 103,
        7 | 8 | 17 => 105,
        12 | 16 | 19 => 104,
        _ => 101,
    };
    let kind = if other < 25 { 101 + other % 5 } else { fits };
    let mut out = vec![kind];
    out.extend_from_slice(&request[1..5]);
    match kind {
        101 => out.extend_from_slice(&u32::from(choice % 6).to_be_bytes()),
        102 => text(&mut out, &[choice; 4][..choice as usize % 5]),
        103 => {
            let asked = request.last_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
            let length = if choice < 180 { asked } else { asked / u32::from(choice - 178) };
            text(&mut out, &vec![choice; length.max(1) as usize]);
        }
        104 => {
            let names: [&[u8]; 6] = [b"..", b"a/b", b"a", b"", b"\xff\n", b"a\0b"];
            let count = if request[0] == 12 { choice % 7 } else { 1 };
            out.extend_from_slice(&u32::from(count).to_be_bytes());
            for number in 0..count {
                text(&mut out, names[usize::from(choice ^ number) % names.len()]);
                text(&mut out, b"long");
                attrs(&mut out, choice.wrapping_add(number * 11));
            }
        }
        _ => attrs(&mut out, choice),
    }
    out
}

/// Lets a server answer as `choices` say, on two channels; true when all were told an end, once.
fn serve(choices: &[(u8, u8, u8)]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counts = Arc::new(Counts::default());
    let (commands, _unwanted) = unbounded_channel();
    let (post, threads) = Post::start(&commands).unwrap();
    let mut desk = Desk::new(post);
    let (reply, told) = sync_channel(1);
    runtime.block_on(async {
        let mut pipes = Vec::new();
        for _ in 0..2 {
            let (to, from) = pipe::pipe().unwrap();
            to.writable().await.unwrap();
            desk.add_line(Line::new(Rc::new(to)), true);
            pipes.push((from, Vec::new()));
        }
        let path: Arc<[u8]> = Arc::from(&b"/folder"[..]);
        let sink = || Box::new(Sink(Arc::clone(&counts), vec![0; SIZES.len()]));
        desk.command(Command::List(Arc::clone(&path), sink()));
        desk.command(Command::Fetch(Arc::clone(&path), SIZES.map(wanted).into(), sink()));
        desk.command(Command::Fetch(path, Vec::new(), sink()));
        desk.command(Command::Ask(Asked { question: Question::LStat(b"/x".to_vec()), reply }));
        let mut requests: Vec<(usize, Vec<u8>)> = Vec::new();
        for (pick, choice, other) in choices {
            desk.pump().unwrap();
            for (number, (from, bytes)) in pipes.iter_mut().enumerate() {
                let mut buffer = [0; 65_536];
                from.readable().await.unwrap();
                let _ = from.try_read(&mut buffer).map(|count| bytes.extend(&buffer[..count]));
                while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
                    let length = u32::from_be_bytes(*length) as usize;
                    if rest.len() < length {
                        break;
                    }
                    requests.push((number, rest[..length].to_vec()));
                    bytes.drain(..4 + length);
                }
                // There is always something to read, so that nothing waits.
                desk.line(number).close(b"again");
            }
            desk.pump().unwrap();
            let at = usize::from(*pick) % requests.len();
            let (number, request) = requests.remove(at);
            let frame = answer(&request, *choice, *other);
            match pick % 64 {
                0 => {
                    desk.command(Command::UnwantedFile(2, usize::from(*choice) % SIZES.len()));
                }
                1 => desk.command(Command::UnwantedFolder(1)),
                _ => {}
            }
            if desk.receive(number, &frame, Instant::now()).is_err() {
                break;
            }
        }
        desk.reset();
        desk.give_up("the end");
    });
    drop(desk);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let ends = (of(&counts.lists), of(&counts.files), of(&counts.fetches));
    prop_assert_eq!(ends, (1, SIZES.len(), 2));
    prop_assert!(told.try_recv().is_ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everybody_is_told_an_end_whatever_is_answered(
        choices in prop::collection::vec(any::<(u8, u8, u8)>(), 0..150),
    ) {
        serve(&choices)?;
    }
}

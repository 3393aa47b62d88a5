//! Property tests: for any answers of a server, each request ends exactly once.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use engine::SourceError;
use engine::entry::{Batch, Meta};
use engine::source::{ContentProof, ContentSink, ListSink, Wanted};
use proptest::prelude::*;

use crate::delivery::Unwanted;
use crate::sftp::read::command::{Command, Part};
use crate::sftp::read::query::{PendingQuery, Query};
use crate::sftp::read::scheduler::bench::{Bench, attrs, text, wanted};
use crate::ssh::scheduler::Scheduler;

/// Counts the calls to the sinks.
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

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, _: usize, _: Result<Meta, SourceError>) {
        self.0.files.fetch_add(1, Ordering::Relaxed);
    }

    fn end(self: Box<Self>) {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
    }
}

const SIZES: [u64; 6] = [0, 1, 5000, 300_000, 2_000_000, u64::MAX >> 1];

/// Files of all sizes, some of them from an offset on.
fn files(part: u8) -> Vec<Wanted> {
    SIZES.map(|size| wanted(size, size / 4 * u64::from(part % 5))).into()
}

fn chosen_attrs(out: &mut Vec<u8>, choice: u8) {
    let size = SIZES[choice as usize % SIZES.len()];
    let mode = [0o100_644_u32, 0o100_600, 0o100_644, 0o040_755, 0o120_777, 0][choice as usize % 6];
    attrs(out, size, mode, 7 + choice / 200);
}

/// An answer to `request`, which usually fits.
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
                chosen_attrs(&mut out, choice.wrapping_add(number * 11));
            }
        }
        _ => chosen_attrs(&mut out, choice),
    }
    out
}

/// Runs a server on two channels that answers as `choices` say. Checks that every request ended exactly once.
fn serve(part: u8, choices: &[(u8, u8, u8)]) -> Result<(), TestCaseError> {
    let counts = Arc::new(Counts::default());
    let (reply, received) = sync_channel(1);
    let mut bench = Bench::new(2);
    let scheduler = &mut bench.scheduler;
    let path: Arc<[u8]> = Arc::from(&b"/folder"[..]);
    let sink = || Box::new(Sink(Arc::clone(&counts), vec![0; SIZES.len()]));
    scheduler.command(Command::List(Arc::clone(&path), Some(Arc::from(&b"a"[..])), sink()));
    scheduler.command(Command::Fetch(
        Arc::clone(&path),
        Some(Arc::from(&b"a"[..])),
        files(part).into_iter().map(Part::whole).collect(),
        sink(),
    ));
    scheduler.command(Command::Fetch(path, None, Vec::new(), sink()));
    scheduler
        .command(Command::Ask(vec![PendingQuery { query: Query::LStat(b"/x".to_vec()), reply }]));
    let mut requests = Vec::new();
    for (pick, choice, other) in choices {
        requests.extend(bench.sent());
        if requests.is_empty() {
            break;
        }
        let request = requests.remove(usize::from(*pick) % requests.len());
        let frame = answer(&request.bytes, *choice, *other);
        let scheduler = &mut bench.scheduler;
        match pick % 64 {
            0 => scheduler
                .command(Command::Unwanted(Unwanted::File(2, usize::from(*choice) % SIZES.len()))),
            1 => scheduler.command(Command::Unwanted(Unwanted::Folder(1))),
            _ => {}
        }
        if scheduler.receive(request.channel, &frame, Instant::now()).is_err() {
            break;
        }
    }
    bench.end();
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let ends = (of(&counts.lists), of(&counts.files), of(&counts.fetches));
    prop_assert_eq!(ends, (1, SIZES.len(), 2));
    prop_assert!(received.try_recv().is_ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_request_ends_whatever_is_answered(
        part in 0_u8..5,
        choices in prop::collection::vec(any::<(u8, u8, u8)>(), 0..150),
    ) {
        serve(part, &choices)?;
    }
}

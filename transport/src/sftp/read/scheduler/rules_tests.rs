//! Tests which requests the scheduler sends, and in which order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sftp::read::scheduler;
use crate::sftp::read::scheduler::bench::{
    Bench, FSTAT, FileEnd, LSTAT, OPEN, READ, Sent, fetch, text, wanted,
};
use crate::ssh::scheduler::Scheduler;

/// A size above the length of one READ.
const LARGE: u64 = 1_000_000;

fn kinds(sent: &[Sent]) -> Vec<u8> {
    sent.iter().map(Sent::kind).collect()
}

/// Answers correctly until nothing more is sent; the files are `grown` bytes larger than listed. Returns all
/// requests.
fn serve(bench: &mut Bench, grown: i64) -> Vec<Sent> {
    let mut all = Vec::new();
    loop {
        let sent = bench.sent();
        if sent.is_empty() {
            return all;
        }
        bench.answer(&sent, grown);
        all.extend(sent);
    }
}

/// Fetches one file listed with `size`, now of size `now`, from offset `from` on. Returns the requests and
/// the result.
fn one(size: u64, from: u64, now: u64) -> (Vec<Sent>, FileEnd) {
    let mut bench = Bench::new(1);
    let ends = fetch(&mut bench.scheduler, vec![wanted(size, from)]);
    let sent = serve(&mut bench, now as i64 - size as i64);
    let (_, ended) = ends.recv().unwrap();
    bench.end();
    (sent, ended)
}

#[test]
fn a_file_goes_on_where_it_is_wanted_when_it_is_as_it_was() {
    for (size, from) in [(LARGE, 600_000), (LARGE, 999_999), (5000, 1), (5000, 4096)] {
        let (sent, (delivered, after)) = one(size, from, size);
        assert_eq!(kinds(&sent)[..2], [OPEN, FSTAT], "looked at before it is read");
        let reads: Vec<_> = sent.iter().filter_map(Sent::read).collect();
        assert_eq!(reads[0].0, from);
        assert_eq!((delivered, reads.iter().map(|read| read.1).sum()), (size - from, size - from));
        assert!(after.is_ok());
    }
}

#[test]
fn a_file_that_is_wanted_from_its_end_on_is_looked_at_once() {
    for size in [LARGE, 5000] {
        let (sent, (delivered, after)) = one(size, size, size);
        assert_eq!(kinds(&sent)[..2], [OPEN, FSTAT]);
        assert!(!kinds(&sent[2..]).contains(&FSTAT) && !kinds(&sent).contains(&READ));
        assert!(delivered == 0 && after.is_ok_and(|after| after.size == size));
    }
}

#[test]
fn a_file_that_is_not_as_it_was_does_not_go_on() {
    for (size, from) in [(LARGE, 600_000), (LARGE, LARGE), (5000, 1), (5000, 5000)] {
        for now in [size - 1, size + 1] {
            let (sent, (delivered, after)) = one(size, from, now);
            // OPEN may have followed a symlink, so LSTAT checks the name.
            assert_eq!(kinds(&sent)[..3], [OPEN, FSTAT, LSTAT]);
            assert!(!kinds(&sent).contains(&READ));
            assert!(delivered == 0 && after.is_ok_and(|after| after.size == now));
        }
    }
}

#[test]
fn a_file_that_the_server_had_no_handle_for_is_opened_again() {
    let mut bench = Bench::new(1);
    let ends = fetch(&mut bench.scheduler, vec![wanted(1000, 0), wanted(2000, 0)]);
    let mut opens = bench.sent();
    assert_eq!(kinds(&opens), [OPEN, OPEN]);
    let refused = opens.pop().unwrap();
    bench.answer(&opens, 0);
    serve(&mut bench, 0);
    assert!(ends.recv().unwrap().1.1.is_ok());
    // The other file is closed by now. It was open when this OPEN was sent, so the refusal proves nothing.
    bench.fail(&refused);
    let alone = bench.sent().pop().unwrap();
    bench.fail(&alone);
    assert_eq!(kinds(&serve(&mut bench, 0))[0], OPEN);
    assert!(ends.recv().unwrap().1.1.is_ok());
    bench.end();
}

#[test]
fn a_file_that_cannot_be_opened_alone_fails_at_the_second_try() {
    let mut bench = Bench::new(1);
    let ends = fetch(&mut bench.scheduler, vec![wanted(1000, 0)]);
    for _ in 0..2 {
        let refused = bench.sent().pop().unwrap();
        bench.fail(&refused);
    }
    assert!(bench.sent().is_empty());
    assert!(ends.recv().unwrap().1.1.is_err());
    bench.end();
}

#[test]
fn a_file_that_changed_while_the_line_was_down_ends_as_it_is_now() {
    let mut bench = Bench::new(1);
    let ends = fetch(&mut bench.scheduler, vec![wanted(LARGE, 0)]);
    for _ in 0..2 {
        let mut sent = bench.sent();
        sent.truncate(2);
        bench.answer(&sent, 0);
    }
    bench.scheduler.reset("");
    bench.connect(1);
    let sent = serve(&mut bench, 1);
    assert_eq!(kinds(&sent)[..3], [LSTAT, OPEN, FSTAT]);
    assert!(!kinds(&sent).contains(&READ));
    let (_, (delivered, after)) = ends.recv().unwrap();
    assert!(delivered > 0 && delivered < LARGE && after.is_ok_and(|after| after.size == LARGE + 1));
    bench.end();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_to_its_end() {
    const SIZE: u64 = 200_000_000;
    let mut bench = Bench::new(4);
    let ends = fetch(&mut bench.scheduler, vec![wanted(SIZE, 0)]);
    // The channel on which the file was started answers late, after bytes of the other channels were
    // delivered.
    let mut first = VecDeque::new();
    let mut ended = None;
    for round in 0.. {
        let (now, later): (Vec<_>, Vec<_>) =
            bench.sent().into_iter().partition(|sent| sent.channel < 3);
        first.extend(later);
        bench.answer(&now, 1);
        if !now.is_empty() && round < 3 {
            continue;
        }
        if let Some(sent) = first.pop_front() {
            bench.answer(&[sent], 1);
        } else if now.is_empty() {
            // The sink may not have received the end yet.
            ended = ends.recv_timeout(Duration::from_millis(1)).ok();
            if ended.is_some() {
                break;
            }
        }
    }
    let (_, (delivered, after)) = ended.unwrap();
    assert!(delivered == SIZE && after.is_ok_and(|after| after.size == SIZE + 1), "{delivered}");
    bench.end();
}

/// The bytes of all READs among the requests.
fn read(sent: &[Sent]) -> u64 {
    sent.iter().filter_map(Sent::read).map(|(_, length)| length).sum()
}

#[test]
fn outstanding_bytes_are_bounded_whatever_is_answered_last() {
    let mut bench = Bench::new(8);
    let files = (0..100).map(|_| wanted(1 << 40, 0)).chain((0..4000).map(|_| wanted(250_000, 0)));
    let _ends = fetch(&mut bench.scheduler, files.collect());
    let (mut out, mut most): (Vec<Sent>, u64) = (Vec::new(), 0);
    for _ in 0..30 {
        out.extend(bench.sent());
        most = most.max(read(&out));
        // The first piece of each file never arrives, so the pieces after it must wait.
        let held = |sent: &Sent| sent.read().is_some_and(|(offset, _)| offset == 0);
        let (held, now): (Vec<Sent>, Vec<Sent>) = out.into_iter().partition(held);
        bench.answer(&now, 0);
        out = held;
    }
    assert!(most <= scheduler::SMALL + scheduler::LARGE + 250_000, "{most}");
    assert!(bench.scheduler.held() <= scheduler::LARGE, "{}", bench.scheduler.held());
    bench.end();
}

#[test]
fn a_server_that_tells_little_at_a_time_gets_no_memory_without_end() {
    let mut bench = Bench::new(4);
    let _ends = fetch(&mut bench.scheduler, (0..8).map(|_| wanted(9_000_000, 0)).collect());
    let mut pieces = 0;
    for _ in 0..1500 {
        for sent in bench.sent() {
            match sent.read() {
                // The pieces after the first one must wait.
                Some((0, _)) => {}
                Some((_, length)) => {
                    let mut frame = vec![103];
                    frame.extend_from_slice(&sent.bytes[1..5]);
                    text(&mut frame, &vec![1; length.min(250) as usize]);
                    assert!(bench.scheduler.receive(sent.channel, &frame, Instant::now()).is_ok());
                    pieces += 1;
                }
                None => bench.answer(&[sent], 0),
            }
        }
    }
    // Each piece takes about as much memory again in addition to its bytes.
    assert!((10_000..scheduler::LARGE / 350).contains(&pieces), "{pieces}");
    bench.end();
}

#[test]
fn neither_large_files_nor_small_ones_wait_for_the_others() {
    const SMALL: u64 = 4000;
    let mut bench = Bench::new(4);
    let small: Vec<_> = (0..8000).map(|_| wanted(SMALL, 0)).collect();
    let large: Vec<_> = (0..3).map(|_| wanted(40_000_000, 0)).collect();
    let _ends = [small, large].map(|files| fetch(&mut bench.scheduler, files));
    let mut waiting: Vec<VecDeque<Sent>> = (0..4).map(|_| VecDeque::new()).collect();
    let (mut small, mut large) = (0, 0);
    // Each channel's server answers in order. When half of one kind is done, a good part of the other must be
    // done too.
    while small < 8000 / 2 * SMALL && large < 120_000_000 / 2 {
        bench.sent().into_iter().for_each(|sent| waiting[sent.channel].push_back(sent));
        let now: Vec<Sent> = waiting.iter_mut().filter_map(VecDeque::pop_front).collect();
        for (_, length) in now.iter().filter_map(Sent::read) {
            *(if length == SMALL { &mut small } else { &mut large }) += length;
        }
        bench.answer(&now, 0);
    }
    assert!(small > 8000 / 10 * SMALL && large > 120_000_000 / 10, "{small}, {large}");
    bench.end();
}

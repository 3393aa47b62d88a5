//! What the desk asks for, and in which order.

use super::desk_bench::{Bench, Ended, FSTAT, LSTAT, OPEN, READ, Sent, fetch, wanted};

/// Larger than one read.
const LARGE: u64 = 1_000_000;

fn kinds(sent: &[Sent]) -> Vec<u8> {
    sent.iter().map(Sent::kind).collect()
}

/// Answers honestly, with files of `size`, until nothing more is sent; all that was sent.
fn serve(bench: &mut Bench, size: u64) -> Vec<Sent> {
    let mut all = Vec::new();
    loop {
        let sent = bench.sent();
        if sent.is_empty() {
            return all;
        }
        bench.answer(&sent, size);
        all.extend(sent);
    }
}

/// What one file of `size`, now of size `now`, wanted from `from` on, leads to.
fn one(size: u64, from: u64, now: u64) -> (Vec<Sent>, Ended) {
    let mut bench = Bench::new(1);
    let ends = fetch(&mut bench.desk, vec![wanted(size, from)]);
    let sent = serve(&mut bench, now);
    let (_, ended) = ends.recv().unwrap();
    bench.end();
    (sent, ended)
}

#[test]
fn a_file_goes_on_where_it_is_wanted_when_it_is_as_it_was() {
    for (size, from) in [(LARGE, 600_000), (LARGE, 999_999), (5000, 1), (5000, 4096)] {
        let (sent, (told, after)) = one(size, from, size);
        assert_eq!(kinds(&sent)[..2], [OPEN, FSTAT], "looked at before it is read");
        let reads: Vec<_> = sent.iter().filter_map(Sent::read).collect();
        assert_eq!(reads[0].0, from);
        assert_eq!((told, reads.iter().map(|read| read.1).sum()), (size - from, size - from));
        assert!(after.is_ok());
    }
}

#[test]
fn a_file_that_is_wanted_from_its_end_on_is_looked_at_once() {
    for size in [LARGE, 5000] {
        let (sent, (told, after)) = one(size, size, size);
        assert_eq!(kinds(&sent)[..2], [OPEN, FSTAT]);
        assert!(!kinds(&sent[2..]).contains(&FSTAT) && !kinds(&sent).contains(&READ));
        assert!(told == 0 && after.is_ok_and(|after| after.size == size));
    }
}

#[test]
fn a_file_that_is_not_as_it_was_does_not_go_on() {
    for (size, from) in [(LARGE, 600_000), (LARGE, LARGE), (5000, 1), (5000, 5000)] {
        for now in [size - 1, size + 1] {
            let (sent, (told, after)) = one(size, from, now);
            // OPEN may have followed a symlink.
            assert_eq!(kinds(&sent)[..3], [OPEN, FSTAT, LSTAT]);
            assert!(!kinds(&sent).contains(&READ));
            assert!(told == 0 && after.is_ok_and(|after| after.size == now));
        }
    }
}

#[test]
fn a_file_that_changed_while_the_line_was_down_ends_as_it_is_now() {
    let mut bench = Bench::new(1);
    let ends = fetch(&mut bench.desk, vec![wanted(LARGE, 0)]);
    for _ in 0..2 {
        let mut sent = bench.sent();
        sent.truncate(2);
        bench.answer(&sent, LARGE);
    }
    bench.desk.reset();
    bench.connect(1);
    let sent = serve(&mut bench, LARGE + 1);
    assert_eq!(kinds(&sent)[..3], [LSTAT, OPEN, FSTAT]);
    assert!(!kinds(&sent).contains(&READ));
    let (_, (told, after)) = ends.recv().unwrap();
    assert!(told > 0 && told < LARGE && after.is_ok_and(|after| after.size == LARGE + 1));
    bench.end();
}

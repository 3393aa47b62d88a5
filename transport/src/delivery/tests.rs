use super::*;
use proptest::prelude::*;

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    holes: Vec<(usize, u64)>,
    _dropped: Option<Dropped>,
}

impl ContentSink for Seen {
    fn data(&mut self, _: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.bytes.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn hole(&mut self, _: usize, length: u64) -> ControlFlow<()> {
        self.holes.push((self.bytes.len(), length));
        self.bytes.resize(self.bytes.len() + length as usize, 0);
        ControlFlow::Continue(())
    }

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, _: usize, _: Result<Meta, SourceError>) {}

    fn end(self: Box<Self>) {}
}

#[test]
fn aligned_zeros_are_holes() {
    let mut bytes = vec![1; 1000];
    bytes.extend(vec![0; 3096 + 8192 + 5]);
    let mut seen = Seen::default();
    let _ = deliver(&mut seen, 0, 0, &bytes);
    assert_eq!((seen.bytes, seen.holes), (bytes.clone(), vec![(4096, 8192)]));
    let mut seen = Seen::default();
    let _ = deliver(&mut seen, 0, 4096 - 1000, &bytes);
    assert_eq!((seen.bytes, seen.holes), (bytes, vec![(1000, 8192)]));
}

/// Collects the calls of one file, and wants nothing after the first hole.
struct UntilHole(Vec<String>, Sender<Vec<String>>);

impl ContentSink for UntilHole {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.0.push(format!("{index}: {} bytes", bytes.len()));
        ControlFlow::Continue(())
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        self.0.push(format!("{index}: hole of {length}"));
        ControlFlow::Break(())
    }

    fn of_base(&mut self, _: usize, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn hashed(&mut self, _: usize, _: [u8; 32]) {}

    fn same(&mut self, _: usize, _: ContentProof) {}

    fn file_end(&mut self, _: usize, _: Result<Meta, SourceError>) {}

    fn end(self: Box<Self>) {
        let _ = self.1.send(self.0);
    }
}

#[test]
fn reported_bytes_and_holes_are_passed_on_as_they_are() {
    let (commands, mut unwanted) = tokio::sync::mpsc::unbounded_channel::<Unwanted>();
    let (mut delivery, threads) = Delivery::start(&commands).unwrap();
    let (seen, calls) = channel();
    delivery.fetched(7, ContentPart::Begin(Box::new(UntilHole(Vec::new(), seen)), 1));
    delivery.fetched(7, ContentPart::Bytes(3, vec![0; 3 * BLOCK]));
    delivery.fetched(7, ContentPart::Hole(3, 5));
    delivery.fetched(7, ContentPart::FileEnd(3, Err(SourceError::Vanished)));
    assert_eq!(delivery.backlog.bytes.load(Ordering::Relaxed), 3 * BLOCK + 2 * PART);
    delivery.flush();
    assert_eq!(calls.recv().unwrap(), ["3: 12288 bytes", "3: hole of 5"]);
    assert_eq!(delivery.backlog.bytes.load(Ordering::Relaxed), 0);
    drop(delivery);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(unwanted.try_recv(), Ok(Unwanted::File(7, 3)));
}

/// Tells whether the thread that drops it panics.
struct Dropped(Sender<bool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(std::thread::panicking());
    }
}

impl ListSink for Dropped {
    fn batch(&mut self, _: Batch) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, _: &CStr, _: SourceError) {}

    fn end(self: Box<Self>, _: Result<(), SourceError>) {}
}

#[test]
fn a_sink_without_an_end_is_dropped_by_a_thread_that_panics() {
    let ended = |ends: bool| {
        let (commands, _) = tokio::sync::mpsc::unbounded_channel::<Unwanted>();
        let (mut delivery, threads) = Delivery::start(&commands).unwrap();
        let (dropped, panicking) = channel();
        delivery.listed(1, ListingPart::Begin(Box::new(Dropped(dropped.clone()))));
        let seen = Seen { _dropped: Some(Dropped(dropped)), ..Seen::default() };
        delivery.fetched(2, ContentPart::Begin(Box::new(seen), 1));
        if ends {
            delivery.listed(1, ListingPart::End(Ok(())));
            delivery.fetched(2, ContentPart::FileEnd(0, Err(SourceError::Vanished)));
        }
        delivery.flush();
        drop(delivery);
        let joined = threads.map(|thread| thread.join().is_err());
        (joined, panicking.iter().collect::<Vec<_>>())
    };
    assert_eq!(ended(true), ([false; 2], vec![false; 2]));
    assert_eq!(ended(false), ([true; 2], vec![true; 2]));
}

proptest! {
    #[test]
    fn data_and_holes_make_the_same_bytes(
        runs in prop::collection::vec((0_u8..2, 0_usize..9000), 0..8),
        offset in 0_u64..10_000,
    ) {
        let bytes: Vec<u8> = runs.iter().flat_map(|(byte, count)| vec![*byte; *count]).collect();
        let mut seen = Seen::default();
        let _ = deliver(&mut seen, 0, offset, &bytes);
        prop_assert_eq!(seen.bytes, bytes);
        for (at, length) in seen.holes {
            prop_assert!((at as u64 + offset).is_multiple_of(4096) && length.is_multiple_of(4096));
        }
    }
}

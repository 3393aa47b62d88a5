//! Files that are sent as their differences.

use super::*;

/// Sums as a near end that asks for a delta sends them.
fn sums() -> SentSums {
    SentSums { chunk: ChunkSize::of(0), key: Key::new([7; 32]), runs: false }
}

fn delta_of(near: &mut Near, top: &Path, from: u64) -> (u32, Meta) {
    near.root(1, top).unwrap();
    let meta = near.list(1).unwrap()[&b"file"[..]].clone();
    let entry = Entry { name: c"file".to_owned(), meta: meta.clone(), extra: None };
    let file = (&Wanted { entry, from, again: false, base: None }).into();
    let asked = near.ask(&Request::Delta { folder: 1, file, sums: sums() });
    (asked, meta)
}

fn part(offset: u64, length: u32) -> SentPart {
    SentPart { offset, length, before: Vec::new(), behind: Vec::new() }
}

#[test]
fn the_chunks_of_a_file_are_listed_and_its_parts_sent() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    let mut content = vec![0; 300_000];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    fs::write(top.join("file"), &content).unwrap();
    let mut near = Near::greeted(&[]);
    let (request, _) = delta_of(&mut near, &top, 1000);
    let mut at = 1000;
    loop {
        match near.next() {
            (_, Answer::Chunks(chunks), _) => {
                for (length, sum) in chunks {
                    let end = at + length as usize;
                    assert_eq!(sum, sums().key.chunk(&content[at..end]));
                    at = end;
                }
            }
            (_, Answer::Hashed(hash), _) => {
                assert_eq!(hash, *blake3::hash(&content).as_bytes());
                break;
            }
            (_, other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!(at, content.len());
    // The base has the middle page here, and the last piece further on.
    let piece = |at: usize, end: usize| sums().key.piece(&content[at..end]).to_vec();
    let of_base = |have: [bool; 3]| {
        let pieces = [(8000, 8192), (8192, 12_288), (12_288, 12_300)];
        let sum = |((at, end), have)| if have { piece(at, end) } else { vec![0; 8] };
        pieces.into_iter().zip(have).flat_map(sum).collect::<Vec<u8>>()
    };
    let (before, behind) = (of_base([false, true, false]), of_base([false, true, true]));
    let parts = vec![part(299_990, 10), SentPart { before, behind, ..part(8000, 4300) }];
    near.send(CONNECTION, &Request::Parts { request, parts, last: true });
    let (_, Answer::Part(runs), bytes) = near.next() else { panic!() };
    assert_eq!((runs, &bytes[..]), (vec![(Origin::Sent, 1)], &content[299_990..]));
    let (_, Answer::Part(runs), bytes) = near.next() else { panic!() };
    assert_eq!(runs, [(Origin::Sent, 1), (Origin::Before, 1), (Origin::Behind, 1)]);
    assert_eq!(bytes, &content[8000..8192]);
    assert!(matches!(near.next(), (_, Answer::Read(Ok(_)), _)));
    near.end().unwrap();
}

#[test]
fn a_far_end_that_hashes_what_the_near_end_has_sends_chunks_without_any() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    let content = vec![7; 13 << 20];
    fs::write(top.join("file"), &content).unwrap();
    let mut near = Near::greeted(&[]);
    delta_of(&mut near, &top, 12 << 20);
    let mut empty = 0;
    while matches!(near.next(), (_, Answer::Chunks(chunks), _) if chunks.is_empty()) {
        empty += 1;
    }
    assert!(empty >= 3, "{empty}");
    near.end().unwrap();
}

#[test]
fn a_delta_that_is_not_wanted_any_more_ends() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::write(top.join("file"), vec![7; 300_000]).unwrap();
    let mut near = Near::greeted(&[]);
    let (request, _) = delta_of(&mut near, &top, 0);
    while !matches!(near.next(), (_, Answer::Hashed(_), _)) {}
    near.send(CONNECTION, &Request::Cancel { request });
    assert!(matches!(near.next(), (_, Answer::Read(Ok(_)), _)));
    // It can be asked for again, and its number is free.
    assert!(near.list(1).is_ok());
    near.end().unwrap();
}

#[test]
fn a_near_end_gets_no_more_than_the_file_and_not_without_bounds() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().canonicalize().unwrap();
    fs::write(top.join("file"), vec![7; 300_000]).unwrap();
    let ended = |parts: Vec<SentPart>| {
        let mut near = Near::greeted(&[]);
        let (request, _) = delta_of(&mut near, &top, 0);
        while !matches!(near.next(), (_, Answer::Hashed(_), _)) {}
        near.send(CONNECTION, &Request::Parts { request, parts, last: false });
        near.end().map_err(|error| error.to_string())
    };
    assert_eq!(ended(vec![part(299_999, 1), part(0, 256 << 10)]), Ok(()));
    let odd = SentPart { before: vec![0; 8], ..part(0, 8192) };
    for part in [part(299_999, 2), part(0, 0), part(0, (256 << 10) + 1), part(u64::MAX, 1), odd] {
        assert!(ended(vec![part]).unwrap_err().contains("does not have"));
    }
    assert!(ended(vec![part(0, 1); 1025]).unwrap_err().contains("too many parts"));
    let mut near = Near::greeted(&[]);
    let (_, meta) = delta_of(&mut near, &top, 0);
    let entry = Entry { name: c"file".to_owned(), meta, extra: None };
    let wanted = Wanted { entry, from: 0, again: false, base: None };
    for _ in 0..8 {
        near.ask(&Request::Delta { folder: 1, file: (&wanted).into(), sums: sums() });
    }
    assert!(near.end().unwrap_err().to_string().contains("too many deltas"));
}

use std::io::{Read, Write};

use proptest::prelude::*;

use super::compressor::{Compressed, Compressor};
use super::pieces::{BadPiece, Decompressed, Pieces};
use super::*;

fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A text in which words come again.
fn text(seed: u64, count: usize) -> Vec<u8> {
    let words =
        noise(seed, count / 4).into_iter().flat_map(|byte| format!("{} ", byte % 64).into_bytes());
    words.take(count).collect()
}

fn compressed(level: i64, parts: &[&[u8]]) -> Vec<u8> {
    let (mut compressor, mut out) = (Compressor::new(Level::nearest(level)), Vec::new());
    parts.iter().for_each(|part| compressor.append(part, &mut out).unwrap());
    out
}

/// What the pieces contain when they arrive in parts of these lengths.
fn decompressed(sent: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<Vec<u8>, BadPiece> {
    let (mut pieces, mut piece, mut got, mut rest) =
        (Pieces::new(&[]), vec![0; PIECE_MAX], Vec::new(), sent);
    for cut in cuts {
        let room = pieces.room();
        let (now, later) = rest.split_at(cut.min(rest.len()).min(room.len()));
        room[..now.len()].copy_from_slice(now);
        pieces.filled(now.len());
        rest = later;
        while let Some(count) = pieces.next(&mut piece)? {
            got.extend_from_slice(&piece[..count]);
        }
        if rest.is_empty() {
            break;
        }
    }
    Ok(got)
}

fn at_once(sent: &[u8]) -> Result<Vec<u8>, BadPiece> {
    decompressed(sent, std::iter::repeat(1 << 20))
}

/// The lengths of the pieces, and whether they are compressed.
fn lengths(mut sent: &[u8]) -> Vec<(bool, usize)> {
    let mut all = Vec::new();
    while let Some((head, rest)) = sent.split_first_chunk() {
        let head = u32::from_be_bytes(*head);
        let length = (head & !COMPRESSED) as usize;
        all.push((head & COMPRESSED != 0, length));
        sent = &rest[length..];
    }
    all
}

/// What zstd makes of `bytes` within the window, without an end of the stream.
fn written(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = zstd::Encoder::new(&mut out, 3).unwrap();
    encoder.window_log(WINDOW_LOG).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.flush().unwrap();
    drop(encoder);
    out
}

/// A piece that says that it is compressed.
fn piece(bytes: &[u8]) -> Vec<u8> {
    let head = COMPRESSED | u32::try_from(bytes.len()).unwrap();
    [&head.to_be_bytes(), bytes].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_however_the_line_is_cut(
        parts in prop::collection::vec((any::<bool>(), 0_usize..300_000), 1..8),
        cuts in prop::collection::vec(1_usize..200_000, 1..20),
        level in 1_i64..6,
    ) {
        let parts: Vec<_> = (0..).zip(parts).map(|(seed, (is_text, count))| match is_text {
            true => text(seed, count),
            false => noise(seed, count),
        }).collect();
        let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let sent = compressed(level, &slices);
        let got = decompressed(&sent, cuts.iter().copied().cycle()).unwrap();
        prop_assert!(got == parts.concat());
    }
}

#[test]
fn what_comes_again_costs_little_also_in_small_messages() {
    let message = noise(1, 200);
    let one = compressed(3, &[&message]).len();
    let twenty = compressed(3, &[&message[..]; 20]).len();
    assert!(one >= 200 && twenty < one + 19 * 40, "{one} {twenty}");
}

#[test]
fn a_higher_level_makes_it_shorter() {
    let bytes = text(1, 2 << 20);
    let [low, usual, high] = [1, 3, 19].map(|level| compressed(level, &[&bytes]).len());
    assert!(high < low && usual < bytes.len() * 2 / 3, "{low} {usual} {high}");
    let nearest = [i64::MIN, 0, 7, 20, i64::MAX].map(|number| Level::nearest(number).number());
    assert_eq!(nearest, [1, 1, 7, 19, 19]);
}

#[test]
fn content_that_does_not_become_shorter_is_hardly_tried() {
    let bytes = noise(1, 32 << 20);
    let sent = compressed(3, &[&bytes]);
    assert!(sent.len() < bytes.len() + bytes.len() / 1000, "{}", sent.len());
    let all = lengths(&sent);
    let tried = all.iter().filter(|(is_compressed, _)| *is_compressed).count();
    assert!((2..=all.len() / 6).contains(&tried), "{tried} of {}", all.len());
    assert!(at_once(&sent).unwrap() == bytes);
    // The text behind it is compressed from the next attempt on.
    let behind = text(2, 8 << 20);
    let both = compressed(3, &[&bytes, &behind]);
    assert!(both.len() < sent.len() + (1 << 20) + behind.len() * 3 / 4, "{}", both.len());
}

#[test]
fn a_piece_that_becomes_too_long_is_an_error() {
    // Zeros become a thousandth: a piece of some hundred bytes would fill 4 MiB.
    let bomb = written(&vec![0; 4 << 20]);
    assert!(bomb.len() < COMPRESSED_MAX);
    assert_eq!(at_once(&piece(&bomb)), Err(BadPiece("a compressed piece becomes too long")));
    // Exactly as long as allowed, and one byte longer.
    for (length, fits) in [(PIECE_MAX, true), (PIECE_MAX + 1, false)] {
        assert_eq!(at_once(&piece(&written(&vec![7; length]))).is_ok(), fits, "{length}");
    }
}

#[test]
fn a_window_that_takes_more_memory_is_an_error() {
    let wide = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    assert!(wide.len() < COMPRESSED_MAX);
    assert_eq!(at_once(&piece(&wide)), Err(BadPiece("a compressed piece that is broken")));
}

#[test]
fn what_is_no_stream_of_pieces_is_an_error() {
    let bad = |sent: &[u8]| at_once(sent).unwrap_err().0;
    let long = |head: u32| bad(&head.to_be_bytes());
    for head in [0, COMPRESSED, u32::MAX, COMPRESSED | 0x2_0401, 0x2_0001] {
        assert_eq!(long(head), "a piece is too short or too long", "{head:x}");
    }
    assert_eq!(bad(&piece(b"no zstd at all")), "a compressed piece that is broken");
    // The header alone.
    let whole = zstd::bulk::compress(&text(1, 1000), 3).unwrap();
    assert_eq!(bad(&piece(&whole[..5])), "a compressed piece without content");
    assert_eq!(bad(&piece(&whole)), "compressed bytes that end");
    // A window that takes more memory than was agreed.
    let mut out = Vec::new();
    let mut encoder = zstd::Encoder::new(&mut out, 3).unwrap();
    encoder.window_log(WINDOW_LOG + 1).unwrap();
    encoder.write_all(&text(1, 100_000)).unwrap();
    encoder.flush().unwrap();
    drop(encoder);
    assert_eq!(bad(&piece(&out)), "a compressed piece that is broken");
    // A byte that changed on the way: an error, or other bytes, but never more of them than a piece may have.
    let sent = compressed(3, &[&text(1, 100_000)]);
    for at in (4..sent.len()).step_by(97) {
        let mut changed = sent.clone();
        changed[at] ^= 0x55;
        assert!(at_once(&changed).map_or(0, |bytes| bytes.len()) <= PIECE_MAX);
    }
}

#[test]
fn readers_and_writers_wrap_the_pipes() {
    let bytes = [text(1, 300_000), noise(2, 300_000)].concat();
    let mut sent = Vec::new();
    Compressed::new(&mut sent, Level::default()).write_all(&bytes).unwrap();
    let mut got = Vec::new();
    Decompressed::new(&sent[..]).read_to_end(&mut got).unwrap();
    assert!(got == bytes);
    let mut cut = Decompressed::new(&sent[..sent.len() - 1]);
    assert!(cut.read_to_end(&mut got).is_err());
}

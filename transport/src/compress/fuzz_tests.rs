//! The end that decompresses on random and on damaged pieces. `FUZZ_INPUTS` is the number of them.

use fixtures::random::Random;

use super::compressor::Compressor;
use super::pieces::Pieces;
use super::*;

fn below(random: &mut Random, most: usize) -> usize {
    usize::try_from(random.below(most as u64)).unwrap()
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}

/// Pieces with short runs and with bytes in no order.
fn made(random: &mut Random) -> Vec<u8> {
    let (mut compressor, mut sent) = (Compressor::new(Level::nearest(1)), Vec::new());
    for _ in 0..=below(random, 3) {
        let mut bytes = Vec::new();
        for _ in 0..=below(random, 12) {
            let (value, count) = (byte(random), 1 + below(random, 40));
            bytes.extend(std::iter::repeat_n(value, count));
        }
        compressor.append(&bytes, &mut sent).unwrap();
    }
    sent
}

/// Pieces with up to four changes.
fn damaged(random: &mut Random, whole: &[u8]) -> Vec<u8> {
    let mut sent = whole.to_vec();
    for _ in 0..below(random, 5) {
        let at = below(random, sent.len());
        match below(random, 3) {
            0 => sent.truncate(at.max(1)),
            1 => sent[at] = byte(random),
            _ => sent[at] ^= 1 << below(random, 8),
        }
    }
    sent
}

/// A piece of random bytes, often behind the magic number of zstd.
fn random_piece(random: &mut Random) -> Vec<u8> {
    let mut piece = Vec::new();
    if random.below(4) > 0 {
        piece.extend_from_slice(&0xFD2F_B528_u32.to_le_bytes());
    }
    for _ in 0..=below(random, 60) {
        let most = [2, 16, 256][below(random, 3)];
        piece.push(u8::try_from(random.below(most)).unwrap());
    }
    let head = COMPRESSED | u32::try_from(piece.len()).unwrap();
    [&head.to_be_bytes()[..], &piece].concat()
}

#[test]
fn any_bytes_are_refused_or_become_pieces() {
    let (mut random, mut out) = (Random::new(4), vec![0; PIECE_MAX]);
    let inputs = std::env::var("FUZZ_INPUTS").ok().and_then(|text| text.parse().ok());
    let inputs: u64 = inputs.unwrap_or(3_000);
    let whole_ones: Vec<_> = (0..64).map(|_| made(&mut random)).collect();
    let (mut whole, mut refused) = (0_u64, 0_u64);
    for input in 0..inputs {
        let sent = match input % 2 {
            0 => random_piece(&mut random),
            _ => {
                let one = below(&mut random, whole_ones.len());
                damaged(&mut random, &whole_ones[one])
            }
        };
        let mut pieces = Pieces::new(&sent);
        loop {
            match pieces.next(&mut out) {
                Ok(Some(count)) => {
                    assert!((1..=PIECE_MAX).contains(&count));
                    whole += 1;
                }
                Ok(None) => break,
                Err(_) => {
                    refused += 1;
                    break;
                }
            }
        }
    }
    assert!(whole > inputs / 20 && refused > inputs / 20, "{whole} pieces, {refused} refused");
}

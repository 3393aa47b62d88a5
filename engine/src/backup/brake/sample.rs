//! Whether the first bytes of a file look random, as those of an encrypted file do. Pure.
//!
//! Compressed formats look random too, but begin with a signature or a header. The judgement is about a file that replaces
//! another one: only a file that looks random now, and did not before, counts.

/// The most bytes that are examined.
pub(crate) const SAMPLE: usize = 4096;

/// The fewest bytes that say something.
const FEWEST: usize = 128;

/// How much more often than in random bytes two of the bytes may be equal.
const MORE_PAIRS: f64 = 1.2;

/// The signatures of formats whose content looks random and that have no long header, by their offset.
const SIGNATURES: [(usize, &[u8]); 30] = [
    (0, b"PK\x03\x04"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"\x04\x22\x4d\x18"),
    (0, b"LZIP"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\x07"),
    (0, b"\x89PNG\r\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF8"),
    (0, b"RIFF"),
    (4, b"ftyp"),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"\xff\xfb"),
    (0, b"\xff\xf1"),
    (0, b"%PDF"),
    (0, b"SQLite format 3\0"),
    (0, b"PACK\0\0\0"),
    (0, b"\x78\x01"),
    (0, b"\x78\x9c"),
    (0, b"\x78\xda"),
    (0, b"age-encryption.org/"),
    (0, b"\x03\xd9\xa2\x9a"),
    (0, b"LUKS\xba\xbe"),
    (0, b"MSCF"),
];

/// Whether the first bytes of a file look random. `None` when there are too few to say.
#[must_use]
pub(crate) fn looks_random(bytes: &[u8]) -> Option<bool> {
    let bytes = &bytes[..bytes.len().min(SAMPLE)];
    if bytes.len() < FEWEST {
        return None;
    }
    let has = |(at, signature): &(usize, &[u8])| bytes[*at..].starts_with(signature);
    if SIGNATURES.iter().any(has) {
        return Some(false);
    }
    let mut counts = [0_u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    // The index of coincidence (Friedman 1922): the number of pairs of equal bytes, 1/256 of all pairs in random bytes.
    let length = bytes.len() as u64;
    let pairs = counts.iter().map(|count| count * count.saturating_sub(1)).sum::<u64>() as f64;
    let expected = (length * (length - 1)) as f64 / 256.0;
    // The number of pairs varies. Its standard deviation is about 22.6 / length of it; this allows for four of them.
    let spread = 4.0 * 22.6 / length as f64;
    Some(pairs <= expected * (MORE_PAIRS + spread))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_programs_and_compressed_formats_do_not_look_random() {
        let text = "It was the best of times, it was the worst of times. ".repeat(80);
        let base64: Vec<u8> = (0..4096_u32)
            .map(|n| {
                b"ABCDEFGHabcdefgh01234567+/XYZxyz"[(n.wrapping_mul(2_654_435_761) >> 27) as usize]
            })
            .collect();
        let hash = |seed: &[u8]| {
            let mut bytes = vec![0; SAMPLE];
            blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
            bytes
        };
        let program = std::fs::read("/proc/self/exe").unwrap();
        let mut photo = hash(b"photo");
        photo[..3].copy_from_slice(b"\xff\xd8\xff");
        let mut film = hash(b"film");
        film[4..8].copy_from_slice(b"ftyp");
        for (name, bytes) in [
            ("text", text.as_bytes()),
            ("base64", &base64),
            ("program", &program),
            ("zeros", &[0; 4096]),
            ("photo", &photo),
            ("film", &film),
        ] {
            assert_eq!(looks_random(bytes), Some(false), "{name}");
        }
        assert_eq!(looks_random(&hash(b"x")), Some(true));
        assert_eq!(looks_random(&hash(b"x")[..127]), None);
        assert_eq!(looks_random(b""), None);
    }

    proptest! {
        #[test]
        fn what_is_encrypted_looks_random(seed in any::<[u8; 16]>(), length in FEWEST..2 * SAMPLE) {
            let mut bytes = vec![0; length];
            blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut bytes);
            // One in some thousand begins like a known format.
            let is_known = SIGNATURES.iter().any(|(at, signature)| bytes[*at..].starts_with(signature));
            prop_assert_eq!(looks_random(&bytes), Some(!is_known));
        }

        #[test]
        fn words_do_not_look_random(words in "[a-zäöüß ]{150,900}") {
            prop_assert_eq!(looks_random(words.as_bytes()), Some(false));
        }
    }
}

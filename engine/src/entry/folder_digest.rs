//! A digest of the entries of a folder, by which two ends find out whether both have the same entries without sending
//! them.
//!
//! The digest covers what a run compares and stores: name, type, mode, owner, size of files, modification time, device
//! number, target, attributes. A difference in any of them gives another digest, except with a probability of 2^-128 for
//! a source that does not know the key.
//!
//! The order of the entries does not matter, so that neither end has to hold or sort them: the digest is the keyed
//! BLAKE3 of the number of entries and of two sums, modulo 2^128, of the keyed BLAKE3 of each entry.

use crate::entry::{Kind, ListedEntry, Time};

/// The key of the digests of one run. Whoever can change the source must not know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// A key of random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey")
    }
}

/// A digest.
pub type Digest = [u8; 16];

/// What a hash is made of: its first byte.
const OF_ENTRY: u8 = 0;
const OF_FOLDER: u8 = 1;

/// The digest of the entries so far.
#[derive(Debug)]
pub struct FolderDigest {
    key: DigestKey,
    entries: u64,
    sums: [u128; 2],
    encoded: Vec<u8>,
}

impl FolderDigest {
    /// The digest of no entries.
    #[must_use]
    pub fn new(key: DigestKey) -> Self {
        Self { key, entries: 0, sums: [0; 2], encoded: Vec::new() }
    }

    /// Adds an entry. `below` is the digest of what a folder contains, if that counts too.
    pub fn add(&mut self, entry: ListedEntry<'_>, below: Option<&Digest>) {
        self.encoded.clear();
        encode(entry, below, &mut self.encoded);
        let hash = blake3::keyed_hash(&self.key.0, &self.encoded);
        let (halves, _) = hash.as_bytes().as_chunks();
        for (sum, half) in self.sums.iter_mut().zip(halves) {
            *sum = sum.wrapping_add(u128::from_le_bytes(*half));
        }
        self.entries += 1;
    }

    /// The number of entries so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut all = vec![OF_FOLDER];
        all.extend_from_slice(&self.entries.to_le_bytes());
        self.sums.iter().for_each(|sum| all.extend_from_slice(&sum.to_le_bytes()));
        let hash = blake3::keyed_hash(&self.key.0, &all);
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// The bytes that stand for an entry. No two different entries have the same: all numbers have a fixed length, and a
/// length precedes everything else.
fn encode(entry: ListedEntry<'_>, below: Option<&Digest>, out: &mut Vec<u8>) {
    let meta = entry.meta;
    // A symlink's mode is always 0777 on Linux (symlink(7)). The size of a folder belongs to its file system.
    let mode = if meta.kind == Kind::Symlink { 0 } else { meta.mode };
    let size = if meta.kind == Kind::File { meta.size } else { 0 };
    let rdev = if meta.kind.is_device() { meta.rdev } else { 0 };
    let Time { secs, nanos } = meta.mtime;
    out.extend_from_slice(&[OF_ENTRY, kind(meta.kind)]);
    for number in [mode, meta.uid, meta.gid, nanos] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&secs.to_le_bytes());
    for number in [size, rdev] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    text(entry.name.to_bytes(), out);
    let extra = entry.extra;
    text(extra.and_then(|extra| extra.target.as_deref()).unwrap_or_default(), out);
    let xattrs = extra.map_or(&[][..], |extra| &extra.xattrs);
    out.extend_from_slice(&(xattrs.len() as u64).to_le_bytes());
    for (name, value) in xattrs {
        text(name, out);
        text(value, out);
    }
    text(below.map_or(&[][..], |below| &below[..]), out);
}

fn text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::File => 0,
        Kind::Folder => 1,
        Kind::Symlink => 2,
        Kind::Fifo => 3,
        Kind::Socket => 4,
        Kind::BlockDevice => 5,
        Kind::CharDevice => 6,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Entry, Extra, Meta};

    const KEY: DigestKey = DigestKey([7; 32]);

    const KINDS: [Kind; 7] = [
        Kind::File,
        Kind::Folder,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::BlockDevice,
        Kind::CharDevice,
    ];

    fn entry() -> impl Strategy<Value = Entry> {
        let bytes = || prop::collection::vec(0_u8..3, 0..3);
        let xattrs = prop::collection::vec((bytes(), bytes()), 0..3);
        let numbers = (0_u32..3, 0_u32..3, 0_u32..3, 0_u64..3, 0_u64..3, -1_i64..2, 0_u32..2);
        (
            prop::collection::vec(1_u8..3, 1..3),
            prop::sample::select(&KINDS),
            numbers,
            bytes(),
            xattrs,
        )
            .prop_map(
                |(name, kind, (mode, uid, gid, size, rdev, secs, nanos), target, xattrs)| {
                    let is_link = kind == Kind::Symlink;
                    let target = is_link.then_some(target);
                    // What the encoding leaves out on purpose is fixed here.
                    let meta = Meta {
                        mode: if is_link { 0o777 } else { mode },
                        uid,
                        gid,
                        size: if kind == Kind::File { size } else { 0 },
                        rdev: if kind.is_device() { rdev } else { 0 },
                        mtime: Time { secs, nanos },
                        ..Meta::of(kind)
                    };
                    let extra = Some(Box::new(Extra { target, xattrs, xattrs_unread: false }));
                    Entry { name: CString::new(name).unwrap(), meta, extra }
                },
            )
    }

    fn folder() -> impl Strategy<Value = Vec<(Entry, Option<Digest>)>> {
        let below = prop::option::of(prop::array::uniform16(0_u8..2));
        prop::collection::vec((entry(), below), 0..4)
    }

    fn digest(key: DigestKey, entries: &[(Entry, Option<Digest>)]) -> Digest {
        let mut digest = FolderDigest::new(key);
        entries.iter().for_each(|(entry, below)| digest.add(entry.into(), below.as_ref()));
        digest.finish()
    }

    fn encoded(entry: &Entry, below: Option<&Digest>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(entry.into(), below, &mut out);
        out
    }

    proptest! {
        /// The values of the fields come from so few that two entries often differ in one of them.
        #[test]
        fn two_entries_have_one_encoding_only_if_they_are_equal(
            (one, below) in (entry(), prop::option::of(prop::array::uniform16(0_u8..2))),
            (two, other) in (entry(), prop::option::of(prop::array::uniform16(0_u8..2))),
        ) {
            let same = encoded(&one, below.as_ref()) == encoded(&two, other.as_ref());
            prop_assert_eq!(same, one == two && below == other);
        }

        #[test]
        fn two_folders_have_one_digest_only_if_they_have_the_same_entries(
            mut one in folder(), mut two in folder()
        ) {
            let equal = digest(KEY, &one) == digest(KEY, &two);
            let sort = |entries: &mut Vec<(Entry, Option<Digest>)>| {
                entries.sort_by_key(|(entry, below)| encoded(entry, below.as_ref()));
            };
            sort(&mut one);
            sort(&mut two);
            prop_assert_eq!(equal, one == two);
        }

        #[test]
        fn each_change_of_one_field_changes_the_digest(entries in folder(), at in 0_usize..4, field in 0_u8..11) {
            prop_assume!(at < entries.len());
            let mut changed = entries.clone();
            let (entry, below) = &mut changed[at];
            let meta = &mut entry.meta;
            let extra = entry.extra.as_mut().unwrap();
            match field {
                0 => meta.mtime.nanos += 1,
                1 => meta.mtime.secs += 1,
                2 => meta.uid += 1,
                3 => meta.gid += 1,
                4 if meta.kind != Kind::Symlink => meta.mode ^= 0o1000,
                5 if meta.kind == Kind::File => meta.size += 1,
                6 if meta.kind.is_device() => meta.rdev += 1,
                7 => entry.name = CString::new([entry.name.to_bytes(), b"x"].concat()).unwrap(),
                8 => extra.xattrs.push((b"name".to_vec(), Vec::new())),
                9 if meta.kind == Kind::Symlink => extra.target.as_mut().unwrap().push(b'x'),
                10 => *below = Some([9; 16]),
                _ => return Err(TestCaseError::reject("the entry has no such field")),
            }
            prop_assert_ne!(digest(KEY, &entries), digest(KEY, &changed));
            prop_assert_ne!(digest(KEY, &entries), digest(DigestKey([8; 32]), &entries));
        }
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter_and_their_number_does() {
        let entry = |name: &str| {
            let name = CString::new(name).unwrap();
            (Entry { name, meta: Meta::of(Kind::File), extra: None }, None)
        };
        let (one, two) = (entry("one"), entry("two"));
        let both = digest(KEY, &[one.clone(), two.clone()]);
        assert_eq!(both, digest(KEY, &[two.clone(), one.clone()]));
        assert_ne!(both, digest(KEY, &[one.clone(), two, one]));
    }
}

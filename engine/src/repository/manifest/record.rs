//! The record of one entry of a folder in a manifest, and the digests in it. Pure.

use crate::entry::digest::{Method, NameDigest, first};
use crate::entry::{Kind, Meta, Time};
use crate::fs::file_system::capabilities::Abilities;

/// Bytes per record.
pub(crate) const LENGTH: usize = 38;
const NAME: usize = size_of::<NameDigest>();
const META: usize = 6;
const CONTENT: usize = 24;
/// This bit in the last byte of a content digest is set for [`Method::Runs`], and clear otherwise.
const RUNS: u8 = 1;

/// The first bytes of the BLAKE3 of the metadata from `stat(2)`; all zero where nothing is recorded.
pub(crate) type MetaDigest = [u8; META];

/// The first bytes of the BLAKE3 of a file's content; all zero where it is unknown, and for entries that are
/// not files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct RecordedHash(pub(crate) [u8; CONTENT]);

impl RecordedHash {
    /// Whether a hash is recorded.
    pub(crate) fn is_known(self) -> bool {
        self != Self::default()
    }

    /// Truncates `hash`, which was computed by `method`, to the recorded form.
    pub(crate) fn new(method: Method, hash: &blake3::Hash) -> Self {
        let mut bytes: [u8; CONTENT] = first(hash);
        bytes[CONTENT - 1] =
            bytes[CONTENT - 1] & !RUNS | if method == Method::Runs { RUNS } else { 0 };
        Self(bytes)
    }

    /// The method that computed the hash.
    pub(crate) fn method(self) -> Method {
        if self.0[CONTENT - 1] & RUNS == 0 { Method::Plain } else { Method::Runs }
    }

    /// The first bytes of the hash.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0[..CONTENT - 1]
    }

    /// Whether `hash`, computed by the same method, equals the recorded one.
    pub(crate) fn is(self, hash: &blake3::Hash) -> bool {
        self == Self::new(self.method(), hash)
    }
}

/// An entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManifestRecord {
    pub(crate) name: NameDigest,
    pub(crate) meta: MetaDigest,
    pub(crate) content: RecordedHash,
}

impl ManifestRecord {
    /// A 64-bit fingerprint of the recorded metadata and content of an inode. It is the same for all names of
    /// the inode.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..META].copy_from_slice(&self.meta);
        let mut content = [0; 8];
        content.copy_from_slice(&self.content.0[..8]);
        u64::from_le_bytes(bytes).rotate_left(16) ^ u64::from_le_bytes(content)
    }

    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..NAME].copy_from_slice(&self.name);
        bytes[NAME..NAME + META].copy_from_slice(&self.meta);
        bytes[NAME + META..].copy_from_slice(&self.content.0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; LENGTH]) -> Self {
        let (mut name, mut meta, mut content) = ([0; NAME], [0; META], [0; CONTENT]);
        name.copy_from_slice(&bytes[..NAME]);
        meta.copy_from_slice(&bytes[NAME..NAME + META]);
        content.copy_from_slice(&bytes[NAME + META..]);
        Self { name, meta, content: RecordedHash(content) }
    }
}

/// Which metadata the digests cover: what the destination stores itself, independent of mount options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordedFields {
    pub(crate) owner: bool,
    pub(crate) mode: bool,
    /// Times are rounded down to a multiple of this, nanoseconds.
    pub(crate) granularity_ns: u32,
}

impl From<&Abilities> for RecordedFields {
    fn from(abilities: &Abilities) -> Self {
        Self {
            owner: abilities.owner,
            mode: abilities.mode,
            granularity_ns: abilities.time_granularity_ns.max(1),
        }
    }
}

impl RecordedFields {
    /// All metadata.
    pub(crate) const ALL: Self = Self { owner: true, mode: true, granularity_ns: 1 };

    /// The digest of `meta`, as stored on the disk, and of the target of a symlink. With `in_parent`, the
    /// digest of a folder covers only its kind, because the other metadata is recorded with the folder itself.
    pub(crate) fn digest(self, meta: &Meta, target: Option<&[u8]>, in_parent: bool) -> MetaDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind(meta.kind)]);
        if !(in_parent && meta.kind == Kind::Folder) {
            let mode = if self.mode && meta.kind != Kind::Symlink { meta.mode } else { 0 };
            let (uid, gid) = if self.owner { (meta.uid, meta.gid) } else { (0, 0) };
            let mtime = self.rounded(meta.mtime);
            let number = match meta.kind {
                Kind::File => meta.size,
                Kind::BlockDevice | Kind::CharDevice => meta.rdev,
                _ => 0,
            };
            for part in [mode, uid, gid, mtime.nanos] {
                hasher.update(&part.to_le_bytes());
            }
            hasher.update(&mtime.secs.to_le_bytes());
            hasher.update(&number.to_le_bytes());
            hasher.update(target.unwrap_or_default());
        }
        first(&hasher.finalize())
    }

    fn rounded(self, time: Time) -> Time {
        if self.granularity_ns == 1 {
            return time;
        }
        let (second, grain) = (1_000_000_000, i128::from(self.granularity_ns));
        let total = i128::from(time.secs) * second + i128::from(time.nanos);
        let total = total.div_euclid(grain) * grain;
        let secs = i64::try_from(total.div_euclid(second)).unwrap_or(time.secs);
        Time { secs, nanos: u32::try_from(total.rem_euclid(second)).unwrap_or(0) }
    }
}

/// The digest of a folder in the records of its parent.
pub(crate) fn folder_digest() -> MetaDigest {
    first(&blake3::hash(&[kind(Kind::Folder)]))
}

/// The kind numbers of the format. A number is never reused for another kind.
fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Folder => 2,
        Kind::Symlink => 3,
        Kind::Fifo => 4,
        Kind::Socket => 5,
        Kind::BlockDevice => 6,
        Kind::CharDevice => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::digest::name_digest;

    fn meta(kind: Kind) -> Meta {
        let time = Time { secs: -5, nanos: 7 };
        Meta {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: time,
            ctime: Time::default(),
            id: None,
            links: 1,
            rdev: 4,
            allocated: 0,
            is_shared: false,
        }
    }

    const ALL: RecordedFields = RecordedFields::ALL;

    #[test]
    fn each_value_that_is_covered_changes_the_digest() {
        let digest = |meta: &Meta| ALL.digest(meta, None, false);
        let file = digest(&meta(Kind::File));
        for change in [
            (|m| m.mode = 0o600) as fn(&mut Meta),
            |m| m.uid = 9,
            |m| m.gid = 9,
            |m| m.size = 9,
            |m| m.mtime.secs = 9,
            |m| m.mtime.nanos = 9,
            |m| m.kind = Kind::Fifo,
        ] {
            let mut other = meta(Kind::File);
            change(&mut other);
            assert_ne!(digest(&other), file, "{other:?}");
        }
        let link = |target: &[u8]| ALL.digest(&meta(Kind::Symlink), Some(target), false);
        assert_ne!(link(b"a"), link(b"b"));
        let mut folder = meta(Kind::Folder);
        let before = ALL.digest(&folder, None, true);
        (folder.mode, folder.size, folder.mtime.secs) = (0, 0, 0);
        assert_eq!(ALL.digest(&folder, None, true), before);
        assert_eq!(folder_digest(), before);
    }

    #[test]
    fn values_that_the_destination_cannot_hold_are_not_covered() {
        let coarse = RecordedFields { owner: false, mode: false, granularity_ns: 2_000_000_000 };
        let mut other = meta(Kind::File);
        let before = coarse.digest(&other, None, false);
        (other.uid, other.gid, other.mode) = (8, 8, 0o777);
        // A little after -5 s, rounded down to an even second.
        other.mtime = Time { secs: -6, nanos: 0 };
        assert_eq!(coarse.digest(&other, None, false), before);
        other.mtime.secs = -4;
        assert_ne!(coarse.digest(&other, None, false), before);
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let content = RecordedHash::new(Method::Plain, &blake3::hash(b"x"));
        let record = ManifestRecord { name: name_digest(c"a"), meta: [7; META], content };
        assert_eq!(ManifestRecord::decode(&record.encode()), record);
        assert!(content.is(&blake3::hash(b"x")) && !content.is(&blake3::hash(b"y")));
        let runs = RecordedHash::new(Method::Runs, &blake3::hash(b"x"));
        assert!(runs.method() == Method::Runs && runs != content && runs.is(&blake3::hash(b"x")));
        assert!(content.is_known() && !RecordedHash::default().is_known());
    }
}

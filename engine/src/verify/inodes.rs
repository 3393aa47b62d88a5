//! The inodes that were checked, each once, and those that differ from their record.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::snapshot::name::SnapshotName;
use crate::threads::lock::lock;
use crate::verify::outcome::{Damage, Flaw};

/// The number of tables for inodes that were read, so that threads rarely wait for each other.
const SHARDS: usize = 64;

/// Set in a fingerprint that comes from the manifest. A fingerprint from the hash attribute alone
/// proves nothing.
const BY_MANIFEST: u64 = 1;

/// The message for a name that has the inode of another name.
const EXCHANGED: &str = "its content was backed up under another name, not under this one";

/// Inodes with several names that were read or skipped, each with the fingerprint of its record.
pub(crate) struct Inodes {
    done: [Mutex<HashMap<u64, u64>>; SHARDS],
    differing: Mutex<HashMap<u64, Differing>>,
}

/// An inode that differs from the record of one of its names.
struct Differing {
    what: String,
    bytes: u64,
    names: Vec<(SnapshotName, Vec<u8>)>,
    /// It equals the record of another of its names.
    proved: bool,
}

impl Inodes {
    pub(crate) fn new() -> Self {
        Self { done: std::array::from_fn(|_| Mutex::default()), differing: Mutex::default() }
    }

    fn shard(&self, ino: u64) -> MutexGuard<'_, HashMap<u64, u64>> {
        lock(&self.done[(ino % SHARDS as u64) as usize])
    }

    /// Whether the inode was already checked against the same record.
    pub(crate) fn is_done(&self, ino: u64, recorded: Option<u64>) -> bool {
        self.shard(ino).get(&ino).is_some_and(|done| is_same(*done, recorded))
    }

    /// Claims an inode for reading; `None` if it was already checked against this record. Otherwise
    /// returns whether it was compared earlier with the record of another name.
    pub(crate) fn take(&self, ino: u64, recorded: Option<u64>) -> Option<bool> {
        let mut shard = self.shard(ino);
        let before = shard.get(&ino).copied();
        if before.is_some_and(|done| is_same(done, recorded)) {
            return None;
        }
        shard.insert(ino, recorded.map_or(0, |recorded| recorded | BY_MANIFEST));
        Some(before.is_some_and(|before| before & BY_MANIFEST != 0))
    }

    /// Stores the fingerprint of an inode that has no record.
    pub(crate) fn note(&self, ino: u64, fingerprint: u64) {
        self.shard(ino).insert(ino, fingerprint & !BY_MANIFEST);
    }

    /// The inode equals its record.
    pub(crate) fn good(&self, ino: u64) {
        let mut differing = lock(&self.differing);
        if let Some(differing) = differing.get_mut(&ino) {
            differing.proved = true;
        }
    }

    /// The inode differs from its record under `name`.
    pub(crate) fn differs(
        &self,
        ino: u64,
        bytes: u64,
        what: String,
        name: (SnapshotName, Vec<u8>),
        proved: bool,
    ) {
        let mut differing = lock(&self.differing);
        let new = || Differing { what, bytes, names: Vec::new(), proved };
        differing.entry(ino).or_insert_with(new).names.push(name);
    }

    /// The damaged inodes by number, without their names; and the names whose content was backed up
    /// under another name.
    pub(crate) fn judged(&self) -> (HashMap<u64, Damage>, Vec<(SnapshotName, Flaw)>) {
        let (mut damaged, mut flaws) = (HashMap::new(), Vec::new());
        for (ino, Differing { what, bytes, names, proved }) in
            std::mem::take(&mut *lock(&self.differing))
        {
            if proved {
                let flaw = |(name, path)| (name, Flaw::Altered(path, EXCHANGED));
                flaws.extend(names.into_iter().map(flaw));
            } else {
                damaged.insert(ino, Damage { what, bytes, names: Vec::new() });
            }
        }
        flaws.sort_by(|(one, a), (other, b)| (one.stamp, a.path()).cmp(&(other.stamp, b.path())));
        (damaged, flaws)
    }
}

/// Whether the fingerprint `done` equals `recorded`; also `true` if nothing is recorded.
fn is_same(done: u64, recorded: Option<u64>) -> bool {
    recorded.is_none_or(|recorded| recorded | BY_MANIFEST == done | BY_MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &[u8]) -> (SnapshotName, Vec<u8>) {
        (SnapshotName::parse_any(b"p.07-12-2023_13-32-58").unwrap(), path.to_vec())
    }

    #[test]
    fn an_inode_is_read_once_for_each_of_its_records() {
        let inodes = Inodes::new();
        assert_eq!(inodes.take(1, Some(7)), Some(false));
        assert_eq!(inodes.take(1, Some(7)), None);
        assert_eq!(inodes.take(1, None), None);
        assert!(inodes.is_done(1, Some(7)) && !inodes.is_done(1, Some(8)));
        assert_eq!(inodes.take(1, Some(8)), Some(true));
        inodes.note(2, 9);
        assert!(inodes.is_done(2, Some(9)));
        assert_eq!(inodes.take(2, Some(10)), Some(false));
    }

    #[test]
    fn content_of_another_name_is_not_damaged() {
        let inodes = Inodes::new();
        inodes.differs(1, 5, "x".to_owned(), name(b"a"), false);
        inodes.good(1);
        inodes.differs(2, 5, "y".to_owned(), name(b"b"), false);
        inodes.good(3);
        inodes.differs(3, 5, "z".to_owned(), name(b"c"), true);
        let (damaged, flaws) = inodes.judged();
        assert_eq!(damaged.into_keys().collect::<Vec<_>>(), [2]);
        let paths: Vec<_> = flaws.iter().filter_map(|(_, flaw)| flaw.path()).collect();
        assert_eq!(paths, [b"a", b"c"]);
    }
}

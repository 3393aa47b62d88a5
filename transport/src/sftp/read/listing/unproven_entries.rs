//! Keeps the entries of a folder's listing until the server has reported the folder's real path.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use engine::entry::{Batch, Extra, Meta};
use engine::source::BATCH;

/// Approximate memory of an entry in addition to its name and target, in bytes.
const ENTRY: usize = 160;

/// Entries of one folder that are not passed on yet.
#[derive(Default)]
pub(crate) struct UnprovenEntries {
    full: Vec<Batch>,
    batch: Batch,
    bytes: usize,
    /// Hashes of the delivered names, so that no name is delivered twice, even after a lost connection.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl UnprovenEntries {
    /// Records a name; returns whether it is new.
    pub(crate) fn is_new(&mut self, name: &[u8]) -> bool {
        self.seen.insert(self.hasher.hash_one(name))
    }

    /// Number of delivered names.
    pub(crate) fn names(&self) -> usize {
        self.seen.len()
    }

    /// Keeps an entry whose name is new and checked. Returns its approximate memory in bytes.
    pub(crate) fn keep(&mut self, name: &[u8], meta: Meta, extra: Option<Box<Extra>>) -> usize {
        let target = extra.as_ref().and_then(|extra| extra.target.as_ref()).map_or(0, Vec::len);
        let _ = self.batch.push(name, meta, extra);
        if self.batch.len() >= BATCH {
            self.full.push(std::mem::take(&mut self.batch));
        }
        let bytes = ENTRY + name.len() + target;
        self.bytes += bytes;
        bytes
    }

    /// Whether there are enough entries to pass them on.
    pub(crate) fn are_many(&self) -> bool {
        !self.full.is_empty()
    }

    /// Takes all entries, and the bytes that they used.
    pub(crate) fn take(&mut self) -> (Vec<Batch>, usize) {
        let mut batches = std::mem::take(&mut self.full);
        batches.push(std::mem::take(&mut self.batch));
        batches.retain(|batch| !batch.is_empty());
        (batches, std::mem::take(&mut self.bytes))
    }

    /// Drops the entries as if they had not been listed.
    pub(crate) fn forget(&mut self) {
        for batch in self.take().0 {
            for listed in batch.iter() {
                self.seen.remove(&self.hasher.hash_one(listed.name.to_bytes()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::protocol::attributes::meta as described;
    use crate::sftp::protocol::packet::Attrs;

    fn meta() -> Meta {
        let file = Attrs {
            size: Some(1),
            owner: Some((0, 0)),
            permissions: Some(0o100_644),
            times: Some((0, 0)),
            links: None,
        };
        described(file).unwrap()
    }

    #[test]
    fn forgotten_names_may_be_delivered_again_and_taken_ones_not() {
        let mut unproven = UnprovenEntries::default();
        assert!(unproven.is_new(b"taken") && !unproven.is_new(b"taken"));
        let bytes = unproven.keep(b"taken", meta(), None);
        let (batches, took) = unproven.take();
        assert_eq!((batches.len(), took), (1, bytes));
        assert!(unproven.is_new(b"forgotten"));
        unproven.keep(b"forgotten", meta(), None);
        unproven.forget();
        assert!(unproven.is_new(b"forgotten") && !unproven.is_new(b"taken"));
        assert_eq!(unproven.names(), 2);
    }

    #[test]
    fn a_batch_of_them_is_many() {
        let mut unproven = UnprovenEntries::default();
        for number in 0..BATCH {
            assert!(!unproven.are_many());
            unproven.keep(format!("{number}").as_bytes(), meta(), None);
        }
        assert!(unproven.are_many());
    }
}

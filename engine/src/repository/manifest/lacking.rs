//! The records of files that a copy should have and lacks. A check finds by them what is gone.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::entry::digest::NameDigest;
use crate::repository::manifest::index::PathDigest;
use crate::repository::manifest::record::ManifestRecord;
use crate::threads::lock::lock;

/// The maximum number of records in memory. The files beyond it are not in the manifest.
const MOST: usize = 64 * 1024;

/// The records, by folder and name.
#[derive(Debug, Default)]
pub(super) struct Lacking(Mutex<BTreeMap<(PathDigest, NameDigest), ManifestRecord>>);

impl Lacking {
    pub(super) fn add(&self, folder: PathDigest, record: ManifestRecord) {
        let mut lacking = lock(&self.0);
        if lacking.len() < MOST {
            lacking.insert((folder, record.name), record);
        }
    }

    /// Adds to the `records` of a folder those that it lacks and whose names `held` accepts.
    pub(super) fn complete(
        &self,
        folder: &PathDigest,
        records: &mut Vec<ManifestRecord>,
        held: &dyn Fn(&NameDigest) -> bool,
    ) {
        let lacking = lock(&self.0);
        let all = (*folder, NameDigest::default())..=(*folder, [u8::MAX; size_of::<NameDigest>()]);
        let mut more: Vec<_> = lacking.range(all).map(|(_, record)| *record).collect();
        more.retain(|record| held(&record.name));
        if more.is_empty() {
            return;
        }
        // A later attempt may have stored it.
        records.sort_unstable_by_key(|record| record.name);
        more.retain(|lacked| records.binary_search_by_key(&lacked.name, |one| one.name).is_err());
        records.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::record::RecordedHash;

    #[test]
    fn a_folder_gets_what_it_lacks_and_nothing_twice() {
        let record = |name: u8, meta: u8| ManifestRecord {
            name: [name; 8],
            meta: [meta; 6],
            content: RecordedHash::default(),
        };
        let lacking = Lacking::default();
        for (folder, name) in [(1, 1), (1, 255), (2, 2), (1, 3), (1, 3)] {
            lacking.add([folder; 12], record(name, 1));
        }
        let complete = |folder: u8, held: &dyn Fn(&NameDigest) -> bool| {
            let mut records = vec![record(9, 2), record(3, 2)];
            lacking.complete(&[folder; 12], &mut records, held);
            let mut found: Vec<_> = records.iter().map(|one| (one.name[0], one.meta[0])).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(complete(1, &|_| true), [(1, 1), (3, 2), (9, 2), (255, 1)]);
        assert_eq!(complete(1, &|name| name[0] < 9), [(1, 1), (3, 2), (9, 2)]);
        assert_eq!(complete(3, &|_| true), [(3, 2), (9, 2)]);
    }
}

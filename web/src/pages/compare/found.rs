//! What a comparison found: the differences, and their sums per folder.

use std::collections::BTreeMap;

use engine::inspect::{Difference, DifferenceKind};

use crate::text::Text;

/// Differences that are listed.
const LISTED: usize = 2000;
/// Folders with sums.
const FOLDERS: usize = 1000;

/// The differences in one folder, and all below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) counts: [u64; 5],
    pub(crate) bytes: u64,
}

/// Each kind of difference, in the order of the columns.
pub(crate) const KINDS: [(DifferenceKind, Text); 5] = [
    (DifferenceKind::Added, Text::Added),
    (DifferenceKind::Removed, Text::Removed),
    (DifferenceKind::Changed, Text::Changed),
    (DifferenceKind::Renamed, Text::Renamed),
    (DifferenceKind::Metadata, Text::MetadataOnly),
];

impl Sums {
    fn add(&mut self, difference: &Difference) {
        for ((kind, _), count) in KINDS.iter().zip(&mut self.counts) {
            *count += u64::from(*kind == difference.kind);
        }
        self.bytes += difference.bytes;
    }
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) folders: BTreeMap<Vec<u8>, Sums>,
    pub(crate) listed: Vec<Difference>,
    pub(crate) total: Sums,
    pub(crate) number: u64,
}

impl Found {
    /// Adds a difference at or below `inside`. Its folder is the one directly below `inside` that contains it.
    pub(crate) fn add(&mut self, inside: &[u8], difference: &Difference) {
        if !is_below(inside, &difference.path) {
            return;
        }
        self.number += 1;
        self.total.add(difference);
        if self.listed.len() < LISTED {
            self.listed.push(difference.clone());
        }
        let rest = difference.path.strip_prefix(inside).unwrap_or(&difference.path);
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let folder = match rest.iter().position(|byte| *byte == b'/') {
            Some(end) => &difference.path[..difference.path.len() - rest.len() + end],
            None if difference.folder => &difference.path[..],
            None => return,
        };
        if self.folders.len() < FOLDERS || self.folders.contains_key(folder) {
            self.folders.entry(folder.to_vec()).or_default().add(difference);
        }
    }
}

impl Found {
    /// Sorts the differences by path: those of the source come from several threads.
    pub(crate) fn sort(&mut self) {
        self.listed.sort_by(|one, other| one.path.cmp(&other.path));
    }
}

/// Whether `path` is `inside` or below it.
fn is_below(inside: &[u8], path: &[u8]) -> bool {
    inside.is_empty()
        || path.strip_prefix(inside).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_for_the_folder_directly_below() {
        let mut found = Found::default();
        let mut add = |path: &str, folder: bool| {
            let (kind, path) = (DifferenceKind::Added, path.as_bytes().to_vec());
            found.add(b"home", &Difference { kind, path, from: None, folder, bytes: 1 });
        };
        add("home/u/a/x", false);
        add("home/u", true);
        add("home/x", false);
        add("homes/x", false);
        let sums = found.folders.get(&b"home/u"[..]).copied();
        assert_eq!(sums, Some(Sums { counts: [2, 0, 0, 0, 0], bytes: 2 }));
        assert_eq!((found.folders.len(), found.number, found.total.bytes), (1, 3, 3));
    }
}

//! Finds renamed entries among those that exist on one side only. Pure.

use std::collections::HashMap;
use std::hash::Hash;

use crate::entry::{FileId, Time};

/// The highest number of entries per side that are checked for renames. Further ones count as added
/// or removed.
pub(crate) const MOST: usize = 200_000;

/// An entry that exists on one side only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnmatchedEntry {
    pub(crate) path: Vec<u8>,
    /// `None` for entries that an inode does not identify: folders, and entries that only the
    /// sidecar holds.
    pub(crate) id: Option<FileId>,
    pub(crate) bytes: u64,
    pub(crate) folder: bool,
    pub(crate) hash: Option<blake3::Hash>,
}

/// Collects the entries that exist on one side only.
#[derive(Debug, Default)]
pub(crate) struct RenameDetector {
    sides: [Vec<UnmatchedEntry>; 2],
}

/// The result of matching. Each list is sorted by path.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// Pairs of old and new entry.
    pub(crate) renamed: Vec<(UnmatchedEntry, UnmatchedEntry)>,
    pub(crate) removed: Vec<UnmatchedEntry>,
    pub(crate) added: Vec<UnmatchedEntry>,
}

impl RenameDetector {
    /// Adds an entry of `side` (0: removed, 1: added). Returns it when the limit is reached.
    pub(crate) fn add(&mut self, side: usize, loose: UnmatchedEntry) -> Option<UnmatchedEntry> {
        if self.sides[side].len() >= MOST {
            return Some(loose);
        }
        self.sides[side].push(loose);
        None
    }

    /// Pairs removed with added entries: by inode first, then by hash and size.
    pub(crate) fn matched(self) -> Matched {
        let [mut removed, mut added] = self.sides;
        for side in [&mut removed, &mut added] {
            side.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        }
        let mut renamed = Vec::new();
        pair(&mut removed, &mut added, &mut renamed, |loose| loose.id);
        pair(&mut removed, &mut added, &mut renamed, |loose| {
            loose.hash.map(|hash| (hash, loose.bytes))
        });
        renamed.sort_unstable_by(|(_, one), (_, other)| one.path.cmp(&other.path));
        Matched { renamed, removed, added }
    }
}

/// Moves pairs with the same `key` from both lists to `renamed`. An entry is in at most one pair.
fn pair<K: Eq + Hash>(
    removed: &mut Vec<UnmatchedEntry>,
    added: &mut Vec<UnmatchedEntry>,
    renamed: &mut Vec<(UnmatchedEntry, UnmatchedEntry)>,
    key: impl Fn(&UnmatchedEntry) -> Option<K>,
) {
    let mut gone: HashMap<K, Vec<usize>> = HashMap::new();
    // Pushed in reverse, so that the first in path order is popped first.
    for (index, loose) in removed.iter().enumerate().rev() {
        if let Some(key) = key(loose) {
            gone.entry(key).or_default().push(index);
        }
    }
    let mut taken: Vec<Option<UnmatchedEntry>> = removed.drain(..).map(Some).collect();
    added.retain(|loose| {
        let from = key(loose).and_then(|key| gone.get_mut(&key)?.pop());
        match from.and_then(|index| taken[index].take()) {
            Some(from) => {
                renamed.push((from, loose.clone()));
                false
            }
            None => true,
        }
    });
    removed.extend(taken.into_iter().flatten());
}

/// A file that can be matched only by size and time, because the other side has neither inode nor
/// hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimedEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) mtime: Time,
}

impl TimedEntry {
    fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// Pairs removed with added files by size and time, sorted by new path. Among several candidates,
/// files of the same name are paired; a remaining pair is formed only when one file is left on each
/// side.
pub(crate) fn by_time(
    gone: &[TimedEntry],
    come: &[TimedEntry],
    whole_seconds: bool,
) -> Vec<(TimedEntry, TimedEntry)> {
    let mut alike: HashMap<(u64, Time), [Vec<&TimedEntry>; 2]> = HashMap::new();
    for (side, files) in [gone, come].into_iter().enumerate() {
        for file in files.iter().filter(|file| file.bytes > 0) {
            let nanos = if whole_seconds { 0 } else { file.mtime.nanos };
            let key = (file.bytes, Time { nanos, ..file.mtime });
            alike.entry(key).or_default()[side].push(file);
        }
    }
    let mut renamed = Vec::new();
    for [mut from, mut to] in alike.into_values() {
        to.retain(|to| match from.iter().position(|from| from.name() == to.name()) {
            Some(index) => {
                renamed.push((from.remove(index).clone(), (*to).clone()));
                false
            }
            None => true,
        });
        if let ([from], [to]) = (&from[..], &to[..]) {
            renamed.push(((*from).clone(), (*to).clone()));
        }
    }
    renamed.sort_unstable_by(|(_, one), (_, other)| one.path.cmp(&other.path));
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(path: &str, ino: u64, content: &str) -> UnmatchedEntry {
        UnmatchedEntry {
            path: path.into(),
            id: (ino > 0).then_some(FileId { dev: 1, ino }),
            bytes: content.len() as u64,
            folder: false,
            hash: (!content.is_empty()).then(|| blake3::hash(content.as_bytes())),
        }
    }

    #[test]
    fn without_inode_and_hash_moved_files_are_recognized_by_size_and_time() {
        let file = |text: &str| {
            let mut parts = text.split(' ');
            let path = parts.next().unwrap().as_bytes().to_vec();
            let mut number = || parts.next().unwrap().parse::<u32>().unwrap();
            let (bytes, secs, nanos) = (number().into(), number().into(), number());
            TimedEntry { path, bytes, mtime: Time { secs, nanos } }
        };
        let renamed = |gone: &[&str], come: &[&str], whole| {
            let read = |texts: &[&str]| texts.iter().map(|text| file(text)).collect::<Vec<_>>();
            let found = by_time(&read(gone), &read(come), whole);
            let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
            found.iter().map(|(a, b)| text(&a.path) + ">" + &text(&b.path)).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(renamed(&["d/a 5 1 7"], &["e/b 5 1 7"], false), ["d/a>e/b"]);
        assert_eq!(renamed(&["a 5 1 7"], &["b 5 1 8"], false), none, "another time");
        assert_eq!(renamed(&["a 5 1 7"], &["b 5 1 0"], true), ["a>b"], "SFTP has whole seconds");
        assert_eq!(renamed(&["a 5 1 7"], &["b 6 1 7"], false), none, "another size");
        assert_eq!(renamed(&["a 0 1 7"], &["b 0 1 7"], false), none, "empty files are not matched");
        let gone = ["d/a 5 1 7", "d/b 5 1 7", "d/c 5 1 7"];
        assert_eq!(renamed(&gone, &["e/b 5 1 7", "e/a 5 1 7"], false), ["d/a>e/a", "d/b>e/b"]);
        assert_eq!(renamed(&gone, &["e/b 5 1 7", "e/x 5 1 7"], false), ["d/b>e/b"], "ambiguous");
    }

    #[test]
    fn a_moved_entry_is_recognized_by_inode_then_by_content() {
        let mut renames = RenameDetector::default();
        for gone in [loose("b", 1, "x"), loose("a", 2, "x"), loose("c", 3, ""), loose("d", 0, "")] {
            assert_eq!(renames.add(0, gone), None);
        }
        for come in [loose("w", 9, "x"), loose("v", 1, "x"), loose("u", 8, "x"), loose("t", 0, "")]
        {
            assert_eq!(renames.add(1, come), None);
        }
        let matched = renames.matched();
        let text = |loose: &UnmatchedEntry| String::from_utf8(loose.path.clone()).unwrap();
        let renamed: Vec<_> = matched.renamed.iter().map(|(a, b)| (text(a), text(b))).collect();
        assert_eq!(renamed, [("a".into(), "u".into()), ("b".into(), "v".into())]);
        assert_eq!(matched.removed.iter().map(text).collect::<Vec<_>>(), ["c", "d"]);
        assert_eq!(matched.added.iter().map(text).collect::<Vec<_>>(), ["t", "w"]);
    }
}

//! The renamed files that a walk found, summed up by folder for the report. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::escape::shown;
use crate::repository::records::report::RenamedPath;
use crate::threads::share_of;

/// The most pairs of paths that a report names.
const MOST: usize = 5_000;

/// The most folders above a renamed one that may stand for it.
const DEEPEST: usize = 64;

/// The most memory of their paths, bytes.
const MOST_MEMORY: usize = 1 << 20;

/// Renamed files, by old and new path.
#[derive(Debug, Default)]
pub(crate) struct FoundRenames {
    /// Files that kept their last name, by old and new folder.
    folders: BTreeMap<Pair, u64>,
    /// Files that got another last name.
    files: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

/// The folder and the last name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl FoundRenames {
    /// Adds a file by its paths inside the two snapshots, unless there are too many.
    pub(crate) fn add(&mut self, from: &[u8], to: &[u8]) {
        let ((old, old_name), (new, new_name)) = (split(from), split(to));
        let more = from.len() + to.len();
        let is_full = self.folders.len() + self.files.len() >= MOST
            || self.bytes + more > share_of(MOST_MEMORY);
        if old_name != new_name || old == new {
            if !is_full {
                self.files.insert(to.to_vec(), from.to_vec());
                self.bytes += more;
            }
            return;
        }
        let key = (old.to_vec(), new.to_vec());
        match self.folders.get_mut(&key) {
            Some(count) => *count += 1,
            None if is_full => {}
            None => {
                self.folders.insert(key, 1);
                self.bytes += more;
            }
        }
    }

    /// What was renamed, sorted by the new path. A folder stands for what was renamed with it: it had renamed files itself, or
    /// several renamed folders.
    pub(crate) fn summed_up(&self) -> Vec<RenamedPath> {
        let mut below: BTreeMap<Pair, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for pair in self.folders.keys() {
            for (above, name) in all_above(pair) {
                below.entry(above).or_default().insert(name);
            }
        }
        let stands_for_more = |pair: &Pair| {
            self.folders.contains_key(pair) || below.get(pair).is_some_and(|names| names.len() > 1)
        };
        let mut folders: BTreeMap<Pair, u64> = BTreeMap::new();
        for (pair, files) in &self.folders {
            let above = all_above(pair).map(|(above, _)| above);
            let highest = above.filter(stands_for_more).last().unwrap_or_else(|| pair.clone());
            *folders.entry(highest).or_default() += files;
        }
        let folder = |path: &[u8]| shown(path) + "/";
        let mut all: Vec<_> = folders
            .into_iter()
            .map(|((from, to), files)| RenamedPath { from: folder(&from), to: folder(&to), files })
            .collect();
        let file = |(to, from): (&Vec<u8>, &Vec<u8>)| RenamedPath {
            from: shown(from),
            to: shown(to),
            files: 1,
        };
        all.extend(self.files.iter().map(file));
        all.sort_by(|one, other| one.to.cmp(&other.to));
        all
    }
}

/// The old and the new path of a folder.
type Pair = (Vec<u8>, Vec<u8>);

/// The pairs above `pair` as far as both paths have the same names, each with the name below it. A source can have paths with
/// a million names, so only some are looked at.
fn all_above(pair: &Pair) -> impl Iterator<Item = (Pair, Vec<u8>)> {
    std::iter::successors(above(pair), |(pair, _)| above(pair)).take(DEEPEST)
}

/// The folders above both, and the last name, if it is the same in both and the folders above are not.
fn above((from, to): &Pair) -> Option<(Pair, Vec<u8>)> {
    let ((old, old_name), (new, new_name)) = (split(from), split(to));
    let is_moved_along = old_name == new_name && old != new && !old.is_empty() && !new.is_empty();
    is_moved_along.then(|| ((old.to_vec(), new.to_vec()), old_name.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summed_up(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut found = FoundRenames::default();
        pairs.iter().for_each(|(from, to)| found.add(from.as_bytes(), to.as_bytes()));
        let text = |path: &RenamedPath| format!("{} > {} {}", path.from, path.to, path.files);
        found.summed_up().iter().map(text).collect()
    }

    #[test]
    fn a_renamed_folder_stands_for_what_is_in_it() {
        let below = [("p/a/1", "q/a/1"), ("p/a/2", "q/a/2"), ("p/a/b/c/3", "q/a/b/c/3")];
        assert_eq!(summed_up(&below), ["p/a/ > q/a/ 3"]);
        let years = [("p/a/1/x", "p/b/1/x"), ("p/a/2/x", "p/b/2/x"), ("p/a/2/y", "p/b/2/y")];
        assert_eq!(summed_up(&years), ["p/a/ > p/b/ 3"]);
        assert_eq!(summed_up(&[("a/x", "a/y"), ("b/1", "c/1")]), ["a/x > a/y 1", "b/ > c/ 1"]);
        assert_eq!(
            summed_up(&[("d/1", "e/f/1"), ("d/2", "e/g/2")]),
            ["d/ > e/f/ 1", "d/ > e/g/ 1"]
        );
        assert_eq!(summed_up(&[("x", "d/x")]), ["/ > d/ 1"]);
    }

    #[test]
    fn the_number_of_pairs_is_limited() {
        let mut found = FoundRenames::default();
        for number in 0..2 * MOST {
            found.add(format!("a{number}/x").as_bytes(), format!("b{number}/x").as_bytes());
            found.add(b"o", format!("n{number}").as_bytes());
        }
        found.add(b"a7/y", b"b7/y");
        let all = found.summed_up();
        assert_eq!(all.len(), MOST);
        assert!(all.iter().any(|path| path.from == "a7/" && path.files == 2));
        let mut found = FoundRenames::default();
        for number in 0..100 {
            found.add(&[b'x'; 100_000], format!("{number}").as_bytes());
        }
        assert_eq!(found.summed_up().len(), 10);
    }
}

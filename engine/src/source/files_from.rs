//! The only entries that a run takes from its source: those that `--files-from` names, or the parts of a snapshot that a
//! healing needs. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::entry::digest::{NameDigest, first};
use crate::entry::escape::shown;

/// The longest list whose text is kept, bytes.
const LONGEST_KEPT: usize = 1 << 20;

/// The entries of a list, as paths below the single source root.
#[derive(Debug, Default)]
pub struct Selection {
    paths: HashMap<Vec<u8>, Selected>,
    /// A folder is taken with everything below it.
    recursive: bool,
    /// The text of the list, unless it is very long, and whether NUL bytes end its lines.
    given: Option<(Vec<u8>, bool)>,
    /// Entries of folders by the digests of their names. They are taken with everything below them.
    digests: HashMap<Vec<u8>, HashSet<NameDigest>>,
}

#[derive(Debug)]
struct Selected {
    take: Take,
    /// Whether the source has the entry.
    seen: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Take {
    /// A folder on the way to a listed entry.
    Through,
    /// A listed entry.
    Itself,
    /// A folder listed with a trailing `/`: its direct entries are taken as well.
    WithEntries,
}

/// A line of a list that is not a usable path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: '{text}' contains '..' or '/./'; write the plain path below the source")]
pub struct BadLine {
    line: usize,
    text: String,
}

impl Selection {
    /// Parses a list with one path per line; with `nul`, a NUL byte ends each path. A line that
    /// starts with `#` or `;` is a comment (rsync(1), `--files-from`; checked with rsync 3.5).
    ///
    /// # Errors
    /// All lines with a path that contains `..`, or `/./`, which makes rsync drop the part before
    /// it.
    pub fn read(list: &[u8], nul: bool, recursive: bool) -> Result<Self, Vec<BadLine>> {
        let given = (list.len() <= LONGEST_KEPT).then(|| (list.to_vec(), nul));
        let mut selection = Self { recursive, given, ..Self::default() };
        let mut errors = Vec::new();
        let ends = |byte: &u8| if nul { *byte == 0 } else { matches!(byte, b'\n' | b'\r' | 0) };
        for (index, line) in list.split(ends).enumerate() {
            if matches!(line.first(), None | Some(b'#' | b';')) {
                continue;
            }
            let cut = line.windows(3).skip(1).any(|window| window == b"/./");
            if cut || line.split(|byte| *byte == b'/').any(|name| name == b"..") {
                errors.push(BadLine { line: index + 1, text: shown(line) });
            } else {
                selection.add(line);
            }
        }
        if errors.is_empty() { Ok(selection) } else { Err(errors) }
    }

    /// The text of the list, whether NUL bytes end its lines, and whether it is recursive; `None`
    /// when the text is very long.
    pub(crate) fn given(&self) -> Option<(&[u8], bool, bool)> {
        self.given.as_ref().map(|(list, nul)| (&list[..], *nul, self.recursive))
    }

    /// Takes the entry at `path` too, without what is below it.
    pub(crate) fn add_path(&mut self, path: &[u8]) {
        match path {
            [] => self.put(path, Take::Through),
            path => self.add(path),
        }
        // Nobody is told that the source lacks it.
        if let Some(selected) = self.paths.get(path) {
            selected.seen.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the entries of the folder `path` whose names have these `digests` too, with everything below them.
    pub(crate) fn add_digests(
        &mut self,
        path: &[u8],
        digests: impl IntoIterator<Item = NameDigest>,
    ) {
        self.add_path(path);
        self.digests.entry(path.to_vec()).or_default().extend(digests);
    }

    /// Whether it takes no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn add(&mut self, line: &[u8]) {
        let last = line.rsplit(|byte| *byte == b'/').next();
        let take = if matches!(last, Some(b"" | b".")) { Take::WithEntries } else { Take::Itself };
        let names = line.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
        let mut path = Vec::new();
        for name in names {
            self.put(&path, Take::Through);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        self.put(&path, take);
    }

    fn put(&mut self, path: &[u8], take: Take) {
        match self.paths.get_mut(path) {
            Some(selected) => selected.take = selected.take.max(take),
            None => {
                let seen = AtomicBool::new(path.is_empty());
                self.paths.insert(path.to_vec(), Selected { take, seen });
            }
        }
    }

    /// Whether the entry at `path` (below the source root, no slash at either end) is taken.
    #[must_use]
    pub fn takes(&self, path: &[u8]) -> bool {
        if let Some(selected) = self.paths.get(path) {
            selected.seen.store(true, Ordering::Relaxed);
            return true;
        }
        let mut rest = path;
        let mut direct = true;
        while !rest.is_empty() {
            let end = rest.iter().rposition(|byte| *byte == b'/');
            let name = &rest[end.map_or(0, |end| end + 1)..];
            rest = &rest[..end.unwrap_or(0)];
            if self.digests.get(rest).is_some_and(|all| all.contains(&first(&blake3::hash(name)))) {
                return true;
            }
            let take = self.paths.get(rest).map(|selected| selected.take);
            let listed = matches!(take, Some(Take::Itself | Take::WithEntries));
            if listed && (self.recursive || (direct && take == Some(Take::WithEntries))) {
                return true;
            }
            direct = false;
        }
        false
    }

    /// Listed paths that [`Selection::takes`] was never asked about, sorted: the source does not
    /// have them.
    #[must_use]
    pub fn missing(&self) -> Vec<Vec<u8>> {
        let missing = self.paths.iter().filter(|(_, selected)| {
            selected.take != Take::Through && !selected.seen.load(Ordering::Relaxed)
        });
        let mut paths: Vec<Vec<u8>> = missing.map(|(path, _)| path.clone()).collect();
        paths.sort();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(list: &str, recursive: bool) -> Vec<&'static str> {
        let selection = Selection::read(list.as_bytes(), false, recursive).unwrap();
        ["a", "b", "d", "d/e", "d/e/y", "d/x", "ab"]
            .into_iter()
            .filter(|path| selection.takes(path.as_bytes()))
            .collect()
    }

    #[test]
    fn a_list_takes_what_rsync_takes() {
        assert_eq!(taken("#b\n;b\n\n/a\n", false), ["a"]);
        assert_eq!(taken("d", false), ["d"]);
        assert_eq!(taken("d", true), ["d", "d/e", "d/e/y", "d/x"]);
        assert_eq!(taken("d/\n", false), ["d", "d/e", "d/x"]);
        assert_eq!(taken("d/\nd\n", false), ["d", "d/e", "d/x"]);
        assert_eq!(taken("./d//e/y\r\n", false), ["d", "d/e", "d/e/y"]);
        assert_eq!(taken("d/e/y\n", true), ["d", "d/e", "d/e/y"]);
        assert_eq!(taken(".", false), ["a", "b", "d", "ab"]);
        assert_eq!(taken("", true), [] as [&str; 0]);
    }

    #[test]
    fn nul_ends_names_with_line_feeds() {
        let selection = Selection::read(b"a\0b\n\0#c\0", true, false).unwrap();
        assert!(selection.takes(b"a") && selection.takes(b"b\n") && !selection.takes(b"b"));
    }

    #[test]
    fn names_that_were_not_found_are_known() {
        let selection = Selection::read(b"a\nd/x\ngone", false, false).unwrap();
        assert!(selection.takes(b"a") && selection.takes(b"d"));
        assert_eq!(selection.missing(), [&b"d/x"[..], b"gone"]);
    }

    #[test]
    fn entries_are_taken_by_the_digests_of_their_names_with_what_is_below() {
        let mut selection = Selection::default();
        assert!(selection.is_empty());
        selection.add_path(b"");
        selection.add_path(b"a/file");
        selection.add_digests(b"d/e", [first(&blake3::hash(b"gone"))]);
        for taken in ["a", "a/file", "d", "d/e", "d/e/gone", "d/e/gone/deep/file"] {
            assert!(selection.takes(taken.as_bytes()), "{taken}");
        }
        for left in ["b", "a/other", "a/file/below", "d/gone", "d/e/other", "d/e/other/gone"] {
            assert!(!selection.takes(left.as_bytes()), "{left}");
        }
        assert!(selection.missing().is_empty());
    }

    #[test]
    fn a_line_that_leads_out_is_a_mistake() {
        let errors = Selection::read(b"a\n../b\nc/../d\ne/./f\ng/.", false, false).unwrap_err();
        assert_eq!(errors.len(), 3);
        assert!(errors[0].to_string().starts_with("line 2: '../b'"));
    }
}

//! The files of the base that the source no longer has at their paths, and the search among them. Pure.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use crate::entry::Time;
use crate::entry::tree_path::TreePath;

/// The most memory of the collected files, bytes. Further files are not matched.
const MOST_MEMORY: usize = 12 << 20;

/// The most files of equal size, or of equal name, among which a search looks for a match. More of them have little in
/// common that distinguishes them.
const MOST_ALIKE: usize = 1024;

/// Approximate memory of a folder, bytes.
const FOLDER: usize = size_of::<TreePath>() + 64;

/// A file of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoneFile {
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// The number of its folder.
    pub(crate) folder: u32,
    name_at: u32,
}

/// Collects files of the base that are gone.
#[derive(Debug, Default)]
pub(crate) struct GoneFiles {
    /// The names, each with its NUL.
    names: Vec<u8>,
    folders: Vec<Arc<TreePath>>,
    files: Vec<GoneFile>,
}

impl GoneFiles {
    /// Adds files of the folder `place` of the base: name, size and modification time of each.
    pub(crate) fn add(&mut self, place: &Arc<TreePath>, files: &[(CString, u64, Time)]) {
        if files.is_empty() {
            return;
        }
        let names: usize = files.iter().map(|(name, ..)| name.count_bytes() + 1).sum();
        let more = names + files.len() * (size_of::<GoneFile>() + 2 * size_of::<u32>()) + FOLDER;
        if self.bytes() + more > MOST_MEMORY {
            return;
        }
        // The memory limit keeps both numbers far below 2^32.
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let folder = number(self.folders.len());
        self.folders.push(Arc::clone(place));
        for (name, size, mtime) in files {
            let name_at = number(self.names.len());
            self.names.extend_from_slice(name.to_bytes_with_nul());
            self.files.push(GoneFile { size: *size, mtime: *mtime, folder, name_at });
        }
    }

    fn bytes(&self) -> usize {
        let files = self.files.len() * (size_of::<GoneFile>() + 2 * size_of::<u32>());
        self.names.len() + files + self.folders.len() * FOLDER
    }

    /// Ends the collection and sorts it for the search.
    pub(crate) fn sorted(mut self) -> GoneIndex {
        self.names.shrink_to_fit();
        let all = 0..u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let (mut by_size, mut by_name): (Vec<u32>, Vec<u32>) =
            (all.clone().collect(), all.collect());
        let file = |at: &u32| self.files[*at as usize];
        by_size.sort_unstable_by_key(|at| (file(at).size, file(at).mtime, *at));
        by_name.sort_unstable_by_key(|at| (name_of(&self.names, file(at)), file(at).folder));
        GoneIndex { gone: self, by_size, by_name }
    }
}

fn name_of(names: &[u8], file: GoneFile) -> &CStr {
    CStr::from_bytes_until_nul(&names[file.name_at as usize..]).unwrap_or_default()
}

/// The collected files, sorted for the search.
#[derive(Debug, Default)]
pub(crate) struct GoneIndex {
    gone: GoneFiles,
    by_size: Vec<u32>,
    by_name: Vec<u32>,
}

impl GoneIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.files.is_empty()
    }

    fn file(&self, at: u32) -> GoneFile {
        self.gone.files[at as usize]
    }

    /// The last name of a file.
    pub(crate) fn name(&self, file: GoneFile) -> &CStr {
        name_of(&self.gone.names, file)
    }

    /// The folder of the base that held files of the folder `number`.
    pub(crate) fn folder(&self, number: u32) -> &Arc<TreePath> {
        &self.gone.folders[number as usize]
    }

    /// The range of `sorted` for which `key` returns `wanted`.
    fn range<K: Ord>(sorted: &[u32], wanted: &K, key: impl Fn(u32) -> K) -> Range<usize> {
        let start = sorted.partition_point(|at| key(*at) < *wanted);
        let length = sorted[start..].partition_point(|at| key(*at) == *wanted);
        start..start + length
    }

    /// The files with this `size` whose time `same_time` accepts, at most `most`: first the one of the folder
    /// `preferred`, then those of the same last name.
    pub(crate) fn alike(
        &self,
        name: &CStr,
        size: u64,
        same_time: impl Fn(Time) -> bool,
        preferred: Option<u32>,
        most: usize,
    ) -> Vec<GoneFile> {
        let range = Self::range(&self.by_size, &size, |at| self.file(at).size);
        let range = &self.by_size[range];
        let all = range.iter().take(MOST_ALIKE).map(|at| self.file(*at));
        let mut alike: Vec<GoneFile> = all.filter(|file| same_time(file.mtime)).collect();
        // The sort is stable: among equals, files that the walk found first come first.
        alike.sort_by_key(|file| {
            let is_other_name = self.name(*file) != name;
            (is_other_name || Some(file.folder) != preferred, is_other_name)
        });
        alike.truncate(most);
        alike
    }

    /// The file `name` of the folder `number`.
    pub(crate) fn in_folder(&self, number: u32, name: &CStr) -> Option<GoneFile> {
        let key = |at: u32| (self.name(self.file(at)), self.file(at).folder);
        let range = Self::range(&self.by_name, &(name, number), key);
        self.by_name[range].first().map(|at| self.file(*at))
    }

    /// The only file with this last name.
    pub(crate) fn only_one_of(&self, name: &CStr) -> Option<GoneFile> {
        let range = Self::range(&self.by_name, &name, |at| self.name(self.file(at)));
        match self.by_name[range] {
            [at] => Some(self.file(at)),
            _ => None,
        }
    }

    /// The folder that held at least half of `files` (last name and size), if there is one. Empty files do not count.
    pub(crate) fn folder_of<'a>(
        &self,
        files: impl Iterator<Item = (&'a CStr, u64)>,
    ) -> Option<u32> {
        let (mut votes, mut count) = (std::collections::HashMap::<u32, usize>::new(), 0);
        for (name, size) in files.filter(|(_, size)| *size > 0) {
            count += 1;
            let range = Self::range(&self.by_name, &name, |at| self.name(self.file(at)));
            let range = &self.by_name[range];
            // A name that very many folders have says little about a folder.
            for at in range.iter().filter(|_| range.len() <= MOST_ALIKE) {
                let file = self.file(*at);
                if file.size == size {
                    *votes.entry(file.folder).or_default() += 1;
                }
            }
        }
        let (folder, most) = votes.into_iter().max_by_key(|(folder, votes)| (*votes, !*folder))?;
        (most * 2 >= count).then_some(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    /// Two folders: `a` with three files, `b` with two.
    fn index() -> GoneIndex {
        let top = TreePath::top(None);
        let mut gone = GoneFiles::default();
        let file = |name: &str, size, secs| (CString::new(name).unwrap(), size, time(secs));
        gone.add(&top.child(c"a", None), &[file("x", 5, 1), file("y", 5, 2), file("z", 7, 3)]);
        gone.add(&top.child(c"b", None), &[file("x", 5, 1), file("w", 9, 4)]);
        gone.add(&top.child(c"c", None), &[]);
        gone.sorted()
    }

    fn shown(index: &GoneIndex, files: &[GoneFile]) -> Vec<String> {
        let path = |file: &GoneFile| index.folder(file.folder).inside_of(index.name(*file));
        files.iter().map(|file| String::from_utf8(path(file)).unwrap()).collect()
    }

    #[test]
    fn files_of_equal_size_and_time_are_found_those_of_the_same_name_first() {
        let index = index();
        let alike = |name: &CStr, size, secs, preferred, most| {
            let found = index.alike(name, size, |mtime| mtime == time(secs), preferred, most);
            shown(&index, &found)
        };
        assert_eq!(alike(c"x", 5, 1, None, 9), ["a/x", "b/x"]);
        assert_eq!(alike(c"x", 5, 1, Some(1), 9), ["b/x", "a/x"]);
        assert_eq!(alike(c"x", 5, 1, None, 1), ["a/x"]);
        assert_eq!(alike(c"new", 5, 2, None, 9), ["a/y"]);
        assert_eq!(alike(c"x", 6, 1, None, 9), [""; 0], "another size");
        assert_eq!(alike(c"x", 5, 9, None, 9), [""; 0], "another time");
        assert_eq!(shown(&index, &Vec::from_iter(index.in_folder(0, c"z"))), ["a/z"]);
        assert_eq!(index.in_folder(1, c"z"), None);
        assert_eq!(shown(&index, &Vec::from_iter(index.only_one_of(c"w"))), ["b/w"]);
        assert_eq!(index.only_one_of(c"x"), None, "two files have this name");
        assert!(GoneIndex::default().is_empty() && !index.is_empty());
    }

    #[test]
    fn a_folder_is_recognized_by_most_of_its_names_and_sizes() {
        let index = index();
        let folder_of = |files: &[(&'static CStr, u64)]| index.folder_of(files.iter().copied());
        assert_eq!(folder_of(&[(c"x", 5), (c"y", 5), (c"new", 1)]), Some(0));
        assert_eq!(folder_of(&[(c"x", 5), (c"w", 9)]), Some(1));
        assert_eq!(folder_of(&[(c"x", 4), (c"y", 4), (c"z", 7)]), None, "two of three changed");
        assert_eq!(folder_of(&[(c"x", 0)]), None, "empty files do not count");
        assert_eq!(folder_of(&[]), None);
    }

    #[test]
    fn the_memory_is_limited() {
        let (top, mut gone) = (TreePath::top(None), GoneFiles::default());
        let files: Vec<_> = (0..1000_u32)
            .map(|number| (CString::new(format!("{number:0200}")).unwrap(), 1, time(0)))
            .collect();
        for _ in 0..100 {
            gone.add(&top.child(c"folder", None), &files);
        }
        assert!(gone.bytes() <= MOST_MEMORY && gone.bytes() > MOST_MEMORY / 2);
        let index = gone.sorted();
        assert!(index.by_size.len() < 100_000);
        assert_eq!(index.folder_of(std::iter::once((files[7].0.as_c_str(), 1))), Some(0));
    }
}

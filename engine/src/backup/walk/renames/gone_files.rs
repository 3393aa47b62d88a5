//! The files of the base that the source no longer has at their paths, and the search among them. Pure.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use crate::entry::Time;
use crate::entry::tree_path::TreePath;
use crate::threads::share_of;

/// The most memory of the collected files, bytes. Further files are not matched.
const MOST_MEMORY: usize = 9 << 20;

/// The most files of equal size, or of equal name, among which a search looks for a match. More of them have little in
/// common that distinguishes them.
const MOST_ALIKE: usize = 1024;

/// Approximate memory of a folder without its name, bytes. Half of it is for the folders above that have no files.
const FOLDER: usize = 2 * size_of::<TreePath>() + 64;

/// A file of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GoneFile {
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// The number of its folder.
    pub(crate) folder: u32,
    name_at: u32,
}

/// A file of the source that is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a CStr,
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// By how many seconds times that count as equal may differ.
    pub(crate) slack: i64,
}

/// Collects files of the base that are gone.
#[derive(Debug, Default)]
pub(crate) struct GoneFiles {
    /// The names, each with its NUL.
    names: Vec<u8>,
    folders: Vec<Arc<TreePath>>,
    /// The length of the folders' own names, bytes.
    folder_names: usize,
    files: Vec<GoneFile>,
}

impl GoneFiles {
    /// Adds files of the folder `place` of the base: name, size and modification time of each. `number` is the number of
    /// the folder after its first files were added. Returns whether there was room for them.
    pub(crate) fn add(
        &mut self,
        place: &Arc<TreePath>,
        number: &mut Option<u32>,
        files: &[(CString, u64, Time)],
    ) -> bool {
        let names: usize = files.iter().map(|(name, ..)| name.count_bytes() + 1).sum();
        let more = names + files.len() * (size_of::<GoneFile>() + 2 * size_of::<u32>()) + FOLDER;
        if self.bytes() + more > share_of(MOST_MEMORY) {
            return false;
        }
        // The memory limit keeps all numbers far below 2^32.
        let number_of = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let folder = *number.get_or_insert_with(|| {
            self.folders.push(Arc::clone(place));
            self.folder_names += place.name().count_bytes();
            number_of(self.folders.len() - 1)
        });
        for (name, size, mtime) in files {
            let name_at = number_of(self.names.len());
            self.names.extend_from_slice(name.to_bytes_with_nul());
            self.files.push(GoneFile { size: *size, mtime: *mtime, folder, name_at });
        }
        true
    }

    fn bytes(&self) -> usize {
        let files = self.files.len() * (size_of::<GoneFile>() + 2 * size_of::<u32>());
        self.names.len() + self.folder_names + files + self.folders.len() * FOLDER
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

    /// At most `most` files with the `size` and time that `same_time` accepts: first the file of the same name in the folder
    /// `preferred`, then files of the same name, then others. `same_time` accepts no time that is further than `slack`
    /// seconds from `mtime`.
    pub(crate) fn alike(
        &self,
        wanted: &Wanted<'_>,
        same_time: impl Fn(Time) -> bool,
        preferred: Option<u32>,
        most: usize,
    ) -> Vec<GoneFile> {
        let Wanted { name, size, mtime, slack } = *wanted;
        let is_alike = |file: &GoneFile| file.size == size && same_time(file.mtime);
        let in_folder = preferred.and_then(|folder| self.in_folder(folder, name)).filter(is_alike);
        // With nanoseconds, few files have the same time. In whole seconds there may be thousands, so only some are looked at.
        let key = |at: u32| (self.file(at).size, self.file(at).mtime);
        let same = Self::range(&self.by_size, &(size, mtime), key);
        let start = (size, Time { secs: mtime.secs.saturating_sub(slack), nanos: 0 });
        let start = self.by_size.partition_point(|at| key(*at) < start);
        let end = (size, Time { secs: mtime.secs.saturating_add(slack), nanos: u32::MAX });
        let near = self.by_size[start..].iter().take_while(|at| key(**at) <= end);
        let all = self.by_size[same].iter().take(MOST_ALIKE).chain(near.take(MOST_ALIKE));
        let all = all.map(|at| self.file(*at)).filter(is_alike);
        let mut alike: Vec<GoneFile> = Vec::new();
        // The sort is stable: among equals, files that the walk found first come first.
        let mut others: Vec<GoneFile> = all.collect();
        others.sort_by_key(|file| self.name(*file) != name);
        for file in in_folder.into_iter().chain(others) {
            if alike.len() < most && !alike.contains(&file) {
                alike.push(file);
            }
        }
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

    /// The folder that held at least half of `files` (last name, size and time), if there is one. Empty files do not count.
    /// Among several, equal times decide, and then the last name `own` of the folder in which the files are now.
    pub(crate) fn folder_of<'a>(
        &self,
        files: impl Iterator<Item = (&'a CStr, u64, Time)>,
        own: &CStr,
    ) -> Option<u32> {
        // For each folder: files of equal name and size, and those of equal time among them.
        let (mut votes, mut count) = (HashMap::<u32, (usize, usize)>::new(), 0);
        for (name, size, mtime) in files.filter(|(_, size, _)| *size > 0) {
            count += 1;
            let range = Self::range(&self.by_name, &name, |at| self.name(self.file(at)));
            let range = &self.by_name[range];
            // A name that very many folders have says little about a folder.
            for at in range.iter().filter(|_| range.len() <= MOST_ALIKE) {
                let file = self.file(*at);
                if file.size == size {
                    let (sizes, times) = votes.entry(file.folder).or_default();
                    *sizes += 1;
                    *times += usize::from(file.mtime == mtime);
                }
            }
        }
        let has_own_name = |folder: u32| self.folder(folder).name() == own;
        let (folder, (most, _)) = votes
            .into_iter()
            .max_by_key(|(folder, votes)| (*votes, has_own_name(*folder), !*folder))?;
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
        gone.add(
            &top.child(c"a", None),
            &mut None,
            &[file("x", 5, 1), file("y", 5, 2), file("z", 7, 3)],
        );
        gone.add(&top.child(c"b", None), &mut None, &[file("x", 5, 1), file("w", 9, 4)]);
        gone.add(&top.child(c"c", None), &mut None, &[]);
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
            let wanted = Wanted { name, size, mtime: time(secs), slack: 1 };
            let found = index.alike(&wanted, |mtime| mtime == time(secs), preferred, most);
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
    fn among_thousands_of_equal_size_the_right_one_is_found_by_its_time_or_folder() {
        let (top, mut gone) = (TreePath::top(None), GoneFiles::default());
        for number in 0..3000_u32 {
            let place = top.child(&CString::new(format!("f{number}")).unwrap(), None);
            let mtime = Time { secs: 5, nanos: number };
            gone.add(&place, &mut None, &[(c"name".to_owned(), 7, mtime)]);
        }
        let index = gone.sorted();
        let wanted = Wanted { name: c"x", size: 7, mtime: Time { secs: 5, nanos: 2900 }, slack: 2 };
        let found = index.alike(&wanted, |mtime| mtime == wanted.mtime, None, 8);
        assert_eq!(shown(&index, &found), ["f2900/name"]);
        let wanted = Wanted { name: c"name", mtime: time(5), ..wanted };
        let found = index.alike(&wanted, |mtime| mtime.secs == 5, Some(2950), 8);
        assert_eq!((found.len(), &shown(&index, &found)[..1]), (8, &["f2950/name".to_owned()][..]));
    }

    #[test]
    fn a_folder_is_recognized_by_most_of_its_names_and_sizes() {
        let index = index();
        let folder_of = |files: &[(&'static CStr, u64, i64)], own| {
            let files = files.iter().map(|(name, size, secs)| (*name, *size, time(*secs)));
            index.folder_of(files, own)
        };
        assert_eq!(folder_of(&[(c"x", 5, 1), (c"y", 5, 2), (c"new", 1, 1)], c"z"), Some(0));
        assert_eq!(folder_of(&[(c"x", 5, 1), (c"w", 9, 1)], c"z"), Some(1));
        let changed = [(c"x", 4, 1), (c"y", 4, 1), (c"z", 7, 1)];
        assert_eq!(folder_of(&changed, c"z"), None, "two of three changed");
        assert_eq!(folder_of(&[(c"x", 0, 1)], c"z"), None, "empty files do not count");
        assert_eq!(folder_of(&[], c"z"), None);
        // Both folders have this file.
        let twice = [(c"x", 5, 1)];
        assert_eq!(
            [c"z", c"a", c"b"].map(|own| folder_of(&twice, own)),
            [Some(0), Some(0), Some(1)]
        );
    }

    #[test]
    fn the_memory_is_limited() {
        let (top, mut gone) = (TreePath::top(None), GoneFiles::default());
        let files: Vec<_> = (0..1000_u32)
            .map(|number| (CString::new(format!("{number:0200}")).unwrap(), 1, time(0)))
            .collect();
        for _ in 0..100 {
            gone.add(&top.child(c"folder", None), &mut None, &files);
        }
        assert!(gone.bytes() <= MOST_MEMORY && gone.bytes() > MOST_MEMORY / 2);
        let index = gone.sorted();
        assert!(index.by_size.len() < 100_000);
        assert_eq!(
            index.folder_of(std::iter::once((files[7].0.as_c_str(), 1, time(0))), c""),
            Some(0)
        );
    }
}

//! The names in a folder of the base and below it. They are counted before any entry is looked at, which costs more.

use std::ffi::CString;
use std::ops::ControlFlow;

use crate::fs::dir::Dir;

/// The names in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BaseNames {
    pub(crate) names: Vec<CString>,
    /// The positions of the folders among them, and the names in each folder.
    pub(crate) folders: Vec<(usize, BaseNames)>,
}

impl BaseNames {
    /// The names in `dir`, without those in its subfolders. `None` if there are more than `most` or they cannot be read.
    pub(crate) fn read(dir: &Dir, most: usize) -> Option<Self> {
        let mut found = Self::default();
        let mut fits = true;
        let read = dir.names(|entry| {
            fits = found.names.len() < most;
            if !fits {
                return ControlFlow::Break(());
            }
            if entry.folder {
                found.folders.push((found.names.len(), Self::default()));
            }
            found.names.push(entry.name.to_owned());
            ControlFlow::Continue(())
        });
        (read.is_ok() && fits).then_some(found)
    }

    /// The names in `dir` if the only one is that of a folder, and those in that folder if so, up to `depth` folders deep. `None`
    /// if there are others.
    pub(crate) fn chain(dir: &Dir, depth: usize) -> Option<Self> {
        let mut found = Self::read(dir, 1)?;
        let [(0, below)] = &mut found.folders[..] else { return None };
        if let Ok(child) = dir.child_if_here(&found.names[0])
            && let Some(depth) = depth.checked_sub(1)
            && let Some(names) = Self::chain(&child, depth)
        {
            *below = names;
        }
        Some(found)
    }

    /// The names in `dir` and everywhere below it. Subtracts their number from `most`. `None` if there are more, if folders
    /// are nested more than `depth` times, or if a folder cannot be read.
    pub(crate) fn below(dir: &Dir, most: &mut usize, depth: usize) -> Option<Self> {
        let mut found = Self::read(dir, *most)?;
        *most -= found.names.len();
        for (at, folder) in &mut found.folders {
            let child = dir.child_if_here(&found.names[*at]).ok()?;
            *folder = Self::below(&child, most, depth.checked_sub(1)?)?;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_up_to_a_number_and_a_depth() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("a/b")).unwrap();
        std::fs::write(top.path().join("a/b/file"), "").unwrap();
        std::fs::write(top.path().join("a/b/other"), "").unwrap();
        let dir = Dir::at(top.path()).unwrap();
        let below = |mut most: usize, depth| {
            BaseNames::below(&dir, &mut most, depth).map(|found| (found, most))
        };
        let (found, left) = below(5, 2).unwrap();
        assert_eq!((found.names, left), (vec![c"a".to_owned()], 1));
        let [(0, a)] = &found.folders[..] else { panic!("{:?}", found.folders) };
        let [(0, b)] = &a.folders[..] else { panic!("{a:?}") };
        let mut files = b.names.clone();
        files.sort();
        assert_eq!(
            (files, &b.folders[..]),
            (vec![c"file".to_owned(), c"other".to_owned()], &[][..])
        );
        assert!(below(4, 2).is_some() && below(3, 2).is_none() && below(4, 1).is_none());
        assert_eq!(BaseNames::read(&dir, 1).map(|found| found.names), Some(vec![c"a".to_owned()]));
        assert_eq!(BaseNames::read(&dir, 0), None);
        // `a` has only `b`, which has files.
        let folders = |found: Option<BaseNames>| {
            let (mut count, mut found) = (0, found);
            while let Some((_, below)) = found.and_then(|mut found| found.folders.pop()) {
                (count, found) = (count + 1, Some(below));
            }
            count
        };
        assert_eq!(folders(BaseNames::chain(&dir, 9)), 2);
        assert_eq!(folders(BaseNames::chain(&dir, 0)), 1);
        let deep = Dir::at(&top.path().join("a/b")).unwrap();
        assert_eq!(BaseNames::chain(&deep, 9), None);
    }
}

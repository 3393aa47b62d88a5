//! Converts paths of the source to paths inside a snapshot and back. Pure.

use std::os::unix::ffi::OsStrExt;

use crate::entry::escape::unshown;
use crate::fs::container::{with_prefix, without_prefix};
use crate::repository::records::report::Report;
use crate::snapshot::layout::Layout;

/// The source roots of a snapshot: the absolute path of each root and its path inside the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceRoots(Vec<(Vec<u8>, Vec<u8>)>);

impl SourceRoots {
    /// The roots that the report of a snapshot records.
    #[must_use]
    pub fn of_report(report: &Report) -> Self {
        let pair = |path: &str, inside: &str| Some((unshown(path)?, unshown(inside)?));
        Self(report.roots.iter().filter_map(|root| pair(&root.path, &root.inside)).collect())
    }

    /// The roots of a job.
    #[must_use]
    pub fn of_layout(layout: &Layout) -> Self {
        let roots = layout.roots().into_iter();
        Self(roots.map(|(path, inside)| (path.as_os_str().as_bytes().to_vec(), inside)).collect())
    }

    /// Each root: its absolute path on the source, and its path inside the snapshot.
    #[must_use]
    pub fn pairs(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0
    }

    /// The path of the source that `path` means. A container has the folders of the machine below `/host_fs`, so
    /// where no root contains or is below `/etc`, `/host_fs/etc` may be meant, and the other way round. Any other
    /// path is returned unchanged.
    #[must_use]
    pub fn meant(&self, path: &[u8]) -> Vec<u8> {
        let known = |path: &[u8]| {
            let path = names(path);
            let related = |root: &[u8]| {
                let root = names(root);
                root.starts_with(&path) || path.starts_with(&root)
            };
            self.0.iter().any(|(root, _)| related(root))
        };
        let there = || Some(with_prefix(path)).filter(|path| known(path));
        let here = || Some(without_prefix(path)?.to_vec()).filter(|path| known(path));
        match known(path) {
            true => path.to_vec(),
            false => there().or_else(here).unwrap_or_else(|| path.to_vec()),
        }
    }

    /// The path inside the snapshot of `path` on the source, without a slash at either end. A path outside all
    /// roots is taken as the full path inside the snapshot, which is correct for jobs without `/./` and
    /// `--no-relative`.
    #[must_use]
    pub fn inside(&self, path: &[u8]) -> Vec<u8> {
        let path = self.meant(path);
        let path = names(&path);
        let below = self.0.iter().filter_map(|(root, inside)| {
            let root = names(root);
            let rest = path.strip_prefix(&root[..])?;
            Some((root.len(), [&names(inside)[..], rest].concat()))
        });
        if let Some((_, found)) = below.max_by_key(|(length, _)| *length) {
            return found.join(&b'/');
        }
        // A parent folder of a root: go up the same number of names on both sides.
        let above = self.0.iter().find_map(|(root, inside)| {
            let (root, inside) = (names(root), names(inside));
            let up = root.strip_prefix(&path[..])?.len();
            Some(inside[..inside.len().checked_sub(up)?].to_vec())
        });
        above.unwrap_or(path).join(&b'/')
    }

    /// The path on the source of the entry at the path `inside` of a snapshot, which is escaped, and whether it is a folder: its
    /// path ends in `/`.
    #[must_use]
    pub fn of_shown(&self, inside: &str) -> (Vec<u8>, bool) {
        let bytes = unshown(inside).unwrap_or_else(|| inside.as_bytes().to_vec());
        (self.source(&bytes), inside.ends_with('/'))
    }

    /// The path on the source of the entry at `inside`.
    #[must_use]
    pub fn source(&self, inside: &[u8]) -> Vec<u8> {
        let path = names(inside);
        let below = self.0.iter().filter_map(|(root, inside)| {
            let (root, inside) = (names(root), names(inside));
            let rest = path.strip_prefix(&inside[..])?;
            Some((inside.len(), [&root[..], rest].concat()))
        });
        let found = below.max_by_key(|(length, _)| *length).map(|(_, found)| found);
        // A parent folder of a root: go up the same number of names on both sides.
        let above = || {
            self.0.iter().find_map(|(root, inside)| {
                let (root, inside) = (names(root), names(inside));
                let up = inside.strip_prefix(&path[..])?.len();
                Some(root[..root.len().checked_sub(up)?].to_vec())
            })
        };
        let found = found.or_else(above).unwrap_or_else(|| path.clone());
        [b"/", &found.join(&b'/')[..]].concat()
    }
}

/// The components of a path.
fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn roots(paths: &[&str], relative: bool) -> SourceRoots {
        let paths: Vec<_> = paths.iter().map(Into::into).collect();
        SourceRoots::of_layout(&Layout::new(&paths, relative, Path::new("/cwd")).unwrap())
    }

    #[test]
    fn a_path_of_the_source_is_found_inside() {
        for (paths, relative, path, inside) in [
            (&["/home/u"][..], true, "/home/u/docs//x", "home/u/docs/x"),
            (&["/home/u"], true, "/home/", "home"),
            (&["/home/u"], true, "/etc/passwd", "etc/passwd"),
            (&["/home/./u"], true, "/home/u/x", "u/x"),
            (&["/home/u"], false, "/home/u/x", "u/x"),
            (&["/home/u"], false, "/home/u", "u"),
            (&["/home", "/home/u"], true, "/home/u/x", "home/u/x"),
            (&["/"], true, "/etc", "etc"),
            // The machine's paths, and those of the container.
            (&["/host_fs/etc"], true, "/etc/passwd", "host_fs/etc/passwd"),
            (&["/host_fs/etc"], true, "/", ""),
            (&["/host_fs/etc/ssl"], true, "/etc", "host_fs/etc"),
            (&["/host_fs"], true, "/etc", "host_fs/etc"),
            (&["/host_fs/etc", "/etc"], true, "/etc/passwd", "etc/passwd"),
            (&["/host_fs/etc"], true, "/usr/x", "usr/x"),
            (&["/etc"], true, "/host_fs/etc/passwd", "etc/passwd"),
            (&[], true, "/etc/x", "etc/x"),
        ] {
            let roots =
                if paths.is_empty() { SourceRoots::default() } else { roots(paths, relative) };
            assert_eq!(roots.inside(path.as_bytes()), inside.as_bytes(), "{paths:?} {path}");
        }
        assert_eq!(roots(&["/host_fs/etc"], true).meant(b"/etc/x"), b"/host_fs/etc/x");
        assert_eq!(roots(&["/home/./u"], true).source(b"u/x"), b"/home/u/x");
        assert_eq!(SourceRoots::default().source(b"etc"), b"/etc");
    }

    proptest! {
        #[test]
        fn a_path_in_a_snapshot_leads_back_to_its_source(
            rest in "[a-z]{1,3}(/[a-z]{1,3}){0,3}", relative in any::<bool>(), marked in any::<bool>(),
        ) {
            let root = if marked { "/srv/./data/a" } else { "/srv/data/a" };
            let roots = roots(&[root], relative);
            let path = format!("/srv/data/a/{rest}");
            prop_assert_eq!(roots.source(&roots.inside(path.as_bytes())), path.as_bytes());
        }
    }
}

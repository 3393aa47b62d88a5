//! The path of each source root inside a snapshot: rsync's `--relative` layout with its `/./`
//! marker, and the flat layout of `--no-relative`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::entry::escape::shown;

/// The source roots of a job, as a tree of the folders above them inside a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    top: LayoutNode,
}

/// A folder of the layout: a source root, a folder above one, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutNode {
    /// The absolute path on the source that provides the attributes (and, for a root, the content).
    /// The top of a snapshot has none unless `/` is a source root.
    pub path: Option<PathBuf>,
    /// Whether it is a source root.
    pub root: bool,
    /// The children in the layout, by name.
    pub below: BTreeMap<Vec<u8>, LayoutNode>,
}

/// Why the source paths form no valid layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There is no source root.
    #[error("there is no source root")]
    Empty,
    /// A path is empty.
    #[error("one of its paths is empty; remove the extra comma")]
    EmptyPath,
    /// A path contains a NUL byte, or a component of more than 255 bytes.
    #[error("{path}: no file system can store this name")]
    Name {
        /// The path as given.
        path: String,
    },
    /// A path contains `..`, which may lead elsewhere than its text suggests.
    #[error("{path}: write the path without '..'")]
    DotDot {
        /// The path as given.
        path: String,
    },
    /// Two source roots would have the same path inside the snapshot.
    #[error(
        "{first} and {second} would both be stored as {place}; back up one of them in a job of its own, or keep the full paths with --relative"
    )]
    Clash {
        /// One source path.
        first: String,
        /// The other source path.
        second: String,
        /// The path inside the snapshot.
        place: String,
    },
}

impl Layout {
    /// Computes the layout of `paths`. Relative paths start at `current_dir`, which is absolute.
    ///
    /// # Errors
    /// All invalid paths, each with its reason.
    pub fn new(
        paths: &[PathBuf],
        relative: bool,
        current_dir: &Path,
    ) -> Result<Self, Vec<LayoutError>> {
        let mut layout =
            Self { top: LayoutNode { path: None, root: false, below: BTreeMap::new() } };
        let mut errors = Vec::new();
        if paths.is_empty() {
            errors.push(LayoutError::Empty);
        }
        for path in paths {
            if let Err(error) = ParsedPath::of(path, relative, current_dir)
                .and_then(|place| layout.top.insert(&place, &place.names))
            {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(layout) } else { Err(errors) }
    }

    /// The top folder of the snapshot.
    #[must_use]
    pub fn top(&self) -> &LayoutNode {
        &self.top
    }

    /// All source roots: absolute path, and path inside the snapshot.
    #[must_use]
    pub fn roots(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut roots = Vec::new();
        self.top.collect_roots(&mut Vec::new(), &mut roots);
        roots
    }

    /// All paths on the source that occur in the layout: source roots and the folders above them.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let (mut paths, mut nodes) = (Vec::new(), vec![&self.top]);
        while let Some(node) = nodes.pop() {
            paths.extend(node.path.clone());
            nodes.extend(node.below.values());
        }
        paths
    }
}

/// A parsed source path.
struct ParsedPath {
    /// The absolute path before the first of `names`.
    before: PathBuf,
    /// The components inside the snapshot.
    names: Vec<Vec<u8>>,
}

impl ParsedPath {
    fn of(path: &Path, relative: bool, current_dir: &Path) -> Result<Self, LayoutError> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(LayoutError::EmptyPath);
        }
        let absolute = bytes.starts_with(b"/");
        // rsync(1), --relative: the path inside the snapshot starts after the first "/./".
        let marker = bytes.windows(3).position(|window| window == b"/./");
        let (mut before, mut names) = (Vec::new(), Vec::new());
        let mut offset = 0;
        for component in bytes.split(|byte| *byte == b'/') {
            let kept = marker.is_none_or(|marker| offset > marker);
            offset += component.len() + 1;
            match component {
                b"" | b"." => {}
                b".." => return Err(LayoutError::DotDot { path: shown(bytes) }),
                name if name.len() > 255 || name.contains(&0) => {
                    return Err(LayoutError::Name { path: shown(bytes) });
                }
                name if kept => names.push(name.to_vec()),
                name => before.push(name.to_vec()),
            }
        }
        if !relative {
            let last = names.pop();
            before.append(&mut names);
            names.extend(last);
        }
        let start = if absolute { Path::new("/") } else { current_dir };
        Ok(Self {
            before: before.iter().fold(start.to_owned(), |path, name| join(&path, name)),
            names,
        })
    }

    /// The absolute source path up to and including the first `depth` names.
    fn path(&self, depth: usize) -> PathBuf {
        self.names[..depth].iter().fold(self.before.clone(), |path, name| join(&path, name))
    }
}

fn join(path: &Path, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    path.join(std::ffi::OsStr::from_bytes(name))
}

impl LayoutNode {
    /// Inserts `place` below this node; `rest` are the names that remain at this depth.
    fn insert(&mut self, place: &ParsedPath, rest: &[Vec<u8>]) -> Result<(), LayoutError> {
        let depth = place.names.len() - rest.len();
        let here = place.path(depth);
        let Some((name, rest)) = rest.split_first() else {
            return self.become_root(here, place);
        };
        // Folders above two roots may differ (`/a/./d/x`, `/b/./d/y`). The first one provides the
        // attributes, as in rsync. The folder of a root itself must be the same.
        if self.root && self.path.as_ref() != Some(&here) {
            return Err(clash(self.path.as_deref(), &place.path(place.names.len()), place));
        }
        if depth > 0 && self.path.is_none() {
            self.path = Some(here);
        }
        self.below
            .entry(name.clone())
            .or_insert_with(|| Self { path: None, root: false, below: BTreeMap::new() })
            .insert(place, rest)
    }

    fn become_root(&mut self, here: PathBuf, place: &ParsedPath) -> Result<(), LayoutError> {
        let same = self.path.as_ref().is_none_or(|path| *path == here);
        if !same || self.below.iter().any(|(name, node)| !node.lies_in(&join(&here, name))) {
            let other =
                self.path.clone().or_else(|| self.below.values().find_map(|n| n.path.clone()));
            return Err(clash(other.as_deref(), &here, place));
        }
        self.path = Some(here);
        self.root = true;
        Ok(())
    }

    /// Whether this node and all nodes below it come from `path`.
    fn lies_in(&self, path: &Path) -> bool {
        self.path.as_deref() == Some(path)
            && self.below.iter().all(|(name, node)| node.lies_in(&join(path, name)))
    }

    fn collect_roots(&self, inside: &mut Vec<u8>, roots: &mut Vec<(PathBuf, Vec<u8>)>) {
        if let (true, Some(path)) = (self.root, &self.path) {
            roots.push((path.clone(), inside.clone()));
        }
        for (name, node) in &self.below {
            let length = inside.len();
            if length > 0 {
                inside.push(b'/');
            }
            inside.extend_from_slice(name);
            node.collect_roots(inside, roots);
            inside.truncate(length);
        }
    }
}

fn clash(first: Option<&Path>, second: &Path, place: &ParsedPath) -> LayoutError {
    use std::os::unix::ffi::OsStrExt;
    let show = |path: &Path| shown(path.as_os_str().as_bytes());
    let mut stored = String::new();
    for name in &place.names {
        let _ = write!(stored, "/{}", shown(name));
    }
    LayoutError::Clash {
        first: first.map(show).unwrap_or_default(),
        second: show(second),
        place: stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(paths: &[&str], relative: bool) -> Result<Vec<(String, String)>, Vec<LayoutError>> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let layout = Layout::new(&paths, relative, Path::new("/cwd"))?;
        let text =
            |(path, inside): &(PathBuf, Vec<u8>)| (path.display().to_string(), shown(inside));
        Ok(layout.roots().iter().map(text).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn full_paths_lie_inside() {
        assert_eq!(
            layout(&["/home/u/", "/etc"], true).unwrap(),
            pairs(&[("/etc", "etc"), ("/home/u", "home/u")])
        );
    }

    #[test]
    fn the_marker_cuts_what_stands_before_it() {
        assert_eq!(
            layout(&["/home/./u/docs"], true).unwrap(),
            pairs(&[("/home/u/docs", "u/docs")])
        );
        assert_eq!(layout(&["/home/u/./"], true).unwrap(), pairs(&[("/home/u", "")]));
    }

    #[test]
    fn relative_paths_start_in_the_current_folder() {
        assert_eq!(layout(&["./a/b"], true).unwrap(), pairs(&[("/cwd/a/b", "a/b")]));
    }

    #[test]
    fn the_flat_layout_keeps_the_last_name() {
        assert_eq!(
            layout(&["/home/u", "/srv/w"], false).unwrap(),
            pairs(&[("/home/u", "u"), ("/srv/w", "w")])
        );
        assert!(matches!(
            layout(&["/home/data", "/srv/data"], false).unwrap_err()[..],
            [LayoutError::Clash { .. }]
        ));
    }

    #[test]
    fn a_root_inside_a_root_and_the_same_root_twice_are_fine() {
        assert_eq!(
            layout(&["/home", "/home/u", "/home"], true).unwrap(),
            pairs(&[("/home", "home"), ("/home/u", "home/u")])
        );
        assert_eq!(
            layout(&["/home/u", "/home"], true).unwrap(),
            pairs(&[("/home", "home"), ("/home/u", "home/u")])
        );
        assert_eq!(layout(&["/", "/home"], true).unwrap(), pairs(&[("/", ""), ("/home", "home")]));
    }

    #[test]
    fn two_sources_never_share_a_place() {
        for paths in [["/a/./x", "/b/./x"], ["/a/./x", "/b/./x/y"], ["/b/./x/y", "/a/./x"]] {
            assert!(
                matches!(layout(&paths, true).unwrap_err()[..], [LayoutError::Clash { .. }]),
                "{paths:?}"
            );
        }
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        assert_eq!(
            layout(&["", "/a/../b", &format!("/{}", "x".repeat(256))], true).unwrap_err().len(),
            3
        );
        assert_eq!(layout(&[], true).unwrap_err(), vec![LayoutError::Empty]);
    }
}

//! Decides where restored paths go: below a target folder, or to their original locations. Pure.

use std::collections::BTreeMap;
use std::ffi::CString;

use crate::entry::escape::shown;
use crate::entry::{c_name, check_name};
use crate::repository::source_path::SourceRoots;
use crate::restore::request::{RequestedPath, names};

/// The entries to restore, and the folders in which the snapshot is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landing {
    /// The entries to restore.
    pub items: Vec<RequestedPath>,
    /// Paths inside the snapshot. At and below them, `--delete` may remove what the snapshot does not contain.
    pub whole: Vec<Vec<u8>>,
}

/// Why paths cannot be mapped to a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LandingError {
    /// Two paths have the same last name.
    #[error("{first} and {second} would both land as {name}")]
    Clash {
        /// The first path, escaped.
        first: String,
        /// The second path, escaped.
        second: String,
        /// The name, escaped.
        name: String,
    },
    /// The snapshot does not contain the path.
    #[error("{0} is nothing that the snapshot holds")]
    Outside(String),
    /// The path of a source root contains a symlink that other users control. The restore does not follow it.
    #[error("{0}")]
    Link(crate::fs::dir::resolve::UntrustedLink),
    /// A source root cannot be opened.
    #[error("{path}: {why}")]
    Root {
        /// The root, escaped.
        path: String,
        /// The system's reason.
        why: String,
    },
    /// Another folder now has the path of a source root.
    #[error(
        "{path} is not the folder that was backed up: another inode or file system has its place"
    )]
    Replaced {
        /// The root, escaped.
        path: String,
    },
    /// No report records the original locations.
    #[error("nothing says which folders were backed up here")]
    NoRoots,
}

/// Maps the whole snapshot in its own layout, or each of `paths` (of the source) to its last name.
///
/// # Errors
/// Two paths have the same last name.
pub fn below_a_folder(paths: &[Vec<u8>], roots: &SourceRoots) -> Result<Landing, LandingError> {
    if paths.is_empty() {
        let whole = roots.pairs().iter().map(|(_, inside)| inside.clone()).collect();
        return Ok(Landing {
            items: vec![RequestedPath { inside: Vec::new(), to: Vec::new() }],
            whole,
        });
    }
    let mut landing = Landing::default();
    let mut taken: BTreeMap<CString, &Vec<u8>> = BTreeMap::new();
    for path in paths {
        let to = last_name(path)?;
        if let Some(name) = to.first()
            && let Some(first) = taken.insert(name.clone(), path)
        {
            if roots.inside(first) == roots.inside(path) {
                continue;
            }
            let name = shown(name.to_bytes());
            return Err(LandingError::Clash { first: shown(first), second: shown(path), name });
        }
        landing.whole.extend(held_whole(path, roots));
        landing.items.push(RequestedPath { inside: roots.inside(path), to });
    }
    Ok(landing)
}

/// Resolves the real path of a source root, or returns why the restore does not write there.
pub(crate) type Resolve<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, LandingError> + 'a;

/// The paths inside the snapshot, at or below `path` (of the source), from which on the snapshot is complete.
/// Of the parent folders of source roots the snapshot contains only the path to the roots. Each root is listed
/// by itself, because it can be on its own file system.
fn held_whole(path: &[u8], roots: &SourceRoots) -> Vec<Vec<u8>> {
    let known = || roots.pairs().iter();
    let mut whole: Vec<_> =
        known().filter(|(root, _)| starts(root, path)).map(|(_, inside)| inside.clone()).collect();
    if roots.pairs().is_empty() || known().any(|(root, _)| starts(path, root)) {
        whole.push(roots.inside(path));
    }
    whole
}

/// Maps everything, or each of `paths` (of the source), to its original location. `resolve` returns the real
/// path of a source root. It follows symlinks that no other user can have made. The restore follows no symlink
/// below that path.
///
/// # Errors
/// The original locations are unknown.
pub fn in_place(
    paths: &[Vec<u8>],
    roots: &SourceRoots,
    resolve: &Resolve<'_>,
) -> Result<Landing, LandingError> {
    let mut wanted: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if paths.is_empty() {
        wanted.extend(roots.pairs().iter().map(|(root, _)| (root.clone(), root.clone())));
        if wanted.is_empty() {
            return Err(LandingError::NoRoots);
        }
    }
    for path in paths {
        let known = roots.pairs().iter().map(|(root, _)| root);
        let above = known.clone().filter(|root| starts(path, root)).max_by_key(|root| root.len());
        let below: Vec<_> = known.filter(|root| starts(root, path)).collect();
        match (above, &below[..]) {
            (Some(root), _) => wanted.push((path.clone(), root.clone())),
            (None, []) if roots.pairs().is_empty() => wanted.push((path.clone(), path.clone())),
            (None, []) => return Err(LandingError::Outside(shown(path))),
            (None, below) => {
                wanted.extend(below.iter().map(|root| ((*root).clone(), (*root).clone())));
            }
        }
    }
    // A path below another requested path is restored with it.
    let all = wanted.clone();
    wanted.retain(|(path, _)| !all.iter().any(|(other, _)| other != path && starts(path, other)));
    wanted.sort();
    wanted.dedup();
    let mut landing = Landing::default();
    for (path, root) in wanted {
        let inside = roots.inside(&path);
        let rest = &names(&path)[names(&root).len()..];
        let real = resolve(&root)?;
        let to = names(&real).into_iter().chain(rest.iter().copied());
        let to = to.map(checked).collect::<Option<_>>();
        let to = to.ok_or_else(|| LandingError::Outside(shown(&path)))?;
        landing.whole.extend(held_whole(&path, roots));
        landing.items.push(RequestedPath { inside, to });
    }
    Ok(landing)
}

/// The last name of a path, as a path of one name; empty for `/`.
fn last_name(path: &[u8]) -> Result<Vec<CString>, LandingError> {
    match names(path).last() {
        None => Ok(Vec::new()),
        Some(name) => {
            checked(name).map(|name| vec![name]).ok_or_else(|| LandingError::Outside(shown(path)))
        }
    }
}

fn checked(name: &[u8]) -> Option<CString> {
    check_name(name).ok()?;
    c_name(name).ok()
}

fn starts(path: &[u8], with: &[u8]) -> bool {
    names(path).starts_with(&names(with))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::snapshot::layout::Layout;

    fn roots(paths: &[&str], relative: bool) -> SourceRoots {
        let paths: Vec<_> = paths.iter().map(Into::into).collect();
        SourceRoots::of_layout(&Layout::new(&paths, relative, Path::new("/cwd")).unwrap())
    }

    fn shown_items(landing: Result<Landing, LandingError>) -> Vec<String> {
        let text = |item: &RequestedPath| {
            let to: Vec<_> = item.to.iter().map(|name| shown(name.to_bytes())).collect();
            format!("{} -> {}", shown(&item.inside), to.join("/"))
        };
        landing.unwrap().items.iter().map(text).collect()
    }

    fn bytes(paths: &[&str]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    #[test]
    fn below_a_folder_each_path_keeps_its_last_name() {
        let home = roots(&["/home/u", "/etc"], true);
        let land = |paths: &[&str]| below_a_folder(&bytes(paths), &home);
        assert_eq!(shown_items(land(&[])), [" -> "]);
        assert_eq!(land(&[]).unwrap().whole, bytes(&["etc", "home/u"]));
        assert_eq!(
            shown_items(land(&["/home/u/docs/", "/etc/passwd"])),
            ["home/u/docs -> docs", "etc/passwd -> passwd"]
        );
        assert_eq!(shown_items(land(&["/etc", "/etc/"])), ["etc -> etc"]);
        assert_eq!(shown_items(land(&["/"])), [" -> "]);
        assert!(matches!(land(&["/home/u/x", "/etc/x"]), Err(LandingError::Clash { .. })));
        let flat = roots(&["/srv/web"], false);
        assert_eq!(shown_items(below_a_folder(&bytes(&["/srv/web"]), &flat)), ["web -> web"]);
        let marked = roots(&["/srv/web/./"], true);
        assert_eq!(shown_items(below_a_folder(&bytes(&["/srv/web"]), &marked)), [" -> web"]);
    }

    #[test]
    fn in_place_everything_goes_where_it_came_from() {
        let resolve = |path: &[u8]| match path.strip_prefix(b"/home") {
            Some(rest) => Ok([b"/data/home", rest].concat()),
            None => Ok(path.to_vec()),
        };
        let home = roots(&["/home/./u", "/etc"], true);
        let land = |paths: &[&str], roots: &SourceRoots| in_place(&bytes(paths), roots, &resolve);
        for (paths, items) in [
            (&[][..], &["etc -> etc", "u -> data/home/u"][..]),
            (&["/home/u/docs"], &["u/docs -> data/home/u/docs"]),
            (&["/home"], &["u -> data/home/u"]),
            (&["/etc", "/etc/passwd"], &["etc -> etc"]),
        ] {
            assert_eq!(shown_items(land(paths, &home)), items, "{paths:?}");
        }
        assert_eq!(land(&["/srv"], &home).unwrap_err(), LandingError::Outside("/srv".to_owned()));
        assert!(land(&["/etc/../x"], &home).is_err());
        assert_eq!(land(&[], &SourceRoots::default()).unwrap_err(), LandingError::NoRoots);
        assert_eq!(shown_items(land(&["/srv/x"], &SourceRoots::default())), ["srv/x -> srv/x"]);
    }
}

//! Finds entries by pattern in many snapshots. Writes nothing. Memory grows with the number of
//! matches.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fast_glob::glob_match;

use crate::entry::Kind;
use crate::entry::tree_path::TreePath;
use crate::error::LookError;
use crate::fs::container::without_prefix;
use crate::fs::dir::Dir;
use crate::fs::traverse::{Visitor, explore};
use crate::repository::Repository;
use crate::repository::source_path::SourceRoots;
use crate::snapshot::name::SnapshotName;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// A search pattern: `*` and `?` (one byte) within a name, `**` across folders, `[a-z]`,
/// `{one,other}`. It matches bytes, not characters. An entry whose name equals the pattern text
/// also matches, because names may contain brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    glob: Vec<u8>,
    /// The pattern text without trailing slashes.
    literal: Vec<u8>,
    /// Whether it is matched against whole paths of the source, rather than names.
    path: bool,
    any_case: bool,
}

impl NamePattern {
    /// A pattern with a slash is matched against the path on the source, any other against the
    /// name. Unless it starts with a slash, it may match from any folder on.
    #[must_use]
    pub fn new(text: &[u8], any_case: bool) -> Self {
        let path = text.contains(&b'/');
        let mut literal = text.to_vec();
        while literal.len() > 1 && literal.ends_with(b"/") {
            literal.pop();
        }
        if any_case {
            literal.make_ascii_lowercase();
        }
        let anywhere: &[u8] = if path && !text.starts_with(b"/") { b"/**/" } else { b"" };
        Self { glob: [anywhere, &literal].concat(), literal, path, any_case }
    }

    /// The pattern that only the path `path` of the source matches.
    #[must_use]
    pub fn exact(path: &[u8]) -> Self {
        Self { glob: Vec::new(), literal: path.to_vec(), path: true, any_case: false }
    }

    /// Whether `text` contains wildcard characters.
    #[must_use]
    pub fn is_glob(text: &[u8]) -> bool {
        text.iter().any(|byte| b"*?[{\\".contains(byte))
    }

    /// Whether the entry `name` in `folder`, a path of the source, matches.
    fn meets(&self, folder: &[u8], name: &[u8]) -> bool {
        let mut whole = Vec::new();
        let subject = if self.path {
            whole.reserve(folder.len() + 1 + name.len());
            whole.extend_from_slice(folder);
            if folder != b"/" {
                whole.push(b'/');
            }
            whole.extend_from_slice(name);
            &whole[..]
        } else {
            name
        };
        if self.any_case {
            self.meets_whole(&subject.to_ascii_lowercase())
        } else {
            self.meets_whole(subject)
        }
    }

    fn meets_whole(&self, subject: &[u8]) -> bool {
        // In a container the machine's `/etc` is `/host_fs/etc`: the pattern may begin with either.
        let of_machine = without_prefix(subject).filter(|_| self.path);
        self.meets_path(subject) || of_machine.is_some_and(|subject| self.meets_path(subject))
    }

    fn meets_path(&self, subject: &[u8]) -> bool {
        let literally = match subject.strip_suffix(&self.literal[..]) {
            Some([]) => true,
            Some(before) => self.path && before.ends_with(b"/") && !self.literal.starts_with(b"/"),
            None => false,
        };
        literally || !self.glob.is_empty() && glob_match(&self.glob, subject)
    }
}

/// Where an entry was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundEntry {
    /// Whether it is a folder, in the last snapshot that contains it.
    pub folder: bool,
    /// The snapshots that contain it, as ascending indices into the given list.
    pub snapshots: Vec<usize>,
}

/// The result of a search, keyed by path on the source.
#[derive(Debug, Clone, Default)]
pub struct Finds {
    /// The matches, sorted by path.
    pub found: BTreeMap<Vec<u8>, FoundEntry>,
    /// Folders that could not be read: escaped path and reason.
    pub unread: Vec<(String, String)>,
    /// Whether there are more matches than were asked for.
    pub cut: bool,
}

/// Searches `snapshots`, each given with its source roots, for `pattern`. Returns at most `most` paths.
///
/// # Errors
/// A snapshot cannot be opened.
pub fn find(
    repository: &Repository,
    snapshots: &[(SnapshotName, SourceRoots)],
    pattern: &NamePattern,
    most: usize,
) -> Result<Finds, LookError> {
    let mut finds = Finds::default();
    for (number, (name, roots)) in snapshots.iter().enumerate() {
        let room = AtomicUsize::new(most - finds.found.len());
        let known = &finds.found;
        let cut = AtomicBool::new(false);
        let seeker = FindWalk { name, roots, pattern, known, room, cut, state: Mutex::default() };
        explore(&repository.top(name)?, &TreePath::top(None), workers(), &seeker);
        finds.cut |= seeker.cut.into_inner();
        let state = unpoisoned(seeker.state.into_inner());
        for (path, folder) in state.found {
            let found = finds.found.entry(path).or_default();
            found.folder = folder;
            if found.snapshots.last() != Some(&number) {
                found.snapshots.push(number);
            }
        }
        finds.unread.extend(state.unread);
    }
    Ok(finds)
}

#[derive(Default)]
struct Seen {
    found: Vec<(Vec<u8>, bool)>,
    unread: Vec<(String, String)>,
}

/// Searches one snapshot.
struct FindWalk<'a> {
    name: &'a SnapshotName,
    roots: &'a SourceRoots,
    pattern: &'a NamePattern,
    /// The paths that the snapshots before have.
    known: &'a BTreeMap<Vec<u8>, FoundEntry>,
    /// The number of further paths that are kept.
    room: AtomicUsize,
    /// Whether there was one more.
    cut: AtomicBool,
    state: Mutex<Seen>,
}

impl FindWalk<'_> {
    /// Whether there is room for `path`.
    fn keeps(&self, path: &[u8]) -> bool {
        let one_less = |room: usize| room.checked_sub(1);
        let keeps = self.known.contains_key(path)
            || self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if !keeps {
            self.cut.store(true, Ordering::Relaxed);
        }
        keeps
    }
}

impl Visitor for FindWalk<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        let inside = place.inside();
        let here = if self.pattern.path { self.roots.source(&inside) } else { Vec::new() };
        let mut found = Vec::new();
        let listed = dir.names(|entry| {
            let name = entry.name.to_bytes();
            if entry.folder {
                enter(entry.name);
            }
            if self.pattern.meets(&here, name) {
                let path = self.roots.source(&[&inside[..], b"/", name].concat());
                if self.keeps(&path) {
                    let folder = entry.folder
                        || dir.stat(entry.name).is_ok_and(|meta| meta.kind == Kind::Folder);
                    found.push((path, folder));
                }
            }
            ControlFlow::Continue(())
        });
        lock(&self.state).found.extend(found);
        listed
    }

    fn failed(&self, place: &Arc<TreePath>, error: io::Error) {
        let path = format!("{}/{}", self.name, crate::entry::escape::shown(&place.inside()));
        let mut state = lock(&self.state);
        state.unread.push((path, error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_about_names_or_about_paths() {
        for (pattern, folder, name, meets) in [
            ("x.txt", "/home", &b"x.txt"[..], true),
            ("x.txt", "/home", b"y.txt", false),
            ("*.txt", "/home", b".hidden.txt", true),
            ("*.txt", "/home", b"odd \xff.txt", true),
            ("*", "/home", b"a\nb", true),
            ("?", "/", b"x", true),
            ("/etc/pass*", "/host_fs/etc", b"passwd", true),
            ("/host_fs/etc/pass*", "/host_fs/etc", b"passwd", true),
            ("/etc/pass*", "/host_fs2/etc", b"passwd", false),
            ("host_fs", "/", b"host_fs", true),
            // `?` matches one byte, not one character.
            ("?", "/", "ä".as_bytes(), false),
            ("??", "/", "ä".as_bytes(), true),
            ("*ä*", "/", "xäx".as_bytes(), true),
            ("[ab]*", "/", b"bc", true),
            ("{one,two}", "/", b"two", true),
            ("\\*", "/", b"*", true),
            ("\\*", "/", b"x", false),
            ("/home/*.txt", "/home", b"x.txt", true),
            ("/home/*.txt", "/home/u", b"x.txt", false),
            ("/home/**/*.txt", "/home/u/v", b"x.txt", true),
            ("/home/**", "/home/u/v", b"x", true),
            ("/home/", "/", b"home", true),
            ("u/*.txt", "/home/u", b"x.txt", true),
            ("u/*.txt", "/u", b"x.txt", true),
            ("u/*.txt", "/home/xu", b"x.txt", false),
            // The literal text matches too.
            ("clip [id].mp4", "/", b"clip [id].mp4", true),
            ("clip [id].mp4", "/", b"clip i.mp4", true),
            ("clip [id].mp4", "/", b"a clip [id].mp4", false),
            ("{a}\\*", "/", b"{a}\\*", true),
            ("/u [1]/x", "/u [1]", b"x", true),
            ("/u [1]/", "/", b"u [1]", true),
            ("u [1]/x", "/home/u [1]", b"x", true),
            ("u [1]/x", "/home/xu [1]", b"x", false),
        ] {
            let asked = NamePattern::new(pattern.as_bytes(), false);
            assert_eq!(asked.meets(folder.as_bytes(), name), meets, "{pattern} {folder} {name:?}");
        }
        assert!(NamePattern::exact(b"/a[b]*").meets(b"/", b"a[b]*"));
        assert!(!NamePattern::exact(b"/a[b]*").meets(b"/", b"abc"));
        assert!(NamePattern::new(b"*.TXT", true).meets(b"/", b"a.Txt"));
        assert!(NamePattern::new(b"A [ID]", true).meets(b"/", b"a [Id]"));
    }
}

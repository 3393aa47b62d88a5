//! Compiled patterns: which part of a path each is matched against.

use crate::filter::steps::Steps;
use crate::filter::wildmatch;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The pattern without a leading `/` (anchor) and a trailing `/` (folders only).
    text: Vec<u8>,
    against: PathPart,
    wild: bool,
    folders_only: bool,
    /// The pattern ends in `***`: a folder is matched with its trailing slash.
    with_content: bool,
}

/// The part of a path that a pattern must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathPart {
    /// The last component.
    Name,
    /// The whole path.
    Whole,
    /// The whole path with a leading slash, so that a leading `**/` also matches at the top.
    WholeWithSlash,
    /// This many components at the end of the path.
    Last(usize),
    /// Any trailing run of components.
    Rest,
}

/// A path to match: `/a/b`, with a trailing slash for a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    bytes: &'a [u8],
    folder: bool,
    steps: &'a Steps,
}

impl<'a> Subject<'a> {
    /// `bytes` starts with a slash; the path of a folder also ends in one.
    pub(crate) fn new(bytes: &'a [u8], folder: bool, steps: &'a Steps) -> Self {
        Self { bytes, folder, steps }
    }

    /// Whether the entry has used up its match steps.
    pub(crate) fn is_spent(self) -> bool {
        self.steps.spent()
    }

    fn path(self) -> &'a [u8] {
        &self.bytes[1..self.end()]
    }

    fn end(self) -> usize {
        self.bytes.len() - usize::from(self.folder)
    }

    /// The same path relative to the folder `anchor` (`/a`; empty for the top). `None` when it is
    /// not below it.
    pub(crate) fn below(self, anchor: &[u8]) -> Option<Self> {
        let rest = self.bytes.strip_prefix(anchor)?;
        let inside = rest.first() == Some(&b'/') && rest.len() > 1 + usize::from(self.folder);
        inside.then_some(Self { bytes: rest, ..self })
    }
}

impl Pattern {
    /// Compiles `text`. An `absolute` pattern is matched against the full path on the source.
    pub(crate) fn new(text: &[u8], absolute: bool) -> Self {
        let (text, folders_only) = match text {
            [rest @ .., b'/'] if !rest.is_empty() => (rest, true),
            text => (text, false),
        };
        let wild = text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let double = wild && text.windows(2).any(|two| two == b"**");
        let slashes = text.iter().filter(|byte| **byte == b'/').count();
        let (against, text) = match text {
            text if slashes == 0 && !double => (PathPart::Name, text),
            [b'/', rest @ ..] => (PathPart::Whole, rest),
            text if text.starts_with(b"**") && !absolute => (PathPart::WholeWithSlash, text),
            text if text.starts_with(b"**") => (PathPart::Whole, text),
            text if double => (PathPart::Rest, text),
            text => (PathPart::Last(slashes + 1), text),
        };
        let with_content = wild && text.ends_with(b"***");
        Self { text: text.to_owned(), against, wild, folders_only, with_content }
    }

    /// Whether it begins with a slash.
    pub(crate) fn is_anchored(text: &[u8]) -> bool {
        text.first() == Some(&b'/')
    }

    pub(crate) fn matches(&self, subject: Subject<'_>) -> bool {
        if self.folders_only && !subject.folder {
            return false;
        }
        let Subject { bytes, folder, steps } = subject;
        let end = if folder && self.with_content { bytes.len() } else { subject.end() };
        let whole = &bytes[..end];
        let path = subject.path();
        match self.against {
            PathPart::Name => {
                let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                self.is(&whole[1 + name..], steps)
            }
            PathPart::Whole => self.is(&whole[1..], steps),
            PathPart::WholeWithSlash => self.is(whole, steps),
            PathPart::Last(count) => {
                let mut slashes =
                    (0..subject.end()).rev().filter(|at| bytes[*at] == b'/').skip(count - 1);
                slashes.next().is_some_and(|at| self.is(&whole[at + 1..], steps))
            }
            PathPart::Rest => {
                let mut starts = (0..whole.len()).filter(|at| whole[*at] == b'/');
                starts.any(|at| self.is(&whole[at + 1..], steps))
            }
        }
    }

    fn is(&self, text: &[u8], steps: &Steps) -> bool {
        if self.wild { wildmatch::matches(&self.text, text, steps) } else { self.text == text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = format!("/{path}");
        let steps = Steps::new();
        let subject = Subject::new(path.as_bytes(), path.ends_with('/'), &steps);
        Pattern::new(pattern.as_bytes(), false).matches(subject)
    }

    #[test]
    fn a_pattern_is_matched_against_this_part_of_a_path() {
        for (pattern, path, expected) in [
            ("foo", "a/foo", true),
            ("foo", "foo/a", false),
            ("a/foo", "b/a/foo", true),
            ("a/foo", "ba/foo", false),
            ("/foo", "a/foo", false),
            ("/foo", "foo", true),
            ("foo/", "foo", false),
            ("foo/", "foo/", true),
            ("**/foo", "foo", true),
            ("a/**/foo", "x/a/b/c/foo", true),
            ("foo/***", "foo/", true),
            ("foo/***", "foo", false),
            ("foo/***", "x/foo/y", true),
            ("*/foo", "a/b/foo", true),
            ("/*/foo", "a/b/foo", false),
            ("a\\b", "a\\b", true),
            ("a\\b*", "a\\b", false),
            ("a\\b*", "abc", true),
            ("/", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn below_an_anchor() {
        let steps = Steps::new();
        let subject = Subject::new(b"/a/b/c", false, &steps);
        let below = |anchor: &[u8]| subject.below(anchor).map(|subject| subject.path().to_vec());
        assert_eq!(below(b"/a"), Some(b"b/c".to_vec()));
        assert_eq!(below(b""), Some(b"a/b/c".to_vec()));
        assert_eq!(below(b"/a/b/c"), None);
        assert_eq!(below(b"/a/"), None);
        assert_eq!(below(b"/b"), None);
    }
}

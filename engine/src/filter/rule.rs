//! Rules as values: what each decides about a path, and where it was written.

use std::fmt;
use std::sync::Arc;

use crate::entry::escape::Shown;
use crate::filter::pattern::{Pattern, Subject};

/// Where a rule was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The option as given, or the path of a file, as text for people.
    pub place: Arc<str>,
    /// The line of the file, starting at 1.
    pub line: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        match self.line {
            Some(line) => write!(f, ", line {line}"),
            None => Ok(()),
        }
    }
}

/// A rule as it was written, to explain a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenRule {
    /// The text of the rule.
    pub text: Vec<u8>,
    /// Where it was written.
    pub origin: Origin,
}

impl fmt::Display for WrittenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ({})", Shown(&self.text), self.origin)
    }
}

/// A rule that includes or excludes the paths that its pattern matches.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) include: bool,
    /// `!`: the rule applies to paths that the pattern does not match.
    pub(crate) negated: bool,
    /// Whether the rule concerns the sending side. A rule that only protects files at the receiver
    /// does not.
    pub(crate) hides: bool,
    /// `x`: the rule concerns names of extended attributes.
    pub(crate) attributes: bool,
    pub(crate) frame: MatchedPath,
    pub(crate) pattern: Pattern,
    pub(crate) reason: WrittenRule,
}

/// Which path of an entry a pattern is matched against.
#[derive(Debug, Clone)]
pub(crate) enum MatchedPath {
    /// Its path inside the snapshot.
    Transfer,
    /// `/`: its full path on the source.
    Source,
    /// Its path below the folder whose rule file contains the rule. The value is that folder's path
    /// on the source, empty for `/`.
    Below(Arc<[u8]>),
}

/// The paths of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths<'a> {
    pub(crate) inside: Subject<'a>,
    pub(crate) source: Subject<'a>,
}

impl Rule {
    pub(crate) fn holds_for(&self, paths: Paths<'_>) -> bool {
        let subject = match &self.frame {
            MatchedPath::Transfer => Some(paths.inside),
            MatchedPath::Source => Some(paths.source),
            MatchedPath::Below(anchor) => paths.source.below(anchor),
        };
        let matched = subject.is_some_and(|subject| self.pattern.matches(subject));
        matched != self.negated && !paths.source.is_spent()
    }
}

/// An element of a list of rules.
#[derive(Debug, Clone)]
pub(crate) enum ListElement {
    Rule(Arc<Rule>),
    /// Placeholder for the rules that each folder's own rule file adds.
    PerFolder(Arc<PerFolder>),
    /// The rules of CVS.
    Cvs(Arc<[ListElement]>),
}

/// `dir-merge`: each folder may hold a file with rules for itself and the folders below.
#[derive(Debug)]
pub(crate) struct PerFolder {
    /// The file name, a single component.
    pub(crate) name: Vec<u8>,
    /// The folder, possibly relative, at which the search above the transfer starts.
    pub(crate) scan_from: Option<Vec<u8>>,
    pub(crate) reading: Reading,
}

/// How the text of a rule file is parsed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) syntax: Syntax,
    /// `w`: white space separates rules.
    pub(crate) words: bool,
    /// `n`: folders below do not inherit the rules.
    pub(crate) own_only: bool,
    /// `/`, for each rule in the file.
    pub(crate) absolute: bool,
    /// `s` and `r`, for each rule in the file.
    pub(crate) sides: Sides,
}

/// The syntax of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `RULE,MODIFIERS PATTERN`.
    #[default]
    Full,
    /// A pattern, or `- PATTERN`, `+ PATTERN`, `!`: the options `--exclude`, `--include`,
    /// `--exclude-from` and `--include-from`.
    Old { include: bool },
    /// Patterns only.
    Patterns { include: bool },
    /// Patterns to exclude, and `!`.
    Cvs,
}

/// The sides that a rule applies to; neither set means both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) sender: bool,
    pub(crate) receiver: bool,
}

impl Sides {
    pub(crate) fn any(self) -> bool {
        self.sender || self.receiver
    }

    /// Whether the rule concerns the sending side.
    pub(crate) fn hides(self) -> bool {
        self.sender || !self.receiver
    }
}

/// The first bytes of a valid `CACHEDIR.TAG` (bford.info/cachedir).
pub(crate) const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

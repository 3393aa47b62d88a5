//! Rules as values: what each says of a path, and where it was written.

use std::fmt;
use std::sync::Arc;

use crate::entry::escape::Shown;
use crate::filter::pattern::{Pattern, Subject};

/// Where a rule was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// An option as it was given, or the path of a file, as text for people.
    pub place: Arc<str>,
    /// The line of the file, from 1 on.
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

/// A rule as it was written, for telling why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The rule's own text.
    pub text: Vec<u8>,
    /// Where it stands.
    pub origin: Origin,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ({})", Shown(&self.text), self.origin)
    }
}

/// What is matched by a pattern is in or out.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) include: bool,
    /// `!`: it holds for what the pattern does not match.
    pub(crate) negated: bool,
    /// Whether it says something of what is read; a rule for what a receiver deletes does not.
    pub(crate) hides: bool,
    /// `x`: it is about names of extended attributes.
    pub(crate) attributes: bool,
    pub(crate) frame: Frame,
    pub(crate) pattern: Pattern,
    pub(crate) reason: Reason,
}

/// Which path of an entry a pattern is held against.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    /// Its path inside the snapshot.
    Transfer,
    /// `/`: its full path on the source.
    Source,
    /// Its path below the folder whose rule file has the rule: that folder's path on the source, empty for `/`.
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
            Frame::Transfer => Some(paths.inside),
            Frame::Source => Some(paths.source),
            Frame::Below(anchor) => paths.source.below(anchor),
        };
        let matched = subject.is_some_and(|subject| self.pattern.matches(subject));
        matched != self.negated && !paths.source.is_spent()
    }
}

/// Something in a list of rules.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Rule(Arc<Rule>),
    /// The rules that a folder's own rule files bring stand here.
    PerFolder(Arc<PerFolder>),
    /// The rules of CVS.
    Cvs(Arc<[Item]>),
}

/// `dir-merge`: each folder may hold a file with rules for itself and what is below.
#[derive(Debug)]
pub(crate) struct PerFolder {
    /// The file's name, a single component.
    pub(crate) name: Vec<u8>,
    /// From which folder on the folders above the transfer are looked at too; may be relative to it.
    pub(crate) scan_from: Option<Vec<u8>>,
    pub(crate) reading: Reading,
}

/// How a file of rules is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) syntax: Syntax,
    /// `w`: rules are separated by white space.
    pub(crate) words: bool,
    /// `n`: folders below do not inherit them.
    pub(crate) own_only: bool,
    /// `/`, for each rule in it.
    pub(crate) absolute: bool,
    /// `s` and `r`, for each rule in it.
    pub(crate) sides: Sides,
}

/// How a rule is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `RULE,MODIFIERS PATTERN`.
    #[default]
    Full,
    /// A pattern, or `- PATTERN`, `+ PATTERN`, `!`: the options `--exclude`, `--include` and `--…-from`.
    Old { include: bool },
    /// Nothing but patterns.
    Patterns { include: bool },
    /// Patterns to exclude, and `!`.
    Cvs,
}

/// Which sides a rule is for; neither stands for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) sender: bool,
    pub(crate) receiver: bool,
}

impl Sides {
    pub(crate) fn any(self) -> bool {
        self.sender || self.receiver
    }

    /// Whether it says something of what is read.
    pub(crate) fn hides(self) -> bool {
        self.sender || !self.receiver
    }
}

/// How the file begins that marks a cache (bford.info/cachedir).
pub(crate) const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

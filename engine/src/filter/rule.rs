//! Rules as values: what each says of a path, and where it was written.

use std::fmt;
use std::sync::Arc;

use super::pattern::{Pattern, Subject};
use crate::bytes::Shown;

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
pub(super) struct Rule {
    pub(super) include: bool,
    /// `!`: it holds for what the pattern does not match.
    pub(super) negated: bool,
    /// Whether it says something of what is read; a rule for what a receiver deletes does not.
    pub(super) hides: bool,
    /// `x`: it is about names of extended attributes.
    pub(super) attributes: bool,
    pub(super) frame: Frame,
    pub(super) pattern: Pattern,
    pub(super) reason: Reason,
}

/// Which path of an entry a pattern is held against.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// Its path inside the snapshot.
    Transfer,
    /// `/`: its full path on the source.
    Source,
    /// Its path below the folder whose rule file has the rule: that folder's path on the source, empty for `/`.
    Below(Arc<[u8]>),
}

/// The paths of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths<'a> {
    pub(super) inside: Subject<'a>,
    pub(super) source: Subject<'a>,
}

impl Rule {
    pub(super) fn holds_for(&self, paths: Paths<'_>) -> bool {
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
pub(super) enum Item {
    Rule(Arc<Rule>),
    /// The rules that a folder's own rule files bring stand here.
    PerFolder(Arc<PerFolder>),
    /// The rules of CVS.
    Cvs(Arc<[Item]>),
}

/// `dir-merge`: each folder may hold a file with rules for itself and what is below.
#[derive(Debug)]
pub(super) struct PerFolder {
    /// The file's name, a single component.
    pub(super) name: Vec<u8>,
    /// From which folder on the folders above the transfer are looked at too; may be relative to it.
    pub(super) scan_from: Option<Vec<u8>>,
    pub(super) reading: Reading,
}

/// How a file of rules is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) syntax: Syntax,
    /// `w`: rules are separated by white space.
    pub(super) words: bool,
    /// `n`: folders below do not inherit them.
    pub(super) own_only: bool,
    /// `/`, for each rule in it.
    pub(super) absolute: bool,
    /// `s` and `r`, for each rule in it.
    pub(super) sides: Sides,
}

/// How a rule is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Syntax {
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
pub(super) struct Sides {
    pub(super) sender: bool,
    pub(super) receiver: bool,
}

impl Sides {
    pub(super) fn any(self) -> bool {
        self.sender || self.receiver
    }

    /// Whether it says something of what is read.
    pub(super) fn hides(self) -> bool {
        self.sender || !self.receiver
    }
}

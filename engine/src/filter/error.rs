//! What can be wrong with a rule.

use std::io;

use crate::entry::escape::Shown;
use crate::filter::rule::Origin;

/// A rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {}{fault}", quoted(rule))]
pub struct FilterError {
    /// Where it was written.
    pub origin: Origin,
    /// As it was written; empty when it is not about a single rule.
    pub rule: Vec<u8>,
    /// What is wrong.
    pub fault: Fault,
}

impl FilterError {
    /// The rule in quotes and a colon, when it is about one.
    #[must_use]
    pub fn rule_shown(&self) -> String {
        quoted(&self.rule)
    }
}

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is nothing that it could match.
    #[error("the rule has no pattern; write one behind it, for example '- *.tmp'")]
    NoPattern,
    /// It begins with no rule's name.
    #[error("it is no filter rule; begin it with '+ ', '- ' or another rule of rsync(1)")]
    UnknownRule,
    /// A letter that this kind of rule does not take.
    #[error("the rule takes no modifier '{}'", Shown(&[*.0]))]
    UnknownModifier(u8),
    /// Something stands behind `!`.
    #[error("nothing may stand behind '!'")]
    ClearWithMore,
    /// Something stands behind `-C`.
    #[error("nothing may stand behind the modifier 'C'")]
    CvsWithName,
    /// The file's rules are for one side already.
    #[error("its file was read for one side only, so that the rule must not name sides")]
    SidesTwice,
    /// A file of rules cannot be read.
    #[error("cannot read it: {0}; write the path of a readable file of rules")]
    Unreadable(io::Error),
    /// What should be a name is none.
    #[error("write the name of a file, without '/'")]
    NotAName,
    /// A folder's rule file cannot be read.
    #[error("{0}; none of its rules is used")]
    Unused(String),
    /// A folder's rule file names a file that does not lie beside it.
    #[error("it names a file that does not lie beside it")]
    NotBeside,
    /// Files of rules that name one another without end.
    #[error("the files of rules are nested more than {0} deep")]
    TooDeep(usize),
    /// A file of rules names itself, or one that is read at that point.
    #[error("it names a file that names this one: a circle")]
    Cycle,
    /// The rules of a folder with what they name are more than is read.
    #[error("there are more {0} than one folder may have; what it would leave out is kept")]
    TooMuch(&'static str),
}

impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.to_string() == other.to_string()
    }
}

impl Eq for Fault {}

fn quoted(rule: &[u8]) -> String {
    if rule.is_empty() { String::new() } else { format!("'{}': ", Shown(rule)) }
}

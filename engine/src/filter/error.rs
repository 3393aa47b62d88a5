//! Errors in filter rules.

use std::io;

use crate::entry::escape::Shown;
use crate::filter::rule::Origin;

/// A filter rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {}{fault}", quoted(rule))]
pub struct FilterError {
    /// Where the rule was written.
    pub origin: Origin,
    /// The text of the rule; empty when the error concerns a whole file.
    pub rule: Vec<u8>,
    /// What is wrong with it.
    pub fault: RuleError,
}

impl FilterError {
    /// The rule in quotes, followed by a colon; empty when the error concerns a whole file.
    #[must_use]
    pub fn rule_shown(&self) -> String {
        quoted(&self.rule)
    }
}

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The rule has no pattern.
    #[error("the rule has no pattern; write one behind it, for example '- *.tmp'")]
    NoPattern,
    /// The text starts with no known rule name.
    #[error("it is no filter rule; begin it with '+ ', '- ' or another rule of rsync(1)")]
    UnknownRule,
    /// A modifier that this kind of rule does not accept.
    #[error("the rule takes no modifier '{}'", Shown(&[*.0]))]
    UnknownModifier(u8),
    /// Text follows `!`.
    #[error("nothing may follow '!'")]
    ClearWithMore,
    /// Text follows the modifier `C`.
    #[error("nothing may follow the modifier 'C'")]
    CvsWithName,
    /// The rule names a side, but its file was merged for one side only.
    #[error("its file is merged for one side only, so the rule must not name a side")]
    SidesTwice,
    /// A file of rules cannot be read.
    #[error("cannot read the file of rules: {0}; give the path of a readable file")]
    Unreadable(io::Error),
    /// The argument is not a single file name.
    #[error("give the name of a file, without '/'")]
    NotAName,
    /// A folder's rule file cannot be read.
    #[error("{0}; none of its rules is used")]
    Unused(String),
    /// The rule file of a folder merges a file outside that folder.
    #[error("it merges a file that is not in the same folder")]
    NotBeside,
    /// Files of rules merge one another beyond the depth limit.
    #[error("the files of rules are nested more than {0} deep")]
    TooDeep(usize),
    /// A file of rules merges itself, directly or through others.
    #[error("the files of rules merge each other in a cycle")]
    Cycle,
    /// The rules of a folder, merged files included, exceed a limit.
    #[error("there are more {0} than one folder may have; what they would exclude is kept")]
    TooMuch(&'static str),
}

impl PartialEq for RuleError {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.to_string() == other.to_string()
    }
}

impl Eq for RuleError {}

fn quoted(rule: &[u8]) -> String {
    if rule.is_empty() { String::new() } else { format!("'{}': ", Shown(rule)) }
}

//! Decides what of a source is left out: rsync's filter rules, and folders marked as not worth keeping.
//!
//! Pure: rules, paths and the texts of rule files in, verdicts out. By rsync(1), FILTER RULES; where the
//! manual page is silent, by what rsync 3.5.0 does. A run always deletes what the source does not show
//! (`--delete --delete-excluded`), so that rules for the receiving side alone (`P`, `R`, `r`) say nothing
//! here, and neither does `p`.

mod budget;
mod fault;
mod options;
mod pattern;
mod read;
mod rule;
mod scope;
mod syntax;
mod wild;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

pub use fault::{Fault, FilterError};
pub use options::{FilterOption, Outside};
pub use rule::{Origin, Reason};
pub use scope::{Entered, Judging, Scope, Text, Texts, Verdict};

use budget::Steps;
use pattern::Subject;
use rule::{Item, Paths};

/// The longest file of rules in a source that is read, bytes; with all files that it names, too.
pub const LONGEST_RULE_FILE: u64 = 256 << 10;

/// How the file begins that marks a cache (bford.info/cachedir).
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// All rules of a job.
#[derive(Debug)]
pub struct Filters {
    items: Vec<Item>,
    tags: Vec<Tag>,
    /// `--from0`, for the rule files of folders.
    nul: bool,
    cvs: Arc<[Item]>,
    /// Bytes that the rules of folders take now.
    held: Arc<AtomicUsize>,
    given: Option<Given>,
}

/// What rules were read from: for reading them again.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) options: Vec<FilterOption>,
    /// The files that the options name, with their content.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) cvs_home: Option<Vec<u8>>,
    pub(crate) cvs_variable: Option<Vec<u8>>,
}

/// A file that marks the folder it lies in: nothing else of it is kept.
#[derive(Debug)]
struct Tag {
    name: Vec<u8>,
    signature: Option<&'static [u8]>,
    reason: Reason,
}

impl Filters {
    /// No rules: everything is in.
    #[must_use]
    pub fn none() -> Self {
        Self {
            items: Vec::new(),
            tags: Vec::new(),
            nul: false,
            cvs: Arc::from([]),
            held: Arc::default(),
            given: Some(Given::default()),
        }
    }

    /// What they were read from, unless that is very long.
    pub(crate) fn given(&self) -> Option<&Given> {
        self.given.as_ref()
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.tags.is_empty()
    }

    /// Whether folders may hold rules of their own, or tags.
    #[must_use]
    pub fn has_rule_files(&self) -> bool {
        let per_folder = |item: &Item| matches!(item, Item::PerFolder(_));
        !self.tags.is_empty() || self.items.iter().any(per_folder)
    }

    /// Whether the extended attribute `name` is kept (rules with the modifier `x`).
    #[must_use]
    pub fn keeps_attribute(&self, name: &[u8]) -> bool {
        let path: Vec<u8> = [b"/", name].concat();
        let steps = Steps::new();
        let subject = Subject::new(&path, false, &steps);
        let paths = Paths { inside: subject, source: subject };
        let rules = self.items.iter().filter_map(|item| match item {
            Item::Rule(rule) if rule.attributes && rule.hides => Some(rule),
            _ => None,
        });
        let mut rules = rules.filter(|rule| rule.holds_for(paths));
        rules.next().is_none_or(|rule| rule.include)
    }

    /// The folders above a transfer that hold rules for it: where to begin, and which names.
    fn scans(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.items.iter().filter_map(|item| match item {
            Item::PerFolder(merge) => Some((merge.scan_from.as_deref()?, &merge.name[..])),
            _ => None,
        })
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self::none()
    }
}

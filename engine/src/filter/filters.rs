//! The filter rules of a job, in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::filter::pattern::Subject;
use crate::filter::rule::{ListElement, Paths, WrittenRule};
use crate::filter::steps::Steps;

/// A filter option, as the user gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterOption {
    /// `--exclude=PATTERN`
    Exclude(Vec<u8>),
    /// `--include=PATTERN`
    Include(Vec<u8>),
    /// `--filter=RULE`, `-f`
    Rule(Vec<u8>),
    /// `--exclude-from=FILE`; `-` is standard input.
    ExcludeFrom(PathBuf),
    /// `--include-from=FILE`; `-` is standard input.
    IncludeFrom(PathBuf),
    /// `-F`; given twice it also excludes the rule files themselves.
    RuleFiles,
    /// `-C`, `--cvs-exclude`
    Cvs,
    /// `--from0`, `-0`; it applies to the files that are named after it.
    Nul,
    /// `--exclude-caches`: a folder with a valid `CACHEDIR.TAG` keeps only that file.
    Caches,
    /// `--exclude-if-present=NAME`: a folder with an entry of this name keeps only that entry.
    IfPresent(Vec<u8>),
}

/// All rules of a job.
#[derive(Debug)]
pub struct Filters {
    pub(crate) items: Vec<ListElement>,
    pub(crate) tags: Vec<Tag>,
    /// `--from0` applies to the rule files of folders.
    pub(crate) nul: bool,
    pub(crate) cvs: Arc<[ListElement]>,
    /// Bytes that the rules of all folders occupy now.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) given: Option<FilterInput>,
}

/// The input that the rules were read from, so that a later run can read them again.
#[derive(Debug, Default)]
pub(crate) struct FilterInput {
    pub(crate) options: Vec<FilterOption>,
    /// The files that the options name, with their content.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) cvs_home: Option<Vec<u8>>,
    pub(crate) cvs_variable: Option<Vec<u8>>,
}

/// A file that marks its folder: the folder keeps nothing else.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) name: Vec<u8>,
    pub(crate) signature: Option<&'static [u8]>,
    pub(crate) reason: WrittenRule,
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
            given: Some(FilterInput::default()),
        }
    }

    /// The input that the rules were read from; `None` when it is longer than 256 KiB.
    pub(crate) fn given(&self) -> Option<&FilterInput> {
        self.given.as_ref()
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.tags.is_empty()
    }

    /// Whether rule files or tags inside folders can have an effect.
    #[must_use]
    pub fn has_rule_files(&self) -> bool {
        let per_folder = |item: &ListElement| matches!(item, ListElement::PerFolder(_));
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
            ListElement::Rule(rule) if rule.attributes && rule.hides => Some(rule),
            _ => None,
        });
        let mut rules = rules.filter(|rule| rule.holds_for(paths));
        rules.next().is_none_or(|rule| rule.include)
    }

    /// The folders above the transfer whose rule files apply to it: the folder to start at, and the
    /// file name.
    pub(crate) fn scans(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.items.iter().filter_map(|item| match item {
            ListElement::PerFolder(merge) => Some((merge.scan_from.as_deref()?, &merge.name[..])),
            _ => None,
        })
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self::none()
    }
}

//! Limits on rule files. The owner of a source folder writes them, and the user who runs the backup
//! reads them, so their size cannot be trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::filter::rule::{ListElement, Rule};

/// Upper bound of the memory, in bytes, that the rules of all folders in progress occupy together.
const MOST_HELD: usize = 32 << 20;

/// What one reader may still read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Bytes of rule text. A file that is merged twice counts twice.
    pub(crate) bytes: usize,
    /// Number of rules.
    pub(crate) rules: usize,
    /// Number of files merged by other files.
    pub(crate) files: usize,
    /// Number of distinct rule file names (`dir-merge`).
    pub(crate) names: usize,
    /// Number of errors after which the reader stops.
    pub(crate) mistakes: usize,
}

impl Budget {
    /// Limits for the options and files that the user names on the command line or in the
    /// configuration.
    pub(crate) const OWN: Self =
        Self { bytes: 64 << 20, rules: 1 << 20, files: 10_000, names: 1_000, mistakes: 1_000 };
    /// Limits for the rule file of a folder, including the files it merges and the rules it
    /// inherits.
    pub(crate) const FOLDER: Self = Self {
        bytes: crate::filter::budget::LONGEST_RULE_FILE as usize,
        rules: 10_000,
        files: 100,
        names: 100,
        mistakes: 10,
    };
}

/// The rules in force in a folder. Their memory is counted until the value is dropped.
#[derive(Debug, Default)]
pub(crate) struct FolderRules {
    pub(crate) items: Vec<ListElement>,
    counted: Option<(Arc<AtomicUsize>, usize)>,
}

impl FolderRules {
    /// Joins a folder's `own` rules and the rules from `above`, own rules first. `None` when all
    /// folders together would exceed [`MOST_HELD`].
    pub(crate) fn new(
        own: Vec<ListElement>,
        above: &[ListElement],
        all: &Arc<AtomicUsize>,
    ) -> Option<Self> {
        let size = |item: &ListElement| match item {
            ListElement::Rule(rule) => size_of::<Rule>() + 2 * rule.reason.text.len() + 64,
            ListElement::PerFolder(merge) => 128 + merge.name.len(),
            ListElement::Cvs(_) => 0,
        };
        let items = (own.len() + above.len()) * size_of::<ListElement>();
        let bytes = items + own.iter().map(size).sum::<usize>();
        let counted = Some((Arc::clone(all), bytes));
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        let mut held = Self { items: own, counted };
        if before + bytes > MOST_HELD {
            return None;
        }
        held.items.extend_from_slice(above);
        Some(held)
    }
}

impl Drop for FolderRules {
    fn drop(&mut self) {
        if let Some((all, bytes)) = &self.counted {
            all.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

/// Upper bound of the bytes read for the rule files of one folder, merged files included.
pub(crate) const LONGEST_RULE_FILE: u64 = 256 << 10;

//! How much rule files may take: they are written by whoever owns a folder of a source, and read by whoever backs it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::filter::rule::{Item, Rule};

/// Bytes that the rules of all folders in progress may take.
const MOST_HELD: usize = 32 << 20;

/// What the rules of one reader may still take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Bytes of text, of a file that is named twice twice.
    pub(crate) bytes: usize,
    /// Rules.
    pub(crate) rules: usize,
    /// Files that other files name.
    pub(crate) files: usize,
    /// Names of rule files of folders.
    pub(crate) names: usize,
    /// Mistakes, after which nothing more is read.
    pub(crate) mistakes: usize,
}

impl Budget {
    /// For what the user gives himself.
    pub(crate) const OWN: Self =
        Self { bytes: 64 << 20, rules: 1 << 20, files: 10_000, names: 1_000, mistakes: 1_000 };
    /// For the rule file of a folder with all that it names, and what is inherited.
    pub(crate) const FOLDER: Self = Self {
        bytes: crate::filter::budget::LONGEST_RULE_FILE as usize,
        rules: 10_000,
        files: 100,
        names: 100,
        mistakes: 10,
    };
}

/// Rules of a folder, counted as long as they are held.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) items: Vec<Item>,
    counted: Option<(Arc<AtomicUsize>, usize)>,
}

impl Held {
    /// Counts `own` rules with those that they come before; `None` when that is too much beside what is held.
    pub(crate) fn new(own: Vec<Item>, above: &[Item], all: &Arc<AtomicUsize>) -> Option<Self> {
        let size = |item: &Item| match item {
            Item::Rule(rule) => size_of::<Rule>() + 2 * rule.reason.text.len() + 64,
            Item::PerFolder(merge) => 128 + merge.name.len(),
            Item::Cvs(_) => 0,
        };
        let items = (own.len() + above.len()) * size_of::<Item>();
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

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((all, bytes)) = &self.counted {
            all.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

/// The longest file of rules in a source that is read, bytes; with all files that it names, too.
pub(crate) const LONGEST_RULE_FILE: u64 = 256 << 10;

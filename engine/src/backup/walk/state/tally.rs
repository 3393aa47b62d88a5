//! Counts what a walk sees and does, one batch at a time.

use std::sync::Mutex;

use crate::backup::plan::Verdict;
use crate::entry::{Kind, Meta};
use crate::repository::records::report::Counts;
use crate::threads::lock::lock;

/// Counts of a run and of each area: a source root, or a mount point below one.
pub(crate) struct Tally {
    state: Mutex<State>,
}

struct State {
    counts: Counts,
    roots: Vec<RootCounts>,
}

/// Counts of one area: the files (every entry that is not a folder), and the bytes of the regular files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RootCounts {
    pub(crate) now: u64,
    pub(crate) before: u64,
    pub(crate) bytes: u64,
    /// Files of the base that the filters leave out now.
    pub(crate) left_out: u64,
}

impl std::ops::AddAssign for RootCounts {
    fn add_assign(&mut self, more: Self) {
        let Self { now, before, bytes, left_out } = more;
        self.now += now;
        self.before += before;
        self.bytes += bytes;
        self.left_out += left_out;
    }
}

/// The counts that one batch adds.
#[derive(Debug, Default)]
pub(crate) struct Batched {
    pub(crate) counts: Counts,
    pub(crate) root: RootCounts,
}

impl Batched {
    /// Counts an entry of the source.
    pub(crate) fn entry(&mut self, meta: &Meta, verdict: Verdict) {
        let counts = &mut self.counts;
        counts.entries += 1;
        match meta.kind {
            Kind::Folder => counts.folders += 1,
            Kind::File => {
                counts.files += 1;
                counts.bytes += meta.size;
                self.root.bytes += meta.size;
            }
            _ => {}
        }
        if meta.kind != Kind::Folder {
            self.root.now += 1;
        }
        *counts.of(verdict) += 1;
    }
}

impl Counts {
    fn of(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::New => &mut self.new,
            Verdict::Changed => &mut self.changed,
            Verdict::Metadata => &mut self.metadata,
            Verdict::Same => &mut self.unchanged,
        }
    }

    /// Moves one entry from the count of `planned` to that of `found`.
    pub(crate) fn turn(&mut self, planned: Verdict, found: Verdict) {
        let counted = self.of(planned);
        *counted = counted.saturating_sub(1);
        *self.of(found) += 1;
    }
}

impl Tally {
    pub(crate) fn new(roots: usize) -> Self {
        let roots = vec![RootCounts::default(); roots];
        Self { state: Mutex::new(State { counts: Counts::default(), roots }) }
    }

    /// Changes the counts of the run.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.state).counts);
    }

    /// Adds the counts of a batch to those of the run and of the area `root`.
    pub(crate) fn add(&self, batched: &Batched, root: Option<usize>) {
        let mut state = lock(&self.state);
        state.counts += batched.counts;
        if let Some(root) = root.and_then(|root| state.roots.get_mut(root)) {
            *root += batched.root;
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        lock(&self.state).counts
    }

    /// Adds an area with separate counts, and returns its number.
    pub(crate) fn add_area(&self) -> usize {
        let mut state = lock(&self.state);
        state.roots.push(RootCounts::default());
        state.roots.len() - 1
    }

    /// The counts of each area: first the source roots, then the mount points below them.
    pub(crate) fn areas(&self) -> Vec<RootCounts> {
        lock(&self.state).roots.clone()
    }
}

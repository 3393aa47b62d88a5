//! Chooses the files and symlinks of a snapshot that a drill restores: each by its rank, which depends on its path and
//! the seed only.

use std::collections::BinaryHeap;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::entry::Kind;
use crate::entry::tree_path::TreePath;
use crate::fs::dir::Dir;
use crate::fs::traverse::{Visitor, explore};
use crate::source::Selection;
use crate::threads::lock::{lock, unpoisoned};
use crate::threads::work_queue::workers;

/// The largest number of entries in a sample.
const MOST: usize = 50_000;

/// An entry of the snapshot with its rank: the lowest ranks are in the sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    rank: u64,
    /// The path inside the snapshot.
    pub(crate) path: Vec<u8>,
    /// The size of a file; 0 for a symlink.
    pub(crate) size: u64,
}

/// The entries to restore, sorted by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub(crate) entries: Vec<Candidate>,
    pub(crate) bytes: u64,
    /// Files that were chosen and have no room in the limit of bytes.
    pub(crate) too_large: u64,
    /// Folders that could not be read: path and reason.
    pub(crate) unread: Vec<(Vec<u8>, String)>,
}

impl Sample {
    /// What a copy needs to have of the snapshot.
    #[must_use]
    pub fn selection(&self) -> Selection {
        let mut selection = Selection::default();
        self.entries.iter().for_each(|one| selection.add_path(&one.path));
        selection
    }
}

/// The rank of a path: any number, and for each seed another one.
fn rank(path: &[u8], seed: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(path);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

/// The rank below which a `share` of all paths are; `share` is between 0 and 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of 2^64, which is exact enough and saturates"
)]
fn limit(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

/// Takes `chosen` in the order of their ranks while their sizes fit into `most_bytes`. When none fits, the smallest one
/// is taken.
fn within(mut chosen: Vec<Candidate>, most_bytes: u64) -> Sample {
    chosen.sort();
    let smallest = chosen.iter().min_by_key(|one| one.size).cloned();
    let mut sample = Sample::default();
    for one in chosen {
        match sample.bytes.checked_add(one.size).filter(|sum| *sum <= most_bytes) {
            Some(sum) => {
                sample.bytes = sum;
                sample.entries.push(one);
            }
            None => sample.too_large += 1,
        }
    }
    if sample.entries.is_empty()
        && let Some(one) = smallest
    {
        sample.bytes = one.size;
        sample.too_large -= 1;
        sample.entries.push(one);
    }
    sample.entries.sort_by(|one, other| one.path.cmp(&other.path));
    sample
}

/// Chooses a `share` of the files and symlinks below `top`, at least one if there is one, and `most_bytes` in all.
/// `stop` ends the search early.
pub(crate) fn choose(
    top: &Dir,
    (share, seed): (f64, u64),
    most_bytes: u64,
    stop: &(dyn Fn() -> bool + Sync),
) -> Sample {
    let search = Search {
        seed,
        limit: limit(share),
        stop,
        lowest: AtomicU64::new(u64::MAX),
        found: Mutex::default(),
    };
    explore(top, &TreePath::top(None), workers(), &search);
    let Found { chosen, lowest, unread } = unpoisoned(search.found.into_inner());
    let chosen = if chosen.is_empty() { lowest.into_iter().collect() } else { chosen.into_vec() };
    Sample { unread, ..within(chosen, most_bytes) }
}

#[derive(Default)]
struct Found {
    /// The entries below the limit with the lowest ranks.
    chosen: BinaryHeap<Candidate>,
    /// The entry with the lowest rank of all.
    lowest: Option<Candidate>,
    unread: Vec<(Vec<u8>, String)>,
}

struct Search<'a> {
    seed: u64,
    limit: u64,
    stop: &'a (dyn Fn() -> bool + Sync),
    /// The rank of `Found::lowest`.
    lowest: AtomicU64,
    found: Mutex<Found>,
}

impl Visitor for Search<'_> {
    fn folder(
        &self,
        place: &Arc<TreePath>,
        dir: &Dir,
        enter: &mut dyn FnMut(&CStr),
    ) -> io::Result<()> {
        let mut unknown = Vec::new();
        dir.names(|entry| {
            if entry.folder {
                enter(entry.name);
                return ControlFlow::Continue(());
            }
            let path = place.inside_of(entry.name);
            let rank = rank(&path, self.seed);
            if !entry.file || rank <= self.limit || rank < self.lowest.load(Ordering::Relaxed) {
                unknown.push((entry.name.to_owned(), path, rank));
            }
            ControlFlow::Continue(())
        })?;
        for (name, path, rank) in unknown {
            let Some(meta) = dir.find(&name)? else { continue };
            match meta.kind {
                Kind::Folder => enter(&name),
                Kind::File => self.see(Candidate { rank, path, size: meta.size }),
                Kind::Symlink => self.see(Candidate { rank, path, size: 0 }),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed(&self, place: &Arc<TreePath>, error: io::Error) {
        lock(&self.found).unread.push((place.inside(), error.to_string()));
    }

    fn enough(&self) -> bool {
        (self.stop)()
    }
}

impl Search<'_> {
    fn see(&self, one: Candidate) {
        let mut found = lock(&self.found);
        if found.lowest.as_ref().is_none_or(|lowest| one < *lowest) {
            self.lowest.store(one.rank, Ordering::Relaxed);
            found.lowest = Some(one.clone());
        }
        if one.rank <= self.limit {
            found.chosen.push(one);
            if found.chosen.len() > MOST {
                found.chosen.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rank: u64, path: &str, size: u64) -> Candidate {
        Candidate { rank, path: path.into(), size }
    }

    fn paths(sample: &Sample) -> Vec<&str> {
        sample.entries.iter().map(|one| std::str::from_utf8(&one.path).unwrap()).collect()
    }

    #[test]
    fn the_lowest_ranks_that_fit_are_taken() {
        let chosen = || vec![one(3, "c", 5), one(1, "b", 5), one(2, "a", 50), one(4, "d", 1)];
        let sample = within(chosen(), 11);
        assert_eq!((paths(&sample), sample.bytes, sample.too_large), (vec!["b", "c", "d"], 11, 1));
        let sample = within(chosen(), 10);
        assert_eq!((paths(&sample), sample.bytes, sample.too_large), (vec!["b", "c"], 10, 2));
        let sample = within(vec![one(1, "a", 50), one(2, "b", 40)], 10);
        assert_eq!((paths(&sample), sample.bytes, sample.too_large), (vec!["b"], 40, 1));
        assert_eq!(within(Vec::new(), 10), Sample::default());
    }

    #[test]
    fn a_sample_has_the_share_and_another_seed_chooses_others() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..1000 {
            let below = folder.path().join(format!("{}", number % 10));
            std::fs::create_dir_all(&below).unwrap();
            std::fs::write(below.join(number.to_string()), "x").unwrap();
        }
        let top = Dir::at(folder.path()).unwrap();
        let choose = |share, seed| choose(&top, (share, seed), u64::MAX, &|| false).entries;
        let tenth = choose(0.1, 1);
        assert!((50..150).contains(&tenth.len()), "{}", tenth.len());
        assert_eq!(tenth, choose(0.1, 1));
        assert_ne!(tenth, choose(0.1, 2));
        assert_eq!(choose(1.0, 3).len(), 1000);
        assert_eq!(choose(0.000_000_1, 3).len(), 1, "at least one");
    }
}

//! Judges whether a source root lost so many files that it is more likely broken than tidied.

use crate::error::RunError;
use crate::job::Job;
use crate::report::RootFound;
use crate::source::Source;
use crate::tally::RootCounts;
use crate::walk::{RootSeen, Target, Walk};

/// Below this many files in the base nothing is a collapse: small folders are emptied on purpose.
const FEW: u64 = 20;

/// Whether a root that had `before` files and has `now` lost more than `percent` of them.
pub(crate) fn collapsed(before: u64, now: u64, percent: f64) -> bool {
    let lost = before.saturating_sub(now);
    before >= FEW && (lost as f64) * 100.0 > (before as f64) * percent
}

/// Why a walk's result must not be sealed: a root that collapsed, or more deletions than are allowed.
pub(crate) fn refusal<S: Source, T: Target<S>>(job: &Job, walk: &Walk<S, T>) -> Option<RunError> {
    let (percent, deleted) = (job.max_shrink_percent, walk.tally.counts().deleted);
    if let Some(most) = job.max_delete.filter(|most| deleted > *most) {
        return Some(RunError::Deletions { deleted, most });
    }
    walk.roots().into_iter().zip(walk.tally.roots()).find_map(|(root, counts)| {
        let (before, now) = (counts.before, counts.now);
        collapsed(before, now, percent).then_some(RunError::Collapse {
            path: root.path,
            before,
            now,
            percent,
        })
    })
}

pub(crate) fn roots_found<S: Source, T: Target<S>>(walk: &Walk<S, T>) -> Vec<RootFound> {
    let found = |(root, counts): (RootSeen, RootCounts)| RootFound {
        path: crate::event::shown_path(&root.path),
        inside: crate::bytes::shown(&root.inside),
        files: counts.now,
        files_before: counts.before,
        file_system: root.file_system,
        inode: root.inode,
        bytes: Some(counts.bytes),
        mounts: Vec::new(),
    };
    walk.roots().into_iter().zip(walk.tally.roots()).map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_collapses_when_more_than_the_limit_is_lost() {
        for (before, now, percent, expected) in [
            (19, 0, 90.0, false),
            (20, 0, 90.0, true),
            (20, 2, 90.0, false),
            (20, 1, 90.0, true),
            (100, 10, 90.0, false),
            (100, 9, 90.0, true),
            (100, 200, 90.0, false),
            (100, 0, 100.0, false),
            (100, 99, 0.0, true),
            (100, 100, 0.0, false),
        ] {
            assert_eq!(collapsed(before, now, percent), expected, "{before} {now} {percent}");
        }
    }
}

//! Decides whether a source root lost so many files that a fault is more likely than a deliberate deletion.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::backup::brake::compare_heads::is_random_in;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::{MountSeen, RootSeen};
use crate::backup::walk::state::tally::RootCounts;
use crate::error::RunError;
use crate::job::Job;
use crate::repository::records::report::{MountFound, RootFound};
use crate::source::Source;

/// The smallest number of files in the base for which a loss is a collapse. Users empty smaller folders on purpose.
const FEW: u64 = 20;

/// Whether a root with `before` files in the base and `now` files in the source lost more than `percent` of them.
pub(crate) fn collapsed(before: u64, now: u64, percent: f64) -> bool {
    let lost = before.saturating_sub(now);
    before >= FEW && (lost as f64) * 100.0 > (before as f64) * percent
}

/// Why the run must not seal the result of a walk: more deletions than allowed, a root or mount point that seems
/// not to be mounted, or a root that collapsed.
pub(crate) fn refusal<S: Source>(job: &Job, walk: &WalkState<S>) -> Option<RunError> {
    let (percent, deleted) = (job.max_shrink_percent, walk.tally.counts().deleted);
    if let Some(most) = job.max_delete.filter(|most| deleted > *most) {
        return Some(RunError::Deletions { deleted, most });
    }
    lost(walk).or_else(|| {
        roots(walk).into_iter().find_map(|(root, counts, _)| {
            let (before, now) = (counts.before, counts.now);
            collapsed(before, now, percent).then_some(RunError::Collapse {
                path: root.path,
                before,
                now,
                percent,
            })
        })
    })
}

/// The number of files, and the bytes of the regular files among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FilesAndBytes {
    files: u64,
    bytes: u64,
}

/// Whether more than half of the files or of the bytes are gone.
fn lost_most(before: FilesAndBytes, now: FilesAndBytes) -> bool {
    let most = |before: u64, now: u64| before.saturating_sub(now) > before / 2;
    most(before.files, now.files) || most(before.bytes, now.bytes)
}

/// Finds a source root, or a mount point below one, that is on another file system than in the base and lost more
/// than half of its files or bytes. Also finds a mount point whose folder is gone. It counts as not mounted.
fn lost<S: Source>(walk: &WalkState<S>) -> Option<RunError> {
    let other = |before: Option<&String>, now: Option<&String>| matches!((before, now), (Some(before), Some(now)) if before != now);
    let error = |path: PathBuf, before: FilesAndBytes, now: FilesAndBytes| {
        lost_most(before, now).then_some(RunError::Lost {
            path,
            files_before: before.files,
            files: now.files,
            bytes_before: before.bytes,
            bytes: now.bytes,
        })
    };
    let roots = roots(walk);
    let mut lost = roots.iter().filter_map(|(root, counts, _)| {
        let (files, bytes) = root.held_before?;
        let now = FilesAndBytes { files: counts.now, bytes: counts.bytes };
        let before = FilesAndBytes { files, bytes: bytes.unwrap_or(0) };
        let moved = other(root.file_system_before.as_ref(), root.file_system.as_ref());
        moved.then(|| error(root.path.clone(), before, now)).flatten()
    });
    if let Some(error) = lost.next() {
        return Some(error);
    }
    let before = &walk.set.mounts_before;
    let content = |mount: &MountFound| FilesAndBytes { files: mount.files, bytes: mount.bytes };
    let path = |mount: &MountFound| {
        let path = crate::entry::escape::unshown(&mount.path).unwrap_or_default();
        PathBuf::from(std::ffi::OsString::from_vec(path))
    };
    let seen = roots.iter().flat_map(|(.., mounts)| mounts).filter(|(mount, _)| !mount.left_out);
    let mut lost = seen.filter_map(|(mount, counts)| {
        let then = before.get(&mount.inside)?;
        let now = FilesAndBytes { files: counts.now, bytes: counts.bytes };
        let moved = other(then.file_system.as_ref(), mount.file_system.as_ref());
        moved.then(|| error(path(then), content(then), now)).flatten()
    });
    lost.next().or_else(|| {
        let gone = walk.gone_mounts();
        let nothing = FilesAndBytes { files: 0, bytes: 0 };
        gone.iter().find_map(|inside| {
            let then = before.get(inside)?;
            error(path(then), content(then), nothing)
        })
    })
}

/// A source root, the sum of its own counts and those of the mount points below it, and these mount points with
/// their counts.
type CountedRoot = (RootSeen, RootCounts, Vec<(MountSeen, RootCounts)>);

fn roots<S: Source>(walk: &WalkState<S>) -> Vec<CountedRoot> {
    let areas = walk.tally.areas();
    let mut roots: Vec<CountedRoot> = walk
        .roots()
        .into_iter()
        .zip(&areas)
        .map(|(root, counts)| (root, *counts, Vec::new()))
        .collect();
    for (area, mount) in walk.mounts() {
        let counts = areas.get(area).copied().unwrap_or_default();
        if let Some((_, all, mounts)) = roots.get_mut(mount.root) {
            *all += counts;
            mounts.push((mount, counts));
        }
    }
    roots
}

/// The source roots for which the filters now leave out all files that the base holds, or more than `percent` of
/// them. Each comes with the number of files left out.
pub(crate) fn filtered_away<S: Source>(walk: &WalkState<S>, percent: f64) -> Vec<(PathBuf, u64)> {
    let away = |(root, counts, _): CountedRoot| {
        let RootCounts { now, before, left_out, .. } = counts;
        let all = left_out > 0 && before == 0 && now == 0;
        (all || collapsed(before + left_out, before, percent)).then_some((root.path, left_out))
    };
    roots(walk).into_iter().filter_map(away).collect()
}

pub(crate) fn roots_found<S: Source>(walk: &WalkState<S>) -> Vec<RootFound> {
    let mount = |(mount, counts): (MountSeen, RootCounts)| MountFound {
        path: crate::entry::escape::shown(&mount.path),
        inside: crate::entry::escape::shown(&mount.inside),
        file_system: mount.file_system,
        inode: mount.inode,
        left_out: mount.left_out,
        files: counts.now,
        bytes: counts.bytes,
    };
    let has_base = walk.set.base.top.is_some();
    // The areas of the roots come first, in the same order.
    let changes = |number: usize| {
        let below = walk.mounts().into_iter().filter(|(_, mount)| mount.root == number);
        let areas = std::iter::once(number).chain(below.map(|(area, _)| area));
        walk.changes.of(areas, |path| is_random_in(walk.set.base.top.as_ref()?, path))
    };
    let found = |(number, (root, counts, mounts)): (usize, CountedRoot)| RootFound {
        path: crate::entry::escape::shown_path(&root.path),
        inside: crate::entry::escape::shown(&root.inside),
        files: counts.now,
        files_before: counts.before,
        file_system: root.file_system,
        inode: root.inode,
        bytes: Some(counts.bytes),
        mounts: mounts.into_iter().map(mount).collect(),
        changes: has_base.then(|| changes(number)),
    };
    roots(walk).into_iter().enumerate().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_is_more_than_half_of_the_files_or_of_the_bytes() {
        let content = |files, bytes| FilesAndBytes { files, bytes };
        for (before, now, expected) in [
            ((0, 0), (0, 0), false),
            ((1, 0), (0, 0), true),
            ((2, 0), (1, 0), false),
            ((3, 100), (3, 50), false),
            ((3, 100), (3, 49), true),
            ((3, 100), (9, 0), true),
            ((10, 0), (4, 0), true),
            ((10, 10), (20, 20), false),
        ] {
            let (before, now) = (content(before.0, before.1), content(now.0, now.1));
            assert_eq!(lost_most(before, now), expected, "{before:?} {now:?}");
        }
    }

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

//! Compares a copy of a history with the original: the content of each snapshot, and which names share an inode.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::history::History;
use fixtures::judge::Judge;
use fixtures::run::Run;
use fixtures::scan::scan;
use fixtures::stage::{PREFIX, Stage};

/// `backup_manager copy --to TO`.
pub(crate) fn copy(stage: &Stage, to: &Path) -> Run {
    stage.look("copy").arg("--to").arg(to)
}

/// The history in the folder of a copy.
pub(crate) fn history(to: &Path) -> History {
    History::new(to, PREFIX)
}

/// The names of folders.
pub(crate) fn names(folders: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folders.iter().map(name).collect()
}

/// The groups of names that share an inode, over all complete snapshots. A name is that of its snapshot and its path.
pub(crate) fn shared(history: &History) -> BTreeSet<Vec<String>> {
    let mut groups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for snapshot in history.complete() {
        let name = &names(std::slice::from_ref(&snapshot))[0];
        for (path, found) in scan(&snapshot) {
            if !found.is_folder() {
                let path = format!("{name}/{}", path.escape_ascii());
                groups.entry(found.inode).or_default().push(path);
            }
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// The groups of names that share an inode within one snapshot.
fn shared_within(history: &History) -> BTreeSet<Vec<String>> {
    let snapshot = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
    let within = shared(history).into_iter().flat_map(|group| {
        let mut parts: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for name in group {
            parts.entry(snapshot(&name)).or_default().push(name);
        }
        parts.into_values().filter(|part| part.len() > 1)
    });
    within.collect()
}

/// Like [`assert_copied`], but names that share an inode within a snapshot may have a new one: where a new name is reached before those
/// that the snapshot before has, the entry is copied once more.
#[track_caller]
pub(crate) fn assert_copied_with_new_names(stage: &Stage, to: &Path) {
    assert_content(stage, to, Judge::strict());
    assert_eq!(shared_within(&stage.history()), shared_within(&history(to)));
    stage.look("verify").set("backups-dir", to).expect(0);
}

/// Fails the test unless `to` has the snapshots of the stage with the same content, and the same names share inodes.
#[track_caller]
pub(crate) fn assert_copied(stage: &Stage, to: &Path) {
    assert_content(stage, to, Judge::strict());
    let (ours, theirs) = (shared(&stage.history()), shared(&history(to)));
    let differ: Vec<_> = ours.symmetric_difference(&theirs).take(5).collect();
    assert!(differ.is_empty(), "other names share an inode: {differ:#?}");
    let (ours, theirs) = (used(&stage.history()), used(&history(to)));
    assert!(theirs.abs_diff(ours) <= ours / 20 + 64, "{ours} KiB, and the copy takes {theirs}");
    stage.look("verify").set("backups-dir", to).expect(0);
}

/// Fails the test unless `to` has the snapshots of the stage with the same content.
#[track_caller]
pub(crate) fn assert_content(stage: &Stage, to: &Path, judge: Judge) {
    let (ours, theirs) = (stage.history().complete(), history(to).complete());
    assert_eq!(names(&ours), names(&theirs));
    assert!(history(to).incomplete().is_empty() && history(to).deleting().is_empty());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        judge.assert_same(ours, theirs);
    }
}

/// The KiB that the snapshots of a history take.
fn used(history: &History) -> u64 {
    let done = Command::new("du").arg("-sck").args(history.complete()).output();
    let text = String::from_utf8(done.expect("du runs").stdout).expect("du writes text");
    let total = text.lines().last().and_then(|line| line.split_whitespace().next());
    total.and_then(|total| total.parse().ok()).expect("du writes a total")
}

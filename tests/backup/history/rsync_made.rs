//! Histories made by rsync continue: their snapshots serve as base, count for retention, and are
//! never changed.

use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A snapshot made by rsync like in the old script, linked to `base` if given.
fn rsync(stage: &Stage, hours: u64, base: Option<&Path>) -> PathBuf {
    let folder = stage.history().path(&hours_ago(hours), "");
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHx", "--numeric-ids", "--relative", "--delete", "--delete-excluded"]);
    if let Some(base) = base {
        rsync.arg(format!("--link-dest={}", base.display()));
    }
    let done = rsync.arg(&stage.source).arg(&folder).status();
    assert!(done.is_ok_and(|status| status.success()), "rsync");
    folder
}

/// rsync without `-S` filled the holes of files that are linked now.
fn judge() -> Judge {
    Judge::plain().without_holes()
}

fn sample() -> Tree {
    let root_only = need::root().is_ok();
    random_tree(3, Spec { files: 300, folders: 50, largest: 100_000, root_only })
        .file("one", "first")
        .random_file("large", 300_000, 1)
        .symlink("link", "one")
        .hard_link("another name", "one")
}

#[test]
fn files_that_rsync_stored_are_linked_and_not_changed() {
    let stage = Stage::with(BIN, &sample());
    let old = rsync(&stage, 30, None);
    let before = Fingerprint::of(&old);
    stage.run().unset("minimum-time-guard-h").expect(0);
    for name in ["one", "large", "link", "another name"] {
        stage.assert_linked(name);
    }
    let counts = stage.counts();
    assert_eq!((&counts["copied"], &counts["changed"]), (&0.into(), &0.into()), "{counts}");
    stage.assert_newest_is_source(judge());
    assert_untouched(&old, &before);
}

#[test]
fn a_history_by_rsync_goes_on() {
    let stage = Stage::with(BIN, &sample());
    let first = rsync(&stage, 60, None);
    stage.sh("printf changed >>one; chmod 600 large");
    let second = rsync(&stage, 40, Some(&first));
    let before = Fingerprint::of(&second);
    stage.sh("printf again >>one; chmod 640 large");
    stage.run().set("max-backups", "2").expect(0);
    let complete = stage.history().complete();
    assert_eq!(complete.len(), 2, "rsync's count in the history");
    assert_eq!(complete[0], second, "the oldest one went");
    stage.assert_apart("one");
    stage.assert_apart("large");
    stage.assert_linked("link");
    stage.assert_newest_is_source(judge());
    assert_untouched(&second, &before);
    assert_eq!(stage.counts()["copied"], 1, "only what changed is read: {}", stage.counts());
}

#[test]
fn rsyncs_young_snapshot_holds_the_next_run() {
    let stage = Stage::with(BIN, &sample());
    rsync(&stage, 2, None);
    stage.run().unset("minimum-time-guard-h").expect(0);
    assert_eq!(stage.history().complete().len(), 1);
}

#[test]
fn rsyncs_unfinished_folder_is_resumed() {
    let stage = Stage::with(BIN, &sample());
    let old = rsync(&stage, 40, None);
    let half = rsync(&stage, 20, Some(&old));
    let before = Fingerprint::of(&old);
    let mut incomplete = half.clone().into_os_string();
    incomplete.push(".incomplete");
    std::fs::rename(&half, &incomplete).unwrap();
    stage.sh("printf changed >>one; chmod 600 large; chmod 711 'another name'");
    stage.take();
    assert_eq!(stage.history().incomplete().len(), 0);
    stage.assert_newest_is_source(judge());
    assert_untouched(&old, &before);
}

#[test]
fn rsync_can_go_on_from_ours_too() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let ours = stage.history().newest();
    let aged = stage.history().path(&hours_ago(30), "");
    std::fs::rename(ours, &aged).unwrap();
    let before = Fingerprint::of(&aged);
    rsync(&stage, 10, Some(&aged));
    for name in ["one", "large", "link"] {
        stage.assert_linked(name);
    }
    assert_untouched(&aged, &before);
}

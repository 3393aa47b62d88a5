//! `diff`: every kind of difference, between snapshots and against the source, local and remote.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fixtures::history::hours_ago;
use fixtures::need;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new()
        .file("same", "same")
        .file("changed", "one")
        .file("folder/mode", "mode")
        .file("folder/deep/moved", "moved by a person")
        .file("copied and gone", "found by its hash")
        .file("gone", "gone")
        .file("type", "a file")
        .symlink("link", "one")
        .file(b"odd \xff\n", "odd")
}

const CHANGES: &str = "echo two >changed; chmod 600 folder/mode; rm gone type; mkdir type
    touch type/inside; mkdir elsewhere; mv folder/deep/moved elsewhere/here
    cp 'copied and gone' copy; rm 'copied and gone'; ln -sf two link; rm odd*; echo n >new";

/// The differences as lines of kind, path and old path.
fn lines(done: &fixtures::run::Done, stage: &Stage) -> Vec<String> {
    let inside = format!("{}/", stage.source.display());
    let mut lines: Vec<String> = done
        .objects()
        .iter()
        .filter(|object| object["type"] == "difference")
        .map(|object| {
            let text = |key: &str| object[key].as_str().unwrap_or_default().replace(&inside, "");
            let from = if object["from"].is_null() { String::new() } else { text("from") + " -> " };
            format!("{} {from}{}", text("difference"), text("path"))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn every_kind_of_difference_is_found_between_two_snapshots() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh(CHANGES);
    stage.take();
    let diff = || stage.look("diff").arg("latest~1").arg("latest");
    let done = diff().arg("--json").expect(0);
    assert_eq!(
        lines(&done, &stage),
        [
            "added elsewhere/",
            "added new",
            "added type/",
            "added type/inside",
            "changed changed",
            "changed link",
            "metadata folder/mode",
            "removed gone",
            "removed odd \\xff\\x0a",
            "removed type",
            "renamed copied and gone -> copy",
            "renamed folder/deep/moved -> elsewhere/here",
        ]
    );
    let summary = done.objects().pop().unwrap();
    assert_eq!(
        (&summary["renamed"], &summary["changed"], &summary["added"]),
        (&2.into(), &2.into(), &4.into())
    );
    let text = diff().expect(0);
    text.assert_says("metadata       4 B  ")
        .assert_says("/odd \\377\\012/.')\"\n")
        .assert_says("  renamed    2\n");
    assert!(!text.stdout.contains('\x1b'));
    let back = stage.look("diff").arg("latest").arg("oldest").arg("--json").expect(0);
    assert!(lines(&back, &stage).contains(&"added gone".to_owned()));
    stage.look("diff").arg("latest").arg("latest").expect(0).assert_says("differences  none");
}

#[test]
fn a_large_unchanged_history_differs_in_nothing() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.take();
    let done = stage.look("diff").arg("oldest").arg("latest").arg("--json").expect(0);
    assert_eq!(lines(&done, &stage), Vec::<String>::new());
}

#[test]
fn a_snapshot_is_compared_with_the_source_as_it_is_now() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let aged = stage.history().path(&hours_ago(50), "");
    fs::rename(stage.history().newest(), &aged).unwrap();
    stage.sh("echo later >between");
    stage.take();
    stage.sh(CHANGES);
    let diff = |with: &str| {
        let run = stage.look("diff").set("srcs-to-backup", &stage.source).arg(with).arg("--json");
        lines(&run.expect(0), &stage)
    };
    let now = diff("latest");
    assert_eq!(now.iter().filter(|line| line.starts_with("changed ")).count(), 3, "{now:?}");
    assert!(now.contains(&"metadata folder/mode".to_owned()), "{now:?}");
    // A copy has another time and does not count as renamed.
    for line in
        ["renamed folder/deep/moved -> elsewhere/here", "removed copied and gone", "added copy"]
    {
        assert!(now.contains(&line.to_owned()), "{line} in {now:?}");
    }
    let moved = |line: &&String| line.contains("folder/deep/moved");
    assert_eq!(now.iter().filter(moved).count(), 1, "told once: {now:?}");
    assert!(!now.contains(&"added between".to_owned()), "{now:?}");
    assert!(diff("1 day ago").contains(&"added between".to_owned()));
    // Without settings it is the source that the report names.
    let recorded = stage.look("diff").arg("latest").arg("--json").expect(0);
    assert_eq!(lines(&recorded, &stage), diff("latest"));
    let none = stage.beside("none");
    stage.look("diff").set("srcs-to-backup", none).arg("latest").expect(1);
}

#[test]
fn the_files_of_a_folder_that_was_renamed_in_the_source_moved() {
    let tree = Tree::new().file("old/a", "one").file("old/deep/b", "other").file("old/gone", "x");
    let stage = Stage::with(BIN, &tree.file("stays", "stays"));
    stage.take();
    stage.sh("mv old new; rm new/gone; mv stays there");
    let run = stage.look("diff").set("srcs-to-backup", &stage.source).arg("latest").arg("--json");
    let done = run.expect(0);
    assert_eq!(
        lines(&done, &stage),
        [
            "added new/",
            "added new/deep/",
            "removed old/",
            "renamed old/a -> new/a",
            "renamed old/deep/b -> new/deep/b",
            "renamed stays -> there",
        ]
    );
    let summary = done.objects().pop().unwrap();
    assert_eq!((&summary["renamed"], &summary["added"]), (&3.into(), &2.into()));
    // The folders, and the deleted file.
    assert_eq!((&summary["removed"], &summary["bytes_removed"]), (&3.into(), &1.into()));
    assert_eq!(summary["bytes_added"], 0);
}

#[test]
fn a_source_on_another_machine_is_compared_too() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &sample());
    server.reached_by(stage.run()).expect(0);
    stage.sh("echo two >changed; rm gone; touch later; mv same folder/deep/same");
    let look = stage.look("diff").set("srcs-to-backup", &stage.source).arg("latest").arg("--json");
    let done = server.reached_by(look).expect(0);
    assert_eq!(
        lines(&done, &stage),
        ["added later", "changed changed", "removed gone", "renamed same -> folder/deep/same"]
    );
}

#[test]
fn values_in_the_sidecar_count_as_part_of_the_snapshot() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.run_as(1234).expect(0);
    stage.sh("chown 77 same");
    stage.run_as(1234).expect(0);
    let done = stage.look("diff").arg("oldest").arg("latest").arg("--json").expect(0);
    assert_eq!(lines(&done, &stage), ["metadata same"]);
}

#[test]
fn a_tree_deeper_than_a_path_can_be_is_compared_with_few_handles() {
    let stage = Stage::with(BIN, &sample());
    let (deep, beside) = ("d".repeat(90), "e".repeat(90));
    let mut at = open(rustix::fs::CWD, &stage.source);
    for _ in 0..120 {
        for name in [&deep, &beside] {
            rustix::fs::mkdirat(&at, name, rustix::fs::Mode::RWXU).unwrap();
        }
        at = open(&at, deep.as_ref());
    }
    stage.take();
    rustix::fs::mkdirat(&at, "end", rustix::fs::Mode::RWXU).unwrap();
    stage.take();
    let diff = stage.look("diff").limited("-n 400").arg("oldest").arg("latest").arg("--json");
    assert_eq!(lines(&diff.expect(0), &stage).len(), 1);
    let row = stage.look("list").limited("-n 400").arg("--json").expect(0).objects().remove(0);
    assert!(row["entries"].as_u64() > Some(240), "{row}");
}

fn open(dir: impl AsFd, name: &Path) -> OwnedFd {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, rustix::fs::Mode::empty()).expect("open a folder")
}

//! Snapshots that cannot be removed, and marks that protect snapshots: no backup waits for a
//! removal, no mark is lost, and remaining snapshots are reported until they are gone.

use std::fs;
use std::path::Path;
use std::process::Command;

use fixtures::history::hours_ago;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Makes a file or folder immutable, or mutable again.
fn chattr(change: &str, path: &Path) {
    let done = Command::new("chattr").arg(change).arg(path).status();
    assert!(done.is_ok_and(|status| status.success()), "chattr {change} {}", path.display());
}

#[test]
fn a_snapshot_that_cannot_be_removed_keeps_no_new_one_from_being_completed() {
    need!(need::tool("chattr"));
    let disk = need!(LoopFs::ext4(64));
    for inside in ["", "source/folder/file"] {
        let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1"));
        let stage = stage.backups_in(&disk.path().join(format!("backups{}", inside.len())));
        let run = stage.run().set("max-backups", "2");
        run.expect(0);
        run.expect(0);
        let oldest = stage.history().complete()[0].clone();
        let stuck = match inside {
            "" => oldest.clone(),
            _ => stage.inside(&oldest).join("folder/file"),
        };
        chattr("+i", &stuck);
        stage.sh("echo new >folder/new");
        let done = run.expect(3);
        done.assert_says("Operation not permitted").assert_says(&name(&stuck));
        assert!(!done.said().contains(&format!("removed {}", name(&oldest))), "{}", done.said());
        assert!(stage.inside(&stage.history().newest()).join("folder/new").exists());
        let status = run.expect(3).said();
        assert!(status.contains("cannot be removed"), "each run says so: {status}");
        let there = match inside {
            "" => stuck,
            inside => {
                let deleting = stage.history().deleting()[0].clone();
                let below = stage.inside(&deleting);
                below.join(inside.strip_prefix("source/").unwrap_or(inside))
            }
        };
        chattr("-i", &there);
        run.expect(0);
        assert_eq!(stage.history().complete().len(), 2);
        assert!(stage.history().deleting().is_empty());
    }
}

#[test]
fn a_date_removes_no_snapshot_of_another_day() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    stage.take();
    let aged = stage.history().path(&hours_ago(96), "");
    fs::rename(stage.history().newest(), &aged).expect("rename a snapshot");
    stage.take();
    let prune = |what: &str| stage.look("prune").arg(what).arg("--yes").done();
    for other in ["yesterday", "2 days ago"] {
        prune(other).assert_code(2).assert_says("no snapshot was taken at");
    }
    assert_eq!(stage.history().complete().len(), 2);
    let day = &hours_ago(96)[..10];
    prune(&format!("{day} utc")).assert_code(0);
    assert_eq!(stage.history().complete().len(), 1);
    assert!(!aged.exists());
}

#[test]
fn records_that_root_writes_for_another_user_are_read_by_the_runs_of_that_user() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    let run = stage.run_as(4_242).set("max-backups", "2");
    run.expect(0);
    let held = stage.history().newest();
    stage.look("hold").arg(name(&held)).expect(0);
    for _ in 0..3 {
        run.expect(0);
    }
    assert!(held.exists(), "it is held");
    let _ = stage.run().arg("--dry-run").done();
    run.expect(0);
}

#[test]
fn a_hold_that_cannot_be_read_holds() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    let run = stage.run().set("max-backups", "2");
    run.expect(0);
    let held = stage.history().newest();
    let holds = stage.backups.join(".backup_manager/holds");
    fs::write(&holds, "what should be a folder").expect("a file");
    // It may be the hold of a mass change.
    run.expect(3).assert_says("whether it is held cannot be read");
    run.expect(3);
    assert!(held.exists());
    fs::remove_file(holds).expect("it is there");
    run.expect(0);
    assert!(!held.exists());
}

#[test]
fn records_of_a_snapshot_survive_renaming_it_and_back() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    stage.take();
    // The next snapshot gets another second in its name.
    stage.take();
    let snapshot = stage.history().complete()[0].clone();
    stage.look("hold").arg(name(&snapshot)).expect(0);
    let away = stage.backups.join("put away");
    fs::rename(&snapshot, &away).expect("rename a snapshot");
    stage.take();
    fs::rename(&away, &snapshot).expect("rename it back");
    let own = stage.backups.join(".backup_manager");
    assert!(own.join("holds").join(name(&snapshot)).exists(), "its hold");
    assert!(own.join("reports").join(format!("{}.json", name(&snapshot))).exists(), "its report");
}

#[test]
fn nothing_is_linked_onward_of_a_snapshot_whose_mark_of_damage_is_torn() {
    let tree = Tree::new().file("bad", "good content").mtime(1_000_000_000, 0).file("good", "g");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let file = stage.inside(&stage.history().newest()).join("bad");
    fs::write(&file, "rotten bytes").expect("damage it");
    let touched = Command::new("touch").args(["-d", "@1000000000"]).arg(&file).status();
    assert!(touched.is_ok_and(|status| status.success()));
    stage.look("verify").expect(4);
    let marks = stage.backups.join(".backup_manager/damaged").join(name(&stage.history().newest()));
    let text = fs::read(&marks).expect("the mark");
    fs::write(&marks, &text[..text.len() / 2]).expect("tear it");
    stage.run().expect(0).assert_says("cannot be read");
    let copy = stage.inside(&stage.history().newest());
    assert_eq!(fs::read_to_string(copy.join("bad")).expect("it is there"), "good content");
    stage.assert_linked("good");
}

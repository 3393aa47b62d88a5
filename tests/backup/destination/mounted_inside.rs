//! Mounts inside snapshots: a run and a removal change nothing in them, even when the same file
//! system is mounted (`mount --bind`), and say that the mount has to go.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::loop_fs::Mount;
use fixtures::need;
use fixtures::scan::scan;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A folder beside the backups whose content exists nowhere else.
fn precious(stage: &Stage) -> PathBuf {
    let precious = stage.beside("precious");
    // The file in `below` has the name and the size of one in the source.
    Tree::new().file("only", "the only copy").file("below/file", "x").build(&precious);
    stage.sh(&format!("chmod 1777 '{0}' && chown 7:7 '{0}/only'", precious.display()));
    precious
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[test]
fn a_resumed_run_changes_nothing_that_is_mounted_in_its_snapshot() {
    // The source has a folder there, a folder without content, a file, nothing.
    for place in ["folder", "empty", "file", "gone", "gone/deep", "folder/below"] {
        let tree = Tree::new().file("folder/below/file", "1").folder("empty").file("file", "1");
        let stage = Stage::with(BIN, &tree);
        let precious = precious(&stage);
        let half = stage.history().path(&hours_ago(1), ".incomplete");
        let at = stage.inside(&half).join(place);
        let mount = need!(Mount::bind(&precious, &at));
        let before = scan(&precious);
        if place != "file" && !place.starts_with("gone") {
            stage.run().arg("--dry-run").expect(1).assert_says("something is mounted there");
        }
        let done = stage.run().expect(1);
        done.assert_says(&at.display().to_string());
        done.assert_says("something is mounted there").assert_says("unmount it");
        assert!(scan(&precious) == before, "{place}: what is mounted there has changed");
        assert_eq!(stage.history().incomplete(), [half], "{place}: it can be resumed");
        drop(mount);
        stage.run().expect(0);
        stage.assert_newest_is_source(Judge::plain());
        assert!(scan(&precious) == before, "{place}: what was mounted there has changed");
    }
}

#[test]
fn a_resumed_run_enters_no_other_file_system_in_its_snapshot() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1"));
    let half = stage.history().path(&hours_ago(1), ".incomplete");
    let disk = need!(Mount::tmpfs(&stage.inside(&half).join("folder")));
    fs::write(disk.path().join("only"), "the only copy").expect("a file");
    stage.run().expect(1).assert_says("unmount it");
    assert_eq!(fs::read_to_string(disk.path().join("only")).expect("kept"), "the only copy");
    assert_eq!(fs::read_dir(disk.path()).expect("a folder").count(), 1);
}

#[test]
fn a_resumed_run_changes_no_file_that_is_mounted_over_one_of_its_snapshot() {
    // Other metadata, other content, and a file that the source does not have.
    for (time, content) in [(1_600_000_000, "1"), (1_600_000_001, "1"), (1_600_000_000, "22")] {
        let file = Tree::new().file("file", "1").mode(0o640).mtime(1_600_000_000, 0);
        let stage = Stage::with(BIN, &file);
        let precious = stage.beside("precious");
        Tree::new().file("only", content).mode(0o600).mtime(time, 0).build(&precious);
        let half = stage.history().path(&hours_ago(1), ".incomplete");
        Tree::new().file("file", "").build(&stage.inside(&half));
        let at = stage.inside(&half).join("file");
        let mount = need!(Mount::bind(&precious.join("only"), &at));
        let before = scan(&precious);
        stage.run().expect(1).assert_says(&at.display().to_string()).assert_says("unmount it");
        assert!(scan(&precious) == before, "{content}: what is mounted there has changed");
        drop(mount);
        stage.run().expect(0);
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn a_removal_leaves_what_is_mounted_inside_an_old_snapshot() {
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1").folder("place"));
    stage.take();
    let old = stage.history().newest();
    let precious = precious(&stage);
    stage.take();
    // On the same file system, so st_dev shows no difference.
    let mount = need!(Mount::bind(&precious, &stage.inside(&old).join("place")));
    let before = scan(&precious);
    let prune = stage.look("prune").arg(name(&old)).arg("--yes").done();
    prune.assert_code(1).assert_says("place: something is mounted there").assert_says("unmount it");
    assert!(scan(&precious) == before, "what is mounted there has changed");
    // The snapshot has left the history. Runs go on, and report it until it is gone.
    let run = stage.run().expect(3);
    run.assert_says("place: something is mounted there").assert_says("unmount it");
    assert_eq!(stage.history().deleting().len(), 1);
    assert!(scan(&precious) == before, "what is mounted there has changed");
    drop(mount);
    stage.run().expect(0);
    assert_eq!(stage.history().deleting().len(), 0);
    assert!(scan(&precious) == before, "what was mounted there has changed");
}

#[test]
fn a_snapshot_that_is_a_mount_point_itself_stays() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    stage.take();
    let old = stage.history().newest();
    let precious = precious(&stage);
    stage.take();
    let _mount = need!(Mount::bind(&precious, &old));
    let before = scan(&precious);
    let prune = stage.look("prune").arg(name(&old)).arg("--yes").done();
    prune.assert_code(1).assert_says("something is mounted there").assert_says("unmount it");
    assert!(scan(&precious) == before, "what is mounted there has changed");
}

#[test]
fn an_unreadable_folder_is_not_carried_forward_from_a_mount() {
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1").file("other", "2"));
    stage.sh("chmod -R a+rX . && chown -R 4242:4242 .");
    let run = stage.run_as(4_242);
    run.expect(0);
    let precious = precious(&stage);
    let base = stage.history().newest();
    let _mount = need!(Mount::bind(&precious, &stage.inside(&base).join("folder")));
    stage.sh("chown 0:0 folder && chmod 700 folder");
    run.expect(3).assert_says("folder");
    let copy = stage.inside(&stage.history().newest());
    assert!(!copy.join("folder/only").exists(), "the snapshot before never held this");
}

#[test]
fn verify_lists_what_is_mounted_inside_a_snapshot_and_writes_nothing_there() {
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1").folder("place"));
    stage.take();
    let precious = precious(&stage);
    let newest = stage.history().newest();
    let _mount = need!(Mount::bind(&precious, &stage.inside(&newest).join("place")));
    let before = scan(&precious);
    let done = stage.look("verify").arg("--record").expect(4);
    done.assert_says("place").assert_says("something is mounted there");
    assert!(scan(&precious) == before, "what is mounted there has changed");
}

#[test]
fn mounts_are_recognized_on_older_kernels_and_in_sandboxes() {
    need!(need::tool("strace"));
    // Kernels before 5.6, before 5.8, and sandboxes.
    let faults: [&[&str]; 3] = [
        &["openat2:error=ENOSYS"],
        &["openat2:error=ENOSYS", "statx:error=ENOSYS"],
        &["openat2:error=EPERM", "statx:error=EPERM"],
    ];
    for fault in faults {
        let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1").folder("place"));
        stage.take();
        let old = stage.history().newest();
        let precious = precious(&stage);
        stage.take();
        let mount = need!(Mount::bind(&precious, &stage.inside(&old).join("place")));
        let before = scan(&precious);
        let prune = stage.look("prune").arg(name(&old)).arg("--yes").injecting(fault).done();
        prune.assert_code(1).assert_says("place: something is mounted there");
        assert!(scan(&precious) == before, "{fault:?}: what is mounted there has changed");
        drop(mount);
        let half = stage.history().path(&hours_ago(1), ".incomplete");
        let mount = need!(Mount::bind(&precious, &stage.inside(&half).join("folder")));
        stage.run().injecting(fault).done().assert_code(1).assert_says("unmount it");
        assert!(scan(&precious) == before, "{fault:?}: what is mounted there has changed");
        drop(mount);
        stage.run().injecting(fault).expect(0);
        // A restore with --delete.
        let mount = need!(Mount::bind(&precious, &stage.source.join("place")));
        let restore = stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes");
        let restore = restore.set("overwrite", "changed").arg("--delete").injecting(fault);
        restore.expect(0).assert_says("not removed     1");
        assert!(scan(&precious.join("below")) == scan(&mount.path().join("below")));
        assert!(precious.join("only").exists(), "{fault:?}: what is mounted there was removed");
    }
}

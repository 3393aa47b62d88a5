//! Copies between file systems that differ in what they hold, and snapshots that other programs made.

use std::process::Command;

use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::judge::{assert_copied, copy, history, names};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Entries that exFAT cannot hold as they are.
fn tree() -> Tree {
    Tree::new()
        .file("a:b?", "name")
        .file("plain", "plain")
        .mode(0o640)
        .owner(1234, 4321)
        .symlink("link", "plain")
        .fifo("fifo")
        .folder("folder")
        .mode(0o750)
        .owner(7, 8)
        .file("folder/x", "x")
        .hard_link("folder/y", "folder/x")
}

/// Gives all entries times that exFAT can store.
fn with_plain_times(stage: &Stage) {
    stage.sh("find . -depth -exec touch -h -d @1700000000 {} +");
}

/// Restores the newest snapshot in `backups` and compares it with the source.
#[track_caller]
fn assert_restored(stage: &Stage, backups: &std::path::Path, judge: Judge) {
    let back = stage.beside(&format!("back from {}", backups.display()).replace('/', "_"));
    std::fs::create_dir(&back).expect("a folder can be made");
    let restore = stage.look("restore").set("backups-dir", backups).set("to", &back);
    restore.arg(&stage.source).expect(0);
    judge.assert_same(&stage.source, &back.join("source"));
}

#[test]
fn a_copy_onto_exfat_keeps_beside_it_what_exfat_cannot_hold() {
    need!(need::root());
    let disk = need!(LoopFs::exfat(64));
    let stage = Stage::with(BIN, &tree());
    with_plain_times(&stage);
    stage.take();
    stage.sh("echo 2 >folder/x");
    with_plain_times(&stage);
    stage.take();
    let to = disk.path().join("copy");
    copy(&stage, &to).expect(3).assert_says("stored as");
    assert_restored(&stage, &to, Judge::plain().without_hard_links());
    // And back again, to a file system that holds all of it.
    let again = stage.beside("again");
    let fetch = stage.look("copy").arg("--from").arg(&to).set("backups-dir", &again);
    fetch.expect(0);
    let (originals, copies) = (stage.history().complete(), history(&again).complete());
    assert_eq!(names(&originals), names(&copies));
    for (original, copy) in originals.iter().zip(&copies) {
        let judge = Judge::strict().without_hard_links();
        judge.assert_same(&stage.inside(original), &stage.inside(copy));
    }
    assert_restored(&stage, &again, Judge::plain().without_hard_links());
}

#[test]
fn a_copy_from_exfat_has_the_entries_for_real() {
    need!(need::root());
    let disk = need!(LoopFs::exfat(64));
    let stage = Stage::with(BIN, &tree()).backups_in(&disk.path().join("backups"));
    with_plain_times(&stage);
    for _ in 0..2 {
        stage.run().expect(3);
    }
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    let copies = history(&to).complete();
    for copy in &copies {
        let judge = Judge::plain().without_hard_links().with_more_links();
        judge.assert_same(&stage.source, &stage.inside(copy));
    }
    use std::os::unix::fs::MetadataExt;
    let inode =
        |at: usize| std::fs::metadata(stage.inside(&copies[at]).join("plain")).unwrap().ino();
    assert_eq!(inode(0), inode(1), "equal content is linked where links are possible");
}

#[test]
fn owners_of_a_fake_super_history_are_in_its_copies() {
    need!(need::root());
    let stage = Stage::with(BIN, &tree());
    let fake = |run: Run| {
        run.env("RSYNC_SINGLE_PARAMS", "-a,--relative,-H,--fake-super")
            .env("SRCS_TO_BACKUP", &stage.source)
    };
    stage.sh("chmod 755 folder; chmod a+r plain folder/x; chmod a+rx . ..");
    fake(stage.run_as(1_234)).expect(0);
    let real = stage.beside("copy of root");
    fake(copy(&stage, &real)).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.inside(&history(&real).newest()));
    let faked = stage.beside("copy of the user");
    std::fs::create_dir(&faked).expect("folder");
    std::os::unix::fs::chown(&faked, Some(1_234), Some(1_234)).expect("chown");
    let program = stage.beside("backup_manager");
    fake(copy(&stage, &faked).program(&program).as_user(1_234)).expect(0);
    // A restore with the setting gives the owners back.
    let back = stage.beside("back");
    std::fs::create_dir(&back).expect("folder");
    let restore = stage.look("restore").set("backups-dir", &faked).set("to", &back);
    fake(restore.arg(&stage.source)).expect(0);
    Judge::plain().assert_same(&stage.source, &back.join("source"));
}

#[test]
fn snapshots_of_rsync_are_copied_without_hashes_and_reports() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1").file("b", "2").hard_link("c", "b"));
    let rsync = |hours: u64, base: Option<u64>| {
        let to = stage.history().path(&hours_ago(hours), "");
        let mut command = Command::new("rsync");
        command.args(["-aHR"]);
        if let Some(base) = base {
            let base = stage.history().path(&hours_ago(base), "");
            command.arg(format!("--link-dest={}", base.display()));
        }
        let done = command.arg(&stage.source).arg(format!("{}/", to.display())).status();
        assert!(done.is_ok_and(|status| status.success()));
    };
    rsync(50, None);
    stage.sh("echo 3 >a");
    rsync(40, Some(50));
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    assert_copied(&stage, &to);
}

#[test]
fn names_that_the_disk_of_the_copy_changes_come_back() {
    let disk = need!(LoopFs::exfat(64));
    let stage = Stage::with(BIN, &Tree::new().file("con:", "1").file("\u{1}odd", "2"));
    stage.take();
    let to = disk.path().join("copy");
    copy(&stage, &to).expect(3).assert_says("stored as");
    let again = stage.beside("again");
    stage.look("copy").arg("--from").arg(&to).set("backups-dir", &again).expect(0);
    let newest = stage.inside(&history(&again).newest());
    assert_eq!(std::fs::read(newest.join("con:")).unwrap(), b"1");
    assert_eq!(std::fs::read(newest.join("\u{1}odd")).unwrap(), b"2");
}

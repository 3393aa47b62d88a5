//! The remains of an interrupted run are verified before they are used.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const SOMEONE: u32 = 12_345;

/// Turns the newest snapshot into an interrupted one.
fn interrupt(stage: &Stage) -> PathBuf {
    let newest = stage.history().newest();
    let incomplete = PathBuf::from(format!("{}.incomplete", newest.display()));
    fs::rename(newest, &incomplete).expect("a snapshot can be renamed");
    incomplete
}

/// Replaces the content with other bytes of equal length and restores the time, like a power cut.
fn tear(path: &Path) {
    let time = path.metadata().and_then(|meta| meta.modified()).expect("the file is there");
    let file = fs::File::options().write(true).open(path).expect("it can be written");
    file.write_all_at(b"torn", 0).expect("it can be written");
    file.set_modified(time).expect("its time can be set");
}

#[test]
fn a_torn_file_is_copied_again_also_when_another_of_its_names_is_gone() {
    let tree = Tree::new()
        .file("single", "whole content")
        .file("first", "of two names")
        .hard_link("second", "first")
        .file("good", "stays");
    let stage = Stage::with(BIN, &tree);
    // The journal is gone with the end of the run. Without it only files count that are older than the name of the
    // snapshot by two seconds.
    stage.sh("sleep 3.1");
    stage.take();
    let inside = stage.inside(&interrupt(&stage));
    tear(&inside.join("single"));
    tear(&inside.join("second"));
    let good = inside.join("good").metadata().unwrap().ino();
    // Removing this name from the snapshot changes the ctime of the damaged inode.
    stage.sh("rm first");
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::plain());
    let newest = stage.inside(&stage.history().newest());
    assert_eq!(newest.join("good").metadata().unwrap().ino(), good, "what is whole is kept");
}

#[test]
fn checksum_believes_nothing_that_is_there() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "AAAA").mtime(1_600_000_000, 0));
    stage.take();
    interrupt(&stage);
    stage.sh("printf BBBB >file; touch -d @1600000000 file");
    stage.run().rsync(&["--checksum"]).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn in_a_folder_that_turned_unreadable_the_base_counts_and_not_what_was_left() {
    need!(need::root());
    let tree = Tree::new().file("d/f", "version 1").file("d/more/g", "deep 1").file("d/new", "x");
    let stage = Stage::with(BIN, &tree);
    stage.sh("chown -R 12345:12345 .; rm d/new");
    stage.run_as(SOMEONE).expect(0);
    let base = stage.history().newest();
    stage.sh("echo version 2 >d/f; echo deep 2 >d/more/g; echo y >d/new; chown 12345:12345 d/new");
    stage.run_as(SOMEONE).expect(0);
    let left = stage.inside(&interrupt(&stage));
    tear(&left.join("d/f"));
    tear(&left.join("d/new"));
    stage.sh("chmod 0 d");
    stage.run_as(SOMEONE).expect(3);
    let newest = stage.inside(&stage.history().newest());
    stage.sh("chmod 755 d");
    assert_eq!(fs::read_to_string(newest.join("d/f")).unwrap(), "version 1");
    assert_eq!(fs::read_to_string(newest.join("d/more/g")).unwrap(), "deep 1");
    assert!(!newest.join("d/new").exists(), "a torn file without an older version does not stay");
    let inode = |top: &Path| top.join("d/f").metadata().unwrap().ino();
    assert_eq!(inode(&newest), inode(&stage.inside(&base)), "carried forward as a hard link");
}

#[test]
fn an_unmounted_source_does_not_empty_what_an_interrupted_first_run_copied() {
    need!(need::root());
    let tree = Tree::new().file("a", "1").file("b", "2");
    let stage = Stage::with(BIN, &tree);
    let mount = |kind: &str| {
        let command = format!("mount -t tmpfs {kind} {}", stage.source.display());
        assert!(
            std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success()
        );
    };
    mount("one");
    stage.sh("echo 1 >a; echo 2 >b");
    // Without room for a report, only the journal records the file system of the source.
    let killed = stage.run().injecting(&["syncfs:signal=KILL:when=1"]).done();
    let incomplete = stage.history().incomplete();
    let unmount = format!("umount {}", stage.source.display());
    assert!(std::process::Command::new("sh").args(["-c", &unmount]).status().unwrap().success());
    assert_eq!(incomplete.len(), 1, "{}", killed.said());
    stage.sh("rm -f a b");
    stage.run().expect(1).assert_says("unmounted");
    assert!(stage.inside(&incomplete[0]).join("a").exists(), "what was copied stays");
}

#[test]
fn a_source_root_inside_a_root_costs_nothing_beside_it() {
    let tree = Tree::new().file("x/file", "1").file("x/sub/in", "2").file("x/other/f", "3");
    let stage = Stage::with(BIN, &tree);
    let both = format!("{0},{0}/x/sub", stage.source.display());
    stage.run().set("srcs-to-backup", both).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_root_whose_folder_is_gone_behind_its_symlink_fails_the_run() {
    let stage = Stage::with(BIN, &Tree::new().file("data/f", "1"));
    let link = stage.beside("link");
    symlink(stage.source.join("data"), &link).unwrap();
    stage.run().set("srcs-to-backup", &link).expect(0);
    stage.sh("mv data elsewhere");
    stage.run().set("srcs-to-backup", &link).expect(1).assert_says("link");
    assert_eq!(stage.history().complete().len(), 1);
}

#[test]
fn a_new_backups_folder_and_an_unfinished_snapshot_are_closed_to_others() {
    let stage = Stage::with(BIN, &Tree::new().file("f", "1"));
    let killed = stage.run().killed_at_time(4).done();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    let incomplete = stage.history().incomplete();
    assert_eq!(incomplete.len(), 1, "{}", killed.said());
    assert_eq!(mode(&incomplete[0]), 0o700);
    assert_eq!(mode(&stage.backups), 0o755);
    stage.run().expect(0);
    assert_eq!(mode(&stage.history().newest()), 0o755);
}

//! Source roots that are missing, emptied, collapsed, or that contain the backups: nothing is lost.

use std::fs;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::Mount;
use fixtures::need;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A folder `home` with this many files, and a folder `other`.
fn files(count: usize) -> Tree {
    (0..count).fold(Tree::new().file("other/file", "x").folder("home"), |tree, number| {
        tree.file(format!("home/file {number}"), number.to_string())
    })
}

/// Both folders as separate source roots.
fn both(stage: &Stage) -> String {
    format!("{0}/home,{0}/other", stage.source.display())
}

#[test]
fn a_root_that_is_missing_fails_the_run_and_deletes_nothing() {
    let stage = Stage::with(BIN, &files(5));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    let before = Fingerprint::of(&stage.history().newest());
    fs::rename(stage.source.join("home"), stage.beside("home")).unwrap();
    let done = stage.run().set("srcs-to-backup", both(&stage)).expect(1);
    done.assert_says(&stage.source.join("home").to_string_lossy());
    assert_eq!(stage.history().complete().len(), 1);
    assert_untouched(&stage.history().newest(), &before);
    // Accepting a shrink does not accept a missing root.
    stage.run().set("srcs-to-backup", both(&stage)).arg("--accept-shrink").expect(1);
    fs::rename(stage.beside("home"), stage.source.join("home")).unwrap();
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_root_that_is_missing_from_the_start_fails_too() {
    let stage = Stage::with(BIN, &files(5));
    let nowhere = stage.beside("nowhere");
    let done = stage.run().set("srcs-to-backup", &nowhere).expect(1);
    done.assert_says(&nowhere.to_string_lossy());
    assert_eq!(stage.history().complete().len(), 0);
}

#[test]
fn a_root_that_is_unmounted_is_no_empty_folder() {
    let stage = Stage::with(BIN, &files(0));
    let home = stage.source.join("home");
    let disk = need!(Mount::tmpfs(&home));
    fs::write(home.join("file"), "on the disk").unwrap();
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    let before = Fingerprint::of(&stage.history().newest());
    drop(disk);
    for _ in 0..2 {
        stage.run().set("srcs-to-backup", both(&stage)).expect(1).assert_says("mounted");
    }
    assert_eq!(stage.history().complete().len(), 1);
    assert_untouched(&stage.history().newest(), &before);
    let disk = need!(Mount::tmpfs(&home));
    fs::write(home.join("file"), "on the disk again").unwrap();
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    let copy = inside(&stage.history().newest(), &home).join("file");
    assert_eq!(fs::read_to_string(copy).unwrap(), "on the disk again");
    drop(disk);
}

#[test]
fn a_small_folder_that_was_emptied_is_a_change_like_any_other() {
    let stage = Stage::with(BIN, &files(19));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.sh("rm home/*");
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_collapse_seals_nothing_until_it_is_accepted_once() {
    let stage = Stage::with(BIN, &files(100));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    let before = Fingerprint::of(&stage.history().newest());
    stage.sh("cd home; for i in $(seq 0 90); do rm \"file $i\"; done");
    for _ in 0..2 {
        let done =
            stage.run().set("srcs-to-backup", both(&stage)).set("max-backups", "1").expect(1);
        done.assert_says("accept-shrink").assert_says("100");
        assert_eq!(stage.history().complete().len(), 1);
        assert_untouched(&stage.history().newest(), &before);
    }
    stage.run().set("srcs-to-backup", both(&stage)).arg("--accept-shrink").expect(0);
    stage.assert_newest_is_source(Judge::plain());
    assert_eq!(stage.history().complete().len(), 2);
    // From now on 9 files are the base.
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
}

#[test]
fn ninety_of_a_hundred_may_go() {
    let stage = Stage::with(BIN, &files(100));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.sh("cd home; for i in $(seq 1 90); do rm \"file $i\"; done");
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn the_limit_of_a_collapse_can_be_set() {
    let stage = Stage::with(BIN, &files(20));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.sh("cd home; for i in $(seq 0 11); do rm \"file $i\"; done");
    stage.run().set("srcs-to-backup", both(&stage)).set("max-shrink-percent", "50").expect(1);
    stage.run().set("srcs-to-backup", both(&stage)).set("max-shrink-percent", "100").expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_collapsed_root_that_comes_back_needs_no_accepting() {
    let stage = Stage::with(BIN, &files(50));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    fs::rename(stage.source.join("home"), stage.beside("home")).unwrap();
    fs::create_dir(stage.source.join("home")).unwrap();
    stage.run().set("srcs-to-backup", both(&stage)).expect(1);
    fs::remove_dir(stage.source.join("home")).unwrap();
    fs::rename(stage.beside("home"), stage.source.join("home")).unwrap();
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    assert_eq!(stage.counts()["copied"], 0, "all is linked again: {}", stage.counts());
}

#[test]
fn files_that_a_refused_run_had_linked_are_never_changed_in_place() {
    let stage = Stage::with(BIN, &files(50));
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    stage.sh("mkdir aside; mv home/file* aside; mv aside/file\\ [123] home");
    stage.run().set("srcs-to-backup", both(&stage)).expect(1);
    assert_eq!(stage.history().incomplete().len(), 1, "it holds links to the first one");
    stage.sh("mv aside/* home; rmdir aside; chmod 600 home/file*; touch -d @99 home/file\\ 2; printf x >>home/file\\ 3");
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
}

#[test]
fn files_inside_folders_count_for_a_collapse_too() {
    let stage = Stage::with(BIN, &files(0));
    stage.sh("mkdir -p home/a/b/c home/d; for i in $(seq 30); do echo $i >home/a/b/c/$i; done; echo x >home/d/x");
    stage.run().set("srcs-to-backup", both(&stage)).expect(0);
    stage.sh("rm -r home/a");
    stage.run().set("srcs-to-backup", both(&stage)).expect(1);
}

#[test]
fn backups_inside_a_source_are_left_out_and_that_is_said_once() {
    let mut stage = Stage::with(BIN, &files(3).folder("home/my backups"));
    stage.backups = stage.source.join("home/my backups");
    for round in 1..=3 {
        let done = stage.run().expect(0);
        assert_eq!(done.lines_with("backups folder itself"), 1, "{}", done.said());
        let copy = stage.inside(&stage.history().newest());
        assert!(!copy.join("home/my backups/.backup_manager").exists());
        let entries = fs::read_dir(copy.join("home/my backups")).map_or(0, Iterator::count);
        assert_eq!(entries, 0, "round {round}");
        assert_eq!(fs::read_to_string(copy.join("home/file 1")).unwrap(), "1");
    }
}

#[test]
fn backups_inside_a_source_are_known_by_inode_not_by_name() {
    let mut stage = Stage::with(BIN, &files(3).folder("home/real"));
    stage.sh("ln -s home/real link");
    let real = stage.source.join("home/real");
    stage.backups = stage.source.join("link");
    for _ in 0..2 {
        let run = stage.run().set("srcs-to-backup", stage.source.join("home"));
        run.expect(0).assert_says("backups folder itself");
        let copy = inside(&stage.history().newest(), &real);
        assert_eq!(fs::read_dir(copy).map_or(0, Iterator::count), 0);
    }
}

#[test]
fn a_source_inside_the_backups_folder_is_a_mistake() {
    let stage = Stage::with(BIN, &files(3));
    let within = stage.backups.join("within");
    fs::create_dir(&within).unwrap();
    std::os::unix::fs::symlink(&within, stage.source.join("link")).unwrap();
    for source in [within, stage.backups.clone(), stage.source.join("link")] {
        let done = stage.run().set("srcs-to-backup", &source).expect(2);
        done.assert_says(&source.to_string_lossy());
        assert_eq!(stage.history().complete().len(), 0);
    }
}

#[test]
fn a_root_that_is_a_symlink_to_a_file_is_followed_and_that_is_said() {
    let stage = Stage::with(BIN, &files(0).file("store/database", "first").folder("conf"));
    stage.sh("ln -s ../store/database conf/db; ln -s conf/db link");
    for name in ["conf/db", "link"] {
        let root = stage.source.join(name);
        let run = || stage.run().set("srcs-to-backup", &root).arg("--accept-sources");
        run().expect(0).assert_says("is a symlink");
        let copy = || inside(&stage.history().newest(), &root);
        assert!(fs::symlink_metadata(copy()).unwrap().is_file(), "{name}");
        run().expect(0);
        assert_eq!(stage.counts()["linked"], 1, "{name} {}", stage.counts());
        stage.sh("echo more >>store/database");
        run().expect(0);
        assert_eq!(
            fs::read(copy()).unwrap(),
            fs::read(stage.source.join("store/database")).unwrap()
        );
    }
    // A dangling symlink counts as a missing root; it is not stored as a symlink.
    stage.sh("rm store/database");
    stage.run().set("srcs-to-backup", stage.source.join("conf/db")).expect(1);
}

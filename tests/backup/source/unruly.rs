//! Entries that cannot be read, change, vanish or change their type while a run reads them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::Ordering;

use fixtures::bulk::big_tree;
use fixtures::concurrent::{repeat_while, swap_while};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::scan::scan;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::fs::{CWD, RenameFlags, renameat_with};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const SOMEONE: u32 = 12_345;

fn sample() -> Tree {
    Tree::new()
        .file("readable", "open to all")
        .file("private", "version 1")
        .file("folder/inner", "inner 1")
        .file("folder/deeper/file", "deeper 1")
}

#[test]
fn an_unreadable_file_is_carried_forward_and_listed() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.run_as(SOMEONE).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    stage.sh("printf 'version 2' >private; chmod 0 private; printf more >>readable");
    for _ in 0..2 {
        let done = stage.run_as(SOMEONE).expect(3);
        done.assert_says("private").assert_says("ermission denied").assert_says("carried forward");
        let copy = stage.inside(&stage.history().newest());
        assert_eq!(fs::read_to_string(copy.join("private")).unwrap(), "version 1");
        assert_eq!(fs::read_to_string(copy.join("readable")).unwrap(), "open to allmore");
        stage.assert_linked("private");
        let counts = stage.counts();
        assert_eq!((&counts["carried_forward"], &counts["problems"]), (&1.into(), &1.into()));
    }
    assert_untouched(&first, &before);
    let report = fs::read_dir(stage.backups.join(".backup_manager/reports")).unwrap();
    let is_listed = report
        .flatten()
        .any(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("private")));
    assert!(is_listed, "the report lists it");
    stage.sh("chmod 644 private");
    stage.run_as(SOMEONE).expect(0);
    stage.assert_newest_is_source(Judge::plain().without_owners());
}

#[test]
fn an_unreadable_file_that_did_not_change_is_linked_as_ever() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.run_as(SOMEONE).expect(0);
    // Equal size and time: the content is known, only the mode is new.
    stage.sh("chmod 0 private");
    let done = stage.run_as(SOMEONE).done();
    assert!([0, 3].contains(&done.code), "{}", done.said());
    let copy = stage.inside(&stage.history().newest()).join("private");
    assert_eq!(scan(&stage.inside(&stage.history().newest())).len(), 7);
    assert_eq!(fs::read_to_string(copy).unwrap(), "version 1");
}

#[test]
fn an_unreadable_file_that_no_snapshot_holds_is_missing_and_listed() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.sh("chmod 0 private");
    let done = stage.run_as(SOMEONE).expect(3);
    done.assert_says("private").assert_says("missing from this snapshot");
    assert_eq!(stage.history().complete().len(), 1);
    assert!(!stage.inside(&stage.history().newest()).join("private").exists());
    assert_eq!(stage.counts()["problems"], 1);
}

#[test]
fn an_unreadable_folder_is_carried_forward_with_all_it_holds() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.run_as(SOMEONE).expect(0);
    stage.sh("printf 'inner 2' >folder/inner; chmod 0 folder");
    let done = stage.run_as(SOMEONE).expect(3);
    done.assert_says("folder");
    stage.assert_linked("folder/inner");
    stage.assert_linked("folder/deeper/file");
    assert_eq!(stage.counts()["deleted"], 0, "{}", stage.counts());
    // The next run does the same.
    stage.run_as(SOMEONE).expect(3);
    stage.assert_linked("folder/deeper/file");
    stage.sh("chmod 755 folder");
    stage.run_as(SOMEONE).expect(0);
    stage.assert_newest_is_source(Judge::plain().without_owners());
}

#[test]
fn a_read_error_in_the_middle_is_carried_forward_too() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("printf 'version 2' >private");
    // Every read of content fails; this process opens no other files with the same name.
    let path = stage.source.join("private");
    let path = path.to_string_lossy();
    let inject = "inject=read,pread64,preadv2,copy_file_range,sendfile:error=EIO";
    let words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-P", &path, "-e", inject];
    let done = stage.run().under(&words).done();
    let copy = stage.inside(&stage.history().newest()).join("private");
    let content = fs::read_to_string(copy).unwrap();
    if done.code == 0 {
        assert_eq!(content, "version 2", "the injection was passed by");
    } else {
        done.assert_code(3).assert_says("private");
        assert_eq!(content, "version 1");
    }
}

#[test]
fn a_file_that_never_stands_still_is_kept_as_last_read_and_listed() {
    let stage = Stage::with(BIN, &sample().random_file("growing", 60_000_000, 1));
    let growing = stage.source.join("growing");
    let mut file = File::options().append(true).open(&growing).unwrap();
    let done = repeat_while(
        || {
            let _ = file.write_all(b"more and more");
            std::thread::sleep(std::time::Duration::from_micros(50));
        },
        || stage.run().expect(3),
    );
    done.assert_says("growing");
    let copy = stage.inside(&stage.history().newest()).join("growing");
    assert!(fs::metadata(copy).unwrap().len() >= 60_000_000);
    // Once it stops changing, the next run stores it correctly.
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn files_that_grow_shrink_or_are_replaced_are_caught_up_by_the_next_run() {
    let mut tree = Tree::new();
    for number in 0..300 {
        tree = tree.random_file(format!("{}/{number}", number % 9), 400_000, number);
    }
    let stage = Stage::with(BIN, &tree);
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.sh("find . -type f -exec touch {} +");
    let mut number = 0;
    let change = || {
        number = (number + 1) % 300;
        let path = stage.source.join(format!("{}/{number}", number % 9));
        let _ = match number % 4 {
            0 => File::options().append(true).open(&path).and_then(|mut f| f.write_all(b"more")),
            1 => File::options().write(true).open(&path).and_then(|f| f.set_len(300)),
            2 => fs::write(&path, "rewritten"),
            _ => {
                let other = stage.source.join("other");
                fs::write(&other, "another file").and_then(|()| fs::rename(other, &path))
            }
        };
    };
    let done = repeat_while(change, || stage.run().done());
    assert!([0, 3].contains(&done.code), "{}", done.said());
    stage.sh("rm -f other");
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
}

#[test]
fn files_that_vanish_are_no_errors() {
    let stage = Stage::new(BIN);
    big_tree(&stage.source.join("tree"), 10_000, 200, 1);
    let mut folders = (0..200_u32).rev();
    let done = repeat_while(
        || {
            if let Some(number) = folders.next() {
                let path = format!("tree/group-{}/folder-{number}", number / 50);
                let _ = fs::remove_dir_all(stage.source.join(path));
            }
        },
        || stage.run().done(),
    );
    done.assert_code(0);
    // Whatever that run saw, the next snapshot equals the source.
    stage.run().arg("--accept-shrink").expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_fifo_in_the_place_of_a_file_blocks_nobody() {
    let mut tree = Tree::new();
    for number in 0..40 {
        tree = tree.file(format!("file {number}"), "x").fifo(format!("pipe {number}"));
    }
    let stage = Stage::with(BIN, &tree);
    let mut number = 0;
    repeat_while(
        || {
            number = (number + 1) % 40;
            let [file, pipe] =
                ["file", "pipe"].map(|kind| stage.source.join(format!("{kind} {number}")));
            let _ = renameat_with(CWD, file, CWD, pipe, RenameFlags::EXCHANGE);
        },
        || {
            for _ in 0..15 {
                let done = stage.run().done();
                assert!([0, 3].contains(&done.code), "{}", done.said());
            }
        },
    );
}

#[test]
fn nothing_outside_is_read_when_folders_turn_into_symlinks() {
    let mut tree = Tree::new();
    for number in 0..20 {
        tree = tree.file(format!("folder {number}/file"), "inside");
    }
    let stage = Stage::with(BIN, &tree);
    let outside = stage.beside("outside");
    Tree::new().file("file", "SECRET").file("another", "SECRET").build(&outside);
    for number in 0..20 {
        symlink(&outside, stage.source.join(format!("link {number}"))).unwrap();
    }
    let started = std::time::Instant::now();
    let runs = swap_while(&stage.source, ["folder", "link"], 20, |flips| {
        let mut runs = 0;
        // Half of the runs start without a base, so that they read everything.
        while flips.load(Ordering::Relaxed) < 400_000 || runs < 30 {
            runs += 1;
            let prefix = if runs % 2 == 0 { "again".to_owned() } else { format!("new-{runs}") };
            let done = stage.run().set("backup-name-prefix", prefix).done();
            assert!([0, 3].contains(&done.code), "{}", done.said());
        }
        println!("{} flips, {runs} runs, {:?}", flips.load(Ordering::Relaxed), started.elapsed());
        runs
    });
    let snapshots: Vec<_> = fs::read_dir(&stage.backups).unwrap().flatten().collect();
    assert!(snapshots.len() > runs / 2);
    let kept = snapshots
        .iter()
        .map(|entry| (files_with(&entry.path(), "SECRET"), files_with(&entry.path(), "inside")));
    let (secret, inside) = kept.fold((0, 0), |sum, kept| (sum.0 + kept.0, sum.1 + kept.1));
    assert_eq!(secret, 0);
    assert!(inside > 0);
}

/// The number of regular files below `top` whose content is exactly `text`.
fn files_with(top: &Path, text: &str) -> usize {
    let hash = {
        let scratch = fixtures::scratch::Scratch::new();
        Tree::new().file("f", text).build(scratch.path());
        scan(scratch.path())[&b"f"[..]].content.clone()
    };
    scan(top).values().filter(|found| found.is_file() && found.content == hash).count()
}

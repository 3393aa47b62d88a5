//! A remote source that changes while it is read.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixtures::bulk::big_tree;
use fixtures::concurrent::{repeat_while, swap_while};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::scan::{Found, scan};
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::fs::{CWD, RenameFlags, renameat_with};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
/// The number of folders that turn into symlinks and back.
const PAIRS: u64 = 1_000;
/// The least number of swaps while runs read the source.
const FLIPS: u64 = 100_000;

#[test]
fn a_file_that_never_stands_still_is_kept_as_last_read_and_listed() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().random_file("growing", 30_000_000, 1));
    let mut file = File::options().append(true).open(stage.source.join("growing")).unwrap();
    let grow = || {
        let _ = file.write_all(b"more and more");
        std::thread::sleep(Duration::from_millis(1));
    };
    repeat_while(grow, || server.reached_by(stage.run()).expect(3)).assert_says("growing");
    let copy = stage.inside(&stage.history().newest()).join("growing");
    assert!(fs::metadata(copy).unwrap().len() >= 30_000_000);
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::remote());
}

#[test]
fn files_that_grow_shrink_or_are_replaced_are_caught_up_by_the_next_run() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let mut tree = Tree::new();
    for number in 0..300 {
        tree = tree.random_file(format!("{}/{number}", number % 9), 40_000, number);
    }
    let stage = Stage::with(BIN, &tree);
    let mut number = 0;
    let change = || {
        number = (number + 1) % 300;
        let path = stage.source.join(format!("{}/{number}", number % 9));
        let _ = match number % 3 {
            0 => File::options().append(true).open(&path).and_then(|mut f| f.write_all(b"more")),
            1 => File::options().write(true).open(&path).and_then(|f| f.set_len(300)),
            _ => {
                let other = stage.source.join("other");
                fs::write(&other, "another file").and_then(|()| fs::rename(other, &path))
            }
        };
    };
    let done = repeat_while(change, || server.reached_by(stage.run()).done());
    assert!([0, 3].contains(&done.code), "{}", done.said());
    stage.sh("rm -f other");
    // SFTP times have whole seconds: two changes within one second may look alike.
    std::thread::sleep(Duration::from_millis(1_100));
    stage.sh("find . -type f -exec touch {} +");
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::remote());
}

#[test]
fn files_and_folders_that_vanish_are_no_errors() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::new(BIN);
    big_tree(&stage.source.join("tree"), 4_000, 100, 1);
    let mut folders = (0..100_u32).rev();
    let remove = || {
        if let Some(number) = folders.next() {
            let path = format!("tree/group-{}/folder-{number}", number / 50);
            let _ = fs::remove_dir_all(stage.source.join(path));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    repeat_while(remove, || server.reached_by(stage.run()).done()).assert_code(0);
    server.reached_by(stage.run()).arg("--accept-shrink").expect(0);
    stage.assert_newest_is_source(Judge::remote());
}

#[test]
fn a_fifo_in_the_place_of_a_file_blocks_nobody_for_ever() {
    let mut tree = Tree::new();
    for number in 0..40 {
        tree = tree.file(format!("file {number}"), "x").fifo(format!("pipe {number}"));
    }
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &tree);
    let mut number = 0;
    let exchange = || {
        number = (number + 1) % 40;
        let [file, pipe] =
            ["file", "pipe"].map(|kind| stage.source.join(format!("{kind} {number}")));
        let _ = renameat_with(CWD, file, CWD, pipe, RenameFlags::EXCHANGE);
        std::thread::sleep(Duration::from_micros(200));
    };
    repeat_while(exchange, || {
        for _ in 0..2 {
            let run = server.reached_by(stage.run()).set("answer-timeout-s", "1");
            let done = run.done();
            assert!([0, 1, 3].contains(&done.code), "{}", done.said());
        }
    });
    // A server process that waits at a fifo outlives its connection.
    stage.sh("for each in *; do if [ -p \"$each\" ]; then : <>\"$each\"; fi; done");
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::remote());
}

/// SFTP opens files by path, so a folder that was replaced by a symlink leads outside. Only users
/// who may read the files there may read their copies.
#[test]
fn a_file_that_only_others_may_read_gets_no_copy_that_is_open_to_more() {
    let mut tree = Tree::new();
    for number in 0..40 {
        tree = tree.file(format!("folder {number}/file"), "inside");
    }
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &tree);
    let outside = stage.beside("outside");
    // The same size and second as the files inside.
    Tree::new().file("file", "SECRET").mode(0o600).build(&outside);
    for number in 0..40 {
        symlink(&outside, stage.source.join(format!("link {number}"))).unwrap();
    }
    swap_while(&stage.source, ["folder", "link"], 40, |flips| {
        let mut runs = 0;
        while flips.load(Ordering::Relaxed) < FLIPS || runs < 5 {
            runs += 1;
            // Everything is read each time.
            let run = server.reached_by(stage.run()).rsync(&["--checksum"]);
            let done = run.done();
            assert!([0, 3].contains(&done.code), "{}", done.said());
        }
        println!("{} flips, {runs} runs", flips.load(Ordering::Relaxed));
    });
    for snapshot in stage.history().complete() {
        let open = |found: &&Found| found.is_file() && found.mode & 0o077 != 0;
        let secret = hash("SECRET");
        let tree = scan(&snapshot);
        let leaked = tree.values().filter(open).filter(|found| found.content == secret).count();
        assert_eq!(leaked, 0, "{}", snapshot.display());
    }
}

/// If it differs at all from the entry that was listed. Each folder turns into a symlink and back
/// about every twenty milliseconds. SFTP has no folder handles, so what is opened by path is
/// verified by the location of the folder before and after.
#[test]
fn nothing_outside_is_kept_when_folders_turn_into_symlinks() {
    let mut tree = Tree::new();
    for number in 0..PAIRS {
        tree = tree.file(format!("folder {number}/file"), "inside");
    }
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &tree);
    let outside = stage.beside("outside");
    let elsewhere = Tree::new().file("file", "a longer SECRET").file("another", "a longer SECRET");
    elsewhere.build(&outside);
    for number in 0..PAIRS {
        symlink(&outside, stage.source.join(format!("link {number}"))).unwrap();
    }
    swap_while(&stage.source, ["folder", "link"], PAIRS, |flips| {
        let mut runs = 0;
        while flips.load(Ordering::Relaxed) < FLIPS || runs < 3 {
            runs += 1;
            let prefix = format!("new-{runs}");
            let done = server.reached_by(stage.run()).set("backup-name-prefix", prefix).done();
            assert!([0, 3].contains(&done.code), "{}", done.said());
        }
        println!("{} flips, {runs} runs", flips.load(Ordering::Relaxed));
    });
    let (mut secrets, mut inside) = (0, 0);
    for snapshot in fs::read_dir(&stage.backups).unwrap().flatten() {
        let tree = scan(&snapshot.path());
        let count = |hash: Vec<u8>| tree.values().filter(|found| found.content == hash).count();
        secrets += count(hash("a longer SECRET"));
        inside += count(hash("inside"));
    }
    println!("{inside} files from inside");
    assert_eq!(secrets, 0);
    assert!(inside > 0);
}

/// The scan result for a file with this content.
fn hash(text: &str) -> Vec<u8> {
    let scratch = fixtures::scratch::Scratch::new();
    Tree::new().file("f", text).build(scratch.path());
    scan(scratch.path())[&b"f"[..]].content.clone()
}

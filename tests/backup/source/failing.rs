//! A source on a bad disk, and a source whose daemon dies: unreadable entries do not count as
//! deleted.

use std::fs;

use fixtures::failing_fs::FailingFs;
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A setup whose source is a FUSE folder.
fn shown(tree: &Tree) -> Result<(FailingFs, Stage), need::Missing> {
    let stage = Stage::with(BIN, tree);
    Ok((FailingFs::showing(&stage.source)?, stage))
}

fn run(frail: &FailingFs, stage: &Stage) -> Run {
    stage.run().set("srcs-to-backup", frail.path())
}

fn newest(frail: &FailingFs, stage: &Stage) -> std::path::PathBuf {
    inside(&stage.history().newest(), &frail.path())
}

#[test]
fn a_file_with_bad_blocks_is_carried_forward_and_listed() {
    let tree = Tree::new().random_file("bad", 900_000, 1).file("good", "1");
    let (frail, stage) = need!(shown(&tree));
    run(&frail, &stage).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    let old = fs::read(newest(&frail, &stage).join("bad")).unwrap();
    stage.sh("echo more >>bad; echo 2 >good");
    for from in [0, 500_001] {
        frail.make_bad("bad", from);
        let done = run(&frail, &stage).expect(3);
        done.assert_says("bad").assert_says("Input/output error").assert_says("carried forward");
        let copy = newest(&frail, &stage);
        assert_eq!(fs::read(copy.join("bad")).unwrap(), old, "bad from {from} on");
        assert_eq!(fs::read_to_string(copy.join("good")).unwrap(), "2\n");
        assert_untouched(&first, &before);
    }
    frail.repair();
    run(&frail, &stage).expect(0);
    Judge::plain().assert_same(&stage.source, &newest(&frail, &stage));
}

#[test]
fn a_folder_whose_listing_breaks_off_is_carried_forward_whole() {
    let mut tree = Tree::new().file("beside", "1");
    for number in 10..60 {
        tree = tree.file(format!("folder/{number}"), number.to_string());
    }
    let (frail, stage) = need!(shown(&tree));
    run(&frail, &stage).expect(0);
    let before = fs::read_dir(newest(&frail, &stage).join("folder")).unwrap().count();
    stage.sh("echo 2 >beside");
    for from in [0, 20] {
        frail.make_bad("folder", from);
        run(&frail, &stage).expect(3).assert_says("folder").assert_says("Input/output error");
        let copy = newest(&frail, &stage);
        assert_eq!(fs::read_dir(copy.join("folder")).unwrap().count(), before, "from {from} on");
        assert_eq!(fs::read_to_string(copy.join("beside")).unwrap(), "2\n");
    }
    assert_eq!(stage.counts()["deleted"], 0, "{}", stage.counts());
}

/// Two hundred files, half of which change after the first snapshot.
fn two_hundred() -> Tree {
    (0..200).fold(Tree::new(), |tree, number| {
        tree.file(format!("{}/{number}", number % 7), number.to_string())
    })
}

#[test]
fn a_source_whose_daemon_dies_loses_nothing() {
    need!(need::tool("strace"));
    for with_base in [true, false] {
        let (frail, stage) = need!(shown(&two_hundred()));
        if with_base {
            run(&frail, &stage).expect(0);
            stage.sh("for file in */*[02468]; do echo new >$file; done");
        }
        let complete = stage.history().complete();
        let before: Vec<_> = complete.iter().map(|path| Fingerprint::of(path)).collect();
        let slow = run(&frail, &stage).injecting(&["utimensat:delay_exit=5000"]);
        let mut running = slow.start();
        let some = || {
            let begun = stage.history().incomplete().pop();
            let copied = begun.and_then(|begun| fs::read_dir(inside(&begun, &frail.path())).ok());
            copied.is_some_and(|copied| copied.count() > 3)
        };
        assert!(running.until(some), "it copies");
        frail.die();
        let done = running.wait();
        println!("{}", done.said());
        done.assert_code(1).assert_says("not connected");
        for _ in 0..2 {
            assert_eq!(stage.history().complete(), complete);
            for (path, before) in complete.iter().zip(&before) {
                assert_untouched(path, before);
            }
            run(&frail, &stage).expect(1).assert_says("not connected");
        }
        let again = need!(FailingFs::showing(&stage.source));
        // The mount point differs, so this is another source of the same history.
        stage.run().set("srcs-to-backup", again.path()).arg("--accept-sources").expect(0);
        Judge::plain().assert_same(&stage.source, &newest(&again, &stage));
    }
}

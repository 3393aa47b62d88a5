//! Interrupted copies, and copies onto a full disk.

use std::time::Duration;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random::Random;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::stage::Stage;
use fixtures::strace::{moments, tracing};
use fixtures::tree::Tree;
use rustix::process::Signal;

use crate::judge::{assert_content, assert_copied, copy, history};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn random_stage() -> Stage {
    let spec = Spec { files: 60, folders: 12, largest: 30_000, root_only: need::root().is_ok() };
    let stage = Stage::with(BIN, &random_tree(7, spec));
    for seed in 0..3 {
        mutate(&stage.source, seed);
        stage.run().rsync(&["-A", "-X"]).expect(0);
    }
    stage
}

/// Kills at random changes, one after the other, until the copy is whole.
#[test]
fn a_copy_that_is_killed_again_and_again_becomes_whole() {
    need!(need::tool("strace"));
    let stage = random_stage();
    let whole = stage.beside("whole");
    let file = stage.beside("trace");
    let strace = tracing(&file);
    let words: Vec<_> =
        ["taskset", "-c", "0"].into_iter().map(str::to_owned).chain(strace).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let traced = copy(&stage, &whole).under(&words).done();
    assert_eq!(traced.code, 0, "{}", traced.said());
    let trace = std::fs::read(&file).unwrap();
    let (moments, _) = moments(&String::from_utf8_lossy(&trace), &[&whole]);
    assert!(moments.len() > 100, "{}", moments.len());
    let before: Vec<_> = stage
        .history()
        .complete()
        .iter()
        .map(|path| (path.clone(), Fingerprint::of(path)))
        .collect();
    let mut random = Random::new(3);
    for round in 0..4 {
        let to = stage.beside(&format!("copy {round}"));
        for _ in 0..6 {
            let rule = random.pick(&moments).rule();
            let killed = copy(&stage, &to).injecting_on(0, &[&rule]).done();
            assert!([0, 1, 137].contains(&killed.code), "{rule}: {}", killed.said());
        }
        copy(&stage, &to).expect(0);
        assert_content(&stage, &to, Judge::strict());
        stage.look("verify").set("backups-dir", &to).expect(0);
    }
    before.iter().for_each(|(path, before)| assert_untouched(path, before));
    assert_copied(&stage, &whole);
}

#[test]
fn a_stopped_copy_of_a_large_file_goes_on_in_it() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 40 << 20, 1));
    stage.take();
    let to = stage.beside("copy");
    // With -D the signal reaches the program and not strace.
    let slow = copy(&stage, &to).under(&[
        "strace",
        "-D",
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        "trace=pwrite64,write",
        "-e",
        "inject=pwrite64,write:delay_enter=20000",
    ]);
    let mut slow = slow.start();
    let part = || {
        let incomplete = history(&to).incomplete();
        let large = stage.inside(incomplete.first()?).join("large");
        Some(std::fs::metadata(large).ok()?.len())
    };
    assert!(slow.until(|| part().is_some_and(|size| size > 4 << 20)));
    slow.signal(Signal::TERM);
    assert!(slow.ended_within(Duration::from_secs(60)));
    let done = slow.wait();
    assert_eq!(done.code, 143, "{}", done.said());
    copy(&stage, &to).expect(0).assert_says("continuing the copy of");
    assert_copied(&stage, &to);
}

#[test]
fn a_full_disk_ends_the_copy_and_the_next_one_goes_on() {
    let disk = need!(LoopFs::ext4(16));
    let tree = Tree::new().random_file("a", 3 << 20, 1).random_file("b", 3 << 20, 2);
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let to = disk.path().join("copy");
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 8 << 20]).unwrap();
    let done = copy(&stage, &to).expect(1);
    done.assert_says("no space left");
    done.assert_says("COPY_MAX_BACKUPS");
    assert!(history(&to).complete().is_empty());
    std::fs::remove_file(&filler).unwrap();
    copy(&stage, &to).expect(0);
    assert_content(&stage, &to, Judge::strict());
}

#[test]
fn two_copies_at_once_do_not_disturb_each_other() {
    let stage = random_stage();
    let to = stage.beside("copy");
    let running = [(); 2].map(|()| copy(&stage, &to).start());
    let done = running.map(|running| running.wait());
    let (copied, refused): (Vec<_>, Vec<_>) = done.iter().partition(|done| done.code == 0);
    assert!(!copied.is_empty(), "{}", done[0].said());
    for done in refused {
        done.assert_code(1).assert_says("nothing was copied: another run or copy is at work");
    }
    copy(&stage, &to).expect(0);
    assert_copied(&stage, &to);
}

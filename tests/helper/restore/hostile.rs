//! Far ends of a restore that break the protocol: the restore ends and says so, or connects again; it never hangs, and
//! its memory is bounded.

use std::fs;
use std::path::Path;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::BIN;

/// The most memory of the near end, KiB.
const MEMORY: u64 = 128 * 1024;

/// A snapshot, and a folder that holds something already, so that it is listed.
fn stage() -> Stage {
    let tree = (0..60).fold(Tree::new().random_file("large", 3 << 20, 1), |tree, number| {
        tree.file(format!("folder {}/{number}", number % 6), format!("{number}"))
    });
    let stage = Stage::with(
        BIN,
        &tree.symlink("link", "large").file("same", "x").hard_link("link2", "same"),
    );
    stage.take();
    fs::create_dir_all(stage.beside("back/source/folder 1/new")).expect("made");
    fs::write(stage.beside("back/source/folder 1/new/file"), "x").expect("written");
    stage
}

/// A restore through a far end that answers with `lie` the first `times` that it is started.
fn restore(server: &Sshd, stage: &Stage, lie: &str, times: usize) -> Run {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helper/scripts/hostile_far_end.py");
    let count = stage.beside(&format!("count-{lie}-{times}"));
    let words = format!("python3 {} {lie} {times} {} {BIN}", script.display(), count.display());
    let run = server.known_to(stage.look("restore")).env("REMOTE_HELPER", words);
    let run = run.set("to", format!("test:{}", stage.beside("back").display()));
    let run = run.set("answer-timeout-s", "3").set("sftp-channels", "1");
    run.arg(&stage.source).arg("--delete")
}

/// Runs `check` for each lie at the same time: most of the time is spent waiting.
fn for_each(lies: &[&str], check: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        let all: Vec<_> = lies.iter().map(|lie| (lie, scope.spawn(|| check(lie)))).collect();
        for (lie, checked) in all {
            assert!(checked.join().is_ok(), "{lie}");
        }
    });
}

const LIES: [&str; 12] = [
    "unknown", "twice", "other", "results", "behind", "variant", "source", "huge", "short", "long",
    "cut", "silent",
];

fn bounded(done: &Done) {
    assert!(done.peak_kib < MEMORY, "{} KiB", done.peak_kib);
}

#[test]
fn a_far_end_that_breaks_the_protocol_again_and_again_ends_the_restore() {
    need!(need::tool("python3"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    for_each(&LIES, |lie| {
        let stage = stage();
        let snapshot = Fingerprint::of(&stage.backups);
        let done = restore(&server, &stage, lie, 1000).done();
        done.assert_code(1).assert_says("the connection was lost again and again");
        assert!(!done.said().contains("panicked"), "{}", done.said());
        bounded(&done);
        assert_untouched(&stage.backups, &snapshot);
    });
}

#[test]
fn a_far_end_that_breaks_the_protocol_once_is_started_again() {
    need!(need::tool("python3"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    for_each(&LIES, |lie| {
        let stage = stage();
        let done = restore(&server, &stage, lie, 1).done();
        done.assert_code(0).assert_says("connecting again");
        bounded(&done);
        Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
    });
}

#[test]
fn a_listing_without_end_is_ended() {
    need!(need::tool("python3"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let done = restore(&server, &stage, "endless", 1000).done();
    assert!([1, 3].contains(&done.code), "{}", done.said());
    bounded(&done);
    restore(&server, &stage, "honest", 0).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn answers_in_another_order_and_more_credit_than_there_is_change_nothing() {
    need!(need::tool("python3"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    for_each(&["credit", "reordered"], |lie| {
        let stage = stage();
        let done = restore(&server, &stage, lie, 1000).set("answer-timeout-s", "60").done();
        done.assert_code(0);
        bounded(&done);
        Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
    });
}

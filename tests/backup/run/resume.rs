//! Interrupted runs: killed at any moment or stopped by signals, and completed by the next run.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use fixtures::bulk::{big_file, big_tree};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::{hours_ago, sort_key, stamp};
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random::Random;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The number of files in an incomplete snapshot.
fn files_in(folder: Option<&PathBuf>) -> usize {
    let Some(entries) = folder.and_then(|folder| fs::read_dir(folder).ok()) else { return 0 };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| if path.is_dir() { files_in(Some(&path)) } else { 1 }).sum()
}

fn spec() -> Spec {
    Spec { files: 1_500, folders: 150, largest: 200_000, root_only: need::root().is_ok() }
}

/// A run without the brake on mass changes. What [`mutate`] does looks like encryption to it: a tenth of the lost files may become random
/// bytes. How many of them a run examines depends on where the runs before were killed.
fn unbraked(stage: &Stage) -> Run {
    stage.run().set("change-brake", "off")
}

#[test]
fn killed_again_and_again_it_completes_and_no_older_snapshot_knows_of_it() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let stage = Stage::with(BIN, &random_tree(seed, spec()));
        let first = stage.take();
        mutate(&stage.source, seed);
        let before = Fingerprint::of(&first);
        let mut kills = 0;
        loop {
            let began = stamp(SystemTime::now());
            let time = Duration::from_micros(random.below(20_000 + kills * 16_000));
            if unbraked(&stage).killed_after(time) {
                let name = stage.history().newest();
                let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let named = name.strip_prefix("my_backup.").and_then(sort_key);
                assert!(named >= sort_key(&began), "{name} is named by the run that completed it");
                break;
            }
            kills += 1;
            // If it was killed after the rename, the snapshot is complete and the loop ends.
            let complete = stage.history().complete();
            assert!(complete.contains(&first), "the first one is there");
            if complete.len() > 1 {
                break;
            }
            assert!(stage.history().incomplete().len() <= 1);
        }
        println!("seed {seed}: {kills} kills");
        assert_eq!(stage.history().complete().len(), 2);
        stage.assert_newest_is_source(Judge::plain());
        assert_untouched(&first, &before);
        // The next run removes the remains of a kill after the last rename.
        unbraked(&stage).expect(0);
        assert_eq!(stage.history().incomplete().len() + stage.history().deleting().len(), 0);
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn the_source_may_change_between_a_kill_and_the_next_run() {
    let stage = Stage::with(BIN, &random_tree(9, spec()));
    let first = stage.take();
    let before = Fingerprint::of(&first);
    for seed in 0..8 {
        mutate(&stage.source, seed);
        let _ = unbraked(&stage).killed_after(Duration::from_millis(5 * seed));
    }
    unbraked(&stage).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
}

#[test]
fn files_copied_before_a_kill_are_not_copied_again() {
    let stage = Stage::new(BIN);
    big_tree(&stage.source, 10_000, 200, 1);
    let mut running = stage.run().start();
    let some = || files_in(stage.history().incomplete().first()) > 500;
    assert!(running.until(some), "the tree is too small for this machine");
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    stage.run().expect(0);
    let counts = stage.counts();
    assert!(counts["kept"].as_u64() > Some(100), "{counts}");
    assert!(counts["copied"].as_u64() < Some(10_000), "{counts}");
    let report = stage.history().report(&stage.history().newest());
    assert_eq!(report["resumed"], true);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn signals_stop_a_loaded_run() {
    let stage = Stage::new(BIN);
    big_tree(&stage.source.join("tree"), 12_000, 240, 1);
    big_file(&stage.source.join("large"), 300 << 20, 1);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let log = stage.beside(&format!("{signal:?}.log"));
        let stored = files_in(stage.history().incomplete().first());
        let mut running = stage.run().set("log-file", &log).start();
        // The run installs its handlers before it opens its log.
        let under_way =
            || log.exists() && files_in(stage.history().incomplete().first()) > stored + 100;
        assert!(running.until(under_way), "it is under way");
        running.signal(signal);
        running.wait().assert_code(code);
        assert_eq!(stage.history().complete().len(), 0);
        assert_eq!(stage.history().incomplete().len(), 1, "it can be resumed");
    }
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_eq!(stage.history().incomplete().len(), 0);
}

#[test]
fn a_run_that_was_started_with_signals_ignored_ignores_them() {
    let stage = Stage::new(BIN);
    let begun = stage.beside("begun");
    let wait = format!("touch '{}'; while [ -e '{0}' ]; do sleep 0.05; done", begun.display());
    // Background jobs of scripts with nohup(1) or setsid(1) start like this.
    let ignoring = ["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh"];
    let mut running = stage.run().env("PRE_BACKUP", wait).under(&ignoring).start();
    assert!(running.until(|| begun.exists()), "it is under way");
    running.signal(Signal::HUP);
    running.signal(Signal::INT);
    fs::remove_file(&begun).unwrap();
    running.wait().assert_code(0);
    assert_eq!(stage.history().complete().len(), 1);
}

#[test]
fn no_guard_holds_what_is_to_be_resumed() {
    let stage = Stage::with(BIN, &Tree::new().file("one", "1").file("two", "2"));
    stage.take();
    let half = stage.history().path(&hours_ago(1), ".incomplete");
    Tree::new().file("half", "written").build(&half);
    stage.run().set("minimum-time-guard-h", "20").expect(0);
    assert_eq!(stage.history().complete().len(), 2);
    assert_eq!(stage.history().incomplete().len(), 0);
    stage.assert_newest_is_source(Judge::plain());
    let top = std::fs::read_dir(stage.history().newest()).unwrap().count();
    assert_eq!(top, 1, "what is not in the source has gone");
}

#[test]
fn a_file_that_was_half_written_is_written_again() {
    let content = Tree::new().random_file("file", 1_000_000, 3).mtime(1_600_000_000, 5);
    let stage = Stage::with(BIN, &content);
    let half = stage.history().path(&hours_ago(1), ".incomplete");
    // Correct name and size, wrong bytes; the mtime is the current time, as after a kill.
    let copy = stage.inside(&half);
    Tree::new().random_file("file", 1_000_000, 4).mtime(1_700_000_000, 5).build(&copy);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_large_file_goes_on_where_a_kill_cut_it_and_begins_anew_when_it_has_changed() {
    need!(need::tool("strace"));
    let stage = Stage::new(BIN);
    big_file(&stage.source.join("large"), 128 << 20, 7);
    let cut = || {
        // The content is written in pieces of 256 KiB.
        let run = stage.run().injecting(&["write:signal=KILL:when=400"]).done();
        assert_eq!(run.code, 137, "it was killed: {}", run.said());
        assert_eq!(stage.history().incomplete().len(), 1);
    };
    let copied = || stage.counts()["bytes_copied"].as_u64().unwrap();
    cut();
    let done = stage.run().expect(0);
    done.assert_says("the copy continues from there");
    assert!(copied() < 64 << 20, "{} bytes were copied again", copied());
    stage.assert_newest_is_source(Judge::plain());

    stage.sh("rm large");
    big_file(&stage.source.join("large"), 128 << 20, 8);
    cut();
    stage.sh("printf x | dd of=large bs=1 conv=notrunc status=none");
    stage.run().expect(0);
    assert_eq!(copied(), 128 << 20);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn several_incomplete_ones_end_in_one_snapshot() {
    let stage = Stage::with(BIN, &Tree::new().file("one", "1").file("two", "2"));
    stage.take();
    for hours in [5, 4, 3] {
        let half = stage.history().path(&hours_ago(hours), ".incomplete");
        Tree::new().file("half", "written").build(&stage.inside(&half));
    }
    stage.take();
    stage.take();
    assert_eq!(stage.history().incomplete().len(), 0);
    stage.assert_newest_is_source(Judge::plain());
}

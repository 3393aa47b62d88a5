//! Killed at its system calls, one after the other: the next run completes, equals the source, and no
//! older snapshot knows of it.
//!
//! `make kills` kills at every call; every day's tests at some of each kind.

use std::path::PathBuf;
use std::process::Command;

use fixtures::calls::{CHANGING, LOOKING};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A command that is killed again and again, from the same state each time.
struct Victim {
    name: &'static str,
    /// Makes the state that it starts from, out of two snapshots less the newest.
    prepare: fn(&Stage),
    /// The command.
    command: fn(&Stage) -> Run,
}

const RUN: Victim = Victim { name: "run", prepare: |_| {}, command: Stage::run };

/// Goes on with what a run left that was killed in the middle.
const RESUME: Victim = Victim {
    name: "resume",
    prepare: |stage| {
        let killed = one_thread(stage.run(), &["utimensat:signal=KILL:when=30"]).done();
        assert_eq!(killed.code, 137, "{}", killed.said());
    },
    command: Stage::run,
};

/// Removes a snapshot that the history has no room for.
const PRUNE: Victim = Victim {
    name: "prune",
    prepare: |stage| {
        let first = stage.history().newest();
        // Two: the run after one that was killed at its very end removes another.
        for hours in [99, 98] {
            copy_links(&first, &stage.history().path(&hours_ago(hours), ""));
        }
    },
    command: |stage| stage.run().set("max-backups", "3"),
};

/// On one processor the program has one worker, and its calls come in the same order each time.
fn one_thread(run: Run, rules: &[&str]) -> Run {
    let mut words = vec!["taskset", "-c", "0", "strace", "-f", "-qqq", "-o", "/dev/null"];
    let rules: Vec<_> = rules.iter().map(|rule| format!("inject={rule}")).collect();
    for rule in &rules {
        words.extend(["-e", rule]);
    }
    run.under(&words)
}

fn copy_links(from: &PathBuf, to: &PathBuf) {
    let done = Command::new("cp").arg("-al").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "cp -al");
}

/// A source with all kinds of entries, of which some changed since its only snapshot.
fn stage() -> Stage {
    let spec = Spec { files: 170, folders: 30, largest: 30_000, root_only: need::root().is_ok() };
    let stage = Stage::with(BIN, &random_tree(5, spec));
    stage.take();
    let aged = stage.history().path(&hours_ago(50), "");
    std::fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    mutate(&stage.source, 5);
    stage
}

/// Kills `victim` at the calls that `chosen` picks of each of `kinds`; how often it was killed.
fn kill_at(victim: &Victim, kinds: &[&str], chosen: impl Fn(u64) -> bool) -> u64 {
    let stage = stage();
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    let mut kills = 0;
    for kind in kinds {
        for number in (1..).filter(|number| chosen(*number)) {
            (victim.prepare)(&stage);
            let rule = format!("{kind}:signal=KILL:when={number}");
            let killed = one_thread((victim.command)(&stage), &[&rule]).done();
            let at = format!("{} killed at {kind} {number}", victim.name);
            // syncfs is called by a child, whose death is a sync that failed.
            let hit = killed.code == if *kind == "syncfs" { 1 } else { 137 };
            assert!(hit || killed.code == 0, "{at}: {} {}", killed.code, killed.said());
            kills += u64::from(hit);
            assert!(stage.history().complete().contains(&first), "{at}: the first one is there");
            let next = (victim.command)(&stage).done();
            assert_eq!(next.code, 0, "{at}, then: {}", next.said());
            let newest = stage.inside(&stage.history().newest());
            let differences = Judge::plain().differences(&stage.source, &newest);
            assert!(differences.is_empty(), "{at}: {}", differences.join("\n"));
            assert_untouched(&first, &before);
            assert!(stage.history().incomplete().is_empty(), "{at}: nothing is left");
            assert!(stage.history().deleting().is_empty(), "{at}: nothing is left");
            // Back to where it was.
            for made in stage.history().complete().iter().filter(|path| **path != first) {
                let removed = Command::new("rm").arg("-rf").arg(made).status();
                assert!(removed.is_ok_and(|status| status.success()), "rm {}", made.display());
            }
            if killed.code == 0 {
                break;
            }
        }
    }
    println!("{}: {kills} kills", victim.name);
    kills
}

/// Kills at the calls 1, 2, 4, 8 … of each kind that changes something: the first ones set everything up,
/// the later ones are alike. With `KILLS=all` at every call of every kind.
fn survives(victim: &Victim) {
    need!(need::tool("strace"));
    if std::env::var("KILLS").as_deref() == Ok("all") {
        let kinds: Vec<_> = CHANGING.iter().chain(&LOOKING).copied().collect();
        assert!(kill_at(victim, &kinds, |_| true) > 500);
    } else {
        assert!(kill_at(victim, &CHANGING, u64::is_power_of_two) > 50);
    }
}

#[test]
fn a_run_survives_kills_at_its_calls() {
    survives(&RUN);
}

#[test]
fn a_resume_survives_kills_at_its_calls() {
    survives(&RESUME);
}

#[test]
fn a_prune_survives_kills_at_its_calls() {
    survives(&PRUNE);
}

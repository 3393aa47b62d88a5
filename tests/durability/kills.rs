//! Kills before each change: the same command completes when repeated, the result is correct, and
//! older snapshots stay unchanged.
//!
//! `make kills` kills before every change; the default test before some of each kind. A trace of
//! each command shows the changes. Reading calls leave the destination unchanged, so a kill at one
//! equals a kill before the next change.

use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::bulk::rewrite_pages;
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::{History, hours_ago};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::stage::{PREFIX, Stage};
use fixtures::strace::{Moment, moments, tracing};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A command that is killed repeatedly, from the same state each time.
struct Victim {
    name: &'static str,
    /// The processor (of two) that it runs on.
    processor: usize,
    /// Prepares the initial state, in which the source has one more change than the snapshot.
    prepare: fn(&Stage),
    /// The command.
    command: fn(&Stage) -> Run,
    /// The folder that it changes.
    place: fn(&Stage) -> PathBuf,
    /// The problems after it completed.
    wrong: fn(&Stage) -> Vec<String>,
}

const RUN: Victim = Victim {
    name: "run",
    processor: 0,
    prepare: |_| {},
    command: run,
    place: |stage| stage.backups.clone(),
    wrong: newest_is_not_source,
};

/// Resumes a run that was killed in the middle.
const RESUME: Victim = Victim {
    name: "resume",
    processor: 1,
    prepare: |stage| {
        let killed = run(stage).injecting_on(processor(1), &["utimensat:signal=KILL:when=30"]);
        let killed = killed.done();
        assert_eq!(killed.code, 137, "{}", killed.said());
    },
    ..RUN
};

/// A run whose history is full.
const FULL: Victim = Victim {
    name: "run with a full history",
    // Two, because the run after one that was killed at its very end removes another one.
    prepare: |stage| older_ones(stage, &[99, 98]),
    command: |stage| run(stage).set("max-backups", "3"),
    ..RUN
};

const PRUNE: Victim = Victim {
    name: "prune",
    processor: 1,
    prepare: |stage| older_ones(stage, &[99]),
    command: |stage| stage.look("prune").arg("--yes").set("max-backups", "1"),
    wrong: |stage| {
        let left = stage.history().complete().len();
        if left == 1 { Vec::new() } else { vec![format!("{left} snapshots are left")] }
    },
    ..RUN
};

/// Restores the source to its former state.
const RESTORE: Victim = Victim {
    name: "restore",
    processor: 1,
    prepare: |stage| {
        remove(&stage.beside("back"));
        std::fs::create_dir(stage.beside("back")).expect("a folder can be made");
        copy(&["-a"], &stage.source, &stage.beside("back/source"));
    },
    command: |stage| {
        let restore = stage.look("restore").set("to", stage.beside("back")).arg(&stage.source);
        // The snapshot was renamed by hand, so it has no report.
        restore.arg("--overwrite").arg("changed").arg("--delete").arg("--delete-anyway")
    },
    place: |stage| stage.beside("back"),
    wrong: |stage| {
        Judge::strict().differences(&stage.beside("original"), &stage.beside("back/source"))
    },
};

/// Copies the history, whose last snapshot has changes, into another folder.
const COPY: Victim = Victim {
    name: "copy",
    prepare: |stage| {
        remove(&stage.beside("copy"));
        run(stage).expect(0);
    },
    command: |stage| stage.look("copy").arg("--to").arg(stage.beside("copy")),
    place: |stage| stage.beside("copy"),
    wrong: |stage| {
        let copies = History::new(&stage.beside("copy"), PREFIX);
        let (snapshots, copied) = (stage.history().complete(), copies.complete());
        let left = copies.incomplete().len() + copies.deleting().len();
        if copied.len() != snapshots.len() || left > 0 {
            return vec![format!("{copied:?} and {left} leftovers of {snapshots:?}")];
        }
        let pairs = snapshots.iter().zip(&copied);
        pairs.flat_map(|(from, to)| Judge::strict().differences(from, to)).collect()
    },
    ..RUN
};

fn run(stage: &Stage) -> Run {
    stage.run().rsync(&["-A", "-X"])
}

fn newest_is_not_source(stage: &Stage) -> Vec<String> {
    let newest = stage.inside(&stage.history().newest());
    Judge::strict().differences(&stage.source, &newest)
}

fn older_ones(stage: &Stage, hours: &[u64]) {
    let first = stage.history().newest();
    for hours in hours {
        copy(&["-al"], &first, &stage.history().path(&hours_ago(*hours), ""));
    }
}

/// The processor `wanted`, or another one where there are fewer.
fn processor(wanted: usize) -> usize {
    wanted % std::thread::available_parallelism().map_or(1, usize::from)
}

fn copy(options: &[&str], from: &Path, to: &Path) {
    let done = Command::new("cp").args(options).arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "cp to {}", to.display());
}

fn remove(path: &Path) {
    let done = Command::new("rm").arg("-rf").arg(path).status();
    assert!(done.is_ok_and(|status| status.success()), "rm {}", path.display());
}

/// A source of 200 entries of all types with attributes, some of which changed since its only
/// snapshot.
fn stage() -> Stage {
    let spec = Spec { files: 158, folders: 30, largest: 30_000, root_only: need::root().is_ok() };
    let mut tree = random_tree(5, spec);
    for number in 0..10 {
        tree = tree.file(format!("dressed {number}"), "x").xattr("user.colour", "red");
    }
    for number in 0..2 {
        tree = tree.folder(format!("dressed folder {number}")).xattr("user.colour", "red");
    }
    let stage = Stage::with(BIN, &tree);
    run(&stage).expect(0);
    let aged = stage.history().path(&hours_ago(50), "");
    std::fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    copy(&["-a"], &stage.source, &stage.beside("original"));
    mutate(&stage.source, 5);
    for name in ["dressed 1", "dressed 2", "dressed folder 1"] {
        let set = xattr::set(stage.source.join(name), "user.colour", b"blue");
        assert!(set.is_ok(), "{name}: {set:?}");
    }
    stage
}

/// A source with a large file, of which some pages changed since its only snapshot, with the backups on `disk`.
fn sharing_stage(disk: &LoopFs) -> Stage {
    let tree = Tree::new().file("small", "x").random_file("folder/large", 3 << 20, 1);
    let stage = Stage::with(BIN, &tree).backups_in(&disk.path().join("backups"));
    run(&stage).expect(0);
    let aged = stage.history().path(&hours_ago(50), "");
    std::fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    rewrite_pages(&stage.source.join("folder/large"), 30, 2);
    stage.sh("echo y >small; echo z >new");
    stage
}

/// Repeats the command, fails the test unless everything is correct, and resets the state.
fn completes(victim: &Victim, stage: &Stage, first: &Path, before: &Fingerprint, at: &str) {
    assert!(stage.history().complete().contains(&first.to_owned()), "{at}: the first one is there");
    let next = (victim.command)(stage).done();
    assert_eq!(next.code, 0, "{at}, then: {}", next.said());
    let wrong = (victim.wrong)(stage);
    assert!(wrong.is_empty(), "{at}: {}", wrong.join("\n"));
    assert_untouched(first, before);
    assert!(stage.history().incomplete().is_empty(), "{at}: nothing is left");
    assert!(stage.history().deleting().is_empty(), "{at}: nothing is left");
    for made in stage.history().complete().iter().filter(|path| *path != first) {
        remove(made);
    }
}

/// The moments before the changes of `victim`.
fn changes_of(victim: &Victim, stage: &Stage) -> Vec<Moment> {
    (victim.prepare)(stage);
    let file = stage.beside("trace");
    let (strace, processor) = (tracing(&file), processor(victim.processor).to_string());
    let mut words = vec!["taskset", "-c", &processor];
    words.extend(strace.iter().map(String::as_str));
    let traced = (victim.command)(stage).under(&words).done();
    assert_eq!(traced.code, 0, "{}: {}", victim.name, traced.said());
    let trace = std::fs::read(&file).expect("strace writes a trace");
    let (found, missed) = moments(&String::from_utf8_lossy(&trace), &[&(victim.place)(stage)]);
    println!("{}: {} changes, and {missed} that strace cannot reach", victim.name, found.len());
    // Several threads remove a snapshot.
    assert!(missed * 5 <= found.len(), "{}: too many are out of reach", victim.name);
    found
}

/// Kills before the changes that `chosen` selects of each kind, numbered from 1.
fn survives(victim: &Victim, stage: &Stage, chosen: impl Fn(usize) -> bool) {
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    let moments = changes_of(victim, stage);
    completes(victim, stage, &first, &before, victim.name);
    let (mut kills, mut passed) = (0, 0);
    for moment in moments.iter().filter(|moment| chosen(moment.change.1 + 1)) {
        (victim.prepare)(stage);
        let rule = moment.rule();
        let killed = (victim.command)(stage);
        let killed = killed.injecting_on(processor(victim.processor), &[&rule]).done();
        let (kind, number) = moment.change;
        let at = format!("{} killed before {kind} {} ({rule})", victim.name, number + 1);
        // A child process syncs; killing it is a failed sync.
        let hit = killed.code == if moment.in_child { 1 } else { 137 };
        assert!(hit || killed.code == 0, "{at}: {} {}", killed.code, killed.said());
        (kills, passed) = if hit { (kills + 1, passed) } else { (kills, passed + 1) };
        completes(victim, stage, &first, &before, &at);
    }
    println!("{}: {kills} kills, {passed} passed by", victim.name);
    assert!(kills >= 10 && passed * 5 <= kills, "{}: the kills do not meet it", victim.name);
}

/// Kills at the changes 1, 4, 16 … of each kind: the first ones set everything up, later ones are
/// alike. With `KILLS=all` before every change.
fn survives_kills(victim: &Victim) {
    need!(need::tool("strace"));
    survives(victim, &stage(), among(&[1, 4, 16, 64, 256]));
}

/// For a command that makes most changes as another one does, which is killed at more of them: at
/// the changes 1 and 16 of each kind.
fn survives_fewer_kills(victim: &Victim) {
    need!(need::tool("strace"));
    survives(victim, &stage(), among(&[1, 16]));
}

/// Whether a change is killed at: one with one of these numbers, or each with `KILLS=all`.
fn among(numbers: &[usize]) -> impl Fn(usize) -> bool {
    let all = std::env::var("KILLS").as_deref() == Ok("all");
    move |number| all || numbers.contains(&number)
}

#[test]
fn a_run_survives_kills_before_its_changes() {
    survives_kills(&RUN);
}

#[test]
fn a_run_that_shares_blocks_with_the_base_survives_kills_before_its_changes() {
    need!(need::tool("strace"));
    for kind in ["btrfs", "xfs"] {
        let disk = need!(LoopFs::new(kind, 320, &["-q"]));
        let stage = sharing_stage(&disk);
        survives(&RUN, &stage, among(&[1, 4, 16, 64, 256]));
    }
}

#[test]
fn a_resume_survives_kills_before_its_changes() {
    survives_fewer_kills(&RESUME);
}

#[test]
fn a_run_with_a_full_history_survives_kills_before_its_changes() {
    survives_fewer_kills(&FULL);
}

#[test]
fn a_prune_survives_kills_before_its_changes() {
    survives_kills(&PRUNE);
}

#[test]
fn a_restore_survives_kills_before_its_changes() {
    survives_kills(&RESTORE);
}

#[test]
fn a_copy_survives_kills_before_its_changes() {
    survives_fewer_kills(&COPY);
}

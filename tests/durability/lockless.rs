//! Several processes on a file system without locks: FUSE, which answers each flock(2) with an
//! error. There a lease keeps two runs of one prefix apart.

use std::fs;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::{History, hours_ago};
use fixtures::judge::Judge;
use fixtures::lockless::Lockless;
use fixtures::need;
use fixtures::run::{Run, Running};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::io::Errno;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The message of a run that finds another one at work.
const BUSY: &str = "another run of this job is at work";

/// A setup on `place` with a snapshot from 50 hours ago, and a source that changed since.
fn stage(place: &Lockless) -> Stage {
    let tree = Tree::new()
        .file("one", "first")
        .random_file("folder/two", 5_000, 1)
        .random_file("folder/large", 5_000_000, 2)
        .symlink("link", "one")
        .hard_link("second name", "folder/two");
    let stage = Stage::with(BIN, &tree).backups_in(&place.path().join("backups"));
    stage.take();
    let aged = stage.history().path(&hours_ago(50), "");
    fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    stage.sh("echo changed >one; touch folder/large");
    stage
}

/// Starts a run of ten seconds or more and waits until it has started its snapshot.
#[track_caller]
fn begun(stage: &Stage) -> Running {
    let mut running = stage.run().rsync(&["--bwlimit=400"]).start();
    let at_work = || {
        let incomplete = stage.history().incomplete();
        incomplete.iter().any(|path| stage.inside(path).join("folder").exists())
    };
    assert!(running.until(at_work), "it was too fast: {}", running.wait().said());
    running
}

/// `status` of the setup's job.
fn status(stage: &Stage) -> Run {
    stage.look("status").set("srcs-to-backup", &stage.source).arg("--json")
}

/// Whether `status` reported a run at work, and a killed run.
#[track_caller]
fn states(status: Running) -> [bool; 2] {
    let said = status.wait().assert_code(0).said();
    let states: serde_json::Value = serde_json::from_str(&said).expect("one JSON object");
    ["at_work", "killed"].map(|what| states["jobs"][0][what].as_bool().expect("status reports it"))
}

/// The lock files and leases.
fn locks(stage: &Stage) -> Vec<String> {
    let left = fs::read_dir(stage.backups.join(".backup_manager/locks")).expect("a folder");
    let mut left: Vec<_> =
        left.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    left
}

/// Fails the test unless there are this many complete snapshots, all intact, and nothing else.
#[track_caller]
fn assert_whole(stage: &Stage, complete: usize) {
    let history = stage.history();
    assert_eq!(history.complete().len(), complete);
    assert!(history.incomplete().is_empty() && history.deleting().is_empty());
    stage.assert_newest_is_source(Judge::plain());
    stage.look("verify").arg("--all").expect(0);
    let left = locks(stage);
    assert!(left.iter().all(|name| name.ends_with(".lock")), "a lease goes with its run: {left:?}");
}

#[test]
fn of_two_runs_at_once_the_second_keeps_away_and_whoever_looks_sees_the_first() {
    for error in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
        let place = need!(Lockless::refusing(error));
        let stage = stage(&place);
        let older = stage.history().newest();
        let before = Fingerprint::of(&older);
        let first = begun(&stage);
        let looks = status(&stage).start();
        let dry = stage.run().arg("--dry-run").start();
        stage.run().expect(0).assert_says(BUSY);
        assert_eq!(states(looks), [true, false], "{error}");
        dry.wait().assert_code(0).assert_says(BUSY);
        let first = first.wait();
        first.assert_code(0).assert_says("the destination has no locks");
        assert_whole(&stage, 2);
        assert_untouched(&older, &before);
    }
}

#[test]
fn the_run_after_a_killed_one_resumes_when_nobody_renews_its_lease() {
    let place = need!(Lockless::refusing(Errno::NOLCK));
    let stage = stage(&place);
    let older = stage.history().newest();
    let before = Fingerprint::of(&older);
    let mut killed = begun(&stage);
    killed.signal(Signal::KILL);
    killed.wait().assert_code(137);
    assert_eq!(locks(&stage), ["my_backup.lease", "my_backup.lock"]);
    // Both wait as long as the next run does.
    let dry = stage.run().arg("--dry-run").start();
    assert_eq!(states(status(&stage).start()), [false, true]);
    let dry = dry.wait();
    assert!(!dry.assert_code(0).said().contains("at work"), "{}", dry.said());
    stage.run().expect(0).assert_says("from the interrupted run");
    assert_whole(&stage, 2);
    assert_untouched(&older, &before);
}

#[test]
fn of_several_that_find_a_lease_that_was_left_one_at_a_time_takes_over() {
    let place = need!(Lockless::refusing(Errno::OPNOTSUPP));
    let stage = stage(&place);
    let mut killed = begun(&stage);
    killed.signal(Signal::KILL);
    killed.wait().assert_code(137);
    let all: Vec<_> = (0..8).map(|_| stage.run().start()).collect();
    let said: Vec<_> = all.into_iter().map(|run| run.wait().assert_code(0).said()).collect();
    let busy = said.iter().filter(|said| said.contains(BUSY)).count();
    assert!(busy < said.len(), "{said:#?}");
    assert_whole(&stage, 1 + said.len() - busy);
}

#[test]
fn a_prune_waits_for_a_run_of_the_same_prefix_and_not_for_one_of_another() {
    let place = need!(Lockless::refusing(Errno::NOLCK));
    let stage = stage(&place);
    stage.take();
    for _ in 0..3 {
        stage.run().set("backup-name-prefix", "other").expect(0);
    }
    let other = History::new(&stage.backups, "other");
    let [newest, older] = [other.newest(), stage.history().newest()];
    let before = [&newest, &older].map(|path| Fingerprint::of(path));
    stage.sh("touch folder/large");
    let first = begun(&stage);
    let prune = |prefix: &str| {
        let prune = stage.look("prune").set("backup-name-prefix", prefix);
        prune.set("max-backups", "1").arg("--yes")
    };
    prune("other").expect(0);
    assert_eq!(other.complete(), [newest.as_path()]);
    assert!(other.deleting().is_empty());
    prune("my_backup").expect(1).assert_says("at work");
    assert_eq!(stage.history().complete().len(), 2);
    first.wait().assert_code(0);
    assert_untouched(&newest, &before[0]);
    assert_untouched(&older, &before[1]);
    assert_whole(&stage, 3);
    prune("my_backup").expect(0);
    assert_whole(&stage, 1);
}

/// Like a laptop that slept while a run of another machine started. The kernel handles locks of
/// folders here, so the other run finds the snapshot in use, and the next one completes it.
#[test]
fn a_run_that_slept_too_long_for_its_lease_seals_nothing() {
    let place = need!(Lockless::refusing(Errno::NOLCK));
    let stage = stage(&place);
    let mut first = begun(&stage);
    first.signal(Signal::STOP);
    stage.run().expect(0).assert_says(BUSY);
    first.signal(Signal::CONT);
    first.wait().assert_code(0).assert_says(BUSY);
    assert_eq!(stage.history().complete().len(), 1);
    stage.run().expect(0).assert_says("from the interrupted run");
    assert_whole(&stage, 2);
}

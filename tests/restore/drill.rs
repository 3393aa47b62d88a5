//! `drill`: a sample comes back, is compared, and leaves nothing behind, whatever happens.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use fixtures::clock::{Clock, Shift};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::loop_fs::{LoopFs, Mount};
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::run::Run;
use fixtures::sample_tree::{SOMEONE, everything, ordinary};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use rustix::process::Signal;
use serde_json::Value;

use crate::BIN;

/// `drill` with a folder for the scratch folder beside the setup.
fn drill(stage: &Stage) -> Run {
    let scratch = scratch(stage);
    fs::create_dir_all(&scratch).expect("a folder");
    stage.look("drill").set("scratch", scratch).arg("--json")
}

fn scratch(stage: &Stage) -> PathBuf {
    stage.beside("scratch")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn none_left(stage: &Stage) {
    assert_eq!(names(&scratch(stage)), Vec::<String>::new());
    let record = stage.backups.join(format!(".backup_manager/drilled/{PREFIX}.scratch"));
    assert!(!record.exists());
}

fn summary(run: &Run, code: i32) -> Value {
    run.expect(code).objects().pop().expect("a summary")
}

fn status(stage: &Stage) -> Value {
    let text = stage.look("status").arg("--json").expect(0).stdout;
    let all: Value = serde_json::from_str(&text).expect("an object");
    all["jobs"][0].clone()
}

/// Overwrites the first bytes of a file and keeps its time.
pub(crate) fn flip(path: &Path) {
    let before = fs::metadata(path).expect("it is there").modified().expect("a time");
    let mut bytes = fs::read(path).expect("it can be read");
    bytes[0] ^= 1;
    let file = fs::OpenOptions::new().write(true).open(path).expect("it can be written");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[..1], 0).expect("written");
    file.set_modified(before).expect("a time");
}

#[test]
fn a_whole_snapshot_comes_back_and_the_status_says_so() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    stage.run().rsync(&["-A", "-X"]).expect(0);
    let snapshot = stage.history().newest();
    let before = Fingerprint::of(&snapshot);
    assert_eq!(status(&stage)["last_drill"], Value::Null);
    let all = summary(&drill(&stage).arg("--sample").arg("100%"), 0);
    let files = stage.counts()["files"].as_u64().expect("a number");
    assert!(all["files"].as_u64() >= Some(files), "{all}");
    assert_eq!((&all["good"], &all["failed"]), (&all["files"], &0.into()), "{all}");
    none_left(&stage);
    assert_untouched(&snapshot, &before);
    let status = status(&stage);
    assert_eq!((&status["last_drill_passed"], &status["healthy"]), (&true.into(), &true.into()));
    assert_eq!(status["last_drill"]["seed"], all["seed"]);
    let text = stage.look("status").expect(0);
    text.assert_says("last drill").assert_says("came back as backed up");
    // The same seed chooses the same files, and at least one is chosen.
    let of = |seed: &str| {
        let few = drill(&stage).arg("--sample").arg("20%").arg("--seed").arg(seed);
        let mut few = summary(&few, 0);
        few["files"].take()
    };
    assert_eq!(of("7"), of("7"));
    assert!((1..20).any(|seed| of(&seed.to_string()) != of("7")));
    assert_eq!(summary(&drill(&stage).arg("--sample").arg("0.0001%"), 0)["files"], 1);
    // A copy of the backups folder is drilled in the same way.
    let copy = stage.beside("copy");
    stage.sh(&format!("cp -a {} {}", stage.backups.display(), copy.display()));
    let copy = drill(&stage).set("backups-dir", copy).arg("--sample").arg("100%");
    assert_eq!(summary(&copy, 0)["good"], all["good"]);
}

#[test]
fn what_does_not_come_back_fails_the_drill_and_is_reported() {
    let tree = Tree::new()
        .random_file("folder/content", 30_000, 1)
        .file("folder/mode", "x")
        .file("truncated", "truncated")
        .symlink("link", "target")
        .file("good", "good");
    for (damaged, damage) in [
        ("folder/content", (|at: &Path| flip(at)) as fn(&Path)),
        ("folder/mode", |at| {
            fs::set_permissions(at, fs::Permissions::from_mode(0o600)).expect("a mode");
        }),
        ("truncated", |at| fs::write(at, "tru").expect("written")),
        ("link", |at| {
            fs::remove_file(at).expect("removed");
            symlink("elsewhere", at).expect("a link");
        }),
    ] {
        let stage = Stage::with(BIN, &tree);
        let newest = stage.take();
        damage(&stage.inside(&newest).join(damaged));
        let done = drill(&stage).arg("--sample").arg("100%").expect(4);
        done.assert_says("the restore drill of");
        let objects = done.objects();
        let paths: Vec<_> = objects.iter().filter(|one| one["type"] == "finding").collect();
        assert_eq!(paths.len(), 1, "{damaged}: {objects:?}");
        let path = paths[0]["source"].as_str().unwrap_or_default();
        assert!(path.ends_with(damaged), "{damaged}: {objects:?}");
        assert_eq!(objects[objects.len() - 1]["good"], 4, "{damaged}: {objects:?}");
        none_left(&stage);
        let status = status(&stage);
        assert_eq!(
            (&status["healthy"], &status["last_drill_passed"]),
            (&false.into(), &false.into())
        );
        stage.look("status").arg("--check").expect(1).assert_says("the restore drill of");
        // The next run writes it to the metrics.
        stage.run().expect(0);
        let metrics = fs::read_to_string(stage.backups.join(".backup_manager/metrics.prom"));
        let metrics = metrics.expect("metrics");
        let lines = metrics.lines().filter(|line| line.contains("last_drill_success{"));
        assert!(lines.clone().all(|line| line.ends_with(" 0")) && lines.count() == 1, "{metrics}");
        // A drill that passes ends it.
        stage.sh("for file in folder/* truncated good; do echo more >>$file; done");
        stage.run().expect(0);
        drill(&stage).arg("--sample").arg("100%").expect(0);
        stage.look("status").arg("--check").expect(0);
    }
}

#[test]
fn other_content_in_an_unchanged_source_is_listed() {
    let clock = need!(Clock::new());
    let stage = Stage::with(BIN, &Tree::new().file("file", "content").file("other", "other"));
    // The change time of the source is before the run, whose clock is ahead.
    clock.shifted(stage.run(), Shift::By(3600)).expect(0);
    flip(&stage.source.join("file"));
    let done = drill(&stage).arg("--sample").arg("100%").expect(3);
    let [finding, summary] = &done.objects()[..] else { panic!("{}", done.said()) };
    assert_eq!((&finding["fault"], &summary["with_source"]), (&"differs".into(), &1.into()));
    // What has another time was changed, and is not compared.
    fs::write(stage.source.join("file"), "CONTENT").expect("written");
    let summary = self::summary(&drill(&stage).arg("--sample").arg("100%"), 0);
    assert_eq!(summary["with_source"], 1, "{summary}");
}

#[test]
fn the_scratch_folder_goes_also_after_a_signal_or_a_kill_and_nothing_else_does() {
    let mut tree = Tree::new();
    for number in 0..2_000_u64 {
        tree = tree.random_file(format!("{}/{number}", number % 40), 20_000, number);
    }
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let whole = drill(&stage).arg("--sample").arg("100%");
    let beside = scratch(&stage).join("backup_manager.drill.1.2.3");
    fs::create_dir(&beside).expect("a folder");
    fs::write(beside.join("file"), "x").expect("a file");
    let left = || names(&scratch(&stage));
    let record = stage.backups.join(format!(".backup_manager/drilled/{PREFIX}.scratch"));
    let at_work = || left().len() > 1 && record.exists();
    let mut running = whole.start();
    wait_for("the scratch folder", || format!("{:?}", left()), at_work);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, 143);
    assert_eq!(left(), ["backup_manager.drill.1.2.3"]);
    assert_eq!(status(&stage)["last_drill"], Value::Null, "no result of a stopped drill");
    // A second drill of the same snapshots does nothing, and leaves the folder of the first one alone.
    let mut running = whole.start();
    wait_for("the scratch folder", || format!("{:?}", left()), at_work);
    running.signal(Signal::STOP);
    whole.expect(0).assert_says("another drill is at work in");
    running.signal(Signal::KILL);
    running.wait();
    assert_eq!(left().len(), 2, "the folder of the killed drill");
    drill(&stage).expect(0);
    assert_eq!(left(), ["backup_manager.drill.1.2.3"]);
    assert!(beside.join("file").exists());
}

#[test]
fn a_drill_that_cannot_be_done_says_why_and_is_not_a_pass() {
    need!(need::root());
    let small = need!(LoopFs::ext4(8));
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 30_000_000, 1));
    stage.take();
    let done = drill(&stage).set("scratch", small.path()).expect(1);
    done.assert_says("the sample needs").assert_says("--scratch");
    assert_eq!(names(small.path()), ["lost+found"]);
    stage.look("status").arg("--check").expect(1).assert_says("could not be done");
    drill(&stage).set("scratch", stage.beside("none")).expect(1).assert_says("cannot open");
    assert!(!stage.beside("none").exists());
    let inside = drill(&stage).set("scratch", &stage.backups).expect(2);
    inside.assert_says("lies in the backups folder");
    // Somebody else's symlink on the way is not followed.
    let (open, link) = (stage.beside("open"), stage.beside("open/link"));
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("a mode");
    symlink(scratch(&stage), &link).expect("a link");
    std::os::unix::fs::lchown(&link, Some(SOMEONE), Some(SOMEONE)).expect("an owner");
    drill(&stage).set("scratch", &link).expect(1).assert_says("is not followed");
    drill(&stage).set("scratch", link.join("below")).expect(1).assert_says("is not followed");
    none_left(&stage);
}

#[test]
fn backups_that_this_user_may_only_read_are_drilled() {
    need!(need::root());
    let stage = Stage::with(BIN, &ordinary());
    stage.take();
    let mounted = stage.beside("mounted");
    fs::create_dir(&mounted).expect("a folder");
    let mounted = need!(Mount::bind(&stage.backups, &mounted));
    stage.sh(&format!("mount -o remount,ro,bind {}", mounted.path().display()));
    let run = drill(&stage).set("backups-dir", mounted.path()).arg("--sample").arg("100%");
    let done = run.expect(0);
    assert_eq!(done.lines_with("cannot"), 0, "{}", done.said());
    none_left(&stage);
}

#[test]
fn an_ordinary_user_drills_what_it_cannot_restore_completely() {
    need!(need::root());
    let tree = ordinary().file("theirs", "x").owner(7, 8).mode(0o644);
    let stage = Stage::with(BIN, &tree);
    stage.sh(&format!("chown -h {SOMEONE}:{SOMEONE} file 'empty file' 'no rights for others'"));
    stage.run_as(SOMEONE).expect(0);
    let run = drill(&stage).arg("--sample").arg("100%");
    chown(scratch(&stage), Some(SOMEONE), Some(SOMEONE)).expect("an owner");
    let run = run.program(&stage.beside("backup_manager")).as_user(SOMEONE);
    let summary = summary(&run, 0);
    assert_eq!(summary["good"], summary["files"], "{summary}");
    assert!(summary["partly"].as_u64() > Some(0), "{summary}");
    none_left(&stage);
}

#[test]
fn no_snapshot_and_an_empty_one() {
    let stage = Stage::new(BIN);
    drill(&stage).expect(2).assert_says("there is no complete snapshot");
    stage.take();
    assert_eq!(summary(&drill(&stage), 0)["files"], 0);
}

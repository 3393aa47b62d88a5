//! `prune`, `hold`, `release`, and the periods that a run keeps.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const STAMPS: [&str; 6] = [
    "31-12-2024_02-00-00",
    "30-11-2025_02-00-00",
    "31-12-2025_02-00-00",
    "01-03-2026_02-00-00",
    "02-03-2026_02-00-00",
    "02-03-2026_14-00-00",
];

/// A history of small snapshots, as a user or rsync may have made them.
fn stage() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("one", "first"));
    for stamp in STAMPS {
        let folder = stage.history().path(stamp, "");
        fs::create_dir_all(folder.join("folder")).expect("make a snapshot");
        fs::write(folder.join("folder/file"), stamp).expect("fill it");
    }
    for other in ["my_backup2.01-01-2020_00-00-00", "my_backup.old", "my_backup.1-2-2020_00-00-00"]
    {
        fs::create_dir(stage.backups.join(other)).expect("make a folder");
    }
    stage
}

/// The times of the complete snapshots.
fn left(stage: &Stage) -> Vec<String> {
    let stamp = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_prefix("my_backup.").unwrap_or_default().to_owned()
    };
    stage.history().complete().into_iter().map(stamp).collect()
}

/// The bytes that a file or a folder with its content occupies, which depends on the file system.
fn allocated(path: &Path) -> u64 {
    let own = fs::symlink_metadata(path).expect("it is there");
    let inside: u64 = if own.is_dir() {
        let names = fs::read_dir(path).expect("it can be read");
        names.map(|entry| allocated(&entry.expect("it can be read").path())).sum()
    } else {
        0
    };
    own.blocks() * 512 + inside
}

fn prune(stage: &Stage) -> fixtures::run::Run {
    stage.look("prune").set("backup-name-prefix", "my_backup")
}

#[test]
fn it_shows_what_would_go_and_why_and_does_so_when_told() {
    let stage = stage();
    let before = Fingerprint::of(&stage.backups);
    let rules = || prune(&stage).set("keep-daily", "2").set("keep-yearly", "3");
    let done = rules().expect(0);
    assert_untouched(&stage.backups, &before);
    done.assert_says("2 of 6 snapshots would go and free");
    done.assert_says("my_backup.31-12-2025_02-00-00").assert_says("yearly");
    assert_eq!(done.lines_with("would go  no KEEP_ rule keeps it"), 2, "{}", done.stdout);
    let fates = rules().arg("--json").expect(0).objects();
    assert_eq!((fates.len(), &fates[6]["to_remove"]), (7, &2.into()));
    let freed = fates[6]["bytes_freed"].as_u64().unwrap();
    let gone = [STAMPS[1], STAMPS[4]].map(|stamp| stage.history().path(stamp, ""));
    assert_eq!(freed, gone.iter().map(|path| allocated(path)).sum::<u64>());
    rules().arg("--yes").expect(0).assert_says("removed my_backup.30-11-2025_02-00-00");
    assert_eq!(left(&stage), [STAMPS[0], STAMPS[2], STAMPS[3], STAMPS[5]]);
    rules().arg("--yes").expect(0).assert_says("nothing to remove");
    for other in ["my_backup2.01-01-2020_00-00-00", "my_backup.old", "my_backup.1-2-2020_00-00-00"]
    {
        assert!(stage.backups.join(other).exists(), "{other} is no snapshot of the job");
    }
    assert!(stage.history().deleting().is_empty());
}

#[test]
fn one_from_the_future_is_shown_as_such() {
    let stage = stage();
    fs::create_dir(stage.history().path("01-01-2999_00-00-00", "")).unwrap();
    prune(&stage).expect(0).assert_says("from the future");
}

#[test]
fn without_any_setting_nothing_goes() {
    let stage = stage();
    prune(&stage).arg("--yes").expect(0).assert_says("nothing to remove");
    assert_eq!(left(&stage), STAMPS);
    prune(&stage).set("max-backups", "5").arg("--yes").expect(0);
    assert_eq!(left(&stage), STAMPS[1..]);
}

#[test]
fn a_run_keeps_the_periods_but_only_after_a_whole_new_snapshot() {
    let stage = stage();
    let rules = |stage: &Stage| stage.run().set("keep-last", "2").set("keep-yearly", "2");
    let preview = rules(&stage).arg("--dry-run").arg("--json").expect(0).objects();
    assert_eq!(preview.last().unwrap()["would_delete"].as_array().unwrap().len(), 4);
    rules(&stage).set("srcs-to-backup", stage.beside("none")).expect(1);
    assert_eq!(left(&stage), STAMPS, "a run that failed removes nothing");
    rules(&stage).expect(0).assert_says("no KEEP_ rule keeps it");
    let now = left(&stage);
    assert_eq!(now[..2], [STAMPS[2], STAMPS[5]], "the newest of its year, and one of the last two");
    assert_eq!(now.len(), 3, "{now:?}");
}

#[test]
fn held_snapshots_stay_and_do_not_count() {
    let stage = stage();
    stage
        .look("hold")
        .set("backup-name-prefix", "my_backup")
        .arg("oldest")
        .arg("2025-11-30")
        .expect(0);
    stage.run().set("max-backups", "2").expect(0);
    let now = left(&stage);
    assert_eq!(now[..3], [STAMPS[0], STAMPS[1], STAMPS[5]]);
    assert_eq!(now.len(), 4, "two held, two kept");
    let oldest = format!("my_backup.{}", STAMPS[0]);
    prune(&stage).set("max-backups", "2").arg("--yes").expect(0).assert_says("nothing to remove");
    prune(&stage).arg(&oldest).arg("--yes").expect(2).assert_says("is held");
    stage.look("release").arg(&oldest).expect(0).assert_says("no longer held");
    stage.look("release").arg(&oldest).expect(0).assert_says("was not held");
    prune(&stage).arg(&oldest).expect(0).assert_says("add --yes to remove it\n");
    prune(&stage)
        .arg(&oldest)
        .arg("--yes")
        .expect(0)
        .assert_says("removing 1 of 1 snapshot frees ");
    assert_eq!(left(&stage), now[1..]);
}

#[test]
fn a_full_history_of_held_ones_gives_none_of_them_away() {
    let stage = stage();
    for stamp in &STAMPS[..5] {
        stage.look("hold").arg(format!("my_backup.{stamp}")).expect(0);
    }
    stage.run().set("max-backups", "1").expect(0);
    assert_eq!(left(&stage)[..5], STAMPS[..5]);
    assert_eq!(left(&stage).len(), 6);
}

#[test]
fn named_ones_go_but_never_the_last() {
    let stage = stage();
    let newest = stage.take();
    let report =
        stage.backups.join(".backup_manager/reports").join(Path::new(newest.file_name().unwrap()));
    let report = PathBuf::from(format!("{}.json", report.display()));
    assert!(report.exists());
    prune(&stage).arg("latest").arg("latest~1").expect(0).assert_says("2 of 2 snapshots would go");
    prune(&stage).arg("latest").arg("2026-03-02").arg("--yes").expect(0);
    assert_eq!(left(&stage), STAMPS[..5]);
    assert!(!report.exists(), "its report goes with it");
    let wrong = format!("my_backup.{}", "31-12-2025_02-00-01");
    prune(&stage).arg(&wrong).arg("--yes").expect(2).assert_says(STAMPS[2]);
    let mut all = prune(&stage).arg("--yes");
    for stamp in &STAMPS[..5] {
        all = all.arg(stamp);
    }
    all.expect(2).assert_says("is the last intact complete snapshot");
    assert_eq!(left(&stage), STAMPS[..5]);
    stage.assert_runs_on();
}

trait RunsOn {
    fn assert_runs_on(&self);
}

impl RunsOn for Stage {
    /// The next run works as usual.
    fn assert_runs_on(&self) {
        self.take();
        self.assert_newest_is_source(fixtures::judge::Judge::plain());
    }
}

#[test]
fn an_interrupted_one_can_be_given_up_by_its_whole_name() {
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 60_000_000, 1));
    stage.take();
    stage.sh("touch large");
    let mut running = stage.run().start();
    assert!(running.until(|| !stage.history().incomplete().is_empty()), "it begins");
    running.signal(Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let name = stage.history().incomplete()[0].file_name().unwrap().to_string_lossy().into_owned();
    prune(&stage).arg(&name).arg("--yes").expect(1).assert_says("a run of this job is at work");
    assert_eq!(stage.history().incomplete().len(), 1);
    running.signal(Signal::KILL);
    running.wait();
    prune(&stage).arg(&name).arg("--yes").expect(0).assert_says("gave up");
    assert!(stage.history().incomplete().is_empty());
    stage.assert_runs_on();
}

#[test]
fn the_rest_of_an_interrupted_removal_is_removed_with_the_next_one() {
    let stage = stage();
    let left_over = stage.history().path(STAMPS[0], ".deleting");
    fs::rename(stage.history().path(STAMPS[0], ""), &left_over).unwrap();
    prune(&stage).expect(0);
    assert!(left_over.exists(), "nothing goes without --yes");
    prune(&stage).arg("--yes").expect(0).assert_says("my_backup.31-12-2024_02-00-00.deleting");
    assert!(!left_over.exists());
    assert_eq!(left(&stage), STAMPS[1..]);
}

#[test]
fn a_damaged_one_does_not_count_and_is_outlived() {
    let stage = stage();
    let marks = stage.backups.join(".backup_manager/damaged");
    fs::create_dir_all(&marks).unwrap();
    for stamp in [STAMPS[0], STAMPS[4]] {
        fs::write(marks.join(format!("my_backup.{stamp}")), "").unwrap();
    }
    stage.look("list").expect(0).assert_says("damaged");
    prune(&stage).set("max-backups", "2").arg("--yes").expect(0);
    assert_eq!(left(&stage), [STAMPS[3], STAMPS[4], STAMPS[5]]);
}

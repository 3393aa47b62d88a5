//! Minimum time, lock, history, and the snapshots of a job: which runs do nothing, and which
//! snapshots go.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::{History, hours_ago, sort_key};
use fixtures::judge::Judge;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new().file("one", "first").random_file("folder/two", 5_000, 1).symlink("link", "one")
}

/// Renames the newest snapshot to one this many hours ago.
fn age(stage: &Stage, hours: u64) -> PathBuf {
    let aged = stage.history().path(&hours_ago(hours), "");
    fs::rename(stage.history().newest(), &aged).expect("rename a snapshot");
    aged
}

#[test]
fn a_young_snapshot_holds_the_next_run() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let before = Fingerprint::of(&stage.backups);
    for hours in ["20", "0.5", "0.1"] {
        let done = stage.run().set("minimum-time-guard-h", hours).expect(0);
        assert!(!done.said().is_empty(), "it says so");
        assert_eq!(stage.history().complete().len(), 1, "guard of {hours} hours");
    }
    let default = stage.run().unset("minimum-time-guard-h").expect(0);
    default.assert_says("20");
    assert_eq!(stage.history().complete().len(), 1, "the default guard");
    let now = Fingerprint::of(&stage.backups).changes_since(&before);
    let now: Vec<_> = now.into_iter().filter(|line| !line.contains(".backup_manager")).collect();
    assert_eq!(now, Vec::<String>::new());
}

#[test]
fn now_takes_a_snapshot_once_and_a_run_that_waits_names_it() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    // This zone has no daylight saving time.
    let guarded = || stage.run().unset("minimum-time-guard-h").env("TZ", "Asia/Kolkata");
    let held = guarded().expect(0);
    held.assert_says("nothing to do: my_backup.")
        .assert_says(" IST (MINIMUM_TIME_GUARD_H=20); run --now takes one at once")
        .assert_says(" IST INFO  my_backup: nothing to do");
    let hours_later = chrono::Utc::now() + chrono::TimeDelta::minutes(20 * 60 + 5 * 60 + 30);
    held.assert_says(&hours_later.format("due at %Y-%m-%d %H:").to_string());
    guarded()
        .arg("--dry-run")
        .expect(0)
        .assert_says(" IST (MINIMUM_TIME_GUARD_H); --now does not wait");
    let dry = guarded().arg("--dry-run").arg("--now").expect(0);
    assert!(!dry.said().contains("right now"), "{}", dry.said());
    assert_eq!(stage.history().complete().len(), 1);
    guarded().arg("--now").expect(0).assert_says("completed my_backup.");
    assert_eq!(stage.history().complete().len(), 2);
    guarded().expect(0).assert_says("nothing to do");
    guarded().arg("--now").arg("--explain=one").expect(2);
    // A time with an offset for a zone without a name, and UTC without a zone.
    guarded().env("TZ", "XST-3").expect(0).assert_says(" +03:00 (MINIMUM_TIME_GUARD_H=20)");
    let json = guarded().set("log-format", "json").expect(0).objects().pop().expect("a line");
    let next = json["next"].as_str().unwrap_or_default().to_owned();
    assert!(
        next.ends_with('Z') && json["time"].as_str().unwrap_or_default().ends_with('Z'),
        "{json}"
    );
}

#[test]
fn an_old_snapshot_does_not_hold_it() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    age(&stage, 3);
    stage.run().set("minimum-time-guard-h", "3.5").expect(0);
    assert_eq!(stage.history().complete().len(), 1);
    stage.run().set("minimum-time-guard-h", "2.5").expect(0);
    assert_eq!(stage.history().complete().len(), 2);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_snapshot_from_the_future_is_reported_and_stops_nothing() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let future = stage.history().path("01-02-2190_03-04-05", "");
    fs::rename(stage.history().newest(), &future).unwrap();
    let before = Fingerprint::of(&future);
    stage.run().unset("minimum-time-guard-h").expect(0).assert_says("01-02-2190_03-04-05");
    assert_eq!(stage.history().complete().len(), 2);
    stage.run().expect(0).assert_says("01-02-2190_03-04-05");
    assert_eq!(stage.history().complete().len(), 3);
    assert_untouched(&future, &before);
    // The newest by name is not today's; the one taken last must equal the source.
    for snapshot in stage.history().complete() {
        Judge::plain().assert_same(&stage.source, &stage.inside(&snapshot));
    }
}

#[test]
fn the_snapshot_just_taken_stays_though_one_from_the_future_is_newer_by_name() {
    for limit in ["1", "2"] {
        let stage = Stage::with(BIN, &sample());
        stage.take();
        let future = stage.history().path("01-02-2190_03-04-05", "");
        fs::rename(stage.history().newest(), &future).unwrap();
        for content in ["second", "third"] {
            stage.sh(&format!("printf {content} >one"));
            stage.run().set("max-backups", limit).expect(0);
            let newest = stage.history().complete().into_iter().rfind(|path| *path != future);
            let newest = newest.expect("the snapshot just taken is there");
            Judge::plain().assert_same(&stage.source, &stage.inside(&newest));
        }
    }
}

#[test]
fn of_two_runs_at_once_the_second_says_so_and_does_nothing() {
    let stage = Stage::with(BIN, &sample().random_file("large", 60_000_000, 1));
    let mut first = stage.run().start();
    assert!(first.until(|| !stage.history().incomplete().is_empty()), "it begins");
    first.signal(Signal::STOP);
    // The signal reaches each of its threads.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let before = Fingerprint::of(&stage.backups);
    let second = stage.run().expect(0);
    second.assert_says("another run");
    assert_untouched(&stage.backups, &before);
    first.signal(Signal::CONT);
    first.wait().assert_code(0);
    assert_eq!(stage.history().complete().len(), 1);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn runs_of_different_prefixes_do_not_wait_for_each_other() {
    let stage = Stage::with(BIN, &sample().random_file("large", 60_000_000, 1));
    let mut first = stage.run().start();
    assert!(first.until(|| !stage.history().incomplete().is_empty()), "it begins");
    first.signal(Signal::STOP);
    stage.run().set("backup-name-prefix", "other").expect(0);
    assert_eq!(History::new(&stage.backups, "other").complete().len(), 1);
    first.signal(Signal::CONT);
    first.wait().assert_code(0);
}

#[test]
fn the_lock_of_a_killed_run_holds_nobody() {
    let stage = Stage::with(BIN, &sample().random_file("large", 60_000_000, 1));
    let mut first = stage.run().start();
    assert!(first.until(|| !stage.history().incomplete().is_empty()), "it begins");
    first.signal(Signal::KILL);
    first.wait();
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn the_oldest_goes_when_the_history_is_full() {
    let stage = Stage::with(BIN, &sample());
    let mut made = Vec::new();
    for hours in [50, 40, 30, 20, 10] {
        stage.run().set("max-backups", "3").expect(0);
        made.push(age(&stage, hours));
        let kept = &made[made.len().saturating_sub(3)..];
        assert_eq!(stage.history().complete(), kept, "after {} runs", made.len());
        assert_eq!(stage.history().deleting(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_smaller_limit_takes_effect_at_once() {
    let stage = Stage::with(BIN, &sample());
    for hours in [50, 40, 30, 20, 10] {
        stage.take();
        age(&stage, hours);
    }
    let done = stage.run().set("max-backups", "2").expect(0);
    assert_eq!(stage.history().complete().len(), 2);
    done.assert_says(&hours_ago(50)[..10]);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_history_of_one_is_replaced_only_by_a_whole_new_one() {
    let stage = Stage::with(BIN, &sample().random_file("large", 40_000_000, 1));
    stage.take();
    let old = age(&stage, 30);
    stage.sh("printf x >>large");
    let run = stage.run().set("max-backups", "1");
    let mut running = run.start();
    running.until(|| {
        assert!(!stage.history().complete().is_empty(), "at every moment a whole one is there");
        false
    });
    running.wait().assert_code(0);
    assert!(!old.exists());
    assert_eq!(stage.history().complete().len(), 1);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_failed_run_removes_nothing() {
    let stage = Stage::with(BIN, &sample());
    for hours in [50, 40, 30] {
        stage.take();
        age(&stage, hours);
    }
    let before = stage.history().complete();
    fs::rename(&stage.source, stage.beside("moved away")).unwrap();
    stage.run().set("max-backups", "1").expect(1);
    assert_eq!(stage.history().complete(), before);
}

/// Creates entries that resemble snapshots but do not belong to this job.
fn strangers(backups: &Path) -> Vec<PathBuf> {
    let folders = [
        "my_backup.99-12-2020_13-32-58",
        "my_backup.07-12-2020_13-32-5",
        "my_backup.07-12-2020_13-32-58.old",
        "my_backup.07-12-2020_13-32-58.deleting.deleting",
        "my_backup2.07-12-2020_13-32-58",
        "other.07-12-2020_13-32-58",
        "other.07-12-2020_13-32-59.deleting",
        "other.07-12-2020_13-32-57.incomplete",
        "xmy_backup.07-12-2020_13-32-58",
        "my_backup",
        "lost+found",
        "2020-12-07",
    ];
    let mut paths: Vec<_> = folders.iter().map(|name| backups.join(name)).collect();
    for path in &paths {
        fs::create_dir(path).expect("a folder");
        fs::write(path.join("file"), "not yours").expect("a file");
    }
    let outside = backups.join("lost+found");
    for name in ["my_backup.01-01-2001_01-01-01", "my_backup.01-01-2001_01-01-02.deleting"] {
        std::os::unix::fs::symlink(&outside, backups.join(name)).expect("a symlink");
        paths.push(backups.join(name));
    }
    let file = backups.join("my_backup.01-01-2001_01-01-03");
    fs::write(&file, "a file of that name").expect("a file");
    paths.push(file);
    paths
}

#[test]
fn folders_of_other_jobs_are_never_touched() {
    let stage = Stage::with(BIN, &sample());
    let strangers = strangers(&stage.backups);
    let before: Vec<_> = strangers
        .iter()
        .map(|path| (path, fs::symlink_metadata(path).unwrap().modified().unwrap()))
        .collect();
    let inside = Fingerprint::of(&stage.backups.join("lost+found"));
    for hours in [30, 20, 10] {
        stage.run().set("max-backups", "1").expect(0);
        age(&stage, hours);
    }
    for (path, time) in before {
        let now = fs::symlink_metadata(path).unwrap().modified().unwrap();
        assert_eq!(now, time, "{}", path.display());
    }
    assert_untouched(&stage.backups.join("lost+found"), &inside);
    for path in strangers.iter().filter(|path| path.is_dir()) {
        assert!(path.join("file").exists(), "{}", path.display());
    }
}

#[test]
fn the_removal_that_another_run_began_is_finished() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.take();
    let [old, _] = &stage.history().complete()[..] else { unreachable!("two snapshots") };
    let mut leftover = old.clone().into_os_string();
    leftover.push(".deleting");
    fs::rename(old, &leftover).unwrap();
    fs::remove_file(Path::new(&leftover).join(stage.inside(Path::new("")).join("one"))).unwrap();
    // A run within the minimum time removes it as well.
    let done = stage.run().set("minimum-time-guard-h", "20").expect(0);
    done.assert_says(".deleting");
    assert_eq!(stage.history().deleting(), Vec::<PathBuf>::new());
    assert_eq!(stage.history().complete().len(), 1);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn leftovers_that_forbid_to_be_entered_go_too() {
    let stage = Stage::with(BIN, &sample());
    let leftover = stage.history().path(&hours_ago(99), ".deleting");
    Tree::new()
        .file("closed/inner/file", "x")
        .folder("closed")
        .mode(0)
        .folder("closed/inner")
        .mode(0)
        .file("read only", "x")
        .mode(0o400)
        .symlink("link", "/etc")
        .build(&leftover);
    fixtures::need!(fixtures::need::root());
    std::process::Command::new("chown").args(["-hR", "12345"]).arg(&leftover).status().unwrap();
    stage.run_as(12_345).expect(0);
    assert!(!leftover.exists());
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn each_snapshot_has_a_report_that_goes_with_it() {
    let stage = Stage::with(BIN, &sample());
    for round in 1..=5 {
        stage.run().set("max-backups", "3").expect(0);
        let report = stage.history().report(&stage.history().newest());
        assert_eq!(report["version"], 1);
        assert_eq!(report["counts"]["files"], 2, "{report}");
        assert!(report["counts"]["entries"].as_u64() >= Some(4), "{report}");
        let reports = stage.history().reports();
        let complete = stage.history().complete();
        assert_eq!(reports.len(), complete.len(), "after {round} runs");
        for snapshot in &complete {
            assert_eq!(stage.history().report(snapshot)["version"], 1);
        }
    }
}

#[test]
fn runs_in_one_second_get_names_of_their_own() {
    let stage = Stage::with(BIN, &sample());
    for count in 1..=6 {
        stage.take();
        assert_eq!(stage.history().complete().len(), count);
    }
    let names: Vec<_> = stage.history().complete();
    let keys: Vec<_> = names
        .iter()
        .filter_map(|path| sort_key(path.file_name()?.to_str()?.strip_prefix("my_backup.")?))
        .collect();
    assert_eq!(keys.len(), 6);
    assert!(keys.is_sorted());
}

#[test]
fn the_backups_folder_is_made_where_it_is_missing() {
    let stage = Stage::with(BIN, &sample());
    let folder = stage.beside("new");
    stage.run().set("backups-dir", &folder).expect(0);
    assert_eq!(History::new(&folder, "my_backup").complete().len(), 1);
}

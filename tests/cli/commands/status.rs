//! `status`: what it reports about a job, and when a job is unhealthy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// `status` with the settings of the setup's runs.
fn status(stage: &Stage) -> Run {
    Run::new(BIN)
        .env("CONFIG_DIR", stage.beside("config"))
        .arg("status")
        .set("srcs-to-backup", &stage.source)
        .set("backups-dir", &stage.backups)
        .set("minimum-time-guard-h", "20")
}

fn json(stage: &Stage) -> serde_json::Value {
    let said = status(stage).arg("--json").expect(0).stdout;
    serde_json::from_str(&said).expect("one JSON object")
}

#[track_caller]
fn healthy(run: &Run) -> Done {
    let done = run.clone().arg("--check").expect(0);
    done.assert_says("my_backup: healthy");
    done
}

#[track_caller]
fn unhealthy(run: &Run, reason: &str) {
    let done = run.clone().arg("--check").expect(1);
    done.assert_says("my_backup: UNHEALTHY").assert_says(reason);
}

fn sample() -> Stage {
    Stage::with(BIN, &Tree::new().file("file", "1").random_file("large", 100_000, 1))
}

/// Gives the newest snapshot a time in 2023.
fn age(stage: &Stage) -> PathBuf {
    let old = stage.backups.join("my_backup.07-12-2023_13-32-58");
    fs::rename(stage.history().newest(), &old).expect("renamed");
    old
}

#[test]
fn a_fresh_snapshot_is_healthy_and_an_old_one_is_not() {
    let stage = sample();
    unhealthy(&status(&stage), "there is no snapshot yet");
    stage.take();
    healthy(&status(&stage));
    let text = status(&stage).expect(0);
    for part in [
        "newest       my_backup.",
        "1 of at most 30",
        "last run     completed, ",
        "free space",
        "not known",
    ] {
        text.assert_says(part);
    }
    text.assert_says("a run takes a snapshot from ");
    let shown = json(&stage);
    assert_eq!(shown["healthy"], true);
    assert_eq!(shown["jobs"][0]["snapshots"], 1);
    assert_eq!(shown["jobs"][0]["last_run"]["outcome"], "completed");
    assert!(shown["jobs"][0]["space"]["free_bytes"].as_u64() > Some(0));
    age(&stage);
    // The minimum time plus one day.
    unhealthy(&status(&stage), "more than 1 d 20 h (MAX_AGE_H)");
    healthy(&status(&stage).env("MAX_AGE_H", "800000"));
    unhealthy(&status(&stage).set("max-age-h", "1"), "more than 1 h 0 min (MAX_AGE_H)");
    status(&stage).expect(0).assert_says("my_backup: UNHEALTHY");
}

#[test]
fn runs_that_fail_in_a_row_are_an_alert_until_one_does_not() {
    let stage = sample();
    stage.take();
    fs::rename(&stage.source, stage.beside("away")).expect("renamed");
    for _ in 0..2 {
        stage.run().expect(1);
        healthy(&status(&stage));
    }
    stage.run().expect(1);
    unhealthy(&status(&stage), "the last 3 runs failed");
    healthy(&status(&stage).env("FAILURES_BEFORE_ALERT", "4"));
    assert_eq!(json(&stage)["jobs"][0]["failures_in_a_row"], 3);
    fs::rename(stage.beside("away"), &stage.source).expect("renamed");
    stage.take();
    healthy(&status(&stage));
}

#[test]
fn a_killed_run_is_known_and_counts_as_a_failure() {
    need!(need::tool("strace"));
    let stage = sample();
    for times_set in [4, 1] {
        let _ = stage.run().killed_at_time(times_set).done();
    }
    assert_eq!(stage.history().incomplete().len(), 1);
    let shown = json(&stage);
    assert_eq!(shown["jobs"][0]["failures_in_a_row"], 2);
    assert_eq!(shown["jobs"][0]["killed"], true);
    assert_eq!(shown["jobs"][0]["at_work"], false);
    let text = status(&stage).expect(0);
    text.assert_says("was killed, or the machine went down");
    text.assert_says("the next run resumes it; ");
    text.assert_says("a run takes a snapshot at once");
    unhealthy(&status(&stage).set("failures-before-alert", "2"), "it was killed");
    stage.run().expect(0);
    healthy(&status(&stage).set("failures-before-alert", "1"));
}

#[test]
fn a_run_at_work_is_seen_and_not_disturbed() {
    need!(need::tool("strace"));
    let stage = sample();
    // Each sync takes a while.
    let slow = stage.run().injecting(&["syncfs:delay_enter=2000000"]);
    let mut running = slow.start();
    assert!(running.until(|| !stage.history().incomplete().is_empty()));
    std::thread::sleep(Duration::from_millis(200));
    let shown = json(&stage);
    assert_eq!(shown["jobs"][0]["at_work"], true, "{shown:#}");
    assert_eq!(shown["healthy"], true);
    status(&stage).expect(0).assert_says("a run is at work");
    running.wait().assert_code(0);
    assert_eq!(json(&stage)["jobs"][0]["at_work"], false);
}

#[test]
fn the_crontab_determines_the_next_time_and_since_when_snapshots_are_expected() {
    let stage = sample();
    let config = stage.beside("config");
    fs::create_dir(&config).expect("made");
    let crontab = config.join("crontab");
    fs::write(&crontab, "TZ=UTC\n0 3 * * * backup_manager run\n* * * * * echo hello\n")
        .expect("written");
    healthy(&status(&stage)).assert_says("the first snapshot is not complete yet");
    let shown = json(&stage);
    let next = shown["jobs"][0]["crontab_next"].as_str().unwrap_or_default();
    assert!(next.ends_with("T03:00:00Z"), "{shown:#}");
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let file = fs::File::options().write(true).open(crontab).expect("there");
    file.set_modified(long_ago).expect("set");
    unhealthy(&status(&stage), "no snapshot was completed");
}

#[test]
fn status_reads_and_writes_nothing_and_covers_every_job() {
    let stage = sample();
    let file = stage.beside("config.toml");
    let text = format!(
        "BACKUPS_DIR = \"{}\"\n[[job]]\nBACKUP_NAME_PREFIX = \"one\"\nSRCS_TO_BACKUP = \"/etc\"\nMAX_AGE_H = 1\n[[job]]\nBACKUP_NAME_PREFIX = \"two\"\nSRCS_TO_BACKUP = \"/etc\"\n",
        stage.backups.join("not/there").display()
    );
    fs::write(&file, text).expect("written");
    let all = Run::new(BIN).arg("status").set("config", &file);
    let done = all.clone().arg("--check").expect(1);
    assert_eq!(done.lines_with("UNHEALTHY: there is no snapshot yet"), 2);
    assert_eq!(all.clone().arg("two").expect(0).lines_with("one:"), 0);
    assert!(is_empty(&stage.backups));
    all.arg("three").expect(2).assert_says("three");
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn an_entry_unreadable_for_long_is_unhealthy_and_the_time_since_then_is_kept() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("file", "1").file("closed/inner", "2"));
    fs::set_permissions(stage.beside("."), PermissionsExt::from_mode(0o755)).expect("a mode");
    let run = || stage.run_as(1234);
    run().expect(0);
    fs::set_permissions(stage.source.join("closed"), PermissionsExt::from_mode(0o000))
        .expect("a mode");
    run().expect(3).assert_says("carried forward");
    let report = || stage.history().report(&stage.history().newest());
    let since = report()["carried_since"].clone();
    assert!(since.is_string(), "{}", report());
    healthy(&status(&stage));
    run().expect(3);
    assert_eq!(report()["carried_since"], since);
    assert_eq!(report()["problems"][0]["since"], since);
    // As if that had started long ago.
    let newest = stage.history().newest();
    let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
    let path = stage.backups.join(format!(".backup_manager/reports/{name}.json"));
    let mut old = report();
    old["problems"][0]["since"] = "2023-01-02T03:04:05Z".into();
    fs::write(&path, old.to_string()).expect("written");
    run().env("TZ", "Asia/Kolkata").expect(3).assert_says("(since 2023-01-02 08:34:05 IST)");
    let there = |zone| status(&stage).env("TZ", zone);
    unhealthy(&there("UTC"), "since 2023-01-02 03:04 UTC");
    unhealthy(&there("Asia/Kolkata"), "since 2023-01-02 08:34 IST");
    unhealthy(&status(&stage), "MAX_AGE_H");
    healthy(&status(&stage).env("MAX_AGE_H", "800000"));
    fs::set_permissions(stage.source.join("closed"), PermissionsExt::from_mode(0o755))
        .expect("a mode");
    run().expect(0);
    healthy(&status(&stage));
    assert!(report()["carried_since"].is_null(), "{}", report());
}

#[test]
fn damage_the_last_check_and_what_could_not_be_read_are_shown() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("file", "1").file("closed", "2"));
    fs::set_permissions(stage.beside("."), PermissionsExt::from_mode(0o755)).expect("a mode");
    stage.run_as(1234).expect(0);
    status(&stage).expect(0).assert_says("last verify  none is known; backup_manager verify");
    fs::set_permissions(stage.source.join("closed"), PermissionsExt::from_mode(0o000))
        .expect("a mode");
    let done = stage.run_as(1234).expect(3);
    done.assert_says(", but 1 entry could not be read well");
    done.assert_says("completed, but some files could not be read: 1 entry is listed in ");
    let text = status(&stage).env("TZ", "Asia/Kolkata").expect(0);
    text.assert_says("not read     1 entry, 1 carried forward, the oldest since ")
        .assert_says(" IST (")
        .assert_says("lists them");
    assert!(!text.said().contains("damage"), "{}", text.said());
    stage.look("verify").arg("--all").expect(0);
    let text = status(&stage).env("TZ", "Asia/Kolkata").expect(0);
    text.assert_says(" IST, 2 snapshots: no damage");
    let newest = stage.history().newest();
    fs::write(stage.inside(&newest).join("file"), "X").expect("written");
    stage.look("verify").arg("--all").expect(4);
    let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
    let text = status(&stage).expect(0);
    text.assert_says("damage       in ").assert_says(&name).assert_says("1 damaged file");
    let told = json(&stage);
    let job = &told["jobs"][0];
    assert!(
        job["damaged"].as_array().is_some_and(|names| names.contains(&name.into())),
        "{told:#}"
    );
    assert_eq!(job["last_verify"]["damaged"], 1);
    assert!(job["unread_since"].as_str().is_some_and(|since| since.ends_with('Z')), "{told:#}");
    assert_eq!((&job["problems"], &job["carried_forward"]), (&1.into(), &1.into()));
    stage.look("verify").arg("--sample").arg("100%").expect(4);
    let _ = stage.look("verify").arg("--rolling").arg("30d").done();
    status(&stage).expect(0).assert_says(", a part of 2 snapshots: ");
}

//! Commands that get only the backups folder: what they show, and what they leave alone.

use std::fs;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::need;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("kept", "1").file("skipped.tmp", "2"));
    stage.run().rsync(&["--exclude=*.tmp"]).expect(0);
    stage
}

fn status(stage: &Stage) -> Value {
    let said = stage.look("status").arg("--json").expect(0).stdout;
    serde_json::from_str(&said).expect("one JSON object")
}

#[test]
fn status_shows_each_prefix_and_what_it_contains() {
    let stage = sample();
    stage.run().set("backup-name-prefix", "other.one").expect(0);
    let before = Fingerprint::of(&stage.backups);
    let text = stage.look("status").expect(0);
    let source = stage.source.display().to_string();
    text.assert_says("my_backup: healthy")
        .assert_says("other.one: healthy")
        .assert_says(&format!("contains     {source}"))
        .assert_says("last run     completed, ");
    assert!(!text.stdout.contains("a run takes a snapshot"), "{}", text.stdout);
    stage.look("status").arg("--check").expect(0).assert_says("other.one: healthy, ");
    stage.look("status").arg("--check").set("max-age-h", "0").expect(1).assert_says("UNHEALTHY");
    let one = stage.look("status").arg("other.one").expect(0);
    assert_eq!(one.lines_with("healthy"), 1, "{}", one.stdout);
    let told = status(&stage);
    assert_eq!(told["jobs"][1]["sources"][0], source);
    assert!(told["jobs"][1]["due"].is_null(), "{told:#}");
    stage
        .look("status")
        .arg("none")
        .expect(2)
        .assert_says("there is no snapshot of none in ")
        .assert_says("; there are those of my_backup, other.one");
    // A prefix that is asked for has a state too, and the others are named.
    let asked = stage.look("status").set("backup-name-prefix", "none").expect(0);
    asked
        .assert_says("there is no snapshot yet")
        .assert_says("other prefixes  my_backup, other.one");
    let job = stage.look("status").set("srcs-to-backup", &stage.source);
    job.set("backup-name-prefix", "none")
        .expect(0)
        .assert_says("other prefixes  my_backup, other.one");
    assert_untouched(&stage.backups, &before);
}

#[test]
fn a_folder_without_snapshots_and_a_missing_one_are_named() {
    let stage = Stage::with(BIN, &Tree::new());
    for verb in ["status", "doctor"] {
        stage.look(verb).expect(1).assert_says("there is no snapshot in ");
        let missing = stage.beside("missing");
        let done = stage.look(verb).set("backups-dir", &missing).expect(1);
        done.assert_says("missing").assert_says("check that it is there");
        assert!(!missing.exists(), "{verb} creates nothing");
        // Without any setting, the settings of the runs are what is missing.
        let bare = stage.look(verb).unset("backups-dir").in_folder(&stage.source);
        bare.expect(2).assert_says("SRCS_TO_BACKUP: it is not set");
    }
}

#[test]
fn doctor_checks_the_folder_and_says_what_it_cannot_check() {
    let stage = sample();
    let done = stage.look("doctor").expect(0);
    let contents = format!("1 snapshot, the newest of {}", stage.source.display());
    done.assert_says("SRCS_TO_BACKUP is not set: only the folder is checked")
        .assert_says("ok    hard links")
        .assert_says("ok    free space")
        .assert_says(&contents);
    stage.run().rsync(&["--exclude=*.tmp"]).expect(0);
    fs::remove_dir_all(&stage.history().complete()[0]).expect("removed");
    stage.look("doctor").expect(0).assert_says("doctor --remove-orphans");
    stage.look("doctor").arg("--remove-orphans").expect(0).assert_says("removed: ");
    stage.look("doctor").arg("--notify-test").expect(2).assert_says("need the settings of a job");
}

#[test]
fn diff_reads_the_source_that_the_report_names_by_the_filters_of_its_run() {
    let stage = sample();
    stage.sh("echo 2 >kept; echo 3 >new; echo 4 >other.tmp");
    let before = Fingerprint::of(&stage.backups);
    let done = stage.look("diff").arg("latest").arg("--json").expect(0);
    let lines: Vec<String> = done
        .objects()
        .iter()
        .filter(|line| line["type"] == "difference")
        .map(|line| format!("{} {}", line["difference"], line["path"]))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("\"added\"") && line.contains("new")));
    assert!(lines.iter().any(|line| line.starts_with("\"changed\"") && line.contains("kept")));
    assert_untouched(&stage.backups, &before);
    // Where nothing says what the source was, it says so.
    let reports = stage.backups.join(".backup_manager/reports");
    fs::remove_dir_all(reports).expect("removed");
    stage.look("diff").arg("latest").expect(2).assert_says("no report says where the sources of");
}

#[test]
fn the_sources_of_a_cut_path_and_of_another_host_are_known() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("notes/a,b", "1"));
    let cut = format!("{}/./notes", stage.source.display());
    stage.run().set("srcs-to-backup", cut).expect(0);
    stage.sh("echo 2 >notes/a,b");
    let done = stage.look("diff").arg("latest").arg("--json").expect(0);
    assert_eq!(done.objects().len(), 2, "{}", done.stdout);
    let server = need!(Sshd::serving(Subsystem::Internal));
    let far = Stage::with(BIN, &Tree::new().file("a", "1"));
    server.reached_by(far.run()).expect(0);
    far.look("list").expect(0).assert_says(&format!("{} on ", far.source.display()));
    far.look("status").expect(0).assert_says(&format!("{} on ", far.source.display()));
    far.look("diff")
        .arg("latest")
        .expect(2)
        .assert_says("give user and sources (--remote-src-host USER@");
}

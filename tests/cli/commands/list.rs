//! `list`: exact sizes, marks, and a folder about which nothing else is known.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use fixtures::bulk::{big_file, rewrite_pages};
use fixtures::extents::Extents;
use fixtures::history::hours_ago;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new()
        .random_file("large", 300_000, 1)
        .hard_link("folder/second name", "large")
        .file("folder/small", "x")
        .symlink("link", "large")
        .folder("empty")
}

/// The size of all `paths` together by `du`, bytes.
fn du(paths: &[PathBuf]) -> u64 {
    let output = Command::new("du").args(["-s", "-c", "-B1"]).args(paths).output().expect("du");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let total = text.lines().last().and_then(|line| line.split('\t').next());
    total.and_then(|number| number.parse().ok()).expect("du ends with a total")
}

fn listed(stage: &Stage) -> Vec<Value> {
    stage.look("list").arg("--json").expect(0).objects()
}

/// Three snapshots; in each, some files are new, changed and deleted.
fn three(stage: &Stage) -> Vec<PathBuf> {
    stage.take();
    stage.sh("head -c 50000 /dev/urandom >new; ln new folder/new; echo y >folder/small");
    stage.take();
    stage.sh("rm new folder/new large; head -c 9000 /dev/zero >zeros");
    stage.take();
    stage.history().complete()
}

#[test]
fn sizes_are_those_of_du_and_alone_is_what_would_be_free() {
    let stage = Stage::with(BIN, &sample());
    let snapshots = three(&stage);
    // A file with a link elsewhere is not freed when the snapshot goes.
    fs::hard_link(stage.inside(&snapshots[1]).join("new"), stage.beside("mine")).unwrap();
    let rows = listed(&stage);
    assert_eq!(rows.len(), 3);
    let all = du(&snapshots);
    for (index, (row, snapshot)) in rows.iter().zip(&snapshots).enumerate() {
        assert_eq!(row["disk_bytes"], du(std::slice::from_ref(snapshot)), "{row}");
        let others: Vec<_> = snapshots.iter().filter(|other| *other != snapshot).cloned().collect();
        let linked =
            if index == 1 { fs::metadata(stage.beside("mine")).unwrap().blocks() * 512 } else { 0 };
        assert_eq!(row["alone_bytes"], all - du(&others) - linked, "{row}");
        let walked = Command::new("find").arg(snapshot).args(["-mindepth", "1"]).output().unwrap();
        let entries = walked.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(row["entries"], entries, "{row}");
    }
    assert_eq!(rows[0]["bytes"], 300_000 + 1, "a file of two names counts once");
    let counts: Vec<_> =
        rows.iter().map(|row| [&row["new"], &row["changed"], &row["deleted"]]).collect();
    assert_eq!(counts[1], [2, 1, 0]);
    assert_eq!(counts[2], [1, 0, 3]);
}

#[test]
fn sizes_are_exact_where_listings_report_no_inodes_too() {
    need!(need::root());
    // exFAT also has no hard links.
    for kind in ["xfs", "btrfs", "exfat"] {
        let volume = need!(LoopFs::new(kind, 400, &[]));
        let stage = Stage::with(BIN, &sample()).backups_in(volume.path());
        let snapshots = three(&stage);
        for (row, snapshot) in listed(&stage).iter().zip(&snapshots) {
            assert_eq!(row["disk_bytes"], du(std::slice::from_ref(snapshot)), "{kind}: {row}");
        }
    }
}

#[test]
fn each_mark_is_shown() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let aged = stage.history().path(&hours_ago(50), "");
    fs::rename(stage.history().newest(), &aged).unwrap();
    stage.take();
    fs::create_dir(stage.history().path(&hours_ago(1), ".incomplete")).unwrap();
    stage.look("hold").arg("latest").arg("--note").arg("not\x1b[31m this").expect(0);
    let done = stage.look("list").expect(0);
    assert!(
        !done.stdout.contains('\x1b'),
        "no colours where there is no terminal, no escapes of others"
    );
    let lines: Vec<&str> = done.stdout.lines().collect();
    let source = stage.source.display();
    let about = format!("my_backup, in {}: {source}", stage.backups.display());
    assert!(lines[0].starts_with(&about), "{lines:?}");
    let lines = &lines[1..];
    assert!(lines[0].starts_with("SNAPSHOT (UTC)") && lines[0].contains("ALONE"), "{lines:?}");
    assert!(lines[1].contains("2 d 2 h") && lines[1].contains("without a report"), "{lines:?}");
    assert!(lines[2].contains("incomplete, the next run resumes it"), "{lines:?}");
    assert!(lines[3].contains("held: not\\x1b[31m this"), "{lines:?}");
    assert!(lines[4].starts_with("3 snapshots take "), "{lines:?}");
    let at = |text: &str| lines[0].find(text).unwrap() + text.len();
    assert!(lines[1..4].iter().all(|line| line.as_bytes()[at("ENTRIES")] == b' '), "{lines:?}");
}

#[test]
fn entries_that_were_carried_forward_are_marked() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.run_as(1234).expect(0);
    stage.sh("echo changed >folder/small; chmod 000 folder/small");
    let run = stage.run_as(1234).expect(3);
    let said = run.said();
    let report = said
        .split_once("completed, but some files could not be read: 1 entry is listed in ")
        .and_then(|(_, after)| {
            after.split_once(" (exit code 3)").map(|(report, _)| report.to_owned())
        });
    let report = std::fs::read_to_string(report.expect("a file is named")).unwrap();
    assert!(report.contains("folder/small"), "{report}");
    let done = stage.look("list").expect(0);
    assert_eq!(done.lines_with("1 carried forward"), 1, "{}", done.stdout);
}

#[test]
fn a_list_of_only_the_folder_shows_all_snapshots() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.run().set("backup-name-prefix", "other.one").expect(0);
    let jobs: Vec<_> = listed(&stage).iter().map(|row| row["job"].clone()).collect();
    assert_eq!(jobs, ["my_backup", "other.one"]);
    let text = stage.look("list").expect(0).stdout;
    assert!(text.contains("my_backup, in ") && text.contains("\nother.one, in "), "{text}");
    let one = stage.look("list").arg("--job=other.one").expect(0).stdout;
    assert!(!one.contains("my_backup."), "{one}");
    stage
        .look("list")
        .arg("--job=none")
        .expect(2)
        .assert_says("no snapshot of none in ")
        .assert_says("; there are those of my_backup, other.one");
    stage
        .look("list")
        .set("backup-name-prefix", "none")
        .expect(0)
        .assert_says("no snapshot of none")
        .assert_says("; there are those of my_backup, other.one");
    stage.look("hold").arg("latest").expect(2).assert_says("several jobs (my_backup, other.one)");
    stage.look("list").set("backups-dir", "nowhere").expect(1).assert_says("nowhere");
}

#[test]
fn a_list_without_sizes_reads_reports_only() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let row = stage.look("list").arg("--json").arg("--no-sizes").expect(0).objects().remove(0);
    assert_eq!((&row["disk_bytes"], &row["new"]), (&Value::Null, &stage.counts()["new"]));
}

#[test]
fn shared_blocks_count_in_each_size_and_in_no_snapshot_alone() {
    for kind in ["btrfs", "xfs"] {
        let volume = need!(LoopFs::new(kind, 400, &["-q"]));
        let stage = Stage::new(BIN).backups_in(&volume.path().join("backups"));
        let size = 32 << 20;
        big_file(&stage.source.join("large"), size, 1);
        for seed in 1..4 {
            rewrite_pages(&stage.source.join("large"), 40, seed);
            stage.take();
        }
        let snapshots = stage.history().complete();
        for (row, snapshot) in listed(&stage).iter().zip(&snapshots) {
            let number = |key: &str| row[key].as_u64().expect("a number");
            assert_eq!(row["disk_bytes"], du(std::slice::from_ref(snapshot)), "{kind}: {row}");
            assert!(number("shared_bytes") > size - (1 << 20), "{kind}: {row}");
            // What filefrag shows of the files, and folders.
            let copy = Extents::of(&stage.inside(snapshot).join("large"));
            assert_eq!(number("shared_bytes"), copy.shared, "{kind}: {row}");
            assert!(number("alone_bytes") < copy.bytes - copy.shared + (1 << 19), "{kind}: {row}");
        }
        stage.look("list").expect(0).assert_says("blocks that files share count for each file");
    }
}

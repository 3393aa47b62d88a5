//! `adopt`: snapshots of rsnapshot, Back In Time and rsync-time-backup continue as ours.
//!
//! The trees have the shape that rsnapshot 1.4.5, Back In Time 1.3.3 and rsync-time-backup 2.0 wrote when they
//! were run by hand: names, symlinks, marker files, hard links between the snapshots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;
use rustix::fs::{FlockOperation, flock};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const ZONE: &str = "Europe/Berlin";

fn sample() -> Tree {
    Tree::new().file("kept", "1").random_file("folder/large", 200_000, 1).symlink("link", "kept")
}

/// A source, and the folder of another program beside the backups folder.
fn stage() -> (Stage, PathBuf) {
    let stage = Stage::with(BIN, &sample());
    let old = stage.beside("old");
    fs::create_dir(&old).expect("a folder");
    (stage, old)
}

fn sh(folder: &Path, script: &str) {
    let done = Command::new("sh").args(["-ec", script]).current_dir(folder).status();
    assert!(done.is_ok_and(|status| status.success()), "sh: {script}");
}

/// Copies `from` as `to`, as rsync does with `--link-dest`.
fn copy(from: &Path, to: &Path, base: Option<&Path>) {
    fs::create_dir_all(to).expect("folders");
    let mut rsync = Command::new("rsync");
    rsync.arg("-aH");
    if let Some(base) = base {
        rsync.arg(format!("--link-dest={}", base.display()));
    }
    let done = rsync.arg(format!("{}/", from.display())).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "rsync");
}

/// The snapshots `hourly.1` and `hourly.0` with two labels. Between them the source changed.
fn rsnapshot(stage: &Stage, old: &Path) {
    let place = |name: &str| inside(&old.join(name).join("localhost"), &stage.source);
    copy(&stage.source, &place("hourly.1"), None);
    stage.sh("echo new >new; echo 22 >kept");
    copy(&stage.source, &place("hourly.0"), Some(&place("hourly.1")));
    for name in ["hourly.0", "hourly.1"] {
        sh(&old.join(name), "mkdir -p scripts; echo x >scripts/date");
    }
    sh(old, "touch -d '2026-07-02 08:00:00 UTC' hourly.0");
    sh(old, "touch -d '2026-07-01 08:00:00.5 UTC' hourly.1");
}

/// Two snapshots of the content of the source.
fn rsync_time_backup(stage: &Stage, old: &Path) {
    copy(&stage.source, &old.join("2026-07-01-100000"), None);
    stage.sh("echo new >new; echo 22 >kept");
    copy(&stage.source, &old.join("2026-07-02-100000"), Some(&old.join("2026-07-01-100000")));
    sh(old, "touch backup.marker; ln -s 2026-07-02-100000 latest");
}

/// Two snapshots with the full paths below `backup`.
fn back_in_time(stage: &Stage, old: &Path) {
    let ids = ["20260701-100000-596", "20260702-100000-596"];
    let place = |id: &str| inside(&old.join(id).join("backup"), &stage.source);
    copy(&stage.source, &place(ids[0]), None);
    stage.sh("echo new >new; echo 22 >kept");
    copy(&stage.source, &place(ids[1]), Some(&place(ids[0])));
    for id in ids {
        sh(&old.join(id), "touch info fileinfo.bz2 takesnapshot.log.bz2 config");
    }
    sh(old, "ln -s 20260702-100000-596 last_snapshot");
}

fn adopt(stage: &Stage, old: &Path) -> Run {
    stage.look("adopt").arg(old).env("TZ", ZONE)
}

const ADOPTED: [&str; 2] = ["my_backup.01-07-2026_08-00-00", "my_backup.02-07-2026_08-00-00"];

/// The two snapshots of July at 10:00 in Berlin, by any of the programs.
fn assert_adopted(stage: &Stage) {
    let expected = ADOPTED.map(|name| stage.backups.join(name));
    assert_eq!(stage.history().complete(), expected);
    assert_eq!(stage.history().incomplete().len(), 0);
}

/// Every command works with adopted snapshots in which `kept` of the source is at `shown`.
fn assert_usable(stage: &Stage, shown: &str) {
    let list = stage.look("list").expect(0);
    assert_eq!(list.lines_with("without a report"), 2, "{}", list.stdout);
    stage.look("status").expect(0).assert_says(ADOPTED[1]);
    stage.look("find").arg("kept").expect(0).assert_says(&format!("{shown}/kept"));
    let history = stage.look("history").arg(format!("{shown}/kept")).expect(0);
    assert_eq!(history.lines_with("version "), 2, "{}", history.stdout);
    let diff = stage.look("diff").args(&ADOPTED).expect(0);
    diff.assert_says(&format!("{shown}/kept")).assert_says(&format!("{shown}/new"));
    let back = stage.beside("back");
    let restore = stage.look("restore").arg(ADOPTED[0]).arg(format!("{shown}/kept"));
    restore.arg("--to").arg(&back).expect(0);
    assert_eq!(fs::read(back.join("kept")).expect("restored"), b"1");
    stage.look("verify").arg("--all").expect(3).assert_says("--record");
    stage.look("verify").args(&["--all", "--record"]).expect(0).assert_says("manifests written  2");
    stage.look("verify").arg("--all").expect(0);
}

#[test]
fn the_plan_changes_nothing() {
    type Make = fn(&Stage, &Path);
    for (make, old_names) in [
        (rsnapshot as Make, ["hourly.1", "hourly.0"]),
        (rsync_time_backup, ["2026-07-01-100000", "2026-07-02-100000"]),
        (back_in_time, ["20260701-100000-596/backup", "20260702-100000-596/backup"]),
    ] {
        let (stage, old) = stage();
        make(&stage, &old);
        fs::remove_dir(&stage.backups).expect("empty");
        let before = Fingerprint::of(&old);
        let plan = adopt(&stage, &old).expect(0);
        for (old, new) in old_names.iter().zip(ADOPTED) {
            let line = plan.stdout.lines().find(|line| line.starts_with(old)).expect("a row");
            assert!(line.ends_with(new), "{line}");
        }
        plan.assert_says("add --yes to rename").assert_says("verify --all --record");
        assert_untouched(&old, &before);
        assert!(!stage.backups.exists(), "a plan creates nothing");
    }
}

#[test]
fn a_label_of_rsnapshot_continues_and_the_next_run_links() {
    let (stage, old) = stage();
    rsnapshot(&stage, &old);
    adopt(&stage, &old).args(&["--label", "localhost", "--yes"]).expect(0);
    assert_adopted(&stage);
    let source = stage.source.display().to_string();
    assert_usable(&stage, &source);
    stage.run().unset("minimum-time-guard-h").expect(0).assert_says(ADOPTED[1]);
    for name in ["kept", "new", "link", "folder/large"] {
        stage.assert_linked(name);
    }
    stage.assert_newest_is_source(Judge::plain());
    // The other label has the times of its folders still.
    assert!(old.join("hourly.0/scripts/date").exists());
    adopt(&stage, &old)
        .args(&["--label", "localhost"])
        .expect(1)
        .assert_says("no folder localhost");
    adopt(&stage, &old).args(&["--label", "scripts", "--prefix", "dates", "--yes"]).expect(0);
    for stamp in ["01-07-2026_08-00-00", "02-07-2026_08-00-00"] {
        assert!(stage.backups.join(format!("dates.{stamp}/date")).exists());
    }
}

#[test]
fn whole_snapshots_of_rsnapshot_keep_the_label_in_their_paths() {
    let (stage, old) = stage();
    rsnapshot(&stage, &old);
    let before = Fingerprint::of(&old.join("hourly.0"));
    adopt(&stage, &old).arg("--yes").expect(0).assert_says("paths in them begin with the label");
    assert_adopted(&stage);
    assert_untouched(&stage.backups.join(ADOPTED[1]), &before);
    assert_usable(&stage, &format!("/localhost{}", stage.source.display()));
}

#[test]
fn back_in_time_continues_and_what_lies_beside_the_tree_stays() {
    let (stage, old) = stage();
    back_in_time(&stage, &old);
    sh(&old, "mkdir -p new_snapshot/backup; touch 20260701-100000-596/failed");
    let plan = adopt(&stage, &old).arg("--yes").expect(0);
    plan.assert_says("recorded errors").assert_says("stays: new_snapshot");
    assert_adopted(&stage);
    assert_usable(&stage, &stage.source.display().to_string());
    assert!(old.join("20260701-100000-596/info").exists());
    assert!(old.join("new_snapshot/backup").exists());
    stage.run().unset("minimum-time-guard-h").expect(0);
    for name in ["kept", "link", "folder/large"] {
        stage.assert_linked(name);
    }
    adopt(&stage, &old).expect(1).assert_says("it contains no folder backup");
    // The folder above the profile is not the right one, and the message names the right one.
    let above = stage.beside("disk");
    fs::create_dir_all(above.join("backintime/nas/root")).expect("folders");
    fs::rename(&old, above.join("backintime/nas/root/1")).expect("moved");
    adopt(&stage, &above).expect(1).assert_says("disk/backintime/nas/root/1");
}

#[test]
fn rsync_time_backup_continues_with_a_source_that_ends_with_a_dot() {
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    copy(&stage.source, &old.join("2026-07-03-100000"), None);
    sh(&old, "touch backup.inprogress");
    let plan = adopt(&stage, &old).arg("--yes").expect(0);
    plan.assert_says("2026-07-03-100000: backup.inprogress says");
    assert_adopted(&stage);
    assert!(old.join("2026-07-03-100000/kept").exists());
    assert_usable(&stage, "");
    let source = format!("{}/./", stage.source.display());
    stage.run().set("srcs-to-backup", source).expect(0);
    let newest = stage.history().newest();
    let inode = |path: &Path| rustix::fs::lstat(path).expect("there").st_ino;
    for name in ["kept", "new", "folder/large"] {
        let adopted = stage.backups.join(ADOPTED[1]).join(name);
        assert_eq!(inode(&newest.join(name)), inode(&adopted), "{name}");
    }
}

#[test]
fn the_hour_that_the_clocks_show_twice_keeps_names_apart() {
    let (stage, old) = stage();
    let names = ["013000", "020000", "023000", "025959", "030000"];
    for (index, time) in names.iter().enumerate() {
        let folder = old.join(format!("2026-10-25-{time}"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("number"), index.to_string()).expect("written");
    }
    let plan = adopt(&stage, &old).arg("--yes").expect(0);
    plan.assert_says("in Europe/Berlin");
    assert_eq!(plan.lines_with("showed this time twice"), 3, "{}", plan.stdout);
    let complete = stage.history().complete();
    assert_eq!(complete.len(), names.len());
    for (index, snapshot) in complete.iter().enumerate() {
        let number = fs::read_to_string(snapshot.join("number")).expect("read");
        assert_eq!(number, index.to_string(), "{}", snapshot.display());
    }
    fs::create_dir(old.join("2026-03-29-023000")).expect("a folder");
    let skipped = adopt(&stage, &old).arg("--yes").expect(2);
    skipped.assert_says("never showed this time").assert_says("TZ=Europe/Berlin");
}

#[test]
fn anything_in_the_way_prevents_all_of_it() {
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    let refused = |text: &str| {
        let (before, there) = (Fingerprint::of(&old), Fingerprint::of(&stage.backups));
        let done = adopt(&stage, &old).arg("--yes").expect(2);
        done.assert_says(text).assert_says("nothing was renamed");
        assert_untouched(&old, &before);
        assert_untouched(&stage.backups, &there);
    };
    for taken in ["", ".incomplete", ".deleting"] {
        let taken = stage.backups.join(format!("{}{taken}", ADOPTED[1]));
        fs::create_dir(&taken).expect("a folder");
        refused("2026-07-02-100000: my_backup.02-07-2026_08-00-00");
        fs::remove_dir(&taken).expect("removed");
        std::os::unix::fs::symlink("/", &taken).expect("a symlink");
        refused("exists in the backups folder; choose another --prefix");
        fs::remove_file(&taken).expect("removed");
    }
    let reports = stage.backups.join(".backup_manager/reports");
    fs::create_dir_all(&reports).expect("folders");
    let report = reports.join(format!("{}.json", ADOPTED[0]));
    fs::write(&report, "{}").expect("written");
    refused("there are records of an earlier my_backup.01-07-2026_08-00-00");
    fs::remove_file(&report).expect("removed");
    fs::create_dir(old.join("2026-02-30-100000")).expect("a folder");
    refused("2026-02-30-100000: it is named like a snapshot of rsync-time-backup, but");
    fs::remove_dir(old.join("2026-02-30-100000")).expect("removed");
    fs::create_dir_all(old.join("20260101-100000-111/backup")).expect("folders");
    refused("others here are of Back In Time");
    fs::remove_dir_all(old.join("20260101-100000-111")).expect("removed");
    let label = adopt(&stage, &old).args(&["--label", "localhost", "--yes"]).expect(2);
    label.assert_says("--label is for snapshots of rsnapshot");
    adopt(&stage, &old).args(&["--label", "a/b"]).expect(2).assert_says("--label: write the name");
    adopt(&stage, &old).arg("--yes").expect(0);
    assert_adopted(&stage);
}

#[test]
fn symlinks_and_files_with_the_names_of_snapshots_stay() {
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    let other = stage.beside("other");
    fs::create_dir_all(other.join("backup")).expect("folders");
    let before = Fingerprint::of(&other);
    let other = other.display();
    sh(&old, &format!("ln -s {other} 2026-01-01-100000; ln -s {other} daily.0; touch daily.1"));
    sh(&old, &format!("mkdir 20260101-100000-111; ln -s {other} 20260101-100000-111/backup"));
    sh(&old, "mkdir \"$(printf 'a\\033[31m\\nb')\"");
    let done = adopt(&stage, &old).arg("--yes").expect(0);
    done.assert_says("2026-01-01-100000: it is a symlink")
        .assert_says("daily.0: it is a symlink")
        .assert_says("20260101-100000-111: backup in it is not a folder")
        .assert_says(r"a\x1b[31m\x0ab: the name is not that of a snapshot");
    assert_adopted(&stage);
    assert_untouched(&stage.beside("other"), &before);
    assert!(old.join("20260101-100000-111/backup").is_symlink());
}

#[test]
fn another_file_system_and_a_folder_without_write_permission_are_named() {
    need!(need::root());
    let disk = need!(LoopFs::ext4(64));
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    let far = adopt(&stage, &old).set("backups-dir", disk.path()).arg("--yes").expect(2);
    far.assert_says("2026-07-01-100000: it is on another file system than the backups folder");
    // An ordinary user: first without the permission, then with it.
    let program = stage.run_as(1000);
    drop(program);
    let by_user = || adopt(&stage, &old).program(&stage.beside("backup_manager")).as_user(1000);
    by_user().arg("--yes").expect(2).assert_says("this user may not write to it; do it as root");
    assert!(old.join("2026-07-01-100000/kept").exists());
    sh(&old, "chown -hR 1000:1000 .");
    by_user().arg("--yes").expect(0);
    assert_adopted(&stage);
}

#[test]
fn a_run_at_work_is_left_alone() {
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    let locks = stage.backups.join(".backup_manager/locks");
    fs::create_dir_all(&locks).expect("folders");
    let lock = fs::File::create(locks.join("my_backup.lock")).expect("a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("locked");
    adopt(&stage, &old).arg("--yes").expect(1).assert_says("a run of this prefix is at work");
    assert!(old.join("2026-07-01-100000").exists() && stage.history().complete().is_empty());
    drop(lock);
    adopt(&stage, &old).arg("--yes").expect(0);
    assert_adopted(&stage);
}

#[test]
fn an_interrupted_adoption_is_called_again() {
    need!(need::tool("strace"));
    type Make = fn(&Stage, &Path);
    for make in [rsnapshot as Make, rsync_time_backup, back_in_time] {
        for fault in ["signal=KILL", "error=EPERM"] {
            let (stage, old) = stage();
            make(&stage, &old);
            let rule = format!("renameat2:{fault}:when=2");
            let killed = adopt(&stage, &old).arg("--yes").injecting(&[&rule]).done();
            if fault == "error=EPERM" {
                killed.assert_code(1).assert_says("cannot rename").assert_says("nothing was lost");
            }
            assert_eq!(stage.history().complete(), [stage.backups.join(ADOPTED[0])]);
            adopt(&stage, &old).arg("--yes").expect(0);
            assert_adopted(&stage);
        }
    }
}

#[test]
fn the_plan_warns_of_what_the_next_run_removes() {
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    let plan = adopt(&stage, &old).set("max-backups", "2").expect(0);
    plan.assert_says("WARNING: the next run would remove 1 of these 2 snapshots")
        .assert_says(ADOPTED[0])
        .assert_says("MAX_BACKUPS=3");
    let plan = adopt(&stage, &old).set("max-backups", "3").arg("--yes").expect(0);
    assert!(!plan.stdout.contains("WARNING"), "{}", plan.stdout);
    stage.run().set("max-backups", "3").expect(0);
    assert_eq!(stage.history().complete().len(), 3);
    let periods = adopt(&stage, &old).set("keep-yearly", "1").expect(1);
    periods.assert_says("there is no snapshot to adopt");
}

#[test]
fn snapshots_are_adopted_where_they_lie() {
    let (stage, old) = stage();
    rsync_time_backup(&stage, &old);
    stage.look("adopt").arg(&old).env("TZ", "UTC").set("backups-dir", &old).arg("--yes").expect(0);
    assert!(old.join("my_backup.01-07-2026_10-00-00/kept").exists());
    let list = stage.look("list").set("backups-dir", &old).expect(0);
    assert_eq!(list.lines_with("without a report"), 2);
}

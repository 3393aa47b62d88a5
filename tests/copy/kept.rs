//! What belongs to a snapshot is copied with it. Copies have a retention of their own, and follow runs.

use std::path::Path;

use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use serde_json::Value;

use crate::damage::rot;
use crate::judge::{copy, history, names};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A stage whose file has another content in each of `count` snapshots.
fn stage(count: usize) -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("a", "0"));
    for number in 0..count {
        std::fs::write(stage.source.join("a"), number.to_string()).expect("it is written");
        stage.take();
    }
    stage
}

/// A run that copies into `to`.
fn run(stage: &Stage, to: &Path) -> Run {
    stage.run().set("copy-to", to)
}

#[test]
fn reports_and_holds_are_copied() {
    let stage = stage(2);
    stage.look("hold").arg("oldest").arg("--note").arg("why").expect(0);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    for (ours, theirs) in stage.history().complete().iter().zip(history(&to).complete()) {
        let (mut ours, mut theirs) = (stage.history().report(ours), history(&to).report(&theirs));
        assert_eq!(theirs["path"], to.join(theirs["snapshot"].as_str().unwrap()).to_str().unwrap());
        for report in [&mut ours, &mut theirs] {
            for own in ["path", "holds"] {
                report[own] = Value::Null;
            }
        }
        assert_eq!(ours, theirs);
    }
    let listed = stage.look("list").set("backups-dir", &to).expect(0);
    listed.assert_says("why");
}

/// The notes of the held snapshots in `backups`, oldest first.
fn held(stage: &Stage, backups: &Path) -> Vec<String> {
    let listed = stage.look("list").arg("--json").set("backups-dir", backups).expect(0);
    let lines = listed.objects();
    let note = |line: &Value| Some(line["held"]["note"].as_str()?.to_owned());
    lines.iter().filter_map(note).collect()
}

#[test]
fn a_hold_that_changes_later_is_carried_to_the_copy_and_one_of_the_copy_stays() {
    let stage = stage(3);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    let hold = |name: &str, note: &str| stage.look("hold").arg(name).arg("--note").arg(note);
    let release = |name: &str| stage.look("release").arg(name);
    hold("oldest", "original").expect(0);
    hold("latest", "own").set("backups-dir", &to).expect(0);
    copy(&stage, &to).expect(0).assert_says("is held, as the original is");
    assert_eq!(held(&stage, &to), ["original", "own"]);
    hold("oldest", "other words").expect(0);
    copy(&stage, &to).expect(0);
    assert_eq!(held(&stage, &to), ["other words", "own"]);
    release("oldest").expect(0);
    copy(&stage, &to).expect(0).assert_says("is released, as that of the original is");
    assert_eq!(held(&stage, &to), ["own"]);
    // Released on the copy: it stays so until the original is held anew.
    hold("oldest", "once").expect(0);
    copy(&stage, &to).expect(0);
    release("oldest").set("backups-dir", &to).expect(0);
    copy(&stage, &to).expect(0);
    assert_eq!(held(&stage, &to), ["own"]);
    assert_eq!(held(&stage, &stage.backups), ["once"]);
    // A hold that was copied with its snapshot is released with that of the original.
    stage.sh("echo new >a");
    stage.take();
    hold("latest", "first").expect(0);
    copy(&stage, &to).expect(0);
    assert_eq!(held(&stage, &to), ["own", "first"]);
    release("latest").expect(0);
    copy(&stage, &to).expect(0);
    assert_eq!(held(&stage, &to), ["own"]);
}

#[test]
fn a_copy_has_its_own_retention_and_keeps_what_is_held() {
    let stage = stage(4);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    let all = names(&stage.history().complete());
    stage.look("hold").arg("oldest").set("backups-dir", &to).expect(0);
    stage.sh("echo new >a");
    stage.take();
    copy(&stage, &to).set("copy-max-backups", "2").expect(0);
    let newest = names(&stage.history().complete());
    let left = names(&history(&to).complete());
    assert_eq!(left, [&all[0], &newest[3], &newest[4]].map(Clone::clone));
    copy(&stage, &to).set("copy-max-backups", "2").expect(0).assert_says("nothing to copy");
    let few = stage.beside("few");
    copy(&stage, &few).set("copy-max-backups", "2").expect(0).assert_says("copied 2 snapshots");
}

#[test]
fn each_run_brings_its_copies_up_to_date() {
    let stage = stage(1);
    let [one, two] = ["one", "two"].map(|name| stage.beside(name));
    let both = format!("{},{}", one.display(), two.display());
    stage.sh("echo new >a");
    stage.run().set("copy-to", &both).expect(0).assert_says("copied 2 snapshots");
    for copy in [&one, &two] {
        assert_eq!(names(&history(copy).complete()), names(&stage.history().complete()));
    }
    // Nothing is due, and the copy is complete.
    let held = run(&stage, &one).set("minimum-time-guard-h", "20").expect(0);
    held.assert_says("nothing to copy");
    let status = stage.look("status").set("copy-to", &both).set("srcs-to-backup", &stage.source);
    let status = status.expect(0);
    status.assert_says("copy");
    status.assert_says(&one.display().to_string());
}

#[test]
fn a_copy_whose_disk_is_missing_is_put_off_until_it_is_too_old() {
    let stage = stage(1);
    let to = stage.beside("disk/copy");
    std::fs::create_dir(stage.beside("disk")).unwrap();
    run(&stage, &to).expect(0);
    std::fs::rename(stage.beside("disk"), stage.beside("away")).unwrap();
    std::fs::create_dir_all(&to).unwrap();
    stage.sh("echo new >a");
    run(&stage, &to).expect(0).assert_says("is put off");
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "nothing lands below the mount point");
    let status = |hours: &str| {
        let status = stage.look("status").arg("--check").set("srcs-to-backup", &stage.source);
        status.set("copy-to", &to).set("copy-max-age-h", hours)
    };
    status("1").expect(0);
    let late = status("0").expect(1);
    late.assert_says("the newest snapshot of the copy in");
    late.assert_says("COPY_MAX_AGE_H");
    std::fs::remove_dir(&to).unwrap();
    std::fs::remove_dir(stage.beside("disk")).unwrap();
    std::fs::rename(stage.beside("away"), stage.beside("disk")).unwrap();
    run(&stage, &to).expect(0);
    assert_eq!(names(&history(&to).complete()), names(&stage.history().complete()));
    status("0").expect(0);
}

#[test]
fn a_copy_beside_another_one_is_no_success_and_after_a_run_it_is_put_off() {
    let stage = stage(1);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    stage.sh("echo new >a");
    let locks = std::fs::read_dir(to.join(".backup_manager/locks")).unwrap();
    let locks: Vec<_> = locks.map(|lock| std::fs::File::open(lock.unwrap().path())).collect();
    let locked = locks.into_iter().map(|lock| lock.and_then(|lock| lock.lock().map(|()| lock)));
    let locked: Result<Vec<_>, _> = locked.collect();
    let locked = locked.expect("locked");
    assert!(!locked.is_empty());
    run(&stage, &to).expect(0).assert_says("is put off: another run or copy is at work there");
    copy(&stage, &to).expect(1).assert_says("nothing was copied: another run or copy is at work");
    assert_eq!(history(&to).complete().len(), 1);
    drop(locked);
    copy(&stage, &to).expect(0);
    assert_eq!(history(&to).complete().len(), 2);
}

#[test]
fn a_failed_copy_does_not_change_the_snapshot_of_the_run() {
    let stage = stage(0);
    let to = stage.beside("copy");
    std::fs::write(&to, "a file").unwrap();
    let done = run(&stage, &to).done();
    assert_eq!(done.code, 1, "{}", done.said());
    done.assert_says("completed");
    done.assert_says("the copy into");
    assert_eq!(stage.history().complete().len(), 1);
}

#[test]
fn a_drill_restores_from_the_copies_and_the_status_shows_it() {
    let stage = stage(2);
    let to = stage.beside("copy");
    run(&stage, &to).expect(0);
    let drill = || stage.look("drill").arg("--json").env("COPY_TO", &to);
    let status = || {
        let status = stage.look("status").set("srcs-to-backup", &stage.source);
        status.set("copy-to", &to)
    };
    assert_eq!(status().expect(0).lines_with("; drilled "), 0);
    let done = drill().arg("--copies").expect(0).objects().pop().expect("a summary");
    assert_eq!(done["copy"], to.to_str().unwrap());
    assert_eq!((&done["good"], &done["damaged"]), (&1.into(), &0.into()));
    status().expect(0).assert_says("came back as backed up");
    assert!(status().expect(0).said().contains("; drilled "));
    // The drill of a copy is not one of the original.
    status().expect(0).assert_says("last drill");
    status().expect(0).assert_says("none is known");
    rot(&stage.inside(&history(&to).newest()).join("a"));
    drill().arg("--of").arg(&to).expect(4);
    status().arg("--check").expect(1).assert_says("did not come back as backed up");
    let away = stage.beside("away");
    std::fs::rename(&to, &away).unwrap();
    drill().arg("--of").arg(&to).expect(1);
    std::fs::create_dir(&to).unwrap();
    drill().arg("--of").arg(&to).expect(1).assert_says("no complete snapshot");
    stage.look("drill").arg("--copies").expect(2).assert_says("set COPY_TO");
    let elsewhere = stage.beside("none/copy");
    drill().env("COPY_TO", elsewhere).arg("--copies").expect(0).assert_says("is put off");
}

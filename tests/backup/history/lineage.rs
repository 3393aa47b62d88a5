//! A history records its sources: other sources are refused, new ones do not wait, dropped ones are
//! reported, and wrong ones are reported at every run.

use std::fs;

use fixtures::history::stamp;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The folders `one`, `two` and `three` with one file each.
fn stage() -> Stage {
    let tree = Tree::new().file("one/a", "1").file("two/b", "2").file("three/c", "3");
    Stage::with(BIN, &tree)
}

/// Those folders as the value of `SRCS_TO_BACKUP`.
fn sources(stage: &Stage, names: &[&str]) -> String {
    let path = |name: &&str| stage.source.join(name).display().to_string();
    names.iter().map(path).collect::<Vec<_>>().join(",")
}

/// A run of those folders with a minimum time.
fn guarded(stage: &Stage, names: &[&str]) -> Run {
    stage.run().set("srcs-to-backup", sources(stage, names)).set("minimum-time-guard-h", "20")
}

fn status(stage: &Stage, names: &[&str]) -> Run {
    stage.look("status").arg("--check").set("srcs-to-backup", sources(stage, names))
}

#[test]
fn another_jobs_history_is_refused_until_it_is_accepted_once() {
    let stage = stage();
    guarded(&stage, &["one"]).expect(0);
    for _ in 0..2 {
        let done = guarded(&stage, &["two"]).expect(2);
        done.assert_says(&sources(&stage, &["one"]))
            .assert_says(&sources(&stage, &["two"]))
            .assert_says("BACKUP_NAME_PREFIX")
            .assert_says("--accept-sources");
    }
    stage.run().set("srcs-to-backup", sources(&stage, &["two"])).expect(2);
    let done = guarded(&stage, &["two"]).arg("--dry-run").expect(2);
    done.assert_says("--accept-sources");
    assert_eq!(stage.history().complete().len(), 1);
    status(&stage, &["two"]).expect(1).assert_says("BACKUP_NAME_PREFIX");
    status(&stage, &["one"]).expect(0);
    // The first job continues unchanged.
    guarded(&stage, &["one"]).expect(0).assert_says("nothing to do");
    // Accepting does not wait, because only a snapshot can record it.
    guarded(&stage, &["two"]).arg("--accept-sources").expect(0);
    assert_eq!(stage.history().complete().len(), 2);
    guarded(&stage, &["two"]).expect(0).assert_says("nothing to do");
    guarded(&stage, &["one"]).expect(2);
}

#[test]
fn an_interrupted_first_snapshot_of_another_job_is_not_taken_over() {
    let stage = stage();
    need!(need::tool("strace"));
    let killed = guarded(&stage, &["one"]).killed_at_time(4).done();
    assert_eq!(killed.code, 137, "{}", killed.said());
    assert_eq!(stage.history().incomplete().len(), 1);
    guarded(&stage, &["two"]).expect(2).assert_says(&sources(&stage, &["one"]));
    guarded(&stage, &["one"]).expect(0);
    assert!(inside(&stage.history().newest(), &stage.source.join("one/a")).exists());
}

#[test]
fn spellings_of_the_same_sources_and_old_reports_raise_no_alarm() {
    let stage = stage();
    std::os::unix::fs::symlink("one", stage.source.join("link")).unwrap();
    let link = format!("{},{}", stage.source.join("link").display(), sources(&stage, &["two"]));
    stage.run().set("srcs-to-backup", &link).expect(0);
    let names = ["link/", "./link", "../source/./link/."];
    for name in &names[..2] {
        stage.run().in_folder(&stage.source).set("srcs-to-backup", name).expect(0);
    }
    // A report without a host, and one without any sources.
    for field in ["host", "roots"] {
        let newest = stage.history().newest();
        let name = newest.file_name().unwrap().to_string_lossy().into_owned();
        let report = stage.backups.join(format!(".backup_manager/reports/{name}.json"));
        let mut text: serde_json::Value =
            serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        text.as_object_mut().unwrap().remove(field);
        fs::write(&report, serde_json::to_vec(&text).unwrap()).unwrap();
        stage.run().set("srcs-to-backup", stage.source.join("link")).expect(0);
    }
}

#[test]
fn a_history_of_the_script_before_goes_on() {
    let stage = stage();
    let old = stage.backups.join(format!("my_backup.{}", stamp(fixtures::clock::time_at(-90_000))));
    let copy = inside(&old, &stage.source.join("one"));
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    stage.sh(&format!("cp -a one '{}'", copy.display()));
    guarded(&stage, &["one"]).expect(0);
    assert_eq!(stage.history().complete().len(), 2);
}

#[test]
fn a_new_source_does_not_wait_for_the_minimum_time() {
    let stage = stage();
    guarded(&stage, &["one"]).expect(0);
    guarded(&stage, &["one", "two"]).expect(0).assert_says("is in no snapshot yet");
    assert!(inside(&stage.history().newest(), &stage.source.join("two/b")).exists());
    for names in [&["one", "two"][..], &["two"], &["one"]] {
        guarded(&stage, names).expect(0).assert_says("nothing to do");
    }
    assert_eq!(stage.history().complete().len(), 2);
}

#[test]
fn a_source_that_is_no_longer_named_is_told_while_snapshots_hold_it() {
    let stage = stage();
    let two = stage.source.join("two").display().to_string();
    let run =
        |names| stage.run().set("max-backups", "3").set("srcs-to-backup", sources(&stage, names));
    run(&["one", "two"]).expect(0);
    let last = stage.history().newest();
    for _ in 0..2 {
        let done = run(&["one"]).expect(0);
        assert_eq!(done.lines_with("no longer named"), 2, "a warning and a line: {}", done.said());
        done.assert_says(&two).assert_says(&last.file_name().unwrap().to_string_lossy());
        let report = stage.history().report(&stage.history().newest());
        assert_eq!(report["dropped"][0]["path"], two.as_str());
        let look = stage.look("status").set("srcs-to-backup", sources(&stage, &["one"])).expect(0);
        look.assert_says(&two);
    }
    run(&["one"]).arg("--dry-run").expect(0).assert_says("no longer named");
    // The snapshot that held it goes in this run.
    assert_eq!(run(&["one"]).expect(0).lines_with("not backed up"), 0);
    assert!(!last.exists());
    assert_eq!(run(&["one"]).expect(0).lines_with(&two), 0);
    let look = stage.look("status").set("srcs-to-backup", sources(&stage, &["one"])).expect(0);
    assert_eq!(look.lines_with(&two), 0);
}

#[test]
fn mistakes_in_the_sources_are_reported_while_the_minimum_time_holds() {
    let stage = stage();
    guarded(&stage, &["one"]).expect(0);
    let one = sources(&stage, &["one"]);
    for (wrong, says) in [
        (stage.source.join("missing").display().to_string(), "check that the path is right"),
        (format!("{one}/*"), "patterns are not expanded"),
    ] {
        let run = guarded(&stage, &[]).set("srcs-to-backup", format!("{one},{wrong}"));
        run.expect(1).assert_says(says);
    }
    for wrong in [format!("\"{one}\""), format!("'{one}'")] {
        let run = guarded(&stage, &[]).set("srcs-to-backup", format!("{one},{wrong}"));
        run.expect(2).assert_says("without quotes");
    }
    stage.look("status").set("srcs-to-backup", &one).expect(0).assert_says("5");
    guarded(&stage, &["one"]).expect(0).assert_says("nothing to do");
    status(&stage, &["one"]).expect(0);
    assert_eq!(stage.history().complete().len(), 1);
}

#[test]
fn a_hook_that_mounts_the_sources_does_not_run_at_every_tick() {
    let stage = stage();
    let later = stage.source.join("later").display().to_string();
    let run = || {
        let made = format!("mkdir -p '{later}' && echo x >'{later}/file'");
        let run =
            stage.bare_run().env("PRE_BACKUP", made).env("POST_BACKUP", format!("rm -r '{later}'"));
        run.set("backups-dir", &stage.backups).set("srcs-to-backup", &later)
    };
    run().expect(0);
    run().expect(0).assert_says("nothing to do");
}

/// A command with the additional line `line` in fstab.
fn with_fstab(stage: &Stage, run: &Run, line: &str) -> Run {
    let table = stage.beside("fstab");
    fs::write(&table, format!("{line}\n")).expect("written");
    let script = format!("mount --bind '{}' /etc/fstab && exec \"$@\"", table.display());
    run.clone().under(&["unshare", "-m", "sh", "-c", &script, "sh"])
}

#[test]
fn a_source_that_fstab_lists_and_that_is_not_mounted_fails_from_the_first_run_on() {
    need!(need::root());
    need!(need::tool("unshare"));
    let stage = stage();
    let point = stage.source.join("one").display().to_string();
    let line = format!("UUID=1 {point} ext4 defaults 0 2");
    for names in [&["one"][..], &["two", "one"]] {
        let run = stage.run().set("srcs-to-backup", sources(&stage, names));
        for run in [run.clone(), run.arg("--dry-run")] {
            let done = with_fstab(&stage, &run, &line).expect(1);
            done.assert_says("is not mounted").assert_says(&point).assert_says("/etc/fstab");
        }
        let doctor = stage.look("doctor").set("srcs-to-backup", sources(&stage, names));
        with_fstab(&stage, &doctor, &line).expect(1).assert_says("is not mounted");
    }
    assert!(stage.history().complete().is_empty());
    with_fstab(&stage, &stage.run().set("srcs-to-backup", sources(&stage, &["two"])), &line)
        .expect(0);
}

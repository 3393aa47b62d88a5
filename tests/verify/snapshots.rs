//! `verify`: every kind of damage in every place is found, recorded, not linked onward, and
//! repaired by the next run.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Done;
use fixtures::sample_tree::everything;
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;

use crate::damage::report;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
pub(crate) const HASH: &str = "user.backup_manager.blake3";

pub(crate) fn sample() -> Tree {
    Tree::new()
        .random_file("large", 3_000_000, 1)
        .random_file("folder/one", 20_000, 2)
        .random_file("folder/two", 20_000, 3)
        .file("folder/small", "small")
        .hard_link("second name", "folder/one")
        .file("empty", "")
        .symlink("link", "large")
        .folder("other/deep")
}

pub(crate) fn verify(stage: &Stage) -> fixtures::run::Run {
    stage.look("verify").arg("--all").arg("--json")
}

/// The damage as lines, and the summary.
pub(crate) fn found(done: &Done) -> (Vec<String>, serde_json::Value) {
    let mut lines = Vec::new();
    let mut summary = serde_json::Value::Null;
    for object in done.objects() {
        match object["type"].as_str() {
            Some("damage") => {
                for name in object["names"].as_array().expect("the file system does it") {
                    let text = |key: &str| name[key].as_str().unwrap_or_default().to_owned();
                    let path = text("path");
                    let path = path.split_once("/source/").map_or(&path[..], |(_, path)| path);
                    lines.push(path.to_owned());
                }
            }
            Some("flaw") => lines.push(object["what"].as_str().unwrap_or_default().to_owned()),
            _ => summary = object,
        }
    }
    lines.sort();
    (lines, summary)
}

/// Overwrites bytes like a failing disk and restores the time.
pub(crate) fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("the file system does it");
    let modified = file
        .metadata()
        .expect("the file system does it")
        .modified()
        .expect("the file system does it");
    file.write_all_at(bytes, at).expect("the file system does it");
    file.set_modified(modified).expect("the file system does it");
}

#[test]
fn intact_snapshots_are_proved_and_each_inode_is_read_once() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    for _ in 0..3 {
        stage.run().rsync(&["-A", "-X"]).expect(0);
    }
    let before: Vec<_> = stage
        .history()
        .complete()
        .iter()
        .map(|path| (path.clone(), Fingerprint::of(path)))
        .collect();
    let (lines, summary) = found(&verify(&stage).expect(0));
    assert_eq!(lines, Vec::<String>::new());
    let one = found(&stage.look("verify").arg("--json").expect(0)).1;
    assert_eq!((&summary["good"], &summary["bytes"]), (&one["good"], &one["bytes"]));
    assert_eq!(summary["names"].as_u64(), one["names"].as_u64().map(|names| names * 3));
    for (path, before) in before {
        assert_untouched(&path, &before);
    }
    stage.look("verify").expect(0).assert_says("proved");
}

#[test]
fn snapshots_of_every_history_are_whole() {
    // The counts of a report match its snapshot, whatever happened between two snapshots.
    let spec = Spec { files: 300, folders: 50, largest: 20_000, root_only: false };
    let stage = Stage::with(BIN, &random_tree(9, spec));
    for seed in 0..4 {
        stage.take();
        assert_eq!(found(&verify(&stage).expect(0)).0, Vec::<String>::new());
        fixtures::mutate::mutate(&stage.source, seed);
    }
    // A run that was killed and resumed, a file as a source, a `/./` marker, and two roots, one
    // inside the other.
    let _ = stage.run().killed_after(std::time::Duration::from_millis(60));
    stage.take();
    let stage = Stage::with(BIN, &sample());
    let source = stage.source.display();
    for roots in [
        format!("{source}/folder,{source}/folder/one,{source}/other"),
        format!("{source}/large"),
        format!("{source}/./folder"),
        format!("{source}/./"),
    ] {
        let run = stage.run().set("srcs-to-backup", &roots).arg("--accept-sources");
        run.arg("--accept-shrink").expect(0);
        assert_eq!(found(&verify(&stage).expect(0)).0, Vec::<String>::new(), "{roots}");
    }
}

#[test]
fn without_a_manifest_the_report_and_the_times_of_folders_tell() {
    let stage = Stage::with(BIN, &sample());
    let snapshot = stage.take();
    fs::remove_dir_all(stage.backups.join(".backup_manager/manifests")).unwrap();
    verify(&stage).expect(0);
    // Reports have whole seconds: a change within the second of its end is not after it.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    fs::remove_file(stage.inside(&snapshot).join("folder/small")).unwrap();
    let (lines, _) = found(&verify(&stage).expect(4));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("1 of its") && lines[1].contains("entries were added"), "{lines:?}");
}

/// Missing properties of the content of the newest snapshot are not damage: it is restored and
/// linked onward.
fn goes_on(stage: &Stage) {
    let rows = stage.look("list").arg("--json").expect(0).objects();
    assert!(rows.iter().all(|row| row["damaged"] == false), "{rows:?}");
    stage.look("restore").set("to", stage.beside("back")).arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    stage.assert_linked("large");
}

#[test]
fn files_that_this_user_may_not_read_are_unproved_and_not_damaged() {
    need!(need::root());
    let tree = Tree::new().file("open", "x").file("closed", "y").file("folder/file", "z");
    let stage = Stage::with(BIN, &tree.folder("folder"));
    stage.sh("chmod 600 closed; chmod 700 folder");
    stage.take();
    let _ = stage.run_as(1234);
    let copy = stage.beside("backup_manager");
    let asked = |verb: &str| stage.look(verb).program(&copy).as_user(1234);
    let done = asked("verify").arg("--json").expect(3);
    let (lines, summary) = found(&done);
    assert_eq!((lines.len(), &summary["good"]), (2, &1.into()), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("this user may not read")), "{lines:?}");
    done.assert_says("(sudo)").assert_says("this user may not look into");
    // Hidden state is not reported as missing.
    stage.look("hold").arg("latest").expect(0);
    asked("release").arg("latest").expect(1).assert_says("(sudo)");
    verify(&stage).expect(0);
}

#[test]
fn a_report_that_is_gone_is_told_where_older_ones_are_there() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    fs::remove_file(report(&stage)).unwrap();
    verify(&stage).expect(0);
    stage.take();
    stage.take();
    fs::remove_file(report(&stage)).unwrap();
    let (lines, summary) = found(&verify(&stage).expect(3));
    assert!(lines.len() == 1 && lines[0].contains("its report is missing"), "{lines:?}");
    assert_eq!(summary["damaged"], 0);
    goes_on(&stage);
}

#[test]
fn a_file_without_a_hash_is_told_and_can_be_given_one() {
    let stage = Stage::with(BIN, &sample());
    let snapshot = stage.take();
    let large = stage.inside(&snapshot).join("large");
    xattr::remove(&large, HASH).unwrap();
    fs::remove_dir_all(stage.backups.join(".backup_manager/manifests")).unwrap();
    let before = Fingerprint::of(&snapshot);
    let done = verify(&stage).expect(3);
    done.assert_says("--record");
    assert_eq!(found(&done).1["unproved"], 1);
    assert_untouched(&snapshot, &before);
    goes_on(&stage);
    for later in &stage.history().complete()[1..] {
        fs::remove_dir_all(later).unwrap();
    }
    let modified = fs::metadata(&large).unwrap().modified().unwrap();
    assert_eq!(found(&verify(&stage).arg("--record").expect(0)).1["recorded"], 1);
    assert_eq!(fs::metadata(&large).unwrap().modified().unwrap(), modified);
    verify(&stage).expect(0);
    overwrite(&large, 5, b"x");
    verify(&stage).arg("--record").expect(4);
    // The recorded hash stays; it is not recorded again.
    verify(&stage).expect(4);
}

#[test]
fn damage_is_not_carried_forward_nor_kept_by_a_resumed_run() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    std::os::unix::fs::chown(&stage.backups, Some(1234), Some(1234)).unwrap();
    stage.run_as(1234).expect(0);
    let first = stage.history().newest();
    overwrite(&stage.inside(&first).join("folder/two"), 3, b"zzz");
    verify(&stage).expect(4);
    stage.sh("chmod 0 folder/two; chown 0 folder/two");
    stage.run_as(1234).expect(3).assert_says("missing from this snapshot");
    assert!(!stage.inside(&stage.history().newest()).join("folder/two").exists());
    // Linked by a run that was interrupted before the damage was known.
    let stage = Stage::with(BIN, &sample());
    let first = stage.take();
    let aged = stage.history().path(&hours_ago(50), "");
    fs::rename(&first, &aged).unwrap();
    let now = stage.history().path(&hours_ago(1), ".incomplete");
    let copied = std::process::Command::new("cp").arg("-al").arg(&aged).arg(&now).status();
    assert!(copied.unwrap().success());
    overwrite(&stage.inside(&aged).join("large"), 3, b"zzz");
    stage.look("verify").arg(aged.file_name().unwrap()).expect(4);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    stage.assert_apart("large");
    stage.assert_linked("folder/two");
}

#[test]
fn a_sample_and_a_rolling_check_read_a_part() {
    let mut tree = Tree::new();
    for number in 0..300 {
        tree = tree.file(format!("file {number}"), format!("content {number}"));
    }
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.take();
    let good = |run: fixtures::run::Run| {
        let summary = found(&run.arg("--json").expect(0)).1;
        assert_eq!(summary["snapshots"], 2);
        summary["good"].as_u64().unwrap()
    };
    let sample = good(stage.look("verify").arg("--sample").arg("10%"));
    assert!((5..80).contains(&sample), "{sample}");
    let roll = || stage.look("verify").arg("--rolling").arg("30d");
    let first = good(roll());
    assert!((1..40).contains(&first), "{first}");
    assert!(good(roll()) < 3, "a moment later there is nothing more to do");
    // As if the last call was 40 days ago.
    let state = stage.backups.join(format!(".backup_manager/verify/{PREFIX}.json"));
    let mut rolling: serde_json::Value =
        serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    rolling["reached"] = (rolling["reached"].as_i64().unwrap() - 40 * 86_400).into();
    fs::write(&state, rolling.to_string()).unwrap();
    assert_eq!(good(roll()), 300);
    stage.look("verify").arg("--rolling").arg("soon").expect(2);
}

#[test]
fn snapshots_of_rsync_can_be_checked_after_their_hashes_are_recorded() {
    let stage = Stage::with(BIN, &sample());
    let made = stage.history().path(&hours_ago(40), "");
    fs::create_dir_all(stage.inside(&made).parent().unwrap()).unwrap();
    stage.sh(&format!("cp -a . {}", stage.inside(&made).display()));
    verify(&stage).expect(3);
    verify(&stage).arg("--record").expect(0);
    verify(&stage).expect(0);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    verify(&stage).expect(0);
}

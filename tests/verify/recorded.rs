//! `verify --record` of old snapshots: files that cannot bear a hash, and snapshots without a manifest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fixtures::history::{hours_ago, stamp};
use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const HASH: &str = "user.backup_manager.blake3";
const USER: u32 = 1234;

fn sample() -> Tree {
    Tree::new()
        .file("objects/one", "object one")
        .mode(0o444)
        .file("objects/two", "object two")
        .mode(0o444)
        .file("plain", "plain")
        .random_file("folder/deep/file", 30_000, 1)
        .symlink("link", "plain")
}

fn verify_as(stage: &Stage, user: u32) -> Run {
    let program = stage.beside("backup_manager");
    stage.look("verify").program(&program).as_user(user).arg("--all").arg("--json")
}

fn summary(done: &Done) -> serde_json::Value {
    done.objects().pop().expect("there is a summary")
}

fn manifest(stage: &Stage, snapshot: &Path) -> PathBuf {
    let name = snapshot.file_name().expect("a snapshot has a name");
    stage.backups.join(".backup_manager/manifests").join(name)
}

/// As an older version left them: without manifests, and without hashes.
fn as_of_old(stage: &Stage) {
    let _ = fs::remove_dir_all(stage.backups.join(".backup_manager/manifests"));
    for snapshot in stage.history().complete() {
        for name in ["objects/one", "objects/two", "plain", "folder/deep/file"] {
            let _ = xattr::remove(stage.inside(&snapshot).join(name), HASH);
        }
    }
}

/// Other content of the same size, with the time and, if it had one, the hash that belong there.
fn forge(file: &Path) {
    let before = fs::metadata(file).expect("it is there");
    let content = vec![b'x'; usize::try_from(before.len()).expect("it is small")];
    fs::write(file, &content).expect("root can write it");
    xattr::set(file, HASH, blake3::hash(&content).as_bytes()).expect("it can be set");
    let file = fs::File::options().write(true).open(file).expect("it can be opened");
    file.set_modified(before.modified().expect("it has a time")).expect("it can be set");
}

#[test]
fn an_ordinary_user_records_hashes_of_files_that_may_not_be_written() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.sh(&format!("chown -R {USER}:{USER} ."));
    stage.run_as(USER).expect(0);
    stage.sh("echo more >>plain");
    stage.run_as(USER).expect(0);
    as_of_old(&stage);
    // A run of now records in its manifest that nothing is known of what it links.
    stage.run_as(USER).expect(0);
    assert_ne!(summary(&verify_as(&stage, USER).expect(3))["unproved"], 0);
    let recorded = summary(&verify_as(&stage, USER).arg("--record").expect(0));
    assert_eq!((&recorded["unproved"], &recorded["manifests"]), (&0.into(), &3.into()));
    let again = verify_as(&stage, USER).expect(0);
    assert_eq!(summary(&again)["unproved"], 0, "nothing is recommended any more");
    assert!(!again.said().contains("--record"), "{}", again.said());
    let again = summary(&verify_as(&stage, USER).arg("--record").expect(0));
    assert_eq!((&again["recorded"], &again["manifests"]), (&0.into(), &0.into()));
    // What was recorded counts: for the file, and for runs that link it onward.
    stage.run_as(USER).expect(0);
    forge(&stage.inside(&stage.history().newest()).join("objects/one"));
    let done = verify_as(&stage, USER).expect(4);
    let damaged = done.objects().into_iter().find(|object| object["type"] == "damage");
    let names = damaged.expect("it is found")["names"].as_array().map_or(0, Vec::len);
    assert_eq!(names, 4, "in each snapshot");
}

#[test]
fn root_gives_old_snapshots_a_manifest_and_shares_what_is_unchanged() {
    need!(need::root());
    let mut tree = sample();
    for number in 0..300 {
        tree = tree.file(format!("many/{number}"), number.to_string());
    }
    let stage = Stage::with(BIN, &tree);
    let first = stage.take();
    stage.sh("echo more >>plain");
    let second = stage.take();
    fs::remove_dir_all(stage.backups.join(".backup_manager/manifests")).expect("it is there");
    let verify = || stage.look("verify").arg("--all").arg("--json");
    assert_eq!(summary(&verify().arg("--record").expect(0))["manifests"], 2);
    let packs = |snapshot: &Path| {
        let entries = fs::read_dir(manifest(&stage, snapshot)).expect("it has a manifest");
        let mut inodes: Vec<u64> = entries
            .map(|entry| entry.expect("it can be listed"))
            .filter(|entry| entry.file_name() != "index")
            .map(|entry| entry.metadata().expect("it is there").ino())
            .collect();
        inodes.sort_unstable();
        inodes
    };
    let shared = packs(&first)[0];
    assert!(packs(&second).contains(&shared), "the records of many/ are the same file");
    // Nothing is proved by the hashes that files bear any more, and what was forged with its hash is found.
    verify().expect(0);
    forge(&stage.inside(&first).join("plain"));
    verify().expect(4).assert_says("its hash attribute was changed to match");
    // A snapshot in which something is wrong gets none.
    fs::remove_dir_all(manifest(&stage, &first)).expect("it is there");
    fs::remove_dir_all(manifest(&stage, &second)).expect("it is there");
    fs::write(stage.inside(&first).join("many/added"), "x").expect("root can write it");
    verify().arg("--record").expect(4);
    assert!(!manifest(&stage, &first).exists() && manifest(&stage, &second).exists());
}

#[test]
fn a_name_that_was_added_in_the_second_in_which_the_run_ended_is_found() {
    let stage = Stage::with(BIN, &sample());
    for _ in 0..50 {
        let snapshot = stage.take();
        fs::remove_dir_all(manifest(&stage, &snapshot)).expect("it is there");
        let folder = stage.inside(&snapshot).join("folder");
        fs::write(folder.join("added"), "x").expect("it can be written");
        let done = stage.look("verify").arg("latest").done();
        done.assert_code(4).assert_says("entries were added, removed or renamed in");
        let changed =
            fs::metadata(&folder).and_then(|meta| meta.modified()).expect("it has a time");
        // The report has whole seconds: 2023-12-07T13:32:58Z.
        let (changed, report) = (stamp(changed), stage.history().report(&snapshot));
        let finished = report["finished"].as_str().expect("a time");
        if finished[11..19] == changed[11..].replace('-', ":") {
            return;
        }
    }
    panic!("each run ended at the end of a second");
}

#[test]
fn hashes_that_cannot_be_recorded_are_told_with_the_reason() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    stage.sh(&format!("chown -R {USER}:{USER} ."));
    stage.run_as(USER).expect(0);
    as_of_old(&stage);
    // Another user's folder: nothing can be written there.
    stage.sh(&format!(
        "chmod 755 {0}; chmod -R a+rX {0}; chown -R 0:0 {0}/.backup_manager",
        stage.backups.display()
    ));
    let aged = stage.history().path(&hours_ago(1), "");
    assert!(!aged.exists());
    let done = verify_as(&stage, USER).arg("--record").expect(3);
    done.assert_says("no manifest got it").assert_says(".backup_manager");
    assert!(!done.said().contains("verify --record notes"), "{}", done.said());
}

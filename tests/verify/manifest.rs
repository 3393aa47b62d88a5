//! The manifest of a snapshot reveals forgeries by the owners of files in snapshots.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Done;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
const HASH: &str = "user.backup_manager.blake3";

fn sample() -> Tree {
    Tree::new()
        .random_file("folder/one", 20_000, 2)
        .random_file("folder/two", 20_000, 3)
        .file("folder/small", "small")
        .hard_link("second name", "folder/one")
        .file("empty", "")
        .symlink("link", "folder")
        .fifo("pipe")
        .random_file("other/deep/file", 5_000, 4)
}

fn verify(stage: &Stage) -> fixtures::run::Run {
    stage.look("verify").arg("--all").arg("--json")
}

/// The findings as lines: paths of damaged files, texts of flaws.
fn found(done: &Done) -> Vec<String> {
    let mut lines = Vec::new();
    for object in done.objects() {
        match object["type"].as_str() {
            Some("damage") => {
                for name in object["names"].as_array().expect("names are a list") {
                    let path = name["path"].as_str().unwrap_or_default();
                    lines.push(
                        path.rsplit_once("source/").map_or(path, |(_, path)| path).to_owned(),
                    );
                }
            }
            Some("flaw") => lines.push(object["what"].as_str().unwrap_or_default().to_owned()),
            _ => {}
        }
    }
    lines.sort();
    lines
}

/// The manifest folder of a snapshot.
fn manifest(stage: &Stage, snapshot: &Path) -> PathBuf {
    let name = snapshot.file_name().expect("a snapshot has a name");
    stage.backups.join(".backup_manager/manifests").join(name)
}

/// The files of a manifest that contain records.
fn packs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("there is a manifest");
    let mut packs: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    packs.retain(|path| path.file_name().is_some_and(|name| name != "index"));
    packs.sort();
    packs
}

fn size(folder: &Path) -> u64 {
    let packs = packs(folder).into_iter().chain([folder.join("index")]);
    packs.map(|path| fs::metadata(path).expect("it is there").len()).sum()
}

/// Forges a file like its owner with access to a snapshot: content, hash and time.
fn forge(file: &Path, content: &[u8]) {
    let time = fs::metadata(file).expect("it is there").modified().expect("it has a time");
    fs::write(file, content).expect("it can be written");
    xattr::set(file, HASH, blake3::hash(content).as_bytes()).expect("it can be set");
    let file = fs::File::options().write(true).open(file).expect("it can be opened");
    file.set_modified(time).expect("its time can be set");
}

/// Removes the hash attributes, so that only the manifest can prove the files.
fn without_attributes(stage: &Stage, snapshot: &Path) {
    let top = stage.inside(snapshot);
    for name in ["folder/one", "folder/two", "folder/small", "empty", "other/deep/file"] {
        let _ = xattr::remove(top.join(name), HASH);
    }
}

/// Checks that all files are proved without their attributes.
#[track_caller]
fn assert_recorded(stage: &Stage) {
    for snapshot in stage.history().complete() {
        without_attributes(stage, &snapshot);
    }
    let done = verify(stage).expect(0);
    assert_eq!(found(&done), Vec::<String>::new());
}

#[test]
fn content_that_was_forged_with_its_hash_and_time_is_found_and_not_restored() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let newest = stage.take();
    forge(&stage.inside(&newest).join("folder/two"), &[7; 20_000]);
    let done = verify(&stage).expect(4);
    assert_eq!(found(&done), ["folder/two", "folder/two"], "in both snapshots");
    done.assert_says("its hash attribute was changed to match");
    let to = stage.beside("restored");
    stage.look("restore").set("to", &to).arg(&stage.source).expect(4);
    assert!(!to.join("source/folder/two").exists());
    assert!(to.join("source/folder/one").exists());
    // A run copies it again.
    let newest = stage.take();
    stage.assert_newest_is_source(Judge::plain());
    stage.look("verify").arg(newest.file_name().expect("a snapshot has a name")).expect(0);
}

#[test]
fn files_copied_within_the_backups_have_the_hash_that_the_base_records() {
    // Forged content with a matching hash attribute, which a run with hash comparison trusts.
    let stage = Stage::with(BIN, &sample());
    let base = stage.take();
    let file = stage.inside(&base).join("folder/two");
    let hash = xattr::get(&file, HASH).expect("it can be read").expect("it has one");
    forge(&file, &[7; 20_000]);
    xattr::set(&file, HASH, &hash).expect("it can be set");
    stage.sh("chmod 640 folder/two");
    let newest = stage.take();
    stage.assert_apart("folder/two");
    let copy = stage.inside(&newest).join("folder/two");
    xattr::set(&copy, HASH, blake3::hash(&[7; 20_000]).as_bytes()).expect("it can be set");
    let newest = newest.file_name().expect("a snapshot has a name").to_owned();
    assert_eq!(found(&stage.look("verify").arg("--json").arg(newest).expect(4)), ["folder/two"]);
}

#[test]
fn a_hash_that_alone_was_changed_is_found_and_the_file_restored() {
    let stage = Stage::with(BIN, &sample());
    let newest = stage.take();
    let file = stage.inside(&newest).join("folder/two");
    xattr::set(&file, HASH, &[1; 32]).expect("it can be set");
    let done = verify(&stage).expect(4);
    assert_eq!(found(&done), ["folder/two"]);
    done.assert_says("but its hash attribute was changed");
    fs::remove_dir_all(stage.backups.join(".backup_manager/damaged")).expect("it is there");
    stage.look("restore").set("to", stage.beside("back")).arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn names_owners_modes_and_times_that_were_changed_are_found_whatever_the_times_of_folders_tell() {
    for (script, expected) in [
        (
            "touch -r folder x; mv folder/one t; mv folder/two folder/one; mv t folder/two; touch -r x folder; rm x",
            &["folder/one: its content was", "folder/two: its content was"][..],
        ),
        (
            "touch -r folder x; cp -p folder/one folder/new; touch -r x folder; rm x",
            &["folder/new was not"],
        ),
        ("touch -r folder x; rm folder/small; touch -r x folder; rm x", &["1 entry of"]),
        (
            "touch -r folder x; mv folder/small folder/other; touch -r x folder; rm x",
            &["1 entry of", "folder/other was not"],
        ),
        ("chmod 4755 folder/small", &["folder/small", "folder/small"]),
        ("touch -d @5 folder/small", &["folder/small", "folder/small"]),
        ("touch -h -d @5 link", &["link", "link"]),
        ("chmod 700 pipe", &["pipe", "pipe"]),
        ("touch -r . x; rm link; ln -s elsewhere link; touch -r x .; rm x", &["link"]),
        ("chmod 700 other", &["source/other: its kind"]),
        ("touch -d @5 other/deep", &["source/other/deep: its kind"]),
    ] {
        let stage = Stage::with(BIN, &sample());
        stage.take();
        let newest = stage.take();
        // The top of the source in its original state, because changes there alter its time.
        let top = stage.beside("top");
        let top = top.display();
        let script = format!("touch -r . {top}; {script}; touch -r {top} .");
        let done = std::process::Command::new("sh")
            .args(["-ec", &script])
            .current_dir(stage.inside(&newest))
            .status();
        assert!(done.expect("there is a shell").success());
        let lines = found(&verify(&stage).expect(4));
        assert_eq!(lines.len(), expected.len(), "{script}: {lines:?}");
        for (line, says) in lines.iter().zip(expected) {
            assert!(line.contains(says), "{script}: {lines:?}");
        }
        stage.run().expect(0);
        stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn unchanged_folders_are_shared_with_the_base_and_an_entry_takes_40_bytes() {
    let mut tree = sample();
    for number in 0..500 {
        tree = tree.file(format!("many/file {number}"), "x");
    }
    let stage = Stage::with(BIN, &tree);
    let first = manifest(&stage, &stage.take());
    let counts = stage.counts();
    let entries = counts["entries"].as_u64().expect("a report counts entries");
    assert!(entries > 500, "{counts}");
    // Pack names and the hash of the index have the same size for small and large snapshots.
    assert!(size(&first) <= 40 * entries + 40 * 12 + 150, "{} for {entries}", size(&first));
    let second = manifest(&stage, &stage.take());
    let inode = |path: &PathBuf| fs::metadata(path).expect("it is there").ino();
    let inodes = |folder: &Path| packs(folder).iter().map(inode).collect::<Vec<_>>();
    assert_eq!(inodes(&first), inodes(&second));
    stage.sh("echo changed >other/deep/file");
    let third = manifest(&stage, &stage.take());
    assert!(inodes(&third).contains(&inodes(&first)[0]));
    let own = packs(&third).into_iter().find(|pack| !inodes(&first).contains(&inode(pack)));
    let own = fs::metadata(own.expect("a folder changed")).expect("it is there").len();
    assert!(own <= 40, "{own}");
    for path in [&first, &stage.backups.join(".backup_manager/manifests")] {
        assert_eq!(fs::metadata(path).expect("it is there").mode() & 0o7777, 0o700);
    }
    for path in packs(&third).into_iter().chain([third.join("index")]) {
        assert_eq!(fs::metadata(path).expect("it is there").mode() & 0o7777, 0o600);
    }
    assert_recorded(&stage);
}

#[test]
fn a_manifest_that_is_not_whole_is_told_and_no_damage() {
    let cut: fn(&Path) = |path| {
        let text = fs::read(path).expect("it is there");
        fs::write(path, &text[..text.len() - 5]).expect("it can be written");
    };
    let flip: fn(&Path) = |path| {
        let mut text = fs::read(path).expect("it is there");
        let middle = text.len() / 2;
        text[middle] ^= 1;
        fs::write(path, &text).expect("it can be written");
    };
    let gone: fn(&Path) = |path| fs::remove_file(path).expect("it is there");
    for (what, harm) in [("cut", cut), ("flipped", flip), ("gone", gone)] {
        for index in [true, false] {
            let stage = Stage::with(BIN, &sample());
            let first = stage.take();
            let folder = manifest(&stage, &first);
            harm(&if index { folder.join("index") } else { packs(&folder).remove(0) });
            println!("{what}, index: {index}");
            // Without an index it counts as a snapshot from before manifests existed.
            let lines = found(&verify(&stage).expect(if index && what == "gone" { 0 } else { 3 }));
            assert!(
                lines.iter().all(|line| line.contains("its manifest cannot be read")),
                "{lines:?}"
            );
            stage.look("restore").set("to", stage.beside("back")).arg(&stage.source).expect(0);
            let second = stage.take();
            fs::remove_dir_all(&first).expect("it is there");
            assert!(stage.inside(&second).join("folder/one").exists());
            assert_recorded(&stage);
        }
    }
}

#[test]
fn snapshots_of_before_there_were_manifests_are_checked_as_before_and_give_their_hashes() {
    let stage = Stage::with(BIN, &sample());
    let first = stage.take();
    fs::remove_dir_all(stage.backups.join(".backup_manager/manifests")).expect("it is there");
    verify(&stage).expect(0);
    let second = stage.take();
    stage.assert_linked("folder/one");
    assert!(packs(&manifest(&stage, &second)).len() == 1);
    verify(&stage).expect(0);
    forge(&stage.inside(&first).join("folder/two"), &[7; 20_000]);
    assert_eq!(found(&verify(&stage).expect(4)), ["folder/two", "folder/two"]);
    forge(&stage.inside(&first).join("folder/two"), &[7; 20_000]);
    fs::remove_dir_all(second).expect("it is there");
    // Only the attribute proves it now.
    stage.look("verify").arg(first.file_name().expect("a snapshot has a name")).expect(0);
}

#[test]
fn a_manifest_lives_as_long_as_its_snapshot_and_needs_no_other() {
    let stage = Stage::with(BIN, &sample());
    for number in 0..4 {
        stage.sh(&format!("echo {number} >folder/changing"));
        stage.take();
    }
    assert_recorded(&stage);
    stage.look("prune").arg("--max-backups").arg("1").arg("--yes").expect(0);
    let all = stage.backups.join(".backup_manager/manifests");
    assert_eq!(fs::read_dir(&all).expect("it is there").count(), 1);
    assert_recorded(&stage);
    // Removed by hand: its manifest stays until the user asks for its removal.
    let gone = stage.history().newest();
    fs::remove_dir_all(&gone).expect("it is there");
    // A run within the same second would get its name.
    std::thread::sleep(Duration::from_millis(1_100));
    assert_ne!(stage.take(), gone);
    let doctor = stage.look("doctor").set("srcs-to-backup", &stage.source);
    doctor.arg("--remove-orphans").done().assert_says("manifests/");
    assert_eq!(fs::read_dir(&all).expect("it is there").count(), 1);
    assert_recorded(&stage);
}

#[test]
fn a_run_that_was_killed_and_resumed_records_all() {
    let mut tree = sample();
    for number in 0..400 {
        tree = tree.random_file(format!("many/{}/file {number}", number % 40), 3_000, number);
    }
    let stage = Stage::with(BIN, &tree);
    for step in 0..3 {
        for time in [30, 60, 90] {
            let _ = stage.run().killed_after(std::time::Duration::from_millis(time));
        }
        stage.take();
        stage.sh(&format!(
            "rm 'many/1/file {}'; for d in 2 3 4; do echo {step} >many/$d/new; done",
            1 + 40 * step
        ));
        for number in 0..400 {
            let file = stage.inside(&stage.history().newest());
            let _ = xattr::remove(file.join(format!("many/{}/file {number}", number % 40)), HASH);
        }
        assert_recorded(&stage);
    }
}

#[test]
fn a_manifest_that_cannot_be_written_ends_no_run() {
    let stage = Stage::with(BIN, &sample());
    let own = stage.backups.join(".backup_manager");
    fs::create_dir_all(&own).expect("it can be made");
    fs::write(own.join("manifests"), "in the way").expect("it can be written");
    stage.run().expect(0).assert_says("the manifest of the snapshot cannot be written");
    verify(&stage).expect(0);
    stage.take();
}

#[test]
fn folders_that_are_left_out_locked_or_cannot_be_read_are_recorded_as_they_stand() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample().folder("none/at/all").folder("closed/inside"));
    stage.sh("echo x >closed/file; chmod 500 closed; chmod 400 'second name'");
    for _ in 0..2 {
        stage.run().rsync(&["-m"]).expect(0);
        assert_eq!(found(&verify(&stage).expect(0)), Vec::<String>::new());
    }
    assert!(!stage.inside(&stage.history().newest()).join("none").exists());
    // An ordinary user sets modes that would deny access last.
    let stage = Stage::with(BIN, &sample().folder("closed/inside"));
    stage.sh("echo x >closed/file; chmod 500 closed; chown -R 1234:1234 .");
    std::os::unix::fs::chown(&stage.backups, Some(1234), Some(1234)).expect("root may");
    for _ in 0..2 {
        stage.run_as(1234).expect(0);
        assert_eq!(found(&verify(&stage).expect(0)), Vec::<String>::new());
    }
    // An unreadable entry is carried forward together with its record.
    stage.sh("chmod 0 folder/two other/deep; chown 0 folder/two other/deep; echo y >folder/small");
    stage.run_as(1234).expect(3);
    assert_recorded(&stage);
}

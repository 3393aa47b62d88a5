//! The brake on mass changes: attacks freeze the pruning and are reported until the hold is released; ordinary changes pass.

use std::fs;
use std::path::Path;

use fixtures::fingerprint::Fingerprint;
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use fixtures::web::Web;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const DOCUMENTS: u64 = 120;
const PHOTOS: u64 = 80;
const SNAPSHOTS: usize = 4;

/// Documents, photos, and a diary that changes each day.
fn office() -> Tree {
    let mut tree = Tree::new().file("diary.txt", "the first day\n");
    for number in 0..DOCUMENTS {
        let text = format!("document {number}: about this and that, word for word\n").repeat(8);
        tree = tree.file(format!("documents/{}/{number}.odt", number % 6), text);
    }
    for number in 0..PHOTOS {
        let noise = fixtures::random::Random::new(number).bytes(1500);
        let photo = [&b"\xff\xd8\xff\xe0"[..], &noise].concat();
        tree = tree.file(format!("photos/{number}.jpg"), photo);
    }
    tree
}

fn run(stage: &Stage) -> Run {
    stage.run().set("max-backups", SNAPSHOTS.to_string())
}

/// An office and a history of a first snapshot and `days` ordinary ones.
fn after(days: usize) -> Stage {
    let stage = Stage::with(BIN, &office());
    run(&stage).expect(0);
    for _ in 0..days {
        stage.sh("echo another day >>diary.txt");
        run(&stage).expect(0);
    }
    stage
}

/// Overwrites files below `$1` with random bytes, each followed by the commands `then`, in which `$f` is the file.
fn encrypt(files: &str, then: &str) -> String {
    format!(
        "for f in $(find {files} -type f | sort); do n=$(stat -c %s $f); head -c $n /dev/urandom >../noise && cat ../noise >$f; {then} done; rm -f ../noise"
    )
}

fn names(stage: &Stage) -> Vec<String> {
    let name = |path: &std::path::PathBuf| {
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    stage.history().complete().iter().map(name).collect()
}

fn report(stage: &Stage) -> serde_json::Value {
    stage.history().report(&stage.history().newest())
}

/// The kinds of the signs in the newest report.
fn signs(stage: &Stage) -> Vec<String> {
    let report = report(stage);
    let signs = report["suspicions"][0]["signs"].as_array().cloned().unwrap_or_default();
    signs.iter().map(|sign| sign["sign"].as_str().unwrap_or_default().to_owned()).collect()
}

fn held(stage: &Stage) -> Vec<String> {
    let list = fs::read_dir(stage.backups.join(".backup_manager/holds"));
    let mut names: Vec<String> = list
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("a hold").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Takes a snapshot after an attack. The run completes it, freezes the pruning and holds the snapshot before.
#[track_caller]
fn assert_braked(stage: &Stage, expected: &[&str]) -> Done {
    let before = names(stage);
    let done = run(stage).expect(3);
    let found = signs(stage);
    for sign in expected {
        assert!(found.iter().any(|found| found == sign), "{sign} in {found:?}: {}", done.said());
    }
    assert_eq!(names(stage)[..before.len()], before, "no snapshot is removed");
    assert_eq!(names(stage).len(), before.len() + 1);
    assert_eq!(held(stage), [before.last().map_or("", String::as_str)]);
    done
}

#[test]
fn encryption_in_place_freezes_the_pruning_until_the_hold_is_released() {
    let stage = after(4);
    stage.sh(&encrypt("documents photos", ""));
    let before = names(&stage);
    assert_eq!(before.len(), SNAPSHOTS);
    let good = before.last().unwrap().clone();
    let done = assert_braked(&stage, &["share", "content", "burst"]);
    stage.assert_newest_is_source(Judge::plain());
    let dir = stage.backups.display();
    let release = format!("backup_manager release {good} --backups-dir {dir}");
    let restore = format!("backup_manager restore {good} --to ./restored --backups-dir {dir}");
    done.assert_says("a mass change that may be unwanted").assert_says(&release);
    done.assert_says(&restore).assert_says("became unreadable, as if encrypted");
    let suspicion = &report(&stage)["suspicions"][0];
    assert_eq!(suspicion["good"], good.as_str(), "{suspicion}");
    let examples = suspicion["examples"].as_array().unwrap();
    assert!(!examples.is_empty() && examples[0].as_str().unwrap().ends_with(['t', 'g']));
    // Later runs, `prune` and `status` stay so.
    stage.sh("echo another day >>diary.txt");
    run(&stage).expect(3).assert_says(&release);
    assert_eq!(names(&stage).len(), SNAPSHOTS + 2);
    assert_eq!(names(&stage)[..SNAPSHOTS], before);
    let prune =
        || stage.look("prune").set("max-backups", "2").set("backup-name-prefix", "my_backup");
    prune().arg("--yes").expect(0).assert_says("pruning is frozen after a mass change");
    assert_eq!(names(&stage).len(), SNAPSHOTS + 2);
    let status = stage.look("status").arg("--check").expect(1);
    status.assert_says("UNHEALTHY: a mass change").assert_says(&release).assert_says(" since ");
    stage.look("list").expect(0).assert_says("before a mass change");
    // The old content is there.
    let to = stage.beside("restored");
    stage.look("restore").arg(&good).arg("--to").arg(&to).expect(0);
    let inside = format!("{}/documents/1/1.odt", &stage.source.display().to_string()[1..]);
    assert!(fs::read_to_string(to.join(inside)).unwrap().starts_with("document 1:"));
    // Released, the next run removes what is too much, and all is well.
    stage.look("release").arg(&good).expect(0).assert_says("runs remove snapshots again");
    stage.sh("echo another day >>diary.txt");
    run(&stage).expect(0);
    assert_eq!(names(&stage).len(), SNAPSHOTS);
    stage.look("status").arg("--check").expect(0);
}

#[test]
fn a_mass_change_is_noticed_in_a_snapshot_that_exists() {
    need!(need::tool("strace"));
    let stage = after(3);
    stage.sh(&encrypt("documents photos", ""));
    let before = names(&stage);
    run(&stage).injecting(&["syncfs:error=EIO"]).expect(1).assert_says("a mass change");
    assert_eq!(names(&stage), before, "nothing is sealed");
    let noticed = || {
        let hold = stage.backups.join(".backup_manager/holds").join(held(&stage).remove(0));
        let hold: serde_json::Value = serde_json::from_slice(&fs::read(hold).unwrap()).unwrap();
        hold["brake"]["noticed"].as_str().unwrap().to_owned()
    };
    assert_eq!(noticed(), "");
    let status = stage.look("status").expect(0);
    status.assert_says("a mass change");
    assert!(!status.said().contains("noticed in"), "{}", status.said());
    run(&stage).expect(3);
    let newest = names(&stage).last().unwrap().clone();
    assert_eq!((noticed(), names(&stage).len()), (newest.clone(), before.len() + 1));
    assert_eq!(report(&stage)["frozen"]["noticed"], newest.as_str());
    stage.look("status").expect(0).assert_says(&format!("noticed in {newest}"));
    // Later runs keep it.
    stage.sh("echo another day >>diary.txt");
    run(&stage).expect(3);
    assert_eq!(noticed(), newest);
}

#[test]
fn encryption_with_renaming_is_noticed() {
    let stage = after(3);
    stage.sh(&encrypt("documents photos", "mv $f $f.locked;"));
    let done = assert_braked(&stage, &["share", "content", "extension"]);
    done.assert_says("with the new extension .locked");
}

#[test]
fn encryption_under_random_names_is_noticed() {
    let stage = after(3);
    stage
        .sh(&encrypt("documents photos", "mv $f $(dirname $f)/$(echo $f | md5sum | cut -c 1-20);"));
    assert_braked(&stage, &["share", "content"]);
}

#[test]
fn encryption_of_documents_only_is_noticed() {
    let stage = after(3);
    stage.sh(&encrypt("documents/2 documents/3", ""));
    assert_braked(&stage, &["share", "content"]);
}

#[test]
fn slow_encryption_is_noticed_while_half_of_the_history_is_good() {
    let stage = after(5);
    let good = names(&stage);
    let mut noticed = None;
    for day in 0..15 {
        let some = |n: u64| format!("documents/*/{n}.odt ");
        let files: String = (day * 4..day * 4 + 4).map(some).collect();
        stage.sh(&format!("echo another day >>diary.txt; {}", encrypt(&files, "")));
        if stage.run().done().code == 3 {
            noticed = Some(day);
            break;
        }
    }
    assert!(noticed.is_some(), "after 15 of 30 runs");
    let held = held(&stage);
    assert!(good.contains(&held[0]), "{held:?} is from before the change: {good:?}");
    let suspicion = &report(&stage)["suspicions"][0];
    assert!(suspicion["runs"].as_u64() > Some(1), "{suspicion}");
}

#[test]
fn a_dry_run_says_so_and_writes_nothing() {
    let stage = after(3);
    stage.sh(&encrypt("documents photos", "mv $f $f.locked;"));
    let before = Fingerprint::of(&stage.backups);
    let done = run(&stage).arg("--dry-run").expect(0);
    done.assert_says("mass change").assert_says("would hold");
    assert!(!done.said().contains("would delete"), "{}", done.said());
    let objects = run(&stage).args(&["--dry-run", "--json"]).expect(0).objects();
    let summary = objects.last().unwrap();
    assert_eq!(summary["suspicions"][0]["signs"][0]["sign"], "share", "{summary}");
    fixtures::fingerprint::assert_untouched(&stage.backups, &before);
}

#[test]
fn ordinary_large_changes_pass() {
    for (what, script) in [
        ("modes", "chmod -R g-r documents photos"),
        ("a reorganised archive", "mkdir archive; mv documents archive/papers; mv photos pictures"),
        (
            "photos",
            "mkdir new; for n in $(seq 300); do printf '\\377\\330\\377%s' $n >new/$n.heic; done",
        ),
        ("vanished objects", "rm -r documents/1 documents/2; head -c 90000 /dev/urandom >pack"),
        ("an upgrade", "for f in documents/*/*; do echo new >>$f; touch -d '2001-01-01' $f; done"),
    ] {
        let stage = after(2);
        stage.sh(script);
        let done = run(&stage).done();
        assert_eq!(done.code, 0, "{what}: {}", done.said());
        assert_eq!(held(&stage), [""; 0], "{what}");
    }
}

#[test]
fn it_can_be_off_or_strict() {
    let stage = after(2);
    stage.sh("rm -r documents/1 documents/2");
    let strict = run(&stage).set("change-brake", "strict");
    strict.expect(3).assert_says("changed or vanished");
    assert_eq!(signs(&stage), ["share"]);
    stage.look("release").arg(held(&stage).remove(0)).expect(0);
    stage.sh(&encrypt("documents photos", ""));
    run(&stage).set("change-brake", "off").expect(0);
    assert_eq!(held(&stage), [""; 0]);
}

#[test]
fn a_hold_that_cannot_be_read_freezes_the_pruning() {
    let stage = after(4);
    let all = names(&stage);
    stage.look("hold").arg(&all[1]).expect(0);
    let hold = |name: &str| Path::new(".backup_manager/holds").join(name);
    fs::write(stage.backups.join(hold(&all[1])), "{\"since\":").expect("written");
    stage.sh("echo another day >>diary.txt");
    run(&stage).expect(3).assert_says("cannot be read");
    assert_eq!(names(&stage)[..all.len()], all);
    stage.look("release").arg(&all[1]).expect(0);
    stage.sh("echo another day >>diary.txt");
    run(&stage).expect(0);
    assert_eq!(names(&stage).len(), SNAPSHOTS);
}

#[test]
fn an_alert_has_numbers_examples_the_time_and_the_commands() {
    let stage = after(2);
    let web = Web::start(None);
    let set = |run: Run| run.env("WEBHOOK_URL", &web.url).env("TMPDIR", stage.beside(""));
    stage.sh(&encrypt("documents", "mv $f $f.locked;"));
    set(run(&stage)).expect(3).assert_says("alert sent by webhook: mass_change");
    let requests = web.requests();
    let object: serde_json::Value = serde_json::from_str(&requests[0].body).expect("JSON");
    assert_eq!((&object["event"], &object["urgent"]), (&"mass_change".into(), &true.into()));
    let text = object["text"].as_str().unwrap_or_default();
    let (held, dir) = (held(&stage).remove(0), stage.backups.display().to_string());
    for part in [
        "of 201 files: 120 files changed or vanished (usually at most 1)",
        // Not always 120: one in some thousand random files begins as a compressed one does.
        " files became unreadable, as if encrypted (usually at most 0)",
        "120 new files with the new extension .locked",
        "/documents/",
        "Since:",
        &format!("backup_manager restore {held} --to ./restored --backups-dir {dir}"),
        &format!("backup_manager release {held} --backups-dir {dir}"),
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    stage.sh("echo another day >>diary.txt");
    set(run(&stage)).expect(3);
    assert_eq!(web.requests().len(), 1, "it is repeated after a day");
}

#[test]
fn on_a_full_disk_no_snapshot_makes_room_for_a_mass_change() {
    let disk = need!(LoopFs::ext4(100));
    let ballast = disk.path().join("ballast");
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    let run = stage.run().set("max-backups", "2");
    stage.sh("mkdir documents; for n in $(seq 60); do yes \"document $n about this and that\" | head -c 400000 >documents/$n; done; head -c 25000000 /dev/urandom >film");
    run.expect(0);
    stage.sh("rm film");
    run.expect(0);
    let before = names(&stage);
    fs::write(&ballast, vec![1; 36_000_000]).expect("written");
    stage.sh(&encrypt("documents", ""));
    let done = run.expect(1);
    done.assert_says("no snapshot is removed to make room").assert_says("as if encrypted");
    assert_eq!(names(&stage), before);
    // The run that resumes examines what the first one stored, too.
    fs::remove_file(ballast).expect("removed");
    run.expect(3);
    assert_eq!(names(&stage)[..2], before);
    let changes = &report(&stage)["roots"][0]["changes"];
    assert_eq!((&changes["sampled"], &changes["turned_random"]), (&60.into(), &60.into()));
    stage.assert_newest_is_source(Judge::plain());
}

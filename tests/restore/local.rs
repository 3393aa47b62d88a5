//! `restore`: everything comes back as it was, for any user who took the snapshot, to any target, after any
//! number of attempts.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::sample_tree::{SOMEONE, everything, ordinary};
use fixtures::scan::scan;
use fixtures::stage::{Stage, inside};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// `restore --to` a folder beside the setup.
fn to(stage: &Stage, folder: &str) -> Run {
    stage.look("restore").set("to", stage.beside(folder))
}

/// `restore --in-place --yes` of the source.
fn in_place(stage: &Stage) -> Run {
    stage.look("restore").arg("--in-place").arg("--yes")
}

#[test]
fn root_gets_everything_back() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    stage.run().rsync(&["-A", "-X"]).expect(0);
    let snapshot = stage.history().newest();
    let before = Fingerprint::of(&snapshot);
    to(&stage, "all").expect(0);
    Judge::strict().assert_same(&stage.source, &inside(&stage.beside("all"), &stage.source));
    // The folders on the way are the parents of the source.
    let parent = inside(&stage.beside("all"), stage.source.parent().unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&parent), mode(stage.source.parent().unwrap()));
    to(&stage, "one").arg(&stage.source).expect(0);
    Judge::strict().assert_same(&stage.source, &stage.beside("one/source"));
    let files = scan(&stage.beside("one/source"));
    assert!(
        files
            .values()
            .all(|found| found.xattrs.keys().all(|name| !name.contains("backup_manager"))),
        "what belongs to the backups does not come back"
    );
    assert_untouched(&snapshot, &before);
    // A second restore changes nothing, and the copies share no inodes with the snapshot.
    let again = to(&stage, "all").arg("--json").expect(0).objects().pop().unwrap();
    assert_eq!((&again["counts"]["created"], &again["counts"]["bytes"]), (&0.into(), &0.into()));
}

#[test]
fn a_random_tree_comes_back_from_every_one_of_its_snapshots() {
    need!(need::root());
    let spec = Spec { files: 400, folders: 60, largest: 100_000, root_only: true };
    let stage = Stage::with(BIN, &random_tree(77, spec));
    stage.take();
    let old = stage.beside("old");
    stage.sh(&format!("cp -a . {}", old.display()));
    fixtures::mutate::mutate(&stage.source, 5);
    stage.take();
    to(&stage, "new").arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("new/source"));
    to(&stage, "first").arg("oldest").arg(&stage.source).expect(0);
    Judge::plain().assert_same(&old, &stage.beside("first/source"));
    // From one state to the other in the same folder, and back.
    let change = |snapshot: &str| {
        let run = to(&stage, "new").arg(snapshot).arg(&stage.source);
        run.arg("--overwrite").arg("changed").arg("--delete").expect(0);
    };
    change("oldest");
    Judge::plain().assert_same(&old, &stage.beside("new/source"));
    change("latest");
    Judge::plain().assert_same(&stage.source, &stage.beside("new/source"));
}

#[test]
fn values_that_an_ordinary_user_could_not_hold_are_restored_by_root() {
    need!(need::root());
    let tree = ordinary()
        .folder("theirs")
        .owner(0, 5)
        .mode(0o755)
        .file("theirs/file", "x")
        .owner(7, 8)
        .mode(0o644)
        .char_device("null", 1, 3)
        .owner(0, 6)
        .mode(0o666)
        .file("setuid", "#!")
        .owner(1000, 5)
        .mode(0o6755);
    let stage = Stage::with(BIN, &tree);
    stage.sh(&format!("chown -h {SOMEONE}:{SOMEONE} file 'empty file' 'no rights for others'"));
    stage.sh("touch -d @1600000000.123456789 file; chmod 3775 folder");
    stage.run_as(SOMEONE).expect(0);
    to(&stage, "back").arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn the_sidecar_values_of_one_name_of_an_inode_apply_to_all_names() {
    need!(need::root());
    let mut tree = Tree::new().file("first", "x").owner(7, 8).mode(0o644);
    for number in 0..40 {
        tree = tree.hard_link(format!("folder {number}/name"), "first");
    }
    let stage = Stage::with(BIN, &tree);
    stage.run_as(SOMEONE).expect(0);
    stage.run_as(SOMEONE).expect(0);
    assert_eq!(stage.counts()["metadata"], 0, "{}", stage.counts());
    to(&stage, "back").arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn an_ordinary_user_gets_their_own_back_and_is_told_what_is_missing_of_others() {
    need!(need::root());
    let stage = Stage::with(BIN, &ordinary());
    stage.sh(&format!(
        "chown -hR {SOMEONE}:{SOMEONE} . && chmod 3775 folder && chmod 0555 'empty folder'"
    ));
    stage.run_as(SOMEONE).expect(0);
    let back = stage.beside("back");
    fs::create_dir(&back).unwrap();
    std::os::unix::fs::chown(&back, Some(SOMEONE), Some(SOMEONE)).unwrap();
    let restore = || {
        let run = to(&stage, "back").program(&stage.beside("backup_manager")).as_user(SOMEONE);
        run.arg(&stage.source)
    };
    restore().expect(0);
    Judge::plain().assert_same(&stage.source, &back.join("source"));
    restore().expect(0);
    stage.sh("chown 0:0 old; chmod 644 old");
    stage.run_as(SOMEONE).expect(0);
    fs::remove_file(back.join("source/old")).unwrap();
    restore().expect(3).assert_says("source/old: restored without its owner or group");
    assert_eq!(fs::read_to_string(back.join("source/old")).unwrap(), "before 1970");
}

#[test]
fn a_folder_that_may_not_be_read_in_the_snapshot_is_named_once_and_keeps_its_mode() {
    need!(need::root());
    let tree = Tree::new().file("closed/file", "x").folder("closed").mode(0o750).file("open", "y");
    let stage = Stage::with(BIN, &tree);
    stage.sh(&format!("chown -R {SOMEONE}:{SOMEONE} ."));
    stage.run_as(SOMEONE).expect(0);
    let closed = stage.inside(&stage.history().newest()).join("closed");
    stage.sh(&format!("chown 0:0 '{0}' && chmod 751 '{0}'", closed.display()));
    let back = stage.beside("back");
    fs::create_dir(&back).unwrap();
    std::os::unix::fs::chown(&back, Some(SOMEONE), Some(SOMEONE)).unwrap();
    let run = to(&stage, "back").program(&stage.beside("backup_manager")).as_user(SOMEONE);
    let done = run.arg(&stage.source).expect(3);
    done.assert_says("source/closed/: cannot read it in the snapshot: Permission denied");
    assert_eq!(done.lines_with("FAILED"), 1, "{}", done.stderr);
    let found = fs::metadata(back.join("source/closed")).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o751);
    assert_eq!(fs::read_to_string(back.join("source/open")).unwrap(), "y");
}

#[test]
fn in_place_only_what_is_missing_comes_back_unless_more_is_asked_for() {
    let tree = Tree::new()
        .file("kept", "kept")
        .file("changed", "before")
        .file("gone/deep/file", "gone")
        .folder("gone/deep")
        .mode(0o750)
        .symlink("link", "kept");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let original = stage.beside("original");
    stage.sh(&format!("cp -a . {}", original.display()));
    stage.sh("echo later >changed; rm -r gone link; echo new >new; mkdir newer; touch newer/file");
    stage.look("restore").arg("--in-place").expect(2).assert_says("--yes");
    let done = in_place(&stage).expect(3);
    done.assert_says("changed: another version is in its place").assert_says("--overwrite newer");
    let read = |name: &str| fs::read_to_string(stage.source.join(name)).unwrap();
    assert_eq!((read("changed"), read("gone/deep/file")), ("later\n".into(), "gone".into()));
    assert!(stage.source.join("newer/file").exists());
    in_place(&stage).arg("--overwrite").arg("newer").expect(3);
    assert_eq!(read("changed"), "later\n", "the snapshot's is older");
    let preview = in_place(&stage).arg("-n").arg("--overwrite").arg("changed").arg("--delete");
    let preview = preview.expect(0);
    preview.assert_says("replace ").assert_says("remove ").assert_says("would restore");
    assert_eq!(read("changed"), "later\n", "a dry run writes nothing");
    in_place(&stage).arg("--overwrite").arg("changed").arg("--delete").expect(0);
    Judge::plain().assert_same(&original, &stage.source);
}

#[test]
fn one_file_comes_back_with_the_folders_on_its_way_and_nothing_else() {
    let tree = Tree::new().file("a/b/file", "x").folder("a/b").mode(0o700).file("a/other", "y");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh("rm -r a");
    in_place(&stage).arg(stage.source.join("a/b/file")).expect(0);
    assert_eq!(fs::read_to_string(stage.source.join("a/b/file")).unwrap(), "x");
    assert_eq!(fs::metadata(stage.source.join("a/b")).unwrap().mode() & 0o7777, 0o700);
    assert!(!stage.source.join("a/other").exists());
    in_place(&stage).arg(stage.source.join("a/none")).expect(2).assert_says("has no ");
    stage.look("restore").expect(2).assert_says("<--to <DIR>|--in-place>");
    to(&stage, "x").arg("--in-place").expect(2).assert_says("cannot be used with");
    let twice = to(&stage, "x").arg(stage.source.join("a")).arg("/elsewhere/a");
    twice.expect(2).assert_says("would both land as a");
    assert!(!stage.beside("x").exists(), "a mistake makes nothing");
}

#[test]
fn planted_symlinks_lead_nowhere() {
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "x").file("top", "y"));
    stage.take();
    let (outside, back) = (stage.beside("outside"), stage.beside("back/source"));
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(&back).unwrap();
    fs::write(outside.join("victim"), "v").unwrap();
    let plant = || {
        for name in ["folder", "top"] {
            let _ =
                fs::remove_file(back.join(name)).or_else(|_| fs::remove_dir_all(back.join(name)));
        }
        symlink(&outside, back.join("folder")).unwrap();
        symlink(outside.join("victim"), back.join("top")).unwrap();
    };
    let untouched = || {
        assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "v");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    };
    let restore = |when: &str| to(&stage, "back").arg(&stage.source).arg("--overwrite").arg(when);
    plant();
    restore("never").expect(3).assert_says("something that is no folder is in its place");
    untouched();
    for when in ["changed", "always"] {
        plant();
        restore(when).expect(0);
        untouched();
        Judge::plain().assert_same(&stage.source, &back);
    }
    // A folder is repeatedly swapped with a symlink during a restore.
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut count = 0;
            for _ in 0..4000 {
                let _ = fs::rename(back.join("folder"), back.join("aside"));
                count += u64::from(symlink(&outside, back.join("folder")).is_ok());
                let _ = fs::remove_file(back.join("folder"));
                let _ = fs::rename(back.join("aside"), back.join("folder"));
            }
            count
        });
        while !swapping.is_finished() {
            let _ = restore("always").done();
        }
        swapping.join().unwrap()
    });
    assert!(swaps > 0);
    untouched();
}

#[test]
fn nothing_is_restored_into_backups() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "x"));
    let snapshot = stage.take();
    let before = Fingerprint::of(&stage.backups);
    let link = stage.beside("link");
    symlink(&snapshot, &link).unwrap();
    for to in [&stage.backups, &snapshot, &stage.backups.join("new/folder"), &link.join("deep")] {
        let refused = stage.look("restore").set("to", to).expect(2);
        refused.assert_says("lies in the backups folder");
    }
    assert_untouched(&stage.backups, &before);
    // If the source contains the backups folder, that folder stays, whatever the options.
    let stage = Stage::with(BIN, &Tree::new().file("file", "x"));
    let inner = stage.source.join("inner/backups");
    fs::create_dir_all(&inner).unwrap();
    let stage = stage.backups_in(&inner);
    stage.take();
    let before = Fingerprint::of(&stage.history().newest());
    stage.sh("rm file");
    let _ = in_place(&stage).arg("--overwrite").arg("always").arg("--delete").done();
    assert_untouched(&stage.history().newest(), &before);
    assert!(stage.source.join("file").exists());
}

#[test]
fn a_hard_link_into_a_snapshot_is_never_written_through() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "x").mode(0o644).file("other", "y"));
    let snapshot = stage.take();
    let before = Fingerprint::of(&snapshot);
    // As made by `cp -al` of a snapshot; then the state after a chmod in the source.
    stage.sh("chmod 600 file");
    stage.take();
    let back = stage.beside("back/source");
    fs::create_dir_all(&back).unwrap();
    for name in ["file", "other"] {
        fs::hard_link(stage.inside(&snapshot).join(name), back.join(name)).unwrap();
    }
    to(&stage, "back").arg(&stage.source).arg("--overwrite").arg("changed").expect(0);
    Judge::plain().assert_same(&stage.source, &back);
    assert_ne!(
        fs::metadata(back.join("file")).unwrap().ino(),
        fs::metadata(stage.inside(&snapshot).join("file")).unwrap().ino()
    );
    to(&stage, "back").arg(&stage.source).arg("--overwrite").arg("always").expect(0);
    // An equal file stays, but it does not become the source of hard links.
    let tree = Tree::new().file("one", "linked").hard_link("two", "one");
    let linked = Stage::with(BIN, &tree);
    let inner = linked.inside(&linked.take());
    let target = linked.beside("back/source");
    fs::create_dir_all(&target).unwrap();
    fs::hard_link(inner.join("one"), target.join("one")).unwrap();
    to(&linked, "back").arg(&linked.source).expect(0);
    assert_ne!(
        fs::metadata(target.join("two")).unwrap().ino(),
        fs::metadata(inner.join("two")).unwrap().ino()
    );
    fs::remove_dir_all(stage.beside("back")).unwrap();
    assert_untouched(&snapshot, &before);
}

#[test]
fn a_damaged_file_is_not_restored_unless_asked_for() {
    let tree =
        Tree::new().random_file("bad", 100_000, 1).file("good", "good").hard_link("bad too", "bad");
    let stage = Stage::with(BIN, &tree);
    let snapshot = stage.take();
    let bad = stage.inside(&snapshot).join("bad");
    fs::OpenOptions::new().write(true).open(&bad).unwrap().write_all_at(b"flip", 50_000).unwrap();
    let done = to(&stage, "back").arg(&stage.source).expect(4);
    done.assert_says("DAMAGED").assert_says("source/bad").assert_says("--accept-damage");
    let back = stage.beside("back/source");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&back).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["good"]);
    to(&stage, "back").arg(&stage.source).arg("--accept-damage").expect(4);
    assert_eq!(names(), ["bad", "bad too", "good"]);
    assert_eq!(fs::read(&bad).unwrap(), fs::read(back.join("bad")).unwrap());
}

#[test]
fn an_interrupted_restore_goes_on() {
    let spec = Spec { files: 600, folders: 80, largest: 150_000, root_only: false };
    let stage = Stage::with(BIN, &random_tree(3, spec).random_file("large", 30_000_000, 4));
    stage.take();
    // A run that is killed very early has not created it yet.
    fs::create_dir(stage.beside("back")).unwrap();
    let mut interrupted = 0;
    for time in [20, 40, 60, 80, 120] {
        let run = to(&stage, "back").arg(&stage.source);
        interrupted += usize::from(!run.killed_after(Duration::from_millis(time)));
        // Every file under its final name is complete.
        let (source, back) = (scan(&stage.source), scan(&stage.beside("back")));
        for (path, found) in back.iter().filter(|(_, found)| found.is_file()) {
            let Some(path) = path.strip_prefix(b"source/") else { continue };
            let temporary = path.windows(9).any(|part| part == b"restoring");
            assert!(
                temporary || source.get(path).is_some_and(|whole| whole.content == found.content),
                "{}",
                path.escape_ascii()
            );
        }
    }
    assert!(interrupted > 0, "each run was over before it could be killed");
    to(&stage, "back").arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn a_tree_deeper_than_a_path_can_be_comes_back_with_few_handles() {
    let mut tree = Tree::new();
    let name = "d".repeat(90);
    let deep = vec![&name[..]; 120].join("/");
    tree = tree.file(format!("{deep}/file"), "deep");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    to(&stage, "back").arg(&stage.source).limited("-n 100").expect(0);
    // rsync cannot reach that depth.
    let differences = Judge::plain().differences(&stage.source, &stage.beside("back/source"));
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn the_snapshot_is_taken_from_the_path_and_a_mistyped_one_is_recognised() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "old"));
    let old = stage.take();
    stage.sh("echo newest >file");
    let new = stage.take();
    let back = |words: &[&Path]| {
        let _ = fs::remove_dir_all(stage.beside("back"));
        words.iter().fold(to(&stage, "back"), |run, word| run.arg(word))
    };
    let inside_old = stage.inside(&old).join("file");
    back(&[&inside_old]).expect(0).assert_says(old.file_name().unwrap().to_str().unwrap());
    assert_eq!(fs::read_to_string(stage.beside("back/file")).unwrap(), "old");
    // Two snapshots cannot be combined.
    let inside_new = stage.inside(&new).join("file");
    back(&[&inside_old, &inside_new]).expect(2).assert_says("the paths lie in different snapshots");
    back(&[Path::new("latest"), &inside_old]).expect(2).assert_says("but 'latest' means");
    back(&[Path::new("oldest"), &inside_old]).expect(0);
    let gone = stage.history().path("01-01-2001_00-00-00", "").join("file");
    back(&[&gone]).expect(2).assert_says("there is no snapshot");
    // A word that resembles a snapshot selection.
    let file = stage.source.join("file");
    let mistyped = back(&[Path::new("lastest"), &file]).expect(2);
    mistyped
        .assert_says("'lastest' is not a snapshot; did you mean latest?")
        .assert_says("./lastest");
    let name = format!("{}9", old.file_name().unwrap().to_str().unwrap());
    back(&[Path::new(&name), &file]).expect(2).assert_says("did you mean");
    assert!(!stage.beside("back").exists(), "a mistake makes nothing");
    // A file of that name, if one exists.
    stage.sh("echo x >lastest");
    stage.take();
    back(&[Path::new("lastest")]).in_folder(&stage.source).expect(0);
    assert_eq!(fs::read_to_string(stage.beside("back/lastest")).unwrap(), "x\n");
}

#[test]
fn no_folder_is_made_for_paths_that_the_snapshot_does_not_have() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content").symlink("link", "file"));
    stage.take();
    for missing in ["none", "file/none", "link/none"] {
        let run = to(&stage, "back").arg(stage.source.join(missing));
        run.expect(2).assert_says("nothing was written");
        assert!(!stage.beside("back").exists(), "{missing}");
    }
    to(&stage, "back").arg(stage.source.join("link")).expect(0);
}

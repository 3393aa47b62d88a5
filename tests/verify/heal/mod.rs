//! `verify --heal-from`: what is damaged comes back from the other copy with its links, nothing else changes, and no
//! kill leaves anything but the damaged or the good entry.

mod host;
mod kept;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::sample_tree::SOMEONE;
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use serde_json::Value;

use crate::snapshots::{BIN, HASH, overwrite, sample, verify};

pub(crate) fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-aT").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "cp to {}", to.display());
}

pub(crate) fn copied(stage: &Stage) -> PathBuf {
    stage.beside("copy")
}

/// Three snapshots, in the last of which one file is new and one has another mode; and a copy of them all.
pub(crate) fn stage() -> Stage {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.take();
    stage.sh("echo new >folder/new; chmod 600 folder/small");
    stage.take();
    copy(&stage.backups, &copied(&stage));
    stage
}

fn heal(stage: &Stage) -> Run {
    verify(stage).arg("--heal-from").arg(copied(stage))
}

pub(crate) fn inside(stage: &Stage, number: usize) -> PathBuf {
    stage.inside(&stage.history().complete()[number])
}

/// The groups of names that share an inode, over all snapshots, by the first of their names.
fn groups(backups: &Path) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    fn walk(folder: &Path, found: &mut BTreeMap<u64, Vec<PathBuf>>) {
        for entry in fs::read_dir(folder).expect("it is there").flatten() {
            let (path, meta) = (entry.path(), entry.metadata().expect("it is there"));
            match meta.is_dir() {
                true => walk(&path, found),
                false => found.entry(meta.ino()).or_default().push(path),
            }
        }
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(backups).expect("it is there").flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            walk(&entry.path(), &mut found);
        }
    }
    let below = |path: PathBuf| path.strip_prefix(backups).expect("below").to_owned();
    let sorted = found.into_values().map(|names| {
        let mut names: Vec<_> = names.into_iter().map(below).collect();
        names.sort();
        (names[0].clone(), names)
    });
    sorted.collect()
}

/// Each snapshot is what its copy is, with the same links, and a check finds nothing.
#[track_caller]
pub(crate) fn assert_whole(stage: &Stage, what: &str) {
    for snapshot in stage.history().complete() {
        let theirs = copied(stage).join(snapshot.file_name().expect("a name"));
        let different = Judge::strict().differences(&theirs, &snapshot);
        assert_eq!(different, Vec::<String>::new(), "{what}: {}", snapshot.display());
    }
    assert_eq!(groups(&stage.backups), groups(&copied(stage)), "{what}");
    verify(stage).expect(0);
    assert_eq!(files(&stage.backups.join(".backup_manager/damaged")), 0, "{what}");
    none_left(stage, what);
}

#[track_caller]
pub(crate) fn none_left(stage: &Stage, what: &str) {
    let healing = fs::read_dir(stage.backups.join(".backup_manager/healing"));
    assert_eq!(healing.map_or(0, |entries| entries.count()), 0, "{what}");
}

/// The number of files, without those that a killed process was writing.
pub(crate) fn files(folder: &Path) -> usize {
    let is_written = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    fs::read_dir(folder).map_or(0, |entries| entries.flatten().filter(is_written).count())
}

pub(crate) fn results(objects: &[Value]) -> Vec<(String, String)> {
    let healing = objects.iter().filter(|one| one["type"] == "healing");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let last = |path: String| {
        path.rsplit_once("source/").map_or(path.clone(), |(_, path)| path.to_owned())
    };
    healing.map(|one| (last(text(&one["path"])), text(&one["result"]))).collect()
}

pub(crate) type Damage = (&'static str, fn(&Stage));

pub(crate) const HEALED: &[Damage] = &[
    ("flipped content", |stage| overwrite(&inside(stage, 0).join("large"), 2_000_000, b"flip")),
    ("two inodes", |stage| {
        overwrite(&inside(stage, 1).join("folder/two"), 100, b"flip");
        overwrite(&inside(stage, 2).join("second name"), 0, &[0; 20_000]);
    }),
    ("truncated content", |stage| {
        let file = fs::OpenOptions::new().write(true).open(inside(stage, 1).join("large"));
        file.and_then(|file| file.set_len(1000)).expect("it can be truncated");
    }),
    ("a wrong mode", |stage| {
        let path = inside(stage, 0).join("folder/one");
        fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).expect("a mode");
    }),
    ("a wrong time", |stage| {
        let file = fs::File::open(inside(stage, 2).join("folder/two")).expect("a file");
        file.set_modified(std::time::UNIX_EPOCH).expect("a time");
    }),
    ("a flipped hash", |stage| {
        let path = inside(stage, 1).join("large");
        let mut hash = xattr::get(&path, HASH).expect("it has one").expect("it has one");
        hash[7] ^= 1;
        xattr::set(&path, HASH, &hash).expect("it can be set");
    }),
    ("a missing file", |stage| {
        fs::remove_file(inside(stage, 1).join("large")).expect("removed");
    }),
    ("one of two names", |stage| {
        fs::remove_file(inside(stage, 1).join("second name")).expect("removed");
    }),
    ("both names in all snapshots", |stage| {
        for number in 0..3 {
            fs::remove_file(inside(stage, number).join("second name")).expect("removed");
            fs::remove_file(inside(stage, number).join("folder/one")).expect("removed");
        }
    }),
    ("a missing symlink and an empty file", |stage| {
        fs::remove_file(inside(stage, 0).join("link")).expect("removed");
        fs::remove_file(inside(stage, 0).join("empty")).expect("removed");
    }),
    ("another symlink", |stage| {
        fs::remove_file(inside(stage, 0).join("link")).expect("removed");
        symlink("elsewhere", inside(stage, 0).join("link")).expect("made");
    }),
    ("a file that another one replaced", |stage| {
        let path = inside(stage, 1).join("large");
        let time = fs::metadata(&path).expect("a file").modified().expect("a time");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, vec![7; 3_000_000]).expect("written");
        fs::File::open(&path).expect("a file").set_modified(time).expect("a time");
    }),
    ("missing folders", |stage| {
        fs::remove_dir_all(inside(stage, 2).join("folder")).expect("removed");
        fs::remove_dir_all(inside(stage, 0).join("other")).expect("removed");
    }),
    ("a folder's mode", |stage| {
        let path = inside(stage, 1).join("other/deep");
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("a mode");
    }),
    ("exchanged names", |stage| {
        let [one, two, aside] =
            ["folder/one", "folder/two", "aside"].map(|name| inside(stage, 1).join(name));
        let time = |path: &Path| fs::metadata(path).expect("a folder").modified().expect("a time");
        let folders = [inside(stage, 1), inside(stage, 1).join("folder")];
        let times = folders.each_ref().map(|folder| time(folder));
        fs::rename(&one, &aside).expect("renamed");
        fs::rename(&two, &one).expect("renamed");
        fs::rename(&aside, &two).expect("renamed");
        for (folder, time) in folders.iter().zip(times) {
            fs::File::open(folder).expect("a folder").set_modified(time).expect("a time");
        }
    }),
];

#[test]
fn every_damage_is_healed_with_its_links() {
    let stage = stage();
    let whole = stage.beside("whole");
    copy(&stage.backups, &whole);
    for (what, damage) in HEALED {
        damage(&stage);
        let damaged: Vec<_> =
            stage.history().complete().iter().map(|at| Fingerprint::of(at)).collect();
        let would = heal(&stage).arg("--dry-run").expect(4).objects();
        let would = results(&would);
        assert!(!would.is_empty(), "{what}");
        assert!(would.iter().all(|(_, result)| result == "would_heal"), "{what}: {would:?}");
        for (snapshot, before) in stage.history().complete().iter().zip(&damaged) {
            assert_untouched(snapshot, before);
        }
        let copy_before = Fingerprint::of(&copied(&stage));
        let done = heal(&stage).expect(0);
        let healed = results(&done.objects());
        assert!(healed.iter().all(|(_, result)| result == "healed"), "{what}: {healed:?}");
        for path in would.iter().map(|(path, _)| path) {
            assert!(
                healed.iter().any(|(healed, _)| healed == path),
                "{what}: {path} in {healed:?}"
            );
        }
        assert_whole(&stage, what);
        assert_untouched(&copied(&stage), &copy_before);
        let status = stage.look("status").arg("--json").expect(0).stdout;
        let status: Value = serde_json::from_str(&status).expect("an object");
        assert_eq!(status["jobs"][0]["last_verify"]["damaged"], 0, "{what}");
        heal(&stage).expect(0);
    }
    // The next run links what was healed.
    overwrite(&inside(&stage, 2).join("large"), 5, b"flip");
    heal(&stage).expect(0);
    stage.take();
    stage.assert_linked("large");
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_copy_made_by_the_program_heals_the_original_and_the_other_way_round() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.sh("echo new >folder/new; chmod 600 folder/small");
    stage.take();
    stage.look("copy").arg("--to").arg(copied(&stage)).expect(0);
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    fs::remove_file(inside(&stage, 1).join("folder/two")).expect("removed");
    heal(&stage).expect(0);
    assert_whole(&stage, "from the copy");
    let newest = stage.history().newest();
    let theirs = stage.inside(&copied(&stage).join(newest.file_name().expect("a name")));
    overwrite(&theirs.join("large"), 5, b"flip");
    fs::remove_dir_all(theirs.join("folder")).expect("removed");
    let back = verify(&stage).set("backups-dir", copied(&stage));
    back.arg("--heal-from").arg(&stage.backups).expect(0);
    verify(&stage).set("backups-dir", copied(&stage)).expect(0);
    assert_whole(&stage, "from the original");
    // The copy goes on.
    stage.sh("echo more >>folder/new");
    stage.take();
    stage.look("copy").arg("--to").arg(copied(&stage)).expect(0);
    assert_whole(&stage, "with one more");
    stage.look("drill").set("backups-dir", copied(&stage)).arg("--sample").arg("100%").expect(0);
}

#[test]
fn what_the_other_copy_does_not_have_as_it_was_backed_up_stays() {
    let large = |folder: &Path| {
        let newest = fs::read_dir(folder).expect("it is there").flatten().map(|entry| entry.path());
        let mut names: Vec<_> =
            newest.filter(|path| path.to_string_lossy().contains(PREFIX)).collect();
        names.sort();
        names
    };
    for (what, spoil, says) in [
        (
            "damaged there too",
            (|at: &Path| overwrite(at, 2_000_000, b"flop")) as fn(&Path),
            "other content",
        ),
        ("the same damage", |at| overwrite(at, 2_000_000, b"flip"), "other content"),
        (
            "cut off",
            |at| {
                let time = fs::metadata(at).expect("a file").modified().expect("a time");
                let file = fs::OpenOptions::new().write(true).open(at).expect("a file");
                file.set_len(1000).and_then(|()| file.set_modified(time)).expect("cut");
            },
            "owner, mode, size",
        ),
        ("missing", |at| fs::remove_file(at).expect("removed"), "lacks it too"),
        (
            "a folder",
            |at| {
                fs::remove_file(at).expect("removed");
                fs::create_dir(at).expect("made");
            },
            "has a folder",
        ),
        (
            "a symlink to the content",
            |at| {
                fs::rename(at, at.with_extension("real")).expect("renamed");
                symlink(at.with_extension("real"), at).expect("made");
            },
            "another kind",
        ),
    ] {
        let stage = stage();
        overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
        for snapshot in large(&copied(&stage)) {
            // The snapshots share the file.
            let at = stage.inside(&snapshot).join("large");
            if what != "damaged there too" && what != "the same damage"
                || snapshot == large(&copied(&stage))[0]
            {
                spoil(&at);
            }
        }
        let before: Vec<_> =
            stage.history().complete().iter().map(|at| Fingerprint::of(at)).collect();
        let done = heal(&stage).expect(4);
        let left = results(&done.objects());
        assert_eq!(left.len(), 3, "{what}: {left:?}");
        assert!(left.iter().all(|(_, result)| result == "left"), "{what}: {left:?}");
        assert!(done.stdout.contains(says), "{what}: {}", done.said());
        for (snapshot, before) in stage.history().complete().iter().zip(&before) {
            assert_untouched(snapshot, before);
        }
        assert_eq!(files(&stage.backups.join(".backup_manager/damaged")), 3, "{what}");
        none_left(&stage, what);
    }
}

#[test]
fn one_part_is_healed_and_the_mark_of_the_other_stays() {
    let stage = stage();
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    overwrite(&inside(&stage, 0).join("folder/two"), 0, b"flip");
    fs::write(inside(&stage, 2).join("added"), "x").expect("written");
    let newest = stage.history().newest();
    let theirs = stage.inside(&copied(&stage).join(newest.file_name().expect("a name")));
    overwrite(&theirs.join("folder/two"), 0, b"flip");
    let objects = heal(&stage).expect(4).objects();
    let (healed, left): (Vec<_>, Vec<_>) =
        results(&objects).into_iter().partition(|(_, result)| result == "healed");
    assert!(healed.len() == 3 && healed.iter().all(|(path, _)| path == "large"), "{healed:?}");
    assert_eq!(left.len(), 4, "{left:?}");
    // What was added is never removed.
    assert!(inside(&stage, 2).join("added").exists());
    for name in stage.history().complete() {
        let name = name.file_name().expect("a name").to_owned();
        let mark = fs::read_to_string(stage.backups.join(".backup_manager/damaged").join(name));
        let mark = mark.expect("a mark");
        assert!(mark.contains("folder/two") && !mark.contains("large"), "{mark}");
    }
}

#[test]
fn a_healing_that_is_killed_at_any_point_is_completed_by_the_next_one() {
    need!(need::tool("strace"));
    let stage = stage();
    for (_, damage) in HEALED.iter().filter(|(what, _)| {
        ["two inodes", "a missing symlink and an empty file", "missing folders"].contains(what)
    }) {
        damage(&stage);
    }
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    let damaged = stage.beside("damaged");
    copy(&stage.backups, &damaged);
    let mut kills = 0;
    for call in ["renameat,renameat2", "linkat", "fsync", "unlinkat", "utimensat"] {
        // 1, 2, 4, 7, 11, …
        for number in (0..).map(|step: usize| 1 + step * (step + 1) / 2) {
            fs::remove_dir_all(&stage.backups).expect("removed");
            copy(&damaged, &stage.backups);
            let killed =
                heal(&stage).injecting_on(0, &[&format!("{call}:signal=KILL:when={number}")]);
            let killed = killed.done();
            if killed.code != 137 {
                assert_eq!(killed.code, 0, "{call} {number}: {}", killed.said());
                break;
            }
            kills += 1;
            // Each file is the damaged one, or the good one.
            for (number, snapshot) in stage.history().complete().iter().enumerate() {
                let name = snapshot.file_name().expect("a name");
                for file in
                    ["large", "folder/one", "folder/two", "folder/small", "second name", "empty"]
                {
                    let read = |top: &Path| fs::read(stage.inside(&top.join(name)).join(file)).ok();
                    let now = read(&stage.backups);
                    assert!(
                        now == read(&damaged) || now == read(&copied(&stage)),
                        "{call} {number}: {file}"
                    );
                }
            }
            heal(&stage).expect(0);
            assert_whole(&stage, &format!("{call} {number}"));
        }
    }
    assert!(kills > 15, "{kills}");
}

#[test]
fn an_incomplete_snapshot_gets_the_new_inode_too() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    stage.take();
    copy(&stage.backups, &copied(&stage));
    // As after an interruption: the newest snapshot is to be resumed, and all in it counts as durable.
    let newest = stage.history().newest();
    let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
    let incomplete = newest.with_file_name(format!("{name}.incomplete"));
    fs::rename(&newest, &incomplete).expect("renamed");
    let journal = format!(
        "{{\"version\":1,\"snapshot\":\"{name}.incomplete\",\"durable_before\":{{\"secs\":4000000000,\"nanos\":5}},\
         \"sync_failed\":false,\"roots\":{{}}}}"
    );
    let own = stage.backups.join(".backup_manager");
    fs::create_dir_all(own.join("journal")).expect("a folder");
    fs::write(own.join("journal/my_backup.json"), journal).expect("written");
    let base = stage.history().newest();
    overwrite(&stage.inside(&base).join("large"), 2_000_000, b"flip");
    heal(&stage).expect(0);
    let [ours, theirs] = [&base, &incomplete].map(|at| stage.inside(at).join("large"));
    let number = |path: &Path| fs::metadata(path).expect("a file").ino();
    assert_eq!(number(&ours), number(&theirs));
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::plain());
    verify(&stage).expect(0);
}

#[test]
fn without_manifests_the_attribute_and_the_other_side_decide() {
    let stage = stage();
    for folder in [&stage.backups, &copied(&stage)] {
        fs::remove_dir_all(folder.join(".backup_manager/manifests")).expect("removed");
    }
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    heal(&stage).expect(0);
    assert_whole(&stage, "without manifests");
    // Neither the content nor a record of it is known.
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    xattr::set(inside(&stage, 0).join("large"), HASH, &[7; 32]).expect("set");
    heal(&stage).expect(4);
}

#[test]
fn an_ordinary_user_heals_closed_files_in_closed_folders() {
    need!(need::root());
    let tree = Tree::new()
        .random_file("closed/file", 30_000, 1)
        .mode(0o444)
        .random_file("closed/other", 300, 2)
        .mode(0o400);
    let stage = Stage::with(BIN, &tree);
    stage.sh(&format!("chmod 555 closed; chown -R {SOMEONE}:{SOMEONE} ."));
    stage.run_as(SOMEONE).expect(0);
    stage.run_as(SOMEONE).expect(0);
    copy(&stage.backups, &copied(&stage));
    overwrite(&inside(&stage, 0).join("closed/file"), 5, b"flip");
    fs::remove_file(inside(&stage, 1).join("closed/other")).expect("removed");
    let heal = || heal(&stage).program(&stage.beside("backup_manager")).as_user(SOMEONE);
    heal().expect(0);
    assert_whole(&stage, "an ordinary user");
    let mode =
        |number| fs::metadata(inside(&stage, number).join("closed")).expect("a folder").mode();
    assert_eq!([mode(0) & 0o777, mode(1) & 0o777], [0o555; 2]);
}

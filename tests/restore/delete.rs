//! `restore --delete`: an entry that is missing in the snapshot is removed only if the run is known
//! to have looked there and found nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use fixtures::loop_fs::{LoopFs, Mount};
use fixtures::need;
use fixtures::run::Run;
use fixtures::sample_tree::SOMEONE;
use fixtures::scan::scan;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, Over};

/// `restore --in-place --overwrite changed --delete` of the source.
fn in_place(stage: &Stage) -> Run {
    let run = stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes");
    run.set("overwrite", "changed").arg("--delete").arg("--json")
}

/// What a restore reported for each entry: the action, and the path below `top`.
fn results(run: &Run, top: &Path, code: i32) -> BTreeSet<(String, String)> {
    let lines = run.expect(code).objects();
    let entries = lines.iter().filter(|line| line["type"] == "entry");
    let entry = |line: &serde_json::Value| {
        let path = Path::new(line["path"].as_str().expect("a path"));
        let path = path.strip_prefix(top).unwrap_or(path).to_str().expect("UTF-8").to_owned();
        (line["what"].as_str().expect("a word").to_owned(), path)
    };
    entries.map(entry).collect()
}

/// Restores after a dry run that must report the same and change nothing. Returns the removed and
/// the protected entries.
fn removed_and_protected(run: impl Fn() -> Run, top: &Path) -> (Vec<String>, Vec<String>) {
    let before = scan(top);
    let preview = results(&run().arg("--dry-run"), top, 0);
    assert!(scan(top) == before, "a dry run writes nothing");
    let done = results(&run(), top, 0);
    assert_eq!(preview, done, "the dry run told something else");
    let of = |what: &str| {
        let lines = done.iter().filter(|(other, _)| other == what);
        lines.map(|(_, path)| path.trim_end_matches('/').to_owned()).collect()
    };
    (of("removed"), of("protected"))
}

fn expected(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn nothing_is_removed_beyond_a_mount_point() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("a", "a").folder("disk").folder("bound"));
    let source = &stage.source;
    let disk = need!(Mount::tmpfs(&source.join("disk")));
    fs::write(source.join("disk/only"), "the only copy").unwrap();
    stage.take();
    // Since the snapshot: a bind mount of the same file system in a folder that the snapshot
    // contains, another one and a disk in a folder that it does not contain.
    let elsewhere = stage.beside("elsewhere");
    fs::create_dir_all(elsewhere.join("deep")).unwrap();
    fs::write(elsewhere.join("deep/only"), "the only copy").unwrap();
    let bound =
        need!(Mount::new(&["--bind"], &elsewhere, &source.join("bound")).map_err(need::Missing));
    fs::create_dir_all(source.join("new/below")).unwrap();
    fs::write(source.join("new/file"), "new").unwrap();
    let other = need!(
        Mount::new(&["--bind"], &elsewhere, &source.join("new/below/bound")).map_err(need::Missing)
    );
    let second = need!(Mount::tmpfs(&source.join("new/second")));
    fs::write(source.join("new/second/only"), "the only copy").unwrap();
    let (removed, protected) = removed_and_protected(|| in_place(&stage), source);
    assert_eq!(removed, ["new/file"]);
    assert_eq!(protected, ["bound", "disk", "new/below/bound", "new/second"]);
    for path in ["disk/only", "bound/deep/only", "new/below/bound/deep/only", "new/second/only"] {
        assert_eq!(fs::read_to_string(source.join(path)).unwrap(), "the only copy", "{path}");
    }
    drop((other, second, bound));
    // The run has not seen what is below the mount point either.
    drop(disk);
    fs::write(source.join("disk/placeholder"), "not mounted").unwrap();
    let (removed, protected) = removed_and_protected(|| in_place(&stage), source);
    assert_eq!((removed, protected), (expected(&["new"]), expected(&["disk/placeholder"])));
}

#[test]
fn nothing_is_removed_beyond_a_subvolume() {
    let disk = need!(LoopFs::btrfs(200));
    let stage = Stage::all_on(BIN, disk.path());
    fs::write(stage.source.join("a"), "a").unwrap();
    stage.take();
    stage.sh("mkdir new && btrfs -q subvolume create new/sub && touch new/sub/only new/file");
    let (removed, protected) = removed_and_protected(|| in_place(&stage), &stage.source);
    assert_eq!((removed, protected), (expected(&["new/file"]), expected(&["new/sub"])));
    assert!(stage.source.join("new/sub/only").exists());
}

#[test]
fn entries_that_the_run_could_not_read_stay_with_everything_below_them() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().file("a", "a").file("closed/x", "before"));
    stage.sh(&format!("chown -R {SOMEONE}:{SOMEONE} ."));
    stage.run_as(SOMEONE).expect(0);
    // A folder that the last run carried forward, one that it could not list, and a file that it
    // could not read.
    stage.sh("mkdir -m 700 never; touch never/x closed/new; echo only >secret; chmod 600 secret");
    stage.sh("chown 0:0 closed never secret; chmod 700 closed");
    stage.run_as(SOMEONE).expect(3);
    stage.sh(&format!("touch surplus; chown {SOMEONE}:{SOMEONE} closed"));
    let (removed, protected) = removed_and_protected(|| in_place(&stage), &stage.source);
    assert_eq!(removed, ["surplus"]);
    assert_eq!(protected, ["closed/new", "never", "secret"]);
    let everywhere = || in_place(&stage).arg("--delete-excluded");
    let (removed, protected) = removed_and_protected(everywhere, &stage.source);
    assert_eq!((removed, protected.len()), (Vec::new(), 3));
}

#[test]
fn entries_that_the_filters_of_the_run_excluded_stay_unless_requested() {
    let tree = Tree::new()
        .file("a", "a")
        .file("x.tmp", "left out")
        .file("listed", "left out")
        .file("large", "more than ten bytes")
        .file("sub/.rsync-filter", "- *.iso\n")
        .file("sub/x.iso", "left out")
        .file("cache/.nobackup", "")
        .file("cache/x", "left out")
        .symlink("link", "a");
    let stage = Stage::with(BIN, &tree);
    let list = stage.beside("list");
    fs::write(&list, "listed\n").unwrap();
    let source = &stage.source;
    let from = format!("--exclude-from={}", list.display());
    let rules =
        ["--exclude=*.tmp", &from, "--max-size=10", "-FF", "--exclude-if-present=.nobackup"];
    stage.run().rsync(&[&rules[..], &["--no-links"]].concat()).expect(0);
    // The files that held the rules are gone by now.
    fs::remove_file(&list).unwrap();
    stage.sh("rm sub/.rsync-filter; mkdir new; touch new/x.tmp new/file surplus sub/surplus");
    let spared = ["cache/x", "large", "link", "listed", "new/x.tmp", "sub/x.iso", "x.tmp"];
    let (removed, protected) = removed_and_protected(|| in_place(&stage), source);
    assert_eq!(removed, ["new/file", "sub/surplus", "surplus"]);
    assert_eq!(protected, spared);
    let (removed, protected) =
        removed_and_protected(|| in_place(&stage).arg("--delete-excluded"), source);
    assert_eq!(protected, [] as [&str; 0]);
    assert_eq!(removed, ["cache/x", "large", "link", "listed", "new", "sub/x.iso", "x.tmp"]);
}

#[test]
fn folders_that_were_not_listed_and_folders_that_were_empty_stay() {
    let stage =
        Stage::with(BIN, &Tree::new().file("docs/a", "a").file("other", "b").folder("empty"));
    let list = stage.beside("list");
    fs::write(&list, "docs\nempty\n").unwrap();
    let from = format!("--files-from={}", list.display());
    stage.run().rsync(&["-r", "-m", &from]).expect(0);
    stage.sh("touch docs/surplus");
    let (removed, protected) = removed_and_protected(|| in_place(&stage), &stage.source);
    assert_eq!(removed, ["docs/surplus"]);
    assert_eq!(protected, ["empty", "other"]);
}

#[test]
fn a_folder_makes_way_only_when_all_of_it_may_go() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "x").symlink("link", "file"));
    stage.run().rsync(&["--exclude=*.keep"]).expect(0);
    stage.sh("rm file link; mkdir -p file/deep link; touch file/deep/x.keep link/y");
    let done = in_place(&stage).expect(3);
    done.assert_says("a folder is in its place, and in it something that must not be removed");
    assert!(stage.source.join("file/deep/x.keep").exists());
    assert_eq!(fs::read_link(stage.source.join("link")).unwrap(), PathBuf::from("file"));
    // A snapshot that cannot supply the replacement.
    let stage = Stage::with(BIN, &Tree::new().file("file", "right"));
    let snapshot = stage.take();
    stage.sh("rm file; mkdir file; touch file/only");
    let bad = stage.inside(&snapshot).join("file");
    fs::OpenOptions::new().write(true).open(bad).unwrap().write_all_at(b"w", 0).unwrap();
    in_place(&stage).expect(4).assert_says("it has another hash");
    assert!(stage.source.join("file/only").exists());
}

#[test]
fn a_snapshot_that_may_lack_something_is_no_reason_to_remove_anything() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "a").file("b", "b"));
    let snapshot = stage.take();
    let name = snapshot.file_name().unwrap().to_str().unwrap();
    let own = |path: &str| stage.backups.join(".backup_manager").join(path);
    let report = own(&format!("reports/{name}.json"));
    let text = fs::read_to_string(&report).unwrap();
    let refused = |why: &str| {
        stage.sh("touch surplus");
        for dry in [&["--dry-run"][..], &[]] {
            let run = dry.iter().fold(in_place(&stage), |run, word| run.arg(word));
            run.expect(2).assert_says(why).assert_says("--delete-anyway");
        }
        assert!(stage.source.join("surplus").exists());
        // Without --delete it can still be restored.
        stage.look("restore").arg(&stage.source).arg("--in-place").arg("--yes").expect(0);
        in_place(&stage).arg("--delete-anyway").expect(0);
        assert!(!stage.source.join("surplus").exists());
    };
    fs::create_dir_all(own("damaged")).unwrap();
    let mark = own(&format!("damaged/{name}"));
    fs::write(&mark, "a\n").unwrap();
    refused("a check found damage in it");
    fs::remove_file(&mark).unwrap();
    fs::remove_file(&report).unwrap();
    refused("there is no report of it that can be read");
    fs::write(&report, &text[..text.len() / 2]).unwrap();
    refused("there is no report of it that can be read");
    let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
    old.as_object_mut().unwrap().remove("coverage");
    fs::write(&report, old.to_string()).unwrap();
    refused("does not tell what its run left out");
    fs::write(&report, text.replace(name, "other.07-12-2023_13-32-58")).unwrap();
    refused("its report is that of other.07-12-2023_13-32-58");
    stage.look("restore").arg("--to").arg("/x").arg("--delete-anyway").expect(2);
}

#[test]
fn entries_that_were_removed_from_the_snapshot_stay() {
    let tree = Tree::new().file("part/lost", "1").file("part/inner/kept", "2").file("gone/f", "3");
    let stage = Stage::with(BIN, &tree.file("whole/kept", "4"));
    let snapshot = stage.take();
    let source = &stage.source;
    fs::remove_file(stage.inside(&snapshot).join("part/lost")).unwrap();
    stage.sh("touch surplus part/surplus part/inner/surplus whole/surplus");
    let (removed, protected) = removed_and_protected(|| in_place(&stage), source);
    assert_eq!(
        (removed, protected),
        (expected(&["surplus", "whole/surplus"]), expected(&["part"]))
    );
    for path in ["part/lost", "part/surplus", "part/inner/surplus"] {
        assert!(source.join(path).exists(), "{path}");
    }
    fs::remove_dir_all(stage.inside(&snapshot).join("gone")).unwrap();
    stage.sh("touch surplus whole/surplus");
    let (removed, protected) = removed_and_protected(|| in_place(&stage), source);
    assert_eq!((removed, protected), (expected(&[]), expected(&[""])));
    assert!(source.join("gone/f").exists());
    // An incomplete manifest proves nothing.
    let manifests = stage.backups.join(".backup_manager/manifests");
    fs::write(manifests.join(snapshot.file_name().unwrap()).join("index"), "x").unwrap();
    in_place(&stage).expect(2).assert_says("its manifest cannot be read");
    assert!(source.join("gone/f").exists());
}

#[test]
fn entries_beside_a_source_root_were_never_read() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "a"));
    stage.take();
    let parent = stage.source.parent().unwrap();
    let name = parent.file_name().unwrap();
    let back = stage.beside("back");
    fs::create_dir_all(back.join(name).join("source")).unwrap();
    fs::write(back.join(name).join("neighbour"), "n").unwrap();
    fs::write(back.join(name).join("source/surplus"), "s").unwrap();
    let run = || {
        let run = stage.look("restore").arg(parent).set("to", &back).arg("--json");
        run.set("overwrite", "changed").arg("--delete")
    };
    let (removed, protected) = removed_and_protected(run, &back);
    assert_eq!(removed, [format!("{}/source/surplus", name.to_str().unwrap())]);
    assert_eq!(protected, [] as [&str; 0]);
    assert!(back.join(name).join("neighbour").exists());
}

#[test]
fn the_same_holds_on_another_machine() {
    need!(need::root());
    for over in Over::BOTH {
        let server = need!(Sshd::serving(Subsystem::Internal));
        let tree = Tree::new().file("a", "a").file("x.tmp", "left out").folder("disk");
        let stage = Stage::with(BIN, &tree);
        let disk = need!(Mount::tmpfs(&stage.source.join("disk")));
        stage.run().rsync(&["--exclude=*.tmp"]).expect(0);
        drop(disk);
        let back = stage.beside("back");
        fs::create_dir_all(back.join("source/disk/deep")).unwrap();
        fs::create_dir_all(back.join("source/new/deep")).unwrap();
        fs::create_dir_all(back.join("source/gone/deep")).unwrap();
        for path in
            ["x.tmp", "disk/deep/only", "new/deep/x.tmp", "new/file", "gone/deep/file", "surplus"]
        {
            fs::write(back.join("source").join(path), "only").unwrap();
        }
        let second = need!(Mount::tmpfs(&back.join("source/new/mounted")));
        fs::write(second.path().join("only"), "only").unwrap();
        symlink(&stage.source, back.join("source/away")).unwrap();
        let run = || {
            let run =
                server.known_to(over.set(stage.look("restore"))).arg(&stage.source).arg("--json");
            let run = run.set("to", format!("test:{}", back.display()));
            run.set("overwrite", "changed").arg("--delete")
        };
        let below = |path: &(String, String)| {
            let path_below = path.1.split_once("/source/").map_or("", |(_, path)| path);
            (path.0.clone(), path_below.trim_end_matches('/').to_owned())
        };
        let lines = |run: &Run| -> BTreeSet<_> {
            let all = results(run, &back, 0);
            all.iter()
                .map(below)
                .filter(|(what, _)| what == "removed" || what == "protected")
                .collect()
        };
        let preview = lines(&run().arg("--dry-run"));
        assert_eq!(preview, lines(&run()));
        let of = |what: &str| -> Vec<_> {
            preview
                .iter()
                .filter(|(other, _)| other == what)
                .map(|(_, path)| path.clone())
                .collect()
        };
        assert_eq!(of("removed"), ["away", "gone", "new/file", "surplus"]);
        assert_eq!(of("protected"), ["disk/deep", "new/deep/x.tmp", "new/mounted", "x.tmp"]);
        assert!(second.path().join("only").exists() && stage.source.join("a").exists());
    }
}

//! `restore` to a target that refuses something: the rest is restored, and each refusal is reported
//! with its reason.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::Run;
use fixtures::sample_tree::SOMEONE;
use fixtures::scan::scan;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// `restore --to` a folder beside the setup.
fn to(stage: &Stage, folder: &str) -> Run {
    stage.look("restore").set("to", stage.beside(folder)).arg(&stage.source)
}

#[test]
fn attributes_that_do_not_fit_are_listed_and_the_rest_comes_back() {
    // An ext4 with this feature holds more attributes beside an inode than one without it.
    let roomy = need!(LoopFs::new("ext4", 32, &["-q", "-F", "-O", "ea_inode"]));
    let plain = need!(LoopFs::ext4(32));
    let large = "7".repeat(9_000);
    let tree = Tree::new().file("a/full", "1").xattr("user.large", &large);
    let tree = tree.folder("b").xattr("user.large", &large);
    let tree = tree.file("b/file", "2").xattr("user.small", "x").hard_link("c", "a/full");
    let stage = Stage::all_on(BIN, roomy.path());
    tree.build(&stage.source);
    stage.run().rsync(&["-X"]).expect(0);
    for overwrite in ["never", "changed", "always"] {
        let back = plain.path().join("back");
        let restore = stage.look("restore").set("to", &back).set("overwrite", overwrite);
        let done = restore.arg(&stage.source).expect(3);
        assert!(!done.said().contains("no space"), "{}", done.said());
        done.assert_says("source/b/: restored without its user.large");
        for (path, content) in [("a/full", "1"), ("b/file", "2"), ("c", "1")] {
            let path = back.join("source").join(path);
            assert_eq!(fs::read_to_string(path).unwrap(), content);
        }
        let small = xattr::get(back.join("source/b/file"), "user.small").unwrap();
        assert_eq!(small.as_deref(), Some(&b"x"[..]));
    }
}

#[test]
fn a_disk_with_room_is_not_full_whatever_is_said_of_one_entry() {
    need!(need::tool("strace"));
    let tree = Tree::new().file("a", "1").symlink("link", "a").file("z/file", "2");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    for errno in ["ENOSPC", "EDQUOT"] {
        let _ = fs::remove_dir_all(stage.beside("back"));
        let rule = format!("symlinkat:error={errno}:when=1");
        let done = to(&stage, "back").injecting(&[&rule]).expect(3);
        done.assert_says("source/link").assert_says("though the file system has room");
        // The next time nothing is refused.
        to(&stage, "back").expect(0);
        Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
    }
}

#[test]
fn a_full_disk_ends_a_restore() {
    let disk = need!(LoopFs::ext4(16));
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 40_000_000, 1));
    stage.take();
    let restore = stage.look("restore").set("to", disk.path().join("back")).arg(&stage.source);
    restore.expect(1).assert_says("no space left where it is restored to");
    let left: Vec<_> = fs::read_dir(disk.path().join("back/source")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The mode of a file or folder.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o7777
}

/// A restore by a user who owns everything and made the backup.
fn by_owner(stage: &Stage) -> Run {
    stage.sh(&format!("chown -R {SOMEONE}:{SOMEONE} ."));
    stage.run_as(SOMEONE).expect(0);
    stage.look("restore").program(&stage.beside("backup_manager")).as_user(SOMEONE)
}

#[test]
fn folders_that_their_owner_may_not_write_to_are_restored_into_and_keep_their_modes() {
    need!(need::root());
    let tree = Tree::new().folder("shut").mode(0o555).file("shut/a", "1").hard_link("b", "shut/a");
    let tree = tree.folder("shut/inner").mode(0o555).file("shut/inner/file", "2");
    let tree = tree.folder("shut/inner/deepest").mode(0o500).symlink("shut/inner/deepest/c", "x");
    let stage = Stage::with(BIN, &tree);
    let restore = by_owner(&stage).arg(&stage.source);
    let in_place = restore.clone().arg("--in-place").arg("--yes").set("overwrite", "changed");
    let whole = scan(&stage.source);
    stage.sh("rm -r shut/a shut/inner/file shut/inner/deepest/c; mkdir -p shut/new/n; touch shut/new/n/f shut/inner/x");
    stage.sh(&format!("chown -R {SOMEONE}:{SOMEONE} .; chmod 555 shut/new shut/new/n"));
    // Not even listable, and without access for anyone.
    stage.sh("chmod 0111 shut; chmod 0 shut/inner/deepest");
    in_place.arg("--delete").expect(0);
    assert_eq!(Judge::plain().tree_differences(&whole, &scan(&stage.source)), Vec::<String>::new());
    // The target folder, which is not in the snapshot.
    let own = stage.beside("own");
    fs::create_dir(&own).unwrap();
    let shut = |path: &Path| {
        chown(path, Some(SOMEONE), Some(SOMEONE)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o2555)).unwrap();
    };
    for to in [&own, &own.join("made")] {
        shut(&own);
        restore.clone().set("to", to).expect(0);
        Judge::plain().assert_same(&stage.source, &to.join("source"));
        assert_eq!(mode(&own), 0o2555);
    }
    assert_eq!(mode(&own.join("made")) & 0o200, 0o200);
    // A dry run changes no mode.
    fs::remove_dir_all(own.join("source")).unwrap();
    restore.clone().set("to", &own).arg("--dry-run").expect(0);
    assert_eq!((mode(&own), own.join("source").exists()), (0o2555, false));
}

#[test]
fn a_stopped_restore_gives_folders_their_modes_back() {
    need!(need::root());
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 100_000_000, 1));
    let own = stage.beside("own");
    let restore = by_owner(&stage).arg(&stage.source).set("to", &own);
    fs::create_dir(&own).unwrap();
    chown(&own, Some(SOMEONE), Some(SOMEONE)).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o555)).unwrap();
    let mut running = restore.start();
    assert!(running.until(|| mode(&own) == 0o755), "too fast: {}", running.wait().said());
    assert!(running.until(|| own.join("source").exists()), "{}", running.wait().said());
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    assert_eq!(mode(&own), 0o555);
}

#[test]
fn without_proc_nothing_is_restored_and_proc_is_what_is_missing() {
    need!(need::root());
    need!(need::tool("unshare"));
    let stage = Stage::with(BIN, &Tree::new().file("file", "x").symlink("link", "file"));
    stage.take();
    let hidden = ["unshare", "--mount", "sh", "-c", "umount -l /proc && exec \"$@\"", "sh"];
    let done = to(&stage, "back").under(&hidden).done();
    done.assert_code(1).assert_says("/proc, which is not mounted").assert_says("mount -t proc");
    assert!(!stage.beside("back").exists());
    to(&stage, "back").expect(0);
}

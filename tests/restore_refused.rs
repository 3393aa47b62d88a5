//! `restore` to where something is refused: what can be restored is, and the rest is listed with its reason.

use std::fs;

use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// `restore --to` a folder beside the stage.
fn to(stage: &Stage, folder: &str) -> Run {
    stage.look("restore").set("to", stage.beside(folder)).arg(&stage.source)
}

#[test]
fn attributes_that_do_not_fit_are_listed_and_the_rest_comes_back() {
    // What an ext4 with this feature holds beside an inode, one without it does not.
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

//! A copy has the content and the links of the originals.

use std::path::Path;

use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::judge::{
    assert_content, assert_copied, assert_copied_with_new_names, copy, history, names,
};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// A stage with a history of `count` snapshots of a random tree that changes in between.
fn random_history(seed: u64, count: u64) -> Stage {
    let spec = Spec { files: 120, folders: 25, largest: 30_000, root_only: need::root().is_ok() };
    let stage = Stage::with(BIN, &random_tree(seed, spec));
    for number in 0..count {
        if number > 0 {
            mutate(&stage.source, seed * 100 + number);
        }
        stage.run().rsync(&["-A", "-X"]).expect(0);
    }
    stage
}

#[test]
fn a_history_of_random_trees_is_copied_with_its_links() {
    let stage = random_history(1, 6);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0).assert_says("copied 6 snapshots");
    assert_copied(&stage, &to);
    copy(&stage, &to).expect(0).assert_says("nothing to copy");
}

#[test]
fn what_was_added_since_is_copied_and_linked_to_the_copy() {
    let stage = random_history(2, 2);
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    for seed in 50..52 {
        mutate(&stage.source, seed);
        stage.run().rsync(&["-A", "-X"]).expect(0);
        copy(&stage, &to).expect(0).assert_says("copied 1 snapshot");
    }
    assert_copied(&stage, &to);
}

#[test]
fn hard_links_within_a_snapshot_stay_and_new_names_join_them() {
    let tree = Tree::new()
        .file("a/one", "one")
        .hard_link("b/one", "a/one")
        .file("a/two", "two")
        .symlink("a/link", "one")
        .folder("c");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh("ln a/one c/new; ln a/two c/two; ln -P a/link c/link");
    stage.take();
    stage.sh("rm a/one; mv b/one b/other; ln -s elsewhere a/one; rm c/two");
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    assert_copied_with_new_names(&stage, &to);
}

#[test]
fn renamed_files_and_folders_stay_links() {
    let tree = Tree::new()
        .random_file("folder/large", 200_000, 1)
        .random_file("folder/deep/other", 90_000, 2)
        .file("small", "small");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage.sh("mv folder renamed; mv small smaller");
    stage.take();
    stage.sh("mv renamed/large large");
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    assert_copied(&stage, &to);
}

#[test]
fn other_content_of_equal_size_and_time_is_copied() {
    let tree = Tree::new().file("a", "first").mtime(1_000_000_000, 5).file("b", "same");
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    stage.sh("printf other >a; touch -d @1000000000.000000005 a");
    stage.run().rsync(&["-c"]).expect(0);
    copy(&stage, &to).expect(0);
    assert_copied(&stage, &to);
    let newest = stage.inside(&history(&to).newest());
    assert_eq!(std::fs::read(newest.join("a")).unwrap(), b"other");
}

#[test]
fn holes_and_large_files_are_copied_as_they_are() {
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 20 << 20, 3));
    stage.sh("truncate -s 300M sparse; printf x | dd of=sparse bs=1 seek=200000000 conv=notrunc status=none");
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    assert_copied(&stage, &to);
}

#[test]
fn only_the_newest_ones_are_copied_on_request() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1"));
    for content in ["1", "2", "3"] {
        std::fs::write(stage.source.join("a"), content).unwrap();
        stage.take();
    }
    let to = stage.beside("copy");
    copy(&stage, &to).set("newest", "1").expect(0).assert_says("copied 1 snapshot");
    let all = names(&stage.history().complete());
    assert_eq!(names(&history(&to).complete()), all[2..]);
    copy(&stage, &to).expect(0).assert_says("copied 2 snapshots");
    assert_content(&stage, &to, Judge::strict());
}

#[test]
fn a_copy_without_a_snapshot_in_common_goes_on_by_content() {
    let stage = Stage::with(BIN, &Tree::new().random_file("kept", 50_000, 1).file("a", "1"));
    stage.take();
    let to = stage.beside("copy");
    copy(&stage, &to).expect(0);
    let first = history(&to).newest();
    stage.sh("echo 2 >a");
    stage.take();
    stage.look("prune").arg("--yes").set("max-backups", "1").expect(0);
    stage.sh("echo 3 >a");
    stage.take();
    copy(&stage, &to).expect(0).assert_says("copied 2 snapshots");
    let copies = history(&to).complete();
    assert_eq!(copies.len(), 3);
    let inode = |snapshot: &Path| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(stage.inside(snapshot).join("kept")).unwrap().ino()
    };
    assert!(copies.iter().all(|copy| inode(copy) == inode(&first)), "equal content is linked");
    let ours = stage.history().complete();
    for (ours, theirs) in ours.iter().zip(&copies[1..]) {
        Judge::strict().assert_same(ours, theirs);
    }
}

#[test]
fn a_dry_run_shows_what_would_be_copied_and_makes_nothing() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1"));
    stage.take();
    let to = stage.beside("copy");
    let done = copy(&stage, &to).arg("--dry-run").expect(0);
    done.assert_says(&format!("{} would be copied", names(&stage.history().complete())[0]));
    assert!(!to.exists());
    copy(&stage, &to).expect(0);
    copy(&stage, &to).arg("--dry-run").expect(0).assert_says("lacks no snapshot");
}

#[test]
fn a_history_is_fetched_from_another_folder() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1"));
    stage.take();
    let to = stage.beside("here");
    let fetch = stage.look("copy").arg("--from").arg(&stage.backups).set("backups-dir", &to);
    fetch.expect(0).assert_says("copied 1 snapshot");
    assert_copied(&stage, &to);
}

//! What a snapshot keeps: everything that a file system holds, as root and as an ordinary user.

use fixtures::fingerprint::Fingerprint;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::scan::scan;
use fixtures::stage::Stage;
use fixtures::tree::{Content, Tree};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
/// An ordinary user whom no account needs to exist for.
const SOMEONE: u32 = 12_345;

/// What anyone may make.
fn ordinary() -> Tree {
    Tree::new()
        .file("file", "hello")
        .mtime(1_600_000_000, 123_456_789)
        .file("empty file", "")
        .mode(0o600)
        .file("no rights for others", "x")
        .mode(0o604)
        .random_file("folder/of several blocks", 300_001, 1)
        .hard_link("folder/deeper/second name", "folder/of several blocks")
        .hard_link("third name", "folder/of several blocks")
        .content(
            "sparse",
            Content::Sparse { size: 50 << 20, islands: vec![(9 << 20, vec![7; 9_000])] },
        )
        .content("only a hole", Content::Sparse { size: 5 << 20, islands: vec![] })
        .symlink("link", "folder/deeper")
        .mtime(1_500_000_000, 987_654_321)
        .symlink("dangling link", b"/no where/\xff\n")
        .hard_link("folder/the same link", "dangling link")
        .fifo("pipe")
        .mode(0o620)
        .hard_link("folder/the same pipe", "pipe")
        .socket("socket")
        .file("old", "before 1970")
        .mtime(-86_400, 5)
        .file("future", "after 2038")
        .mtime(4_000_000_000, 6)
        .folder("empty folder")
        .mode(0o705)
        .mtime(1_400_000_000, 999_999_999)
        .folder("folder")
        .mode(0o3775)
        .mtime(1_300_000_000, 1)
}

/// What only root may make.
fn everything() -> Tree {
    ordinary()
        .file("setuid", "#!")
        .owner(1_000, 70_000)
        .mode(0o6755)
        .file("locked", "nobody reads this")
        .mode(0)
        .folder("someone's")
        .owner(SOMEONE, 4_000_000_000)
        .mode(0o2770)
        .symlink("someone's/link", "nowhere")
        .owner(7, 8)
        .fifo("someone's/pipe")
        .owner(9, 10)
        .char_device("null", 1, 3)
        .mode(0o666)
        .block_device("disk", 259, 70_000)
        .owner(0, 6)
        .file("dressed", "with attributes")
        .xattr("user.colour", "red")
        .xattr("user.empty", "")
        .xattr("trusted.secret", b"\x00\xff")
        .xattr("user.large", vec![b'x'; 900])
        .acl("u:1234:rw-,g:99:r--")
        .mode(0o640)
        .folder("dressed folder")
        .xattr("user.colour", "blue")
        .acl("d:u:1234:rwx,g:5:---")
        .file("dressed folder/inherits nothing", "")
}

#[test]
fn root_keeps_everything_with_acls_and_attributes() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    stage.run().rsync(&["-A", "-X"]).expect(0);
    stage.assert_newest_is_source(Judge::strict());
}

#[test]
fn without_the_options_acls_and_attributes_stay_behind() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    let first = stage.take();
    stage.assert_newest_is_source(Judge::plain());
    let foreign: Vec<_> = scan(&stage.inside(&first))
        .into_values()
        .flat_map(|found| found.xattrs.into_keys())
        .filter(|name| !name.starts_with(fixtures::judge::OWN_XATTRS))
        .collect();
    assert_eq!(foreign, Vec::<String>::new());
}

#[test]
fn a_second_snapshot_holds_all_of_it_too() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    let both = ["-A", "-X"];
    stage.run().rsync(&both).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    stage.run().rsync(&both).expect(0);
    stage.assert_newest_is_source(Judge::strict());
    fixtures::fingerprint::assert_untouched(&first, &before);
}

#[test]
fn every_copied_file_carries_the_hash_of_its_content() {
    let stage = Stage::with(BIN, &ordinary().file("read only", "x").mode(0o444));
    let snapshot = stage.take();
    let files = scan(&stage.inside(&snapshot));
    let mut count = 0;
    for (path, found) in files.iter().filter(|(_, found)| found.is_file()) {
        let hash = found.xattrs.get("user.backup_manager.blake3");
        assert_eq!(hash, Some(&found.content), "{}", path.escape_ascii());
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn an_ordinary_user_keeps_all_that_is_their_own() {
    need!(need::root());
    let stage = Stage::with(BIN, &ordinary());
    // chown takes setgid away and re-times nothing; the mode is said again.
    stage.sh(&format!("chown -hR {SOMEONE}:{SOMEONE} . && chmod 3775 folder"));
    let done = stage.run_as(SOMEONE).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    // The parents of the source are root's; that is told, but once.
    assert!(done.lines_with("owner") <= 1, "{}", done.said());
}

#[test]
fn an_ordinary_user_backs_up_the_files_of_others_but_for_their_owners() {
    need!(need::root());
    let stage = Stage::with(BIN, &ordinary());
    // A set-group-id folder whose group cannot be kept would give its group away: it is not set then.
    stage.sh(&format!("chown {SOMEONE}:{SOMEONE} 'empty file'; chmod g-s folder"));
    let first = stage.run_as(SOMEONE).expect(0);
    assert_eq!(first.lines_with("owner"), 1, "said once:\n{}", first.said());
    let judge = Judge::plain().without_owners();
    stage.assert_newest_is_source(judge);
    // What cannot be set is no difference either: all is linked the second time.
    let before = Fingerprint::of(&stage.history().newest());
    stage.run_as(SOMEONE).expect(0);
    stage.assert_newest_is_source(judge);
    let report = stage.history().report(&stage.history().newest());
    assert_eq!(report["counts"]["copied"], 0, "{report}");
    fixtures::fingerprint::assert_untouched(&stage.history().complete()[0], &before);
}

#[test]
fn what_the_backups_folder_would_lend_to_new_files_is_not_taken() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    // As on many a shared disk: a group of its own for all that is created there, and an ACL.
    let backups = stage.backups.to_string_lossy();
    stage.sh(&format!(
        "chgrp 4321 {backups}; chmod 2777 {backups}; setfacl -d -m u:99:rwx {backups}"
    ));
    let run = stage.run().rsync(&["-A", "-X"]).under(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    for _ in 0..2 {
        run.expect(0);
        stage.assert_newest_is_source(Judge::strict());
    }
}

#[test]
fn what_a_resumed_folder_would_lend_to_new_files_is_not_taken() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let tree = Tree::new().file("shared/file", "x").file("shared/later", "y").folder("shared");
    let stage = Stage::with(BIN, &tree);
    stage.sh("chgrp 4321 shared; chmod 2775 shared; setfacl -d -m u:99:rwx shared");
    let half = stage.history().path(&fixtures::history::hours_ago(1), ".incomplete");
    let copy = stage.inside(&half);
    std::fs::create_dir_all(&copy).unwrap();
    stage.sh(&format!("cp -a shared {}; rm {0}/shared/later", copy.display()));
    stage.run().rsync(&["-A", "-X"]).expect(0);
    stage.assert_newest_is_source(Judge::strict());
}

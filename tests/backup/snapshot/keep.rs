//! What a snapshot preserves: everything that a file system can store, as root and as an ordinary
//! user.

use fixtures::fingerprint::Fingerprint;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::sample_tree::{SOMEONE, everything, ordinary};
use fixtures::scan::scan;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
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
    // chown clears setgid without changing the mtime; the mode is set again.
    stage.sh(&format!("chown -hR {SOMEONE}:{SOMEONE} . && chmod 3775 folder"));
    let done = stage.run_as(SOMEONE).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    // Root owns the parents of the source, which is reported once.
    assert!(done.lines_with("owners cannot be set") <= 1, "{}", done.said());
}

#[test]
fn an_ordinary_user_backs_up_the_files_of_others_but_for_their_owners() {
    need!(need::root());
    let stage = Stage::with(BIN, &ordinary());
    // A setgid folder whose group cannot be set would give access to another group, so setgid is
    // not set.
    stage.sh(&format!("chown {SOMEONE}:{SOMEONE} 'empty file'; chmod g-s folder"));
    let first = stage.run_as(SOMEONE).expect(0);
    assert_eq!(first.lines_with("owners cannot be set"), 1, "said once:\n{}", first.said());
    let judge = Judge::plain().without_owners();
    stage.assert_newest_is_source(judge);
    // What cannot be set is not a difference: the second snapshot links everything.
    let before = Fingerprint::of(&stage.history().newest());
    stage.run_as(SOMEONE).expect(0);
    stage.assert_newest_is_source(judge);
    let report = stage.history().report(&stage.history().newest());
    assert_eq!(report["counts"]["copied"], 0, "{report}");
    fixtures::fingerprint::assert_untouched(&stage.history().complete()[0], &before);
}

#[test]
fn the_default_acl_of_the_backups_folder_does_not_apply_to_new_files() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let stage = Stage::with(BIN, &everything());
    // A common setup of shared disks: setgid with a shared group, and a default ACL.
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
fn the_default_acl_of_a_resumed_folder_does_not_apply_to_new_files() {
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

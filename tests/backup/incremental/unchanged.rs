//! The second run: unchanged entries are linked, changed ones are copied, and older snapshots stay
//! unchanged.

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    Tree::new()
        .file("one", "first file")
        .mode(0o644)
        .file("two", "second file")
        .random_file("folder/three", 70_000, 3)
        .hard_link("folder/four", "folder/three")
        .symlink("link", "one")
        .fifo("pipe")
        .folder("empty")
}

#[test]
fn nothing_changed_so_everything_is_linked_and_nothing_copied() {
    let stage = Stage::with(BIN, &sample());
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.take();
    for name in ["one", "two", "folder/three", "folder/four", "link", "pipe"] {
        stage.assert_linked(name);
    }
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
    let counts = stage.counts();
    for key in ["new", "changed", "metadata", "deleted", "copied", "bytes_copied"] {
        assert_eq!(counts[key], 0, "{key} in {counts}");
    }
    assert_eq!(counts["linked"], 6, "{counts}");
}

#[test]
fn nothing_changed_so_no_file_of_the_source_is_opened() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &sample());
    stage.take();
    let log = stage.beside("strace.log");
    let log_path = log.to_string_lossy();
    stage
        .run()
        .under(&["strace", "-f", "-qqq", "-e", "trace=open,openat,openat2", "-o", &log_path])
        .expect(0);
    let calls = std::fs::read_to_string(&log).unwrap();
    assert!(calls.contains("openat"), "the trace works");
    for name in ["\"one\"", "\"two\"", "\"three\"", "\"four\"", "\"pipe\""] {
        assert!(!calls.contains(name), "{name} was opened:\n{calls}");
    }
}

#[test]
fn each_change_makes_a_new_inode_and_leaves_the_old_one_alone() {
    // What is done, to which name, and which count of the report shows it.
    for (script, name, count) in [
        ("printf rewritten! >one", "one", "changed"),
        ("printf more >>one", "one", "changed"),
        (": >one", "one", "changed"),
        ("touch -d @1700000000.987654321 two", "two", "changed"),
        ("cp -p two x; printf SECOND >x; touch -r two x; mv x two", "two", "changed"),
        ("ln -sfn two link", "link", "changed"),
        ("touch -h -d @5.5 link", "link", "metadata"),
        ("chmod 4711 one", "one", "metadata"),
        ("chmod 600 pipe", "pipe", "metadata"),
        ("chmod 600 folder/four", "folder/three", "metadata"),
        ("rm pipe; mkdir pipe", "pipe", "changed"),
        ("rm two; ln -s one two", "two", "changed"),
        ("rm -r empty; printf x >empty", "empty", "changed"),
    ] {
        let stage = Stage::with(BIN, &sample());
        let first = stage.take();
        let before = Fingerprint::of(&first);
        stage.sh(script);
        stage.take();
        println!("{script}");
        stage.assert_apart(name);
        stage.assert_newest_is_source(Judge::plain());
        assert_untouched(&first, &before);
        let counts = stage.counts();
        assert!(counts[count].as_u64() >= Some(1), "{script}: {counts}");
        if count == "metadata" {
            assert_eq!(counts["bytes_copied"], 0, "{script}: {counts}");
        }
    }
}

#[test]
fn new_owners_acls_and_attributes_are_local_copies() {
    need!(need::root());
    need!(need::tool("setfacl"));
    need!(need::tool("setfattr"));
    for (script, name) in [
        ("chown 5:6 folder/three", "folder/three"),
        ("chgrp 7 one", "one"),
        ("chown -h 8 link", "link"),
        ("chown 8 pipe", "pipe"),
        ("setfacl -m u:77:r folder/four", "folder/four"),
        ("setfattr -n user.colour -v red one", "one"),
        ("setfattr -n user.old -v new two", "two"),
        ("setfattr -x user.old two", "two"),
    ] {
        let stage = Stage::with(BIN, &sample());
        stage.sh("setfattr -n user.old -v old two");
        let both = ["-A", "-X"];
        stage.run().rsync(&both).expect(0);
        let first = stage.history().newest();
        let before = Fingerprint::of(&first);
        stage.sh(script);
        stage.run().rsync(&both).expect(0);
        println!("{script}");
        stage.assert_apart(name);
        stage.assert_newest_is_source(Judge::strict());
        assert_untouched(&first, &before);
        assert_eq!(stage.counts()["bytes_copied"], 0, "{script}");
        // The copy keeps the hash, because the source is not read again.
        let inside = stage.inside(&stage.history().newest());
        let copy = &fixtures::scan::scan(&inside)[name.as_bytes()];
        if copy.is_file() {
            assert_eq!(copy.xattrs.get("user.backup_manager.blake3"), Some(&copy.content));
        }
    }
}

#[test]
fn deleted_files_are_missing_from_the_next_snapshot_only() {
    let stage = Stage::with(BIN, &sample());
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.sh("rm -r one folder empty");
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
    assert!(stage.counts()["deleted"].as_u64() >= Some(3), "{}", stage.counts());
}

#[test]
fn hard_links_follow_the_source() {
    let stage = Stage::with(BIN, &sample());
    stage.take();
    for script in [
        "ln folder/three empty/five",
        "rm folder/four; cp folder/three folder/four",
        "ln -f one two",
        "rm one; printf new >one",
        "ln link another-link; ln pipe another-pipe",
        "ln folder/three zzz; rm folder/three; mv empty/five folder/three",
        "printf changed >>zzz",
    ] {
        stage.sh(script);
        let before = Fingerprint::of(&stage.history().newest());
        let older = stage.history().newest();
        stage.take();
        println!("{script}");
        stage.assert_newest_is_source(Judge::plain());
        assert_untouched(&older, &before);
    }
}

#[test]
fn without_the_option_for_hard_links_each_name_is_a_file() {
    let stage = Stage::with(BIN, &sample());
    for _ in 0..2 {
        stage.run().rsync(&["--no-hard-links"]).expect(0);
        stage.assert_newest_is_source(Judge::plain().without_hard_links());
    }
    stage.assert_linked("folder/three");
}

#[test]
fn where_change_times_do_not_count_only_checksum_sees_a_change_that_kept_size_and_time() {
    let stage = Stage::with(BIN, &sample());
    let first = stage.take();
    let before = Fingerprint::of(&first);
    stage.sh("m=$(stat -c %y one); printf FIRST | dd of=one conv=notrunc status=none; touch -d \"$m\" one");
    let believing = || stage.run().set("trust", "mtime");
    believing().expect(0);
    stage.assert_linked("one");
    believing().rsync(&["--checksum"]).expect(0);
    stage.assert_apart("one");
    stage.assert_linked("two");
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(&first, &before);
    // A file with only a new time is read, found equal and not stored again.
    stage.sh("touch -d @1234567890 two");
    stage.run().rsync(&["--checksum"]).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn many_changes_over_many_runs_end_as_the_source_is() {
    let root = need::root().is_ok();
    let spec = Spec { files: 300, folders: 60, largest: 200_000, root_only: root };
    let stage = Stage::with(BIN, &random_tree(1, spec));
    let mut fingerprints = Vec::new();
    for seed in 0..6 {
        let snapshot = stage.take();
        stage.assert_newest_is_source(Judge::plain());
        fingerprints.push((Fingerprint::of(&snapshot), snapshot));
        mutate(&stage.source, seed);
    }
    for (before, snapshot) in &fingerprints {
        assert_untouched(snapshot, before);
    }
}

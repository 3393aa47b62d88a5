//! Damaged files do not cross the line to a host or from one, also while they are read.

use std::os::unix::fs::FileExt;
use std::path::Path;

use fixtures::history::History;
use fixtures::need;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;

use crate::BIN;
use crate::copy::{pull, push, there};
use crate::setup::forced_command;

/// Changes a byte of a stored file, and leaves its size and times as they are.
fn rot(file: &Path) {
    let open = std::fs::File::options().read(true).write(true).open(file).expect("opened");
    let time = open.metadata().and_then(|meta| meta.modified()).expect("a time");
    let (mut byte, place) = ([0], open.metadata().expect("metadata").len() / 2);
    open.read_exact_at(&mut byte, place).expect("read");
    open.write_all_at(&[byte[0] ^ 1], place).expect("written");
    open.set_modified(time).expect("set");
}

/// A small file, one whose differences cross the line, and one in ranges.
const FILES: [&str; 3] = ["small", "folder/middle", "large"];

#[test]
fn a_rotten_file_is_missing_from_the_copy_and_reported() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    for copy in [push, pull] {
        for (rotten, is_marked) in [("small", false), ("folder/middle", false), ("large", true)] {
            let tree = Tree::new()
                .random_file("small", 3_000, 1)
                .random_file("folder/middle", 600_000, 2)
                .random_file("large", 9_000_000, 3);
            let stage = Stage::with(BIN, &tree);
            stage.take();
            copy(&stage, &server).expect(0);
            // The copy has another version, whose parts may be used.
            stage.sh(&format!("for it in {}; do echo end >>$it; done", FILES.join(" ")));
            stage.take();
            let file = stage.inside(&stage.history().newest()).join(rotten);
            rot(&file);
            if is_marked {
                stage.look("verify").expect(4);
            }
            copy(&stage, &server).expect(3).assert_says("it is missing from the copy");
            let newest = History::new(&there(&stage), PREFIX).newest();
            for file in FILES {
                let ours = stage.inside(&stage.history().newest()).join(file);
                let theirs = std::fs::read(stage.inside(&newest).join(file));
                match file == rotten {
                    true => assert!(theirs.is_err(), "{file}"),
                    false => assert!(theirs.unwrap() == std::fs::read(ours).unwrap(), "{file}"),
                }
            }
            let marks =
                there(&stage).join(".backup_manager/damaged").join(newest.file_name().unwrap());
            assert!(std::fs::read_to_string(marks).unwrap().contains(rotten));
        }
    }
}

#[test]
fn what_is_damaged_is_healed_from_a_host_whose_key_only_reads() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().random_file("file", 600_000, 1));
    stage.take();
    push(&stage, &server).expect(0);
    let file = stage.inside(&stage.history().newest()).join("file");
    let good = std::fs::read(&file).unwrap();
    rot(&file);
    let root = there(&stage).display().to_string();
    forced_command::force(&server, &format!("{BIN} serve --read-only --root {root}"));
    let heal = server.known_to(stage.look("verify")).env("REMOTE_HELPER", "auto");
    heal.arg("--heal-from").arg(format!("test:{root}")).expect(0);
    assert!(std::fs::read(&file).unwrap() == good);
}

#[test]
fn a_key_that_only_adds_copies_or_only_uses_sftp_heals_nothing_and_says_what_does() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().random_file("file", 600_000, 1));
    stage.take();
    push(&stage, &server).expect(0);
    rot(&stage.inside(&stage.history().newest()).join("file"));
    let root = there(&stage).display().to_string();
    for (command, says) in [
        (format!("{BIN} serve --append-only --root {root}"), "whose line has --read-only"),
        ("internal-sftp".to_owned(), "give it a shell, or a key with"),
    ] {
        forced_command::force(&server, &command);
        let heal = server.known_to(stage.look("verify")).env("REMOTE_HELPER", "auto");
        let said = heal.arg("--heal-from").arg(format!("test:{root}")).expect(4);
        said.assert_says("nothing was healed: ");
        said.assert_says(says);
        assert!(!said.said().contains("REMOTE_HELPER"), "{}", said.said());
    }
}

#[test]
fn what_rots_in_a_copy_is_not_linked_to_as_soon_as_it_is_known() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    for copy in [push, pull] {
        let stage = Stage::with(BIN, &Tree::new().random_file("file", 600_000, 1));
        stage.take();
        copy(&stage, &server).expect(0);
        let history = History::new(&there(&stage), PREFIX);
        rot(&stage.inside(&history.newest()).join("file"));
        stage.look("verify").set("backups-dir", there(&stage)).expect(4);
        stage.sh("echo other >other");
        stage.take();
        copy(&stage, &server).expect(0);
        let [ours, theirs] = [stage.history().newest(), history.newest()]
            .map(|newest| std::fs::read(stage.inside(&newest).join("file")).unwrap());
        assert!(ours == theirs, "the damaged file was linked");
    }
}

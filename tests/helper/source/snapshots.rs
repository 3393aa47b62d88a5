//! What a snapshot through the helper holds: all that a local one holds.

use std::process::Command;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::sample_tree::everything;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP, run};

#[test]
fn everything_is_kept_as_from_a_local_source() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &everything());
    let run = || run(&server, &stage).rsync(&["-X", "-A"]);
    let said = run().expect(0).said();
    assert!(!said.contains(OVER_SFTP), "{said}");
    stage.assert_newest_is_source(Judge::strict());
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    run().expect(0);
    stage.assert_newest_is_source(Judge::strict());
    let counts = stage.counts();
    for key in ["new", "changed", "metadata", "deleted", "copied", "bytes_copied"] {
        assert_eq!(counts[key], 0, "{key} in {counts}");
    }
    assert_untouched(&first, &before);
}

#[test]
fn many_changes_are_followed_over_several_snapshots() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let root_only = need::root().is_ok();
    let tree = random_tree(11, Spec { files: 600, folders: 80, largest: 2_000_000, root_only });
    let stage = Stage::with(BIN, &tree);
    for seed in 0..4 {
        run(&server, &stage).arg("--accept-shrink").expect(0);
        stage.assert_newest_is_source(Judge::plain());
        mutate(&stage.source, seed);
    }
}

#[test]
fn snapshots_of_all_ways_link_to_each_other() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = (0..50).fold(Tree::new(), |tree, number| {
        tree.file(format!("folder {}/{number}", number % 5), format!("{number}"))
    });
    let stage = Stage::with(BIN, &tree.random_file("large", 3_000_000, 1));
    let helper = || run(&server, &stage);
    let sftp = || server.reached_by(stage.run());
    helper().expect(0);
    for run in [stage.run(), helper(), sftp(), stage.run(), sftp(), helper()] {
        run.arg("--accept-sources").expect(0);
        for name in ["large", "folder 3/8"] {
            stage.assert_linked(name);
        }
        assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
    }
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn files_that_only_root_may_read_are_listed_for_an_ordinary_user() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("open", "for all").file("secret", "x").mode(0));
    let program = stage.beside("backup_manager");
    std::fs::copy(BIN, &program).unwrap();
    stage.sh("chmod 755 . .. ../..; chmod 644 open");
    let as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let helper = format!("{as_nobody} {}", program.display());
    let done = server.reached_by(stage.run()).env("REMOTE_HELPER", helper).expect(3);
    done.assert_says("secret: cannot read");
    assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    let newest = stage.inside(&stage.history().newest());
    assert_eq!(std::fs::read_to_string(newest.join("open")).unwrap(), "for all");
    assert!(!newest.join("secret").exists());
}

#[test]
fn symlinks_are_followed_on_the_host() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "content").symlink("link", "file"));
    run(&server, &stage).rsync(&["-L"]).expect(0);
    let link = stage.inside(&stage.history().newest()).join("link");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_file());
    // SFTP cannot do it.
    let without = server.reached_by(stage.run()).env("REMOTE_HELPER", "nothing-here");
    without.rsync(&["-L"]).expect(1).assert_says("need backup_manager on");
}

#[test]
fn a_mount_point_below_the_source_is_left_out_with_x() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "1").folder("mounted"));
    let mounted = stage.source.join("mounted");
    let call = |program: &str, words: &[&str]| {
        Command::new(program).args(words).arg(&mounted).status().unwrap().success()
    };
    assert!(call("mount", &["-t", "tmpfs", "none"]));
    std::fs::write(mounted.join("inside"), "not backed up").unwrap();
    let done = run(&server, &stage).done();
    assert!(call("umount", &[]));
    done.assert_code(0);
    let newest = stage.inside(&stage.history().newest());
    assert!(newest.join("mounted").is_dir() && !newest.join("mounted/inside").exists());
}

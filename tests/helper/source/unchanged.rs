//! Unchanged folders are confirmed by a digest: almost nothing crosses the line, and no change is missed.

use std::net::SocketAddr;
use std::time::Duration;

use fixtures::bulk::big_tree;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::sample_tree::everything;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP, run};

/// A second or so: the next changes are later than what the run before may have missed.
fn settle(stage: &Stage) {
    stage.sh("find . -exec touch -h -d '10 seconds ago' {} +");
}

/// Everything that a run asks of a host counts, also what ssh needs to connect.
#[test]
fn an_unchanged_tree_costs_a_few_bytes_per_folder() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let line = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
    server.write_known_hosts_of(line.port(), "host");
    let stage = Stage::with(BIN, &Tree::new());
    big_tree(&stage.source, 6_000, 200, 1);
    settle(&stage);
    let address = format!("{}@127.0.0.1:{}", server.account(), line.port());
    let run = || {
        let before = line.bytes();
        let run = run(&server, &stage).set("remote-src-host", &address).set("sftp-channels", "1");
        let done = run.expect(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
        let after = line.bytes();
        after.0 + after.1 - before.0 - before.1
    };
    run();
    let unchanged = run();
    // The folders of the tree, and those of the path to it.
    let folders = 204 + stage.source.iter().skip(1).count();
    assert_eq!(stage.counts()["unchanged"], 6_000 + folders, "{}", stage.counts());
    assert!(unchanged < 30_000, "{unchanged} bytes");
    stage.assert_newest_is_source(Judge::plain());
    // One changed file costs its folder, and the question about each folder above it and beside these.
    let file = "folder-0/folder-3/file-1.dat";
    stage.sh(&format!("echo more >>$(find . -name file-1.dat | sort | head -1); : {file}"));
    let changed = run();
    assert_eq!(stage.counts()["changed"], 1, "{}", stage.counts());
    assert!(changed < 60_000, "{changed} bytes");
    stage.assert_newest_is_source(Judge::plain());
}

/// Each line of shell is one change in the tree of [`everything`].
const CHANGES: [&str; 24] = [
    "touch -d '5 minutes ago' file",
    "touch -h -d '2001-02-03 04:05:06.7' link",
    "chmod 601 'folder/of several blocks'",
    "chown 5 file",
    "chgrp 5 file",
    "chown -h 6:7 link",
    "setfattr -n user.colour -v green dressed",
    "setfattr -x user.colour dressed",
    "setfattr -n trusted.new -v x folder/deeper",
    "setfacl -m u:77:r dressed",
    "setfacl -b 'dressed folder'",
    "ln -sfn elsewhere link",
    "rm null; mknod -m 666 null c 1 5",
    "rm pipe; mkfifo -m 620 pipe",
    "ln file 'folder/deeper/another name of file'",
    "rm 'folder/deeper/another name of file'",
    "cp -p 'third name' x; mv x 'third name'",
    "echo new >folder/deeper/new",
    "rm folder/deeper/new",
    "mkdir -p folder/deeper/a/b/c",
    "chmod 700 folder/deeper/a/b/c",
    "touch -d 2002-02-02 folder/deeper/a/b",
    "rmdir folder/deeper/a/b/c",
    "rmdir folder/deeper/a/b; ln -s / folder/deeper/a/b",
];

#[test]
fn each_kind_of_change_to_each_kind_of_entry_is_found() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &everything());
    for trust in ["ctime", "mtime"] {
        stage.sh("mkdir -p folder/deeper; rm -rf folder/deeper/a");
        let run = || run(&server, &stage).rsync(&["-X", "-A"]).set("trust", trust).expect(0);
        run();
        for change in CHANGES {
            stage.sh(change);
            run();
            eprintln!("{trust}: {change}");
            // A separate copy of a name, equal in all that is compared, stays linked to the other names.
            stage.assert_newest_is_source(Judge::strict().with_more_links());
        }
        run();
        let counts = stage.counts();
        for key in ["new", "changed", "metadata", "deleted", "copied"] {
            assert_eq!(counts[key], 0, "{key} in {counts}");
        }
    }
}

/// What a user changed in the base is not what the source has.
#[test]
fn what_changed_in_the_base_is_no_part_of_the_next_snapshot() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &everything());
    settle(&stage);
    let run = || run(&server, &stage).rsync(&["-X", "-A"]).expect(0);
    run();
    for change in [
        "setfattr -n user.colour -v green file",
        "setfattr -n user.colour -v green folder",
        "setfacl -m u:77:r file",
        "touch folder/more",
        "mkdir folder/deeper/more; touch folder/deeper/more/file",
        "rm -r folder/deeper",
        "chmod 600 file",
    ] {
        let newest = stage.inside(&stage.history().newest());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-ec", change]).current_dir(&newest);
        assert!(shell.status().unwrap().success(), "{change}");
        run();
        eprintln!("{change}");
        stage.assert_newest_is_source(Judge::strict().with_more_links());
    }
}

#[test]
fn content_of_the_same_size_and_time_is_found_by_its_change_time() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().file("deep/in/it/file", "first").file("deep/other", "same");
    let stage = Stage::with(BIN, &tree);
    settle(&stage);
    run(&server, &stage).expect(0);
    stage.sh("cd deep/in/it; touch -r file ../time; printf SECON >file; touch -r ../time file");
    stage.sh("cd deep/in; rm time; touch -d '10 seconds ago' .");
    run(&server, &stage).expect(0);
    stage.assert_newest_is_source(Judge::plain());
    assert_eq!(stage.counts()["compared"], 0, "{}", stage.counts());
    stage.assert_linked("deep/other");
}

#[test]
fn entries_that_filters_leave_out_do_not_hide_others() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().file("a/b/kept", "1").file("a/b/left.tmp", "2").file("a/c/kept", "3");
    let stage = Stage::with(BIN, &tree);
    settle(&stage);
    let run = |more: &[&str]| run(&server, &stage).rsync(more).done();
    let done = |more: &[&str]| {
        run(more).assert_code(0);
    };
    done(&["--exclude=*.tmp"]);
    done(&["--exclude=*.tmp"]);
    stage.sh("rm a/b/left.tmp");
    done(&["--exclude=*.tmp"]);
    stage.assert_newest_is_source(Judge::plain());
    // What the base has and the filters now leave out goes, although the source still has it.
    run(&["--exclude=kept"]).assert_code(3).assert_says("the filters leave out 2 files");
    assert!(!stage.inside(&stage.history().newest()).join("a/b/kept").exists());
    done(&[]);
    stage.assert_newest_is_source(Judge::plain());
    stage.sh("echo x >a/c/new");
    done(&["--chmod=F600"]);
    done(&["--chmod=F600"]);
    let mode = std::fs::metadata(stage.inside(&stage.history().newest()).join("a/c/new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);
}

#[test]
fn a_mount_point_that_appears_or_vanishes_is_seen() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().file("top/at/file", "1").folder("top/at/here").file("top/x", "2");
    let stage = Stage::with(BIN, &tree);
    settle(&stage);
    run(&server, &stage).expect(0);
    let mounted = stage.source.join("top/at/here");
    let call = |program: &str, words: &[&str]| {
        std::process::Command::new(program).args(words).arg(&mounted).status().unwrap().success()
    };
    // The mounted folder has the metadata of the one below it. Only the device differs.
    let like = std::fs::metadata(&mounted).unwrap();
    assert!(call("mount", &["-t", "tmpfs", "none"]));
    std::fs::write(mounted.join("inside"), "not backed up").unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&like) & 0o7777;
    stage.sh(&format!("chmod {mode:o} top/at/here; touch -d @{} top/at/here", {
        std::os::unix::fs::MetadataExt::mtime(&like)
    }));
    let done = run(&server, &stage).done();
    let again = run(&server, &stage).done();
    assert!(call("umount", &[]));
    done.assert_code(0).assert_says("another file system");
    again.assert_code(0).assert_says("another file system");
    let newest = stage.inside(&stage.history().newest());
    assert!(newest.join("top/at/here").is_dir() && !newest.join("top/at/here/inside").exists());
    run(&server, &stage).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

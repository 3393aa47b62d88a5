//! Snapshots of a folder behind a real sshd: first, second, changed, dry run, and combined with
//! local snapshots and those of rsync.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::over_helper;
use fixtures::scratch::Scratch;
use fixtures::sshd::{NOBODY_ID, Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::{Content, Tree};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn sample() -> Tree {
    let root_only = need::root().is_ok();
    random_tree(7, Spec { files: 300, folders: 40, largest: 100_000, root_only })
        .file("one", "first")
        .mtime(1_600_000_000, 123_456_789)
        .file("two", "second")
        .file("old/gone", "soon")
        .random_file("large", 3_000_000, 1)
        .mode(0o644)
        .symlink("link", "one")
        .file("empty", "")
        .folder("nothing")
        .mode(0o2775)
}

/// Only content that all users may read.
fn readable() -> Tree {
    let mut tree = Tree::new().random_file("large", 2_000_000, 5).symlink("link", "large");
    for number in 0..200 {
        tree = tree.file(format!("folder {}/file {number}", number % 7), format!("{number}"));
    }
    tree
}

#[test]
fn both_servers_give_the_same_snapshot_and_the_second_links_all_of_it() {
    for subsystem in [Subsystem::Internal, Subsystem::Program] {
        let server = need!(Sshd::serving(subsystem));
        let stage = Stage::with(BIN, &sample());
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
        let first = stage.history().newest();
        let before = Fingerprint::of(&first);
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
        for name in ["one", "large", "link", "empty"] {
            stage.assert_linked(name);
        }
        let counts = stage.counts();
        for key in ["new", "changed", "metadata", "deleted", "copied", "bytes_copied"] {
            assert_eq!(counts[key], 0, "{key} in {counts}");
        }
        assert_untouched(&first, &before);
    }
}

#[test]
fn changed_files_are_copied_and_the_others_linked() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &sample());
    server.reached_by(stage.run()).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    stage.sh("printf FIRST >>one; rm -r old; echo new >fresh; ln -sfn two link; rmdir nothing");
    stage.sh("chmod 600 large; touch -r two -d '+1 day' two");
    let said = server.reached_by(stage.run()).arg("--dry-run").expect(0);
    for text in ["one", "old/", "fresh", "link", "large", "two"] {
        said.assert_says(text);
    }
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::remote());
    for name in ["one", "large", "link", "two"] {
        stage.assert_apart(name);
    }
    stage.assert_linked("empty");
    let counts = stage.counts();
    // Only the mode of the large file is new, so its content is not fetched.
    assert_eq!((&counts["copied"], &counts["metadata"]), (&3.into(), &1.into()), "{counts}");
    assert!(counts["bytes_copied"].as_u64() < Some(100), "{counts}");
    assert_untouched(&first, &before);
}

#[test]
fn many_changes_are_followed_over_several_snapshots() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &sample());
    for seed in 0..4 {
        server.reached_by(stage.run()).arg("--accept-shrink").expect(0);
        stage.assert_newest_is_source(Judge::remote());
        mutate(&stage.source, seed);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &sample());
    let nowhere = stage.beside("not there yet");
    let run = server.reached_by(stage.run()).arg("--dry-run");
    run.clone().set("backups-dir", &nowhere).expect(0).assert_says("source/one");
    assert!(!nowhere.exists());
    server.reached_by(stage.run()).expect(0);
    stage.sh("echo more >>one");
    let before = Fingerprint::of(&stage.backups);
    run.expect(0).assert_says("source/one");
    assert_untouched(&stage.backups, &before);
}

#[test]
fn snapshots_taken_here_and_there_and_by_rsync_link_to_each_other() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    // Without hard links: SFTP does not report them, so each name would become a separate file.
    let stage = Stage::with(BIN, &readable().file("one", "1").mtime(1_600_000_000, 123_456_789));
    let by_rsync = stage.history().path(&hours_ago(30), "");
    let done = Command::new("rsync")
        .args(["-aHx", "--numeric-ids", "--relative"])
        .arg(&stage.source)
        .arg(&by_rsync)
        .status();
    assert!(done.is_ok_and(|status| status.success()), "rsync");
    for remote in [true, false, true, true, false] {
        let run = if remote { server.reached_by(stage.run()) } else { stage.run() };
        // For the program, this machine and the one behind ssh are two hosts.
        let run = run.arg("--accept-sources");
        run.expect(0);
        stage.assert_newest_is_source(Judge::remote());
        for name in ["one", "large", "link", "folder 3/file 3"] {
            stage.assert_linked(name);
        }
        assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
    }
}

/// Files that a remote run copied keep whole seconds; linked files must stay linked.
#[test]
fn files_of_a_host_stay_linked_after_local_snapshots() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("one", "1").mtime(1_600_000_000, 123_456_789));
    server.reached_by(stage.run()).expect(0);
    for _ in 0..3 {
        stage.run().arg("--accept-sources").expect(0);
        stage.assert_linked("one");
    }
    // A file with known nanoseconds is still distinguished within a second.
    stage.sh("echo a >two; touch -d @1600000000.1 two");
    stage.run().expect(0);
    stage.sh("echo b >two; touch -d @1600000000.2 two");
    stage.run().expect(0);
    let copy = stage.inside(&stage.history().newest()).join("two");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "b\n");
    stage.assert_linked("one");
}

#[test]
fn a_run_of_zeros_becomes_a_hole() {
    // The helper reports where the holes are.
    if over_helper() {
        return;
    }
    let server = need!(Sshd::serving(Subsystem::Internal));
    let (block, noise) = (4096, fixtures::random::Random::new(4).bytes(300_000));
    let mut zeros = noise.clone();
    zeros.resize(5_000_000, 0);
    zeros.extend(&noise);
    let mut one_block = noise[..3 * block].to_vec();
    one_block[block..2 * block].fill(0);
    let sparse = Content::Sparse { size: 30_000_000, islands: vec![(20_000_000, noise.clone())] };
    let tree = Tree::new()
        .file("zeros", &zeros)
        .file("one block", &one_block)
        .content("sparse", sparse)
        .file("only zeros", vec![0; 2_000_000])
        .file("few zeros", vec![0; block]);
    let stage = Stage::with(BIN, &tree);
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::remote());
    let copy = stage.inside(&stage.history().newest());
    for (name, most) in [
        ("zeros", 600_000 + 3 * block),
        ("one block", 2 * block),
        ("sparse", noise.len() + 3 * block),
        ("only zeros", block),
        ("few zeros", 0),
    ] {
        let blocks = copy.join(name).metadata().unwrap().blocks();
        assert!(blocks * 512 <= most as u64, "{name} takes {blocks} blocks of 512 bytes");
    }
}

#[test]
fn an_ordinary_account_gives_what_it_may_read() {
    // The account has no shell for the helper.
    if over_helper() {
        return;
    }
    need!(need::root());
    let stage = Stage::with(BIN, &readable().file("private", "of root").mode(0o600));
    for plan in [
        Plan::new(Subsystem::Internal).serving_nobody(),
        Plan::new(Subsystem::Internal).run_by_nobody(),
    ] {
        let server = need!(plan.start());
        // Each server has its own port and so counts as another host.
        let done = server.reached_by(stage.run()).arg("--accept-sources").expect(3);
        done.assert_says("private").assert_says("ermission denied");
        let copy = stage.inside(&stage.history().newest());
        assert!(!copy.join("private").exists());
        assert!(copy.join("folder 6/file 6").exists());
        assert_eq!(stage.counts()["problems"], 1, "{}", stage.counts());
    }
    stage.sh("chmod 644 private");
    let server = need!(Plan::new(Subsystem::Internal).serving_nobody().start());
    server.reached_by(stage.run()).arg("--accept-sources").expect(0);
    stage.assert_newest_is_source(Judge::remote());
    stage.sh("echo changed >private; chmod 600 private");
    server.reached_by(stage.run()).expect(3).assert_says("carried forward");
    let copy = stage.inside(&stage.history().newest()).join("private");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "of root");
}

/// An sshd omits entries from a listing that it cannot stat, so such a folder looks empty.
#[test]
fn a_folder_that_may_be_listed_and_not_entered_is_not_taken_for_an_empty_one() {
    // The account has no shell for the helper.
    if over_helper() {
        return;
    }
    need!(need::root());
    let stage = Stage::with(BIN, &readable().file("shut/file", "kept").folder("empty"));
    let server = need!(Plan::new(Subsystem::Internal).serving_nobody().start());
    server.reached_by(stage.run()).arg("--accept-sources").expect(0);
    stage.sh("chmod 744 shut");
    let done = server.reached_by(stage.run()).expect(3);
    done.assert_says("shut").assert_says("carried forward");
    let copy = stage.inside(&stage.history().newest()).join("shut/file");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "kept");
    assert_eq!(stage.counts()["problems"], 1, "{}", stage.counts());
    server.reached_by(stage.run()).arg("--dry-run").expect(3);
    stage.sh("chmod 744 .");
    server.reached_by(stage.run()).expect(1).assert_says("cannot look into");
}

#[test]
fn an_ordinary_user_pulls_with_a_key_of_its_own() {
    need!(need::root());
    let stage = Stage::with(BIN, &sample());
    let server = need!(Sshd::serving(Subsystem::Internal));
    server.give("user", NOBODY_ID);
    for _ in 0..2 {
        server.reached_by(stage.run_as(NOBODY_ID)).expect(0);
        stage.assert_newest_is_source(Judge::remote().without_owners().without_modes());
    }
    assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
}

#[test]
fn a_jailed_account_without_a_shell_is_enough() {
    // The helper needs a shell.
    if over_helper() {
        return;
    }
    need!(need::root());
    // Only root may be able to write to the jail and the folders above it, so it cannot be in the
    // usual place.
    let jail = Scratch::below(Path::new("/var"));
    readable().build(&jail.join("data/photos"));
    let server = need!(Plan::new(Subsystem::Internal).jailed(jail.path()).start());
    let stage = Stage::new(BIN);
    let run = server.reached_by(stage.run()).set("srcs-to-backup", "/data/photos");
    for _ in 0..2 {
        run.expect(0);
        let inside = stage.history().newest().join("data/photos");
        Judge::remote().assert_same(&jail.join("data/photos"), &inside);
    }
    assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
    let mode = stage.history().newest().join("data").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn one_channel_is_enough_and_any_cipher_will_do() {
    for line in ["MaxSessions 1", "Ciphers chacha20-poly1305@openssh.com", "Ciphers aes128-ctr"] {
        let server = need!(Plan::new(Subsystem::Internal).line(line).start());
        let stage = Stage::with(BIN, &sample());
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
    }
}

#[test]
fn a_banner_rekeying_and_one_login_at_a_time_are_no_problem() {
    let stage = Stage::with(BIN, &sample().random_file("larger", 9_000_000, 5));
    let banner = stage.beside("banner");
    std::fs::write(&banner, "Permission denied (publickey). Connection closed by nobody.\n")
        .unwrap();
    let plan = Plan::new(Subsystem::Internal).line("RekeyLimit 1M").line("MaxStartups 1");
    let server = need!(plan.line(format!("Banner {}", banner.display())).start());
    for _ in 0..2 {
        let done = server.reached_by(stage.run()).expect(0);
        assert!(!done.said().contains("publickey"), "{}", done.said());
        stage.assert_newest_is_source(Judge::remote());
        stage.sh("echo more >>larger");
    }
}

#[test]
fn several_roots_and_a_single_file_keep_their_places() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &readable());
    let top = stage.source.display();
    let roots = format!("{top}/folder 1,{top}/./folder 2,{top}/large");
    server.reached_by(stage.run()).set("srcs-to-backup", roots).expect(0);
    let newest = stage.history().newest();
    let inside = stage.inside(&newest);
    Judge::remote().assert_same(&stage.source.join("folder 1"), &inside.join("folder 1"));
    Judge::remote().assert_same(&stage.source.join("folder 2"), &newest.join("folder 2"));
    assert_eq!(inside.join("large").metadata().unwrap().len(), 2_000_000);
    assert!(!inside.join("folder 3").exists());
}

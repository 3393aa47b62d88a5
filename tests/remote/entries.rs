//! Unusual entries of a remote source: names, depths, targets, types, modes, times.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixtures::judge::Judge;
use fixtures::lockless::Lockless;
use fixtures::loop_fs::Mount;
use fixtures::need;
use fixtures::run::over_helper;
use fixtures::scan::scan;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn odd_names() -> Tree {
    let bytes = (1..=255_u8).filter(|byte| *byte != b'/');
    let (up, down): (Vec<u8>, Vec<u8>) = (bytes.clone().collect(), bytes.rev().collect());
    let mut tree = Tree::new().file(&up, "up").symlink(&down, &up).folder("f");
    for byte in (1..=255_u8).filter(|byte| !b"/.".contains(byte)) {
        tree = tree.file([b'f', b'/', byte], [byte]);
    }
    for name in [
        &b"-rf"[..],
        b" ",
        b"...",
        b"a\nb",
        b"\x1b[31mred\x1b[0m",
        b"\xff\xfe",
        b"\xc3\x28",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        "\u{f7ff}".as_bytes(),
        b"back\\slash",
        b"quote'\"`$(id)",
        b"*?[a]",
        b"~",
        b"my_backup.07-12-2023_13-32-58.incomplete",
    ] {
        tree = tree.file(name, name).folder([b"below ", name].concat());
    }
    tree.file([b'n'; 255], "255 bytes")
        .file([&[b'm'; 255][..], b"/", &[0xf0; 255]].concat(), "255 bytes twice")
}

#[test]
fn every_name_comes_through_both_servers() {
    for subsystem in [Subsystem::Internal, Subsystem::Program] {
        let server = need!(Sshd::serving(subsystem));
        let stage = Stage::with(BIN, &odd_names());
        for _ in 0..2 {
            server.reached_by(stage.run()).expect(0);
            stage.assert_newest_is_source(Judge::remote());
        }
        assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
    }
}

/// Names of a remote source that the destination changes, and a restore to that host.
#[test]
fn names_that_the_destination_changes_come_back_under_their_own() {
    let server = need!(Sshd::serving(Subsystem::Program));
    let place = need!(Lockless::changing_names());
    let stage = Stage::with(BIN, &odd_names()).backups_in(&place.path().join("backups"));
    for round in 1..=2 {
        let done = server.reached_by(stage.run()).expect(3);
        done.assert_says("restore brings it back under its own name");
        let report = stage.history().report(&stage.history().newest());
        let problems = report["problems"].as_array().cloned().unwrap_or_default();
        assert!(problems.len() > 128, "{}", problems.len());
        assert!(problems.iter().all(|problem| {
            problem["instead"] == "other_name" || problem["instead"] == "beside"
        }));
        assert!(round == 1 || stage.counts()["copied"] == 0, "{}", stage.counts());
        assert!(round == 1 || stage.counts()["deleted"] == 0, "{}", stage.counts());
    }
    let restore = || stage.look("restore").arg("latest").arg(&stage.source);
    let here = stage.beside("here");
    restore().set("to", &here).expect(0);
    Judge::remote().assert_same(&stage.source, &here.join("source"));
    let there = format!("test:{}", stage.beside("there").display());
    server.known_to(restore()).set("to", there).expect(0);
    Judge::sftp().assert_same(&stage.source, &stage.beside("there/source"));
    stage.look("verify").expect(0);
}

#[test]
fn names_are_escaped_when_they_are_shown() {
    // The account has no shell for the helper.
    if over_helper() {
        return;
    }
    need!(need::root());
    let server = need!(fixtures::sshd::Plan::new(Subsystem::Internal).serving_nobody().start());
    let stage = Stage::with(BIN, &Tree::new().file(b"evil\x1b[31m\n\xff", "x").mode(0));
    let done = server.reached_by(stage.run()).expect(3);
    done.assert_says("evil\\x1b[31m\\x0a\\xff");
    assert!(!done.said().contains('\x1b'), "{:?}", done.said());
}

#[test]
fn five_hundred_folders_deep_is_no_problem() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let deep = vec!["x"; 500].join("/");
    let tree = Tree::new().file(format!("{deep}/bottom"), "deep down").folder(&deep).mode(0o750);
    let stage = Stage::with(BIN, &tree);
    for _ in 0..2 {
        server.reached_by(stage.run()).expect(0);
        let copy = stage.inside(&stage.history().newest());
        assert_eq!(Judge::remote().differences(&stage.source, &copy), Vec::<String>::new());
    }
    assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
}

#[test]
fn entries_deeper_than_the_longest_path_are_listed_and_carried_forward() {
    // The helper reads any depth.
    if over_helper() {
        return;
    }
    let server = need!(Sshd::serving(Subsystem::Internal));
    // A server works with whole paths of less than 4,096 bytes.
    let deep = vec!["another-level-".repeat(17); 20].join("/");
    let tree = Tree::new().file(format!("{deep}/bottom"), "deep down").file("top", "y");
    let stage = Stage::with(BIN, &tree);
    let judge =
        |snapshot: &Path| Judge::remote().differences(&stage.source, &stage.inside(snapshot));
    let done = server.reached_by(stage.run()).expect(3);
    done.assert_says("another-level").assert_says("leave out names without a word");
    let first = stage.history().newest();
    assert!(stage.inside(&first).join("top").exists());
    assert!(!judge(&first).is_empty());
    // Entries that a run on the host has stored do not count as deleted.
    stage.run().arg("--accept-sources").expect(0);
    server.reached_by(stage.run()).arg("--accept-sources").expect(3).assert_says("carried forward");
    assert_eq!(judge(&stage.history().newest()), Vec::<String>::new());
    assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
}

#[test]
fn symlinks_say_what_they_said() {
    let server = need!(Sshd::serving(Subsystem::Program));
    let long = vec!["long"; 800].join("/");
    let mut tree = Tree::new()
        .file("file", "1")
        .symlink("dangling", "no/such/file")
        .symlink("absolute", "/etc/passwd")
        .symlink("up", "../../../..")
        .symlink("itself", "itself")
        .symlink("not utf-8", b"\xff\xfe\x80 \xc3\x28")
        .symlink("control", b"\x01\x1b[2J\n\r\x7f")
        .symlink("long", &long)
        .symlink("longest", [b'l'; 4_095])
        .symlink("spaces", "  ");
    for number in 0..300 {
        tree = tree.symlink(format!("links/{number}"), format!("../{number}"));
    }
    let stage = Stage::with(BIN, &tree);
    for _ in 0..2 {
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
    }
    stage.assert_linked("longest");
    assert_eq!(stage.counts()["changed"], 0, "{}", stage.counts());
}

#[test]
fn pipes_and_sockets_are_kept_and_never_opened() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let mut tree = Tree::new();
    for number in 0..50 {
        tree = tree.fifo(format!("pipe {number}")).mode(0o640).socket(format!("socket {number}"));
    }
    let stage = Stage::with(BIN, &tree.file("file", "1"));
    for _ in 0..2 {
        // Opening a fifo would block forever.
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
    }
    stage.assert_linked("pipe 0");
}

#[test]
fn modes_and_owners_are_kept() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let mut tree = Tree::new();
    for mode in [0, 0o400, 0o644, 0o777, 0o1755, 0o2755, 0o4755, 0o6711, 0o7777] {
        tree = tree.file(format!("file {mode:o}"), "x").owner(1_234, 56_789).mode(mode);
        tree = tree.folder(format!("folder {mode:o}")).owner(56_789, 1_234).mode(mode);
    }
    let stage = Stage::with(BIN, &tree.symlink("link", "file").owner(4_294_967, 3));
    for _ in 0..2 {
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
    }
    assert_eq!(stage.counts()["metadata"], 0, "{}", stage.counts());
}

#[test]
fn a_device_is_listed_and_the_rest_is_stored() {
    // The helper reports device numbers.
    if over_helper() {
        return;
    }
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().char_device("null", 1, 3).file("file", "1"));
    server.reached_by(stage.run()).expect(3).assert_says("does not report the device number");
    let copy = stage.inside(&stage.history().newest());
    assert!(copy.join("file").exists());
    assert!(!copy.join("null").exists());
    stage.run().arg("--accept-sources").expect(0);
    server.reached_by(stage.run()).arg("--accept-sources").expect(3).assert_says("carried forward");
    stage.assert_newest_is_source(Judge::remote());
}

/// SFTP version 3 has unsigned 32-bit times: a time outside 1970 to 2106 arrives as another time,
/// always the same, so files still link.
#[test]
fn times_outside_of_32_bits_are_told_as_others_and_still_link() {
    // The helper reports times as they are.
    if over_helper() {
        return;
    }
    const AGE: i64 = 1 << 32;
    let server = need!(Sshd::serving(Subsystem::Internal));
    let times: BTreeMap<&str, i64> = BTreeMap::from([
        ("before 1970", -157_766_400),
        ("1970", 0),
        ("the last second", AGE - 1),
        ("after 2106", 4_418_064_000),
    ]);
    let mut tree = Tree::new();
    for (name, seconds) in &times {
        tree = tree.file(name, "x").mtime(*seconds, 500_000_000);
    }
    let stage = Stage::with(BIN, &tree);
    for _ in 0..2 {
        server.reached_by(stage.run()).expect(0);
        let copy = scan(&stage.inside(&stage.history().newest()));
        for (name, seconds) in &times {
            let expected = i128::from(seconds.rem_euclid(AGE)) * 1_000_000_000;
            assert_eq!(copy[name.as_bytes()].mtime, expected, "{name}");
        }
    }
    for name in times.keys() {
        stage.assert_linked(name);
    }
}

#[test]
fn hard_links_become_files_of_their_own_that_stay_linked_to_their_past() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().random_file("a", 50_000, 1).hard_link("b", "a").hard_link("c/d", "a");
    let stage = Stage::with(BIN, &tree);
    for _ in 0..2 {
        server.reached_by(stage.run()).expect(0);
        stage.assert_newest_is_source(Judge::remote());
    }
    for name in ["a", "b", "c/d"] {
        stage.assert_linked(name);
    }
}

#[test]
fn a_folder_of_many_names_and_one_of_none_are_folders() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().folder("none"));
    fixtures::bulk::flat_folder(&stage.source.join("many"), 4_000);
    server.reached_by(stage.run()).expect(0);
    stage.assert_newest_is_source(Judge::remote());
    server.reached_by(stage.run()).expect(0);
    assert_eq!(stage.counts()["copied"], 0, "{}", stage.counts());
}

/// As many requests with long paths as have long answers: a client that sends all requests before
/// it reads an answer would deadlock with the server.
#[test]
fn many_long_symlinks_at_the_end_of_long_paths_do_not_stop_the_line() {
    // The helper has no request for a single symlink.
    if over_helper() {
        return;
    }
    let server = need!(Sshd::serving(Subsystem::Program));
    let deep = vec!["d".repeat(250); 14].join("/");
    let target = "t".repeat(4_000);
    let tree = (0..9_600).fold(Tree::new(), |tree, number| {
        tree.symlink(format!("{deep}/{}/{number}", number % 64), &target)
    });
    let stage = Stage::with(BIN, &tree);
    let run = server.reached_by(stage.run()).set("answer-timeout-s", "15");
    let done = run.expect(0);
    assert!(!done.said().contains("lost"), "{}", done.said());
    let copy = stage.inside(&stage.history().newest());
    assert_eq!(Judge::remote().differences(&stage.source, &copy), Vec::<String>::new());
}

/// procfs lists sizes of 0; what it holds is read to its end, over any number of READs.
#[test]
fn files_that_are_listed_as_empty_are_read_to_their_end() {
    need!(need::root());
    let there = Path::new("/proc/sys/kernel/keys/maxkeys").exists().then_some(());
    need!(there.ok_or(need::Missing("needs /proc/sys/kernel/keys".to_owned())));
    let server = need!(Sshd::serving(Subsystem::Program));
    let stage = Stage::with(BIN, &Tree::new().file("empty", "").file("also empty", ""));
    let proc = Mount::new(&["-o", "bind,ro"], Path::new("/proc"), &stage.beside("proc"));
    let proc = proc.unwrap_or_else(|error| panic!("bind /proc: {error}"));
    let (folder, symbols) = (proc.path().join("sys/kernel/keys"), proc.path().join("kallsyms"));
    let content = |name: &str| fs::read(folder.join(name)).expect("it can be read");
    let all = [&stage.source, &folder, &symbols].map(|path| path.display().to_string()).join(",");
    let run = || server.reached_by(stage.run().set("srcs-to-backup", &all));
    run().expect(0);
    let newest = stage.history().newest();
    let inside = |path: &Path| newest.join(path.strip_prefix("/").expect("an absolute path"));
    for name in ["maxkeys", "root_maxbytes"] {
        let copy = inside(&folder).join(name);
        assert_eq!(fs::read(copy).expect("it was copied"), content(name), "{name}");
    }
    let copy = fs::read(inside(&symbols)).expect("it was copied");
    assert!(copy.len() > 1_000_000 && copy.ends_with(b"\n"), "{} bytes", copy.len());
    // What is empty is empty, and stays linked.
    run().expect(0);
    stage.assert_newest_is_source(Judge::remote());
    stage.assert_linked("empty");
    stage.assert_linked("also empty");
    if over_helper() {
        return;
    }
    // Some of the kernel's files block every reader, so a run over SFTP does not read those that are listed as empty.
    let stage = Stage::with(BIN, &Tree::new());
    let kernel = "/proc/sys/kernel/keys";
    server.reached_by(stage.run().set("srcs-to-backup", kernel)).expect(0);
    let copy = fs::read(stage.history().newest().join("proc/sys/kernel/keys/maxkeys"));
    assert_eq!(copy.expect("it is stored"), b"");
}

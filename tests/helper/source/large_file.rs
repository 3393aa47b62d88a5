//! One large file: it crosses the line in ranges, over several channels of the connection, and never as a mixture of two
//! states.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use fixtures::bulk::big_file;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::run::{Done, Run};
use fixtures::sshd::{Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

use crate::{BIN, OVER_SFTP, run};

const MIB: u64 = 1 << 20;

fn stage(mib: u64) -> Stage {
    let stage = Stage::with(BIN, &Tree::new());
    big_file(&file(&stage), mib * MIB, 4);
    stage
}

fn file(stage: &Stage) -> PathBuf {
    stage.source.join("large")
}

#[track_caller]
fn assert_whole(stage: &Stage, done: &Done) {
    assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    stage.assert_newest_is_source(Judge::plain());
    assert_same_bytes(stage);
}

#[track_caller]
fn assert_same_bytes(stage: &Stage) {
    let copy = stage.inside(&stage.history().newest()).join("large");
    let same = fs::read(copy).expect("the copy") == fs::read(file(stage)).expect("the file");
    assert!(same, "the content is another one");
}

/// A helper whose answers pass through a Python program. `lines` run for each piece of them: `seen` are its bytes,
/// `passed` counts those of this process, `number` is that of the process, `once(name)` is true in one process.
fn filtered(stage: &Stage, lines: &str) -> String {
    let script = stage.beside("filter.py");
    let text = format!(
        "import os, time\nhere, large = {here:?}, {large:?}\n\
         def once(name):\n  try: os.mkdir(os.path.join(here, name))\n  except FileExistsError: return False\n  return True\n\
         def wait_for(name):\n  while not os.path.exists(os.path.join(here, name)): time.sleep(0.01)\n\
         number = next(n for n in range(1, 99) if once(f'process-{{n}}'))\npassed = 0\n\
         while True:\n  seen = os.read(0, 1 << 16)\n  if not seen: break\n  passed += len(seen)\n{lines}\n  while seen: seen = seen[os.write(1, seen):]\n",
        here = stage.beside(""),
        large = file(stage),
        lines = lines.lines().map(|line| format!("  {line}\n")).collect::<String>(),
    );
    fs::write(&script, text).expect("a file of the test");
    let helper = stage.beside("helper");
    let start = format!("#!/bin/sh\n{BIN} \"$@\" | python3 {}\n", script.display());
    fs::write(&helper, start).expect("a file of the test");
    stage.sh("chmod 755 ../helper");
    helper.to_str().expect("a file of the test").to_owned()
}

fn run_by(server: &Sshd, stage: &Stage, helper: &str) -> Run {
    server.reached_by(stage.run()).env("REMOTE_HELPER", helper)
}

#[test]
fn a_file_arrives_over_several_channels() {
    need!(need::tool("python3"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage(24);
    // The first channel stops in the file until another one has carried some of it.
    let lines = "if number == 1 and passed > 1 << 20: wait_for('carried')\nif number > 1 and passed > 1 << 20: once('carried')";
    let done = run_by(&server, &stage, &filtered(&stage, lines)).expect(0);
    assert_whole(&stage, &done);
    assert!(stage.beside("carried").exists());
    assert_eq!(stage.counts()["bytes_copied"], 24 * MIB);
}

#[test]
fn a_host_that_allows_one_channel_sends_all_of_it_there() {
    let server = need!(Plan::new(Subsystem::Internal).line("MaxSessions 1").start());
    let stage = stage(12);
    let done = run(&server, &stage).expect(0);
    assert_whole(&stage, &done);
}

/// The size of a file that changes, MiB. Each of eight channels waits behind 3 MiB until the file has changed: at most 24 MiB have
/// been delivered then and 32 MiB more are requested, so the far ends have not read the rest.
const CHANGING: u64 = 64;

/// A run during which the file changes once, with `change`, after some of it has arrived.
fn changed_by(change: &str) -> (Stage, Done) {
    let server = Sshd::serving(Subsystem::Internal).expect("an sshd");
    let stage = stage(CHANGING);
    let lines = format!(
        "if passed > 3 << 20 and once('changed'):\n  {change}\n  once('after')\n\
         if passed > 3 << 20: wait_for('after')"
    );
    let done = run_by(&server, &stage, &filtered(&stage, &lines)).done();
    assert!(stage.beside("changed").exists(), "nothing was changed");
    (stage, done)
}

#[test]
fn a_file_that_is_written_while_it_is_read_is_read_again() {
    need!(need::tool("python3"));
    need!(Sshd::serving(Subsystem::Internal));
    for change in [
        // What was read, what is being read, and what is behind it.
        "with open(large, 'r+b') as it: it.write(b'changed')",
        "with open(large, 'r+b') as it: it.seek(12 << 20); it.write(b'changed')",
        "with open(large, 'ab') as it: it.write(b'more')",
        "os.truncate(large, 9 << 20)",
    ] {
        let (stage, done) = changed_by(change);
        done.assert_code(0);
        assert_whole(&stage, &done);
    }
}

#[test]
fn a_file_that_is_replaced_or_removed_while_it_is_read_is_never_mixed() {
    need!(need::tool("python3"));
    need!(Sshd::serving(Subsystem::Internal));
    let replace = "with open(large + '.new', 'wb') as it: it.write(bytes(range(256)) * (64 << 12))\n  os.rename(large + '.new', large)";
    // The folder was listed before, so the snapshot has its earlier time.
    let (stage, done) = changed_by(replace);
    done.assert_code(0);
    assert_same_bytes(&stage);
    let (stage, done) = changed_by("os.remove(large)");
    done.assert_code(0);
    assert!(!stage.inside(&stage.history().newest()).join("large").exists());
}

#[test]
fn holes_stay_holes_wherever_the_ranges_begin() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new());
    let sparse = fs::File::create(file(&stage)).unwrap();
    sparse.set_len(40 * MIB).unwrap();
    for at in [0, 3 * MIB - 4096, 9 * MIB + 8192, 30 * MIB] {
        sparse.write_all_at(&vec![7; 2 * MIB as usize], at).unwrap();
    }
    let done = run(&server, &stage).expect(0);
    assert_whole(&stage, &done);
    let copy = stage.inside(&stage.history().newest()).join("large");
    let stored = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(copy).unwrap()) * 512;
    assert!(stored < 10 * MIB, "{stored} bytes: the holes were filled");
}

#[test]
fn a_line_that_is_cut_again_and_again_loses_only_what_was_under_way() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
    server.write_known_hosts_of(proxy.port(), "host");
    let stage = stage(64);
    let address = format!("{}@127.0.0.1:{}", server.account(), proxy.port());
    proxy.cut_after(20 * MIB);
    let mut running = run(&server, &stage).set("remote-src-host", address).start();
    let cut_again = running.until(|| proxy.connections() > 1);
    proxy.cut_after(20 * MIB);
    let done = running.wait();
    assert!(cut_again, "the line was not cut");
    done.assert_code(0).assert_says("connecting again");
    assert_whole(&stage, &done);
    assert_eq!(stage.counts()["bytes_copied"], 64 * MIB);
    let (_, to_client) = proxy.bytes();
    // What was under way at a cut is bounded, so the file went on behind what had arrived.
    assert!(to_client < (64 + 2 * 40) * MIB, "{to_client} bytes");
}

#[test]
fn a_run_that_was_stopped_in_the_file_goes_on_in_it() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage(32);
    let mut running = run(&server, &stage).rsync(&["--bwlimit=4m"]).start();
    let under_way = running.until(|| {
        let incomplete = stage.history().incomplete();
        let copy = incomplete.first().map(|folder| stage.inside(folder).join("large"));
        copy.and_then(|copy| fs::metadata(copy).ok()).is_some_and(|it| it.len() > 12 * MIB)
    });
    assert!(under_way, "it is under way");
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    let done = run(&server, &stage).expect(0);
    assert_whole(&stage, &done);
    let copied = stage.counts()["bytes_copied"].as_u64().unwrap();
    assert!(copied < 21 * MIB, "{copied}: it began again");
}

/// The channels' answers about the large file are held until the small files are stored.
#[test]
fn small_files_are_not_held_up_by_a_large_one() {
    need!(need::tool("python3"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree =
        (0..300).fold(Tree::new(), |tree, number| tree.file(format!("small/{number}"), "small"));
    let stage = Stage::with(BIN, &tree);
    big_file(&file(&stage), 64 * MIB, 4);
    let mut running = run(&server, &stage).rsync(&["--bwlimit=3m"]).start();
    let incomplete = || stage.history().incomplete().first().map(|folder| stage.inside(folder));
    let small = || incomplete().and_then(|it| fs::read_dir(it.join("small")).ok());
    let stored = running.until(|| small().is_some_and(|names| names.count() == 300));
    assert!(stored, "the small files are stored");
    let large = incomplete().and_then(|it| fs::metadata(it.join("large")).ok());
    assert!(large.is_none_or(|it| it.len() < 64 * MIB), "the large file was first");
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    assert_whole(&stage, &run(&server, &stage).expect(0));
}

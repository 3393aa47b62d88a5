//! Changed files arrive as their differences from the previous snapshot, and never wrong.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

use fixtures::extents::Extents;
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

use crate::{BIN, OVER_SFTP, run};

/// What connecting, greeting and listing cost on the line at most, bytes.
const CONNECTING: u64 = 120 * 1024;

const MIB: usize = 1 << 20;

/// A file of this size is divided into chunks of 8 KiB.
const SIZE: usize = 12 * MIB;

/// A remote host behind a line that counts bytes.
pub(crate) struct Line {
    server: Sshd,
    proxy: Proxy,
    pub(crate) stage: Stage,
}

impl Line {
    pub(crate) fn start() -> Result<Self, fixtures::need::Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
        let proxy = Proxy::start(address, Duration::ZERO);
        server.write_known_hosts_of(proxy.port(), "host");
        Ok(Self { server, proxy, stage: Stage::with(BIN, &Tree::new()) })
    }

    fn file(&self) -> PathBuf {
        self.stage.source.join("file")
    }

    /// A run over the line.
    pub(crate) fn run(&self) -> Run {
        let address = format!("{}@127.0.0.1:{}", self.server.account(), self.proxy.port());
        run(&self.server, &self.stage).set("remote-src-host", address)
    }

    /// The bytes on the line, in both directions, while `run` succeeds.
    fn bytes_of(&self, run: &Run) -> u64 {
        let (bytes, said) = self.bytes_and_log(run);
        assert!(!said.contains(OVER_SFTP), "{said}");
        bytes
    }

    /// The same, and what the run says, over any transport.
    pub(crate) fn bytes_and_log(&self, run: &Run) -> (u64, String) {
        let all = || {
            let (to_server, to_client) = self.proxy.bytes();
            to_server + to_client
        };
        let before = all();
        let said = run.expect(0).said();
        (all() - before, said)
    }

    /// Takes a snapshot of a file with `before`, then one with `after`; returns the bytes of the second.
    fn change(&self, before: &[u8], after: &[u8]) -> u64 {
        fs::write(self.file(), before).expect("a file of the test");
        self.run().expect(0);
        let first = self.stage.history().newest();
        let fingerprint = Fingerprint::of(&first);
        fs::write(self.file(), after).expect("a file of the test");
        let bytes = self.bytes_of(&self.run());
        self.stage.assert_newest_is_source(Judge::plain());
        self.stage.assert_apart("file");
        assert_untouched(&first, &fingerprint);
        bytes
    }

    fn of_base(&self) -> u64 {
        self.stage.counts()["bytes_from_base"].as_u64().expect("a count")
    }
}

/// Bytes that no other seed has.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[track_caller]
fn assert_at_most(bytes: u64, literal: usize) {
    let most = literal as u64 + CONNECTING;
    assert!(bytes <= most, "{bytes} bytes on the line, more than {most}");
}

#[test]
fn a_rewritten_page_costs_a_page() {
    let line = need!(Line::start());
    let before = noise(1, SIZE);
    let mut after = before.clone();
    let pages = SIZE / 4096 / 100;
    for number in 0..pages {
        let at = (number * 7919 % (SIZE / 4096)) * 4096;
        after[at..at + 4096].copy_from_slice(&noise(2 + number as u64, 4096));
    }
    assert_at_most(line.change(&before, &after), pages * 4096);
    assert_eq!(line.of_base(), (SIZE - pages * 4096) as u64);
}

#[test]
fn what_the_previous_snapshot_has_is_not_stored_again_where_blocks_can_be_shared() {
    need!(need::tool("filefrag"));
    let disk = need!(LoopFs::btrfs(400));
    let line = need!(Line::start());
    let stage = line.stage.backups_in(&disk.path().join("backups"));
    let line = Line { stage, ..line };
    let before = noise(1, SIZE);
    let mut after = before.clone();
    let mut rewrite = |seed: u64| {
        for number in 0..20 {
            let at = (number * 797 + seed as usize * 13) % (SIZE / 4096) * 4096;
            after[at..at + 4096].copy_from_slice(&noise(seed + number as u64, 4096));
        }
        after.clone()
    };
    let assert_shared = || {
        let copy = line.stage.inside(&line.stage.history().newest()).join("file");
        let extents = Extents::of(&copy);
        assert!(extents.shared > (SIZE - 60 * 4096) as u64, "{extents:?}");
        assert!(line.stage.counts()["bytes_stored"].as_u64() < Some(60 * 4096));
    };
    assert_at_most(line.change(&before, &rewrite(100)), 20 * 4096);
    assert_shared();
    // Over SFTP the whole file is transferred, but not stored.
    fs::write(line.file(), rewrite(200)).expect("a file of the test");
    let first = line.stage.history().newest();
    let fingerprint = Fingerprint::of(&first);
    line.run().env("REMOTE_HELPER", "off").expect(0).assert_says("sftp, ");
    line.stage.assert_newest_is_source(Judge::sftp());
    assert_shared();
    assert_untouched(&first, &fingerprint);
    // What was inserted moves the rest: nothing is where the base has it.
    let inserted = [noise(3, 1000), rewrite(300)].concat();
    fs::write(line.file(), inserted).expect("a file of the test");
    line.bytes_of(&line.run());
    line.stage.assert_newest_is_source(Judge::plain());
    let copy = line.stage.inside(&line.stage.history().newest()).join("file");
    assert_eq!(Extents::of(&copy).shared, 0);
}

#[test]
fn inserted_bytes_cost_themselves() {
    let line = need!(Line::start());
    let before = noise(1, SIZE);
    let after = [noise(2, 100_000), before.clone()].concat();
    // And at most one chunk around them.
    assert_at_most(line.change(&before, &after), 100_000 + 32 * 1024);
}

/// An archive of files in blocks of 512 bytes, some changed, and some of these longer.
fn archive(changed: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..1000_u64 {
        let mut file = noise(1000 + number, 2000 + number as usize * 17 % 20_000);
        if changed && number.is_multiple_of(100) {
            file[1000..1040].copy_from_slice(&noise(5, 40));
            let longer = if number.is_multiple_of(200) { 700 } else { 0 };
            file.splice(500..500, noise(number, longer));
        }
        bytes.extend(format!("{number:0>512}").bytes().chain(file));
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

#[test]
fn an_archive_costs_the_pages_that_changed_in_it() {
    let line = need!(Line::start());
    // Ten files changed; each change touches two pages, or those around what became longer.
    assert_at_most(line.change(&archive(false), &archive(true)), 10 * 3 * 4096);
}

#[test]
fn appended_bytes_cost_themselves() {
    let line = need!(Line::start());
    let before = noise(1, SIZE);
    let after = [before.clone(), noise(2, SIZE / 100)].concat();
    assert_at_most(line.change(&before, &after), SIZE / 100 + 4096);
}

#[test]
fn a_file_with_nothing_in_common_costs_little_more_than_itself() {
    let line = need!(Line::start());
    assert_at_most(line.change(&noise(1, SIZE), &noise(2, SIZE)), SIZE / 100 * 101);
    assert_eq!(line.of_base(), 0);
}

#[test]
fn shorter_and_empty_files_and_new_sizes_are_followed() {
    let line = need!(Line::start());
    let whole = noise(1, 3 * MIB);
    let half = noise(1, MIB + MIB / 2);
    assert_at_most(line.change(&whole, &half), 4096);
    for content in [&b""[..], &whole, &whole[..300_000], &whole[..5], &half] {
        fs::write(line.file(), content).unwrap();
        line.run().expect(0);
        line.stage.assert_newest_is_source(Judge::plain());
    }
}

#[test]
fn small_files_and_whole_files_are_sent_whole() {
    let line = need!(Line::start());
    let small = noise(1, 255 * 1024);
    let mut after = small.clone();
    after[9] ^= 1;
    let bytes = line.change(&small, &after);
    assert!(bytes > 255 * 1024 && line.of_base() == 0, "{bytes}");
    let before = noise(1, 2 * MIB);
    fs::write(line.file(), &before).unwrap();
    line.run().expect(0);
    fs::write(line.file(), [&before[..], b"more"].concat()).unwrap();
    let bytes = line.bytes_of(&line.run().rsync(&["-W"]));
    assert!(bytes > 2 * MIB as u64 && line.of_base() == 0, "{bytes}");
    line.stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn the_summary_says_what_was_not_sent() {
    let line = need!(Line::start());
    let mut content = noise(1, 2 * MIB);
    fs::write(line.file(), &content).unwrap();
    line.run().expect(0);
    content[MIB] ^= 1;
    fs::write(line.file(), &content).unwrap();
    let done = line.run().rsync(&["--stats"]).expect(0);
    done.assert_says("not sent").assert_says("Literal data: 4,096 bytes");
    assert_eq!(line.stage.counts()["bytes_copied"], 2 * MIB);
    line.stage.look("status").expect(0).assert_says("1.9 MiB not sent");
}

#[test]
fn holes_stay_holes() {
    let line = need!(Line::start());
    let file = fs::File::create(line.file()).unwrap();
    file.set_len(256 << 20).unwrap();
    for (at, seed) in [(0, 1), (90 << 20, 2), (128 << 20, 3)] {
        file.write_all_at(&noise(seed, MIB), at).unwrap();
    }
    line.run().expect(0);
    file.write_all_at(&noise(9, 4096), (90 << 20) + 8192).unwrap();
    file.write_all_at(&noise(10, 4096), 190 << 20).unwrap();
    assert_at_most(line.bytes_of(&line.run()), 2 * 4096);
    line.stage.assert_newest_is_source(Judge::plain());
    let copy = line.stage.inside(&line.stage.history().newest()).join("file");
    assert!(fs::metadata(copy).unwrap().blocks() * 512 < 8 << 20, "the holes were filled");
}

#[test]
fn what_rotted_in_the_base_is_sent_again() {
    let line = need!(Line::start());
    let before = noise(1, 2 * MIB);
    fs::write(line.file(), &before).unwrap();
    line.run().expect(0);
    let copy = line.stage.inside(&line.stage.history().newest()).join("file");
    let times = fs::metadata(&copy).unwrap().modified().unwrap();
    let base = fs::File::options().write(true).open(&copy).unwrap();
    base.write_all_at(b"rotten", 777_777).unwrap();
    base.set_modified(times).unwrap();
    fs::write(line.file(), [&before[..], b"more"].concat()).unwrap();
    assert_at_most(line.bytes_of(&line.run()), 2 * 4096);
    line.stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_base_that_may_not_be_read_is_not_used() {
    need!(need::root());
    need!(need::tool("setpriv"));
    let line = need!(Line::start());
    fs::write(line.file(), noise(1, 2 * MIB)).unwrap();
    line.stage.sh("chmod 200 file");
    line.run().expect(0);
    fs::write(line.file(), noise(1, 2 * MIB + 1)).unwrap();
    let run = line.run().under(&["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    let bytes = line.bytes_of(&run);
    assert!(bytes > 2 * MIB as u64 && line.of_base() == 0, "{bytes}");
    line.stage.assert_newest_is_source(Judge::plain());
}

/// A helper whose answers pass through this Python program. `seen` are the bytes that arrived last.
fn filtered(line: &Line, program: &str) -> String {
    let script = line.stage.beside("filter.py");
    let text = format!(
        "import os, sys\nfile, done = {file:?}, {done:?}\npassed = 0\nwhile True:\n  seen = os.read(0, 1 << 16)\n  if not seen: break\n  passed += len(seen)\n  if not os.path.exists(done):\n{program}\n  while seen: seen = seen[os.write(1, seen):]\n",
        file = line.file(),
        done = line.stage.beside("done"),
        program = program.lines().map(|line| format!("    {line}\n")).collect::<String>(),
    );
    fs::write(&script, text).expect("a file of the test");
    let helper = line.stage.beside("helper");
    let start = format!("#!/bin/sh\n{BIN} \"$@\" | python3 {}\n", script.display());
    fs::write(&helper, start).expect("a file of the test");
    line.stage.sh("chmod 755 ../helper");
    helper.to_str().expect("a file of the test").to_owned()
}

#[test]
fn bytes_that_are_not_those_of_the_file_are_noticed_and_it_is_fetched_whole() {
    need!(need::tool("python3"));
    let line = need!(Line::start());
    let before = noise(1, 2 * MIB);
    fs::write(line.file(), &before).unwrap();
    line.run().expect(0);
    let mut after = before;
    for place in after[MIB..MIB + 4096].chunks_mut(16) {
        place.copy_from_slice(b"as it is written");
    }
    fs::write(line.file(), &after).unwrap();
    let changed = "if b'as it is written' in seen:\n  seen = seen.replace(b'as it is written', b'as it is changed', 1)\n  open(done, 'w')";
    let helper = filtered(&line, changed);
    let run = line.run().env("REMOTE_HELPER", helper).set("sftp-channels", "1");
    let bytes = line.bytes_of(&run);
    assert!(line.stage.beside("done").exists(), "nothing was changed on the way");
    assert!(bytes > 2 * MIB as u64, "{bytes}: it was not fetched whole");
    line.stage.assert_newest_is_source(Judge::plain());
    assert_eq!(line.of_base(), 0);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    need!(need::tool("python3"));
    let line = need!(Line::start());
    let before = noise(1, SIZE);
    fs::write(line.file(), &before).unwrap();
    line.run().expect(0);
    fs::write(line.file(), [&before[..], &noise(2, MIB)].concat()).unwrap();
    // The first sums were sent, and the file changes where they are.
    let change = "if passed > 20000:\n  with open(file, 'r+b') as it:\n    it.seek(5000)\n    it.write(b'changed' * 3000)\n  open(done, 'w')";
    let helper = filtered(&line, change);
    line.bytes_of(&line.run().env("REMOTE_HELPER", helper).set("sftp-channels", "1"));
    assert!(line.stage.beside("done").exists(), "nothing was changed");
    line.stage.assert_newest_is_source(Judge::plain());
    let copy = line.stage.inside(&line.stage.history().newest()).join("file");
    assert_eq!(fs::read(copy).unwrap(), fs::read(line.file()).unwrap());
}

#[test]
fn a_cut_line_is_made_again_and_the_file_goes_on() {
    let line = need!(Line::start());
    let before = noise(1, SIZE);
    fs::write(line.file(), &before).unwrap();
    line.run().expect(0);
    let mut cuts = 0;
    for (round, after) in [(1, 15_000), (2, 60_000), (3, 300_000), (4, MIB), (5, 3 * MIB)] {
        let mut content = before.clone();
        for number in 0..5 {
            let at = number * (2 * MIB + 77_777);
            content[at..at + MIB].copy_from_slice(&noise(round * 100 + number as u64, MIB));
        }
        content.splice(100..100, noise(round, 1000));
        fs::write(line.file(), &content).unwrap();
        line.proxy.cut_after(after as u64);
        let done = line.run().expect(0);
        cuts += usize::from(done.said().contains("connecting again"));
        line.stage.assert_newest_is_source(Judge::plain());
        let copy = line.stage.inside(&line.stage.history().newest()).join("file");
        assert!(fs::read(copy).unwrap() == content, "round {round}");
    }
    assert!(cuts >= 3, "only {cuts} runs were cut");
}

#[test]
fn many_changed_files_are_sent_at_a_time() {
    let line = need!(Line::start());
    for number in 0..60_u64 {
        let file = line.stage.source.join(format!("file {number}"));
        fs::write(file, noise(number, 300_000 + number as usize * 1000)).unwrap();
    }
    line.run().expect(0);
    for number in 0..60_u64 {
        let file = line.stage.source.join(format!("file {number}"));
        let mut content = fs::read(&file).unwrap();
        content.splice(1000..1000 + number as usize, noise(number + 500, 100));
        fs::write(&file, content).unwrap();
    }
    assert_at_most(line.bytes_of(&line.run()), 60 * 3 * 4096);
    line.stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_run_that_was_stopped_in_a_file_goes_on_in_it() {
    let line = need!(Line::start());
    let before = noise(1, 24 * MIB);
    fs::write(line.file(), &before).unwrap();
    line.run().expect(0);
    // First what the base has, then what it does not have.
    let content = [&before[..18 * MIB], &noise(2, 6 * MIB)].concat();
    fs::write(line.file(), &content).unwrap();
    let mut running = line.run().rsync(&["--bwlimit=500k"]).start();
    let under_way = running.until(|| {
        let incomplete = line.stage.history().incomplete();
        let copy = incomplete.first().map(|folder| line.stage.inside(folder).join("file"));
        copy.and_then(|copy| fs::metadata(copy).ok()).is_some_and(|it| it.len() > 18 << 20)
    });
    assert!(under_way, "it is under way");
    running.signal(Signal::TERM);
    running.wait().assert_code(143);
    line.bytes_of(&line.run());
    line.stage.assert_newest_is_source(Judge::plain());
    let copied = line.stage.counts()["bytes_copied"].as_u64().unwrap();
    assert!(copied < 6 << 20, "{copied}: it began again");
    let copy = line.stage.inside(&line.stage.history().newest()).join("file");
    assert!(fs::read(copy).unwrap() == content);
}

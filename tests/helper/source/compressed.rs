//! `-z`: both ends of the helper's protocol compress, and ssh does not.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fixtures::history::History;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP, run};

const MIB: u64 = 1 << 20;

/// What ssh adds to the bytes of the channels at most: logins, packets, authentication codes.
const SSH: u64 = 60 * 1024;

/// A remote host behind a line that counts bytes.
struct Line {
    server: Sshd,
    proxy: Proxy,
    stage: Stage,
}

/// The bytes of a run: those that the proxy saw, to this end and to the host, and those that its report has.
struct Bytes {
    seen: (u64, u64),
    reported: (u64, u64),
}

impl Line {
    fn to(tree: &Tree) -> Result<Self, need::Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
        server.write_known_hosts_of(proxy.port(), "host");
        server.write_config("user", &format!("Host test\nPort {}\n", proxy.port()));
        Ok(Self { server, proxy, stage: Stage::with(BIN, tree) })
    }

    /// A run that copies everything: its history is empty.
    fn copy(&self, history: &str, options: &[&str]) -> Run {
        let address = format!("{}@127.0.0.1:{}", self.server.account(), self.proxy.port());
        let run = run(&self.server, &self.stage).set("remote-src-host", address);
        run.set("backup-name-prefix", history).rsync(options)
    }

    /// The bytes to this end and to the host while `work` succeeds.
    fn seen(&self, work: &Run) -> (u64, u64) {
        let (to_host, to_here) = self.proxy.bytes();
        let done = work.expect(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
        let (all_to_host, all_to_here) = self.proxy.bytes();
        (all_to_here - to_here, all_to_host - to_host)
    }

    /// Copies everything with these options of rsync.
    fn bytes(&self, history: &str, options: &[&str]) -> Bytes {
        let seen = self.seen(&self.copy(history, options));
        let history = History::new(&self.stage.backups, history);
        let newest = history.newest();
        Judge::plain().assert_same(&self.stage.source, &self.stage.inside(&newest));
        let connection = &history.report(&newest)["connection"];
        let of = |key: &str| connection[key].as_u64().expect("a count");
        Bytes { seen, reported: (of("received"), of("sent")) }
    }

    /// A restore to the host of the newest snapshot of this history.
    fn restore(&self, history: &str, folder: &str, options: &str) -> Run {
        let place = format!("test:{}", self.stage.beside(folder).display());
        let restore = self.server.known_to(self.stage.look("restore"));
        // The options of the job that backs up this host hold for restores to it too.
        let restore =
            restore.env("REMOTE_SRC_HOST", "test").env("SRCS_TO_BACKUP", &self.stage.source);
        let restore = restore.env("REMOTE_HELPER", BIN).set("backup-name-prefix", history);
        restore.set("to", place).env("RSYNC_SINGLE_PARAMS", options).arg(&self.stage.source)
    }
}

/// Writes `bytes` of lines that resemble each other.
fn text(path: &Path, bytes: u64) {
    let mut text = String::new();
    for number in 0_u64.. {
        let (user, group, folder) = (number % 977, number % 13, number % 4096);
        text += &format!(
            "{{\"id\": {number}, \"user\": \"user-{user}\", \"groups\": [{group}, {user}], \"path\": \"/srv/{group}/{folder}/{user}.txt\"}}\n"
        );
        if text.len() as u64 >= bytes {
            break;
        }
    }
    fs::write(path, text).expect("a file of the test");
}

/// A large and many small files of text.
fn texts(stage: &Stage) -> u64 {
    text(&stage.source.join("large"), 4 * MIB);
    for number in 0..200 {
        text(&stage.source.join(format!("small-{number}")), 3000);
    }
    4 * MIB + 200 * 3000
}

/// The far end of a version that does not compress: it does not see that it is asked to. The features in a greeting that
/// asks for it are two bytes; the two bytes in their place stand for none.
fn older(line: &Line) -> String {
    let script = format!(
        r#"byte() {{ dd bs=1 count=$1 2>/dev/null; }}
{{ byte 19; features=$(byte 1 | od -An -tu1)
if [ $features -ge 128 ]; then byte 1 >/dev/null; printf '\200\000'; else printf "\\$(printf %03o $features)"; fi
cat; }} | {BIN} "$@""#
    );
    program(line, "older", &script)
}

/// A program beside the setup.
fn program(line: &Line, name: &str, script: &str) -> String {
    let path = line.stage.beside(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file of the test");
    line.stage.sh(&format!("chmod 755 ../{name}"));
    path.to_str().expect("a file of the test").to_owned()
}

#[test]
fn text_takes_a_fraction_of_the_line_and_the_report_has_what_was_on_it() {
    let line = need!(Line::to(&Tree::new()));
    let size = texts(&line.stage);
    let plain = line.bytes("plain", &[]).seen.0;
    let Bytes { seen, reported } = line.bytes("compressed", &["-z"]);
    assert!(plain > size && seen.0 < size / 3, "{} instead of {plain}", seen.0);
    // If ssh compressed as well, fewer bytes would be on the line than the report has.
    assert!((reported.0..reported.0 + SSH).contains(&seen.0), "{seen:?}, {reported:?} reported");
    assert!((reported.1..reported.1 + SSH).contains(&seen.1), "{seen:?}, {reported:?} reported");
}

#[test]
fn a_restore_is_compressed_too() {
    let line = need!(Line::to(&Tree::new()));
    let size = texts(&line.stage);
    line.copy("history", &[]).expect(0);
    let to_host = |folder: &str, options: &str, words: &[&str]| {
        let (_, to_host) = line.seen(&line.restore("history", folder, options).args(words));
        let back = line.stage.beside(folder).join("source");
        Judge::plain().assert_same(&line.stage.source, &back);
        to_host
    };
    let plain = to_host("plain", "-a", &[]);
    for (folder, options, words) in [("job", "-a,-z", &[][..]), ("option", "-a", &["-z"])] {
        let compressed = to_host(folder, options, words);
        assert!(plain > size && compressed < size / 3, "{compressed} instead of {plain}");
    }
}

#[test]
fn a_higher_level_takes_less_of_the_line() {
    let line = need!(Line::to(&Tree::new()));
    text(&line.stage.source.join("text"), MIB);
    let [low, high] = [1, 19].map(|level| {
        line.bytes(&format!("level-{level}"), &[&format!("--compress-level={level}")]).reported.0
    });
    assert!(high < low - low / 10, "{high} instead of {low}");
}

#[test]
fn content_that_is_compressed_already_takes_what_it_is_long() {
    let tree = Tree::new().random_file("large", 8 << 20, 1).random_file("small", 3000, 2);
    let line = need!(Line::to(&tree));
    let [plain, compressed] = [("plain", &[][..]), ("compressed", &["-z"])]
        .map(|(history, options)| line.bytes(history, options).reported.0);
    assert!(compressed < plain + plain / 500, "{compressed} instead of {plain}");
}

#[test]
fn with_a_far_end_that_does_not_compress_ssh_does() {
    let line = need!(Line::to(&Tree::new()));
    let size = texts(&line.stage);
    let (helper, history) = (older(&line), "history");
    let (seen, _) = line.seen(&line.copy(history, &["-z"]).env("REMOTE_HELPER", &helper));
    let newest = History::new(&line.stage.backups, history).newest();
    Judge::plain().assert_same(&line.stage.source, &line.stage.inside(&newest));
    assert!(seen < size / 2, "{seen} of {size}");
    let restore = line.restore(history, "back", "-a,-z").env("REMOTE_HELPER", &helper);
    let (_, seen) = line.seen(&restore);
    Judge::plain().assert_same(&line.stage.source, &line.stage.beside("back/source"));
    assert!(seen < size / 2, "{seen} of {size}");
}

#[test]
fn a_piece_that_becomes_too_long_ends_the_connection_and_the_run_goes_on_with_the_next() {
    let line = need!(Line::to(&Tree::new().file("file", "content")));
    let bomb = line.stage.beside("bomb");
    // A greeting that agrees to compress, and two blocks of zstd (RFC 8878) with 128 KiB zeros each.
    let greeting = b"\0\0\0\x0d\0\0\0\0\0\x01\x02\x05" as &[u8];
    let blocks = b"\x80\0\0\x0e\x28\xb5\x2f\xfd\x00\x48\x02\0\x10\0\x02\0\x10\0" as &[u8];
    fs::write(&bomb, [greeting, b"9.9.9", blocks].concat()).expect("a file of the test");
    let script = format!(
        "if [ -e {bomb} ]; then cat {bomb}; rm {bomb}; cat >/dev/null; else exec {BIN} \"$@\"; fi",
        bomb = bomb.display()
    );
    let helper = program(&line, "bomber", &script);
    let run = line.copy("history", &["-z"]).env("REMOTE_HELPER", helper).set("sftp-channels", "1");
    run.expect(0).assert_says("a compressed piece becomes too long");
    let newest = History::new(&line.stage.backups, "history").newest();
    Judge::plain().assert_same(&line.stage.source, &line.stage.inside(&newest));
}

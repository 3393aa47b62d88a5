//! A connection that is cut at any byte of a session, or in which a bit changes: the run continues
//! or stays incomplete for the next one, and the result equals the source. `lost.rs` has the large
//! files.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::proxy::Proxy;
use fixtures::random::Random;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The number of parallel runs. Runs whose connection was cut wait before they reconnect.
const AT_ONCE: u64 = 6;

/// A server behind a proxy, which consecutive setups share.
struct Line {
    server: Sshd,
    proxy: Proxy,
}

impl Line {
    fn new() -> Result<Self, Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
        server.write_known_hosts_of(proxy.port(), "host");
        Ok(Self { server, proxy })
    }

    fn run(&self, stage: &Stage) -> Run {
        let address = format!("{}@127.0.0.1:{}", self.server.account(), self.proxy.port());
        // The first snapshots are of the local machine. A session is as long with a base as without one.
        let run = self.server.reached_by(stage.run()).set("remote-src-host", address);
        run.arg("--accept-sources").rsync(&["-W"])
    }

    fn passed(&self) -> u64 {
        let (there, back) = self.proxy.bytes();
        there + back
    }

    /// The number of bytes in both directions of such a run.
    fn session(&self, tree: &Tree) -> u64 {
        let (stage, before) = (Stage::with(BIN, tree), self.passed());
        self.run(&stage).expect(0);
        self.passed() - before
    }

    /// Takes a first snapshot, changes the source, runs with `fault`, and once more if that run
    /// failed. Returns whether the first run completed, and whether a bit was flipped.
    fn recovers(&self, tree: &Tree, fault: impl FnOnce(&Proxy)) -> (bool, bool) {
        let stage = Stage::with(BIN, tree);
        stage.run().expect(0);
        let first = stage.history().newest();
        let before = Fingerprint::of(&first);
        stage.sh("echo more >>small; touch -d '1 hour ago' large*; echo new >new; rm gone");
        fault(&self.proxy);
        let done = self.run(&stage).set("answer-timeout-s", "5").done();
        let flipped = self.proxy.flipped();
        self.proxy.cut_after(u64::MAX);
        self.proxy.flip_after(u64::MAX);
        if done.code != 0 {
            done.assert_code(1);
            assert!(!done.stderr.is_empty(), "it says why");
            assert_eq!(stage.history().complete().len(), 1, "it is not complete");
            self.run(&stage).expect(0);
        }
        stage.assert_newest_is_source(Judge::remote());
        assert_untouched(&first, &before);
        assert!(stage.history().incomplete().is_empty());
        (done.code == 0, flipped)
    }
}

fn small() -> Tree {
    Tree::new()
        .file("small", "a line\n")
        .file("gone", "soon")
        .random_file("large", 9_000, 1)
        .file("folder/inside", "inside\n")
        .symlink("link", "small")
}

/// Cuts the connection after byte 0, `STEP`, 2 * `STEP`, … of a session.
#[test]
fn a_line_that_is_cut_anywhere_in_a_small_session_is_made_up_for() {
    let step = std::env::var("STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(1409);
    let tree = small();
    let length = need!(Line::new()).session(&tree);
    let (next, whole) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let line = need!(Line::new());
                loop {
                    let at = next.fetch_add(step, Ordering::Relaxed);
                    if at > length {
                        return;
                    }
                    let (at_once, _) = line.recovers(&tree, |proxy| proxy.cut_after(at));
                    whole.fetch_add(u64::from(at_once), Ordering::Relaxed);
                }
            });
        }
    });
    let whole = whole.into_inner();
    println!(
        "{whole} of {} cuts in {length} bytes were made up for by the same run",
        length / step
    );
    assert!(whole > 0, "no run connected anew");
}

#[test]
fn a_bit_that_changed_on_the_way_never_reaches_a_snapshot() {
    let line = need!(Line::new());
    let tree = small().random_file("large too", 3_000_000, 9);
    let length = line.session(&tree);
    let mut random = Random::new(7);
    for part in 0..8 {
        // In all parts of the session: greetings and keys, requests, contents.
        let at = length * part / 9 + random.below(length / 9);
        let (_, flipped) = line.recovers(&tree, |proxy| proxy.flip_after(at));
        assert!(flipped, "nothing came to byte {at} of {length}");
    }
}

#[test]
fn an_sshd_that_is_killed_again_and_again_is_made_up_for() {
    let line = need!(Line::new());
    let tree = small().random_file("more", 40_000_000, 9);
    let stage = Stage::with(BIN, &tree);
    let mut running = line.run(&stage).start();
    for _ in 0..4 {
        let goal = line.passed() + 4_000_000;
        assert!(running.until(|| line.passed() >= goal), "the run ended before");
        assert!(line.server.break_connections() > 0);
    }
    running.wait().assert_code(0);
    stage.assert_newest_is_source(Judge::remote());
}

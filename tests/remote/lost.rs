//! Connections that break, stall or never come back: a run continues, or stays incomplete for the
//! next one, and older snapshots stay unchanged.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fixtures::bulk::{big_file, big_tree};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::proxy::Proxy;
use fixtures::random::Random;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::{Run, Running};
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const MIB: u64 = 1 << 20;

/// A server behind a proxy, and a run through it.
struct Scene {
    stage: Stage,
    server: Sshd,
    line: Proxy,
}

impl Scene {
    fn new(tree: &Tree) -> Result<Self, Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let line = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
        server.write_known_hosts_of(line.port(), "host");
        Ok(Self { stage: Stage::with(BIN, tree), server, line })
    }

    fn run(&self) -> Run {
        let address = format!("{}@127.0.0.1:{}", self.server.account(), self.line.port());
        self.server.reached_by(self.stage.run()).set("remote-src-host", address)
    }

    /// A first snapshot that must stay unchanged.
    fn first(&self) -> (PathBuf, Fingerprint) {
        self.run().expect(0);
        let first = self.stage.history().newest();
        let before = Fingerprint::of(&first);
        (first, before)
    }

    /// Bytes received from the host so far.
    fn received(&self) -> u64 {
        self.line.bytes().1
    }

    /// Waits until this many more bytes have arrived.
    fn after(&self, running: &mut Running, bytes: u64) {
        let goal = self.received() + bytes;
        assert!(running.until(|| self.received() >= goal), "the run ended before");
    }

    fn assert_incomplete(&self, complete: usize) {
        assert_eq!(self.stage.history().complete().len(), complete);
        assert_eq!(self.stage.history().incomplete().len(), 1, "it can be resumed");
        assert_eq!(self.server.clients(), Vec::<u32>::new(), "ssh is still there");
    }
}

fn sample(seed: u64) -> Tree {
    let root_only = need::root().is_ok();
    random_tree(seed, Spec { files: 800, folders: 80, largest: 150_000, root_only })
        .random_file("large", 20_000_000, seed)
        .random_file("also large", 9_000_000, seed + 1)
}

#[test]
fn a_line_that_is_cut_at_random_does_not_show_in_the_snapshot() {
    for seed in 0..2 {
        let mut random = Random::new(seed);
        let scene = need!(Scene::new(&sample(seed)));
        let (first, before) = scene.first();
        mutate(&scene.stage.source, seed);
        scene.stage.sh("touch large; echo more >>'also large'");
        let mut running = scene.run().start();
        let mut cuts = 0;
        while cuts < 5 {
            // The connection setup alone takes about 5,000 bytes.
            scene.line.cut_after(random.below(3_000_000));
            let connections = scene.line.connections();
            if !running.until(|| scene.line.connections() > connections) {
                break;
            }
            cuts += 1;
        }
        scene.line.cut_after(u64::MAX);
        running.wait().assert_code(0);
        println!("seed {seed}: {cuts} cuts");
        assert!(cuts > 0);
        scene.stage.assert_newest_is_source(Judge::remote());
        assert_untouched(&first, &before);
    }
}

#[test]
fn either_process_of_the_connection_may_be_killed() {
    let scene = need!(Scene::new(&sample(7)));
    scene.line.set_delay(Duration::from_millis(2));
    let mut running = scene.run().start();
    for side in 0..4 {
        scene.after(&mut running, 3_000_000);
        if side % 2 == 0 {
            assert!(scene.server.break_connections() > 0);
        } else {
            for pid in scene.server.clients() {
                let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    running.wait().assert_code(0);
    scene.stage.assert_newest_is_source(Judge::remote());
}

/// The most data that is requested and not stored when a connection breaks, and so requested again.
/// At most 64 MiB are in flight.
const LOST: u64 = 70 * MIB;

#[test]
fn a_large_file_goes_on_where_the_line_broke() {
    let scene = need!(Scene::new(&Tree::new().file("one", "1")));
    let size = 140 * MIB;
    big_file(&scene.stage.source.join("large"), size, 5);
    // Older than the run: a part of a newer file could have changed unnoticed.
    scene.stage.sh("touch -d @1600000000 large");
    let mut running = scene.run().start();
    scene.after(&mut running, 100 * MIB);
    assert!(scene.line.cut() > 0);
    running.wait().assert_code(0);
    scene.stage.assert_newest_is_source(Judge::remote());
    let all = scene.received();
    println!("{} of {} MiB were sent", all / MIB, size / MIB);
    assert!(all < size + LOST, "{all} bytes were sent of a file of {size}");
}

#[test]
fn a_file_that_was_changed_within_its_second_is_no_mixture_after_a_lost_line() {
    let scene = need!(Scene::new(&Tree::new().file("one", "1")));
    let (large, other) = (scene.stage.source.join("large"), scene.stage.beside("other"));
    big_file(&large, 120 * MIB, 5);
    big_file(&other, 120 * MIB, 6);
    // Both were saved in the second in which the run starts.
    scene.stage.sh(&format!("touch large; touch -r large {}", other.display()));
    let mut running = scene.run().start();
    scene.after(&mut running, 40 * MIB);
    std::fs::rename(&other, &large).unwrap();
    assert!(scene.line.cut() > 0);
    running.wait().assert_code(0);
    let copy = scene.stage.inside(&scene.stage.history().newest()).join("large");
    assert!(std::fs::read(copy).unwrap() == std::fs::read(&large).unwrap(), "a mixture");
}

#[test]
fn a_large_file_goes_on_where_an_earlier_run_ended_unless_it_has_changed() {
    let scene = need!(Scene::new(&Tree::new().file("one", "1")));
    let (size, part) = (130 * MIB, 90 * MIB);
    let large = scene.stage.source.join("large");
    let stopped_in_the_middle = |signal, code| {
        // Through the helper, little of a file crosses the line that the base has almost like this.
        let mut running = scene.run().rsync(&["-W"]).start();
        scene.after(&mut running, part);
        running.signal(signal);
        running.wait().assert_code(code);
    };
    big_file(&large, size, 5);
    for (signal, code, time) in [(Signal::TERM, 143, 1), (Signal::KILL, 137, 2)] {
        // Older than the run: a part of a newer file could have changed unnoticed.
        scene.stage.sh(&format!("touch -d @160000000{time} large"));
        stopped_in_the_middle(signal, code);
        let before = scene.received();
        scene.run().expect(0).assert_says("the copy continues from there");
        scene.stage.assert_newest_is_source(Judge::remote());
        let rest = scene.received() - before;
        println!("{} of {} MiB were sent by the second run", rest / MIB, size / MIB);
        assert!(rest < size - part + LOST, "{rest} bytes were sent by the second run");
        assert!(scene.stage.counts()["bytes_copied"].as_u64() < Some(size - part + LOST));
    }
    scene.stage.sh("touch large");
    stopped_in_the_middle(Signal::TERM, 143);
    // The same size as before.
    big_file(&large, size, 6);
    scene.run().expect(0);
    scene.stage.assert_newest_is_source(Judge::remote());
    // The same time too, which does not count with --checksum.
    scene.stage.sh("touch -d @1700000000 large");
    stopped_in_the_middle(Signal::TERM, 143);
    big_file(&large, size, 7);
    scene.stage.sh("touch -d @1700000000 large");
    scene.run().rsync(&["--checksum"]).expect(0);
    scene.stage.assert_newest_is_source(Judge::remote());
}

#[test]
fn a_line_that_stalls_is_given_up_and_taken_up_again() {
    let scene = need!(Scene::new(&sample(3)));
    let mut running = scene.run().set("answer-timeout-s", "2").start();
    scene.after(&mut running, 5_000_000);
    scene.line.stall();
    // ssh reconnects once the proxy forwards again.
    let connections = scene.line.connections();
    assert!(running.until(|| scene.line.connections() > connections), "it connects anew");
    scene.line.resume();
    running.wait().assert_code(0);
    scene.stage.assert_newest_is_source(Judge::remote());
}

/// Five attempts with pauses of 1, 2, 4, 8 and 16 seconds take half a minute.
#[test]
fn a_host_that_does_not_come_back_leaves_an_incomplete_snapshot_for_the_next_run() {
    let mut scene = need!(Scene::new(&sample(4)));
    let (first, before) = scene.first();
    big_tree(&scene.stage.source.join("more"), 1_000, 20, 4);
    big_file(&scene.stage.source.join("larger"), 30 * MIB, 4);
    let mut running = scene.run().start();
    scene.after(&mut running, 5_000_000);
    scene.line.refuse(true);
    scene.server.stop();
    let done = running.wait();
    done.assert_code(1).assert_says("the source is lost").assert_says("the next run continues");
    scene.assert_incomplete(1);
    // A run that cannot connect loses nothing either.
    let done = scene.run().expect(1);
    done.assert_says("no connection to the source");
    scene.assert_incomplete(1);
    scene.line.refuse(false);
    scene.server.start();
    scene.run().expect(0);
    scene.stage.assert_newest_is_source(Judge::remote());
    assert_untouched(&first, &before);
    assert!(scene.stage.history().incomplete().is_empty());
}

#[test]
fn an_sshd_that_is_restarted_meanwhile_is_found_again() {
    let mut scene = need!(Scene::new(&sample(5)));
    let mut running = scene.run().start();
    scene.after(&mut running, 4_000_000);
    scene.server.stop();
    scene.server.start();
    let done = running.wait();
    done.assert_code(0);
    done.assert_says(" was lost: ").assert_says("; connecting again");
    scene.stage.assert_newest_is_source(Judge::remote());
}

#[test]
fn a_host_with_another_key_in_the_middle_is_not_trusted_with_the_rest() {
    let mut scene = need!(Scene::new(&sample(6)));
    let mut running = scene.run().start();
    scene.after(&mut running, 4_000_000);
    scene.server.change_host_key();
    let done = running.wait();
    done.assert_code(1).assert_says("has changed");
    scene.assert_incomplete(0);
}

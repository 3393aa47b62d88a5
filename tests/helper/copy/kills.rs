//! Copies whose near end or far end is killed: the next one, or the same one over another connection, completes the copy.

use std::fs;
use std::path::Path;

use fixtures::bulk::{big_file, big_tree};
use fixtures::history::History;
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};

use crate::BIN;
use crate::copy::{assert_copied, pull, push, there};

/// A copy, and what its ends leave.
struct Scene {
    server: Sshd,
    stage: Stage,
    far_end: String,
}

impl Scene {
    /// Two snapshots, with a large file in both and small files.
    fn new() -> Result<Self, need::Missing> {
        let server = Sshd::serving(Subsystem::Internal)?;
        let stage = Stage::with(BIN, &Tree::new());
        big_tree(&stage.source.join("tree"), 600, 60, 1);
        big_file(&stage.source.join("large"), 40 << 20, 2);
        stage.take();
        stage.sh("echo changed >changed");
        big_file(&stage.source.join("other"), 40 << 20, 3);
        stage.take();
        let far_end = stage.beside("far_end").display().to_string();
        let script = format!("#!/bin/sh\necho $$ >>{far_end}.pids; exec {BIN} \"$@\"\n");
        fs::write(&far_end, script).expect("written");
        stage.sh(&format!("chmod 755 {far_end}"));
        Ok(Self { server, stage, far_end })
    }

    fn copy(&self, way: fn(&Stage, &Sshd) -> Run) -> Run {
        way(&self.stage, &self.server).env("REMOTE_HELPER", &self.far_end)
    }

    /// The far ends that run.
    fn far_ends(&self) -> Vec<Pid> {
        let pids = fs::read_to_string(format!("{}.pids", self.far_end)).unwrap_or_default();
        let runs = |pid: &&str| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(BIN))
        };
        let pids = pids.lines().filter(runs).filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        pids.collect()
    }

    /// The bytes that the copy has of the large files.
    fn arrived(&self) -> u64 {
        let history = History::new(&there(&self.stage), PREFIX);
        let mut bytes = 0;
        for snapshot in history.complete().into_iter().chain(history.incomplete()) {
            for name in ["large", "other"] {
                let path = snapshot.join(self.stage.source.strip_prefix("/").expect("a full path"));
                bytes += fs::metadata(path.join(name)).map_or(0, |meta| meta.len());
            }
        }
        bytes
    }
}

/// So many bytes have arrived when an end is killed: nothing, parts of the first snapshot, parts of the second one. The
/// second one has `large` as a link.
const MOMENTS: [u64; 4] = [1, 20 << 20, 81 << 20, 100 << 20];

#[test]
fn a_copy_whose_near_end_was_killed_is_completed_by_the_next_one() {
    let scene = need!(Scene::new());
    for way in [push, pull] {
        for moment in MOMENTS {
            let mut running = scene.copy(way).start();
            assert!(running.until(|| scene.arrived() >= moment), "{moment} bytes never arrived");
            running.signal(Signal::KILL);
            let _killed = running.wait();
            // The far end ends by itself.
            wait_for("end of the far end", String::new, || scene.far_ends().is_empty());
        }
        scene.copy(way).expect(0);
        assert_copied(&scene.stage);
        fs::remove_dir_all(there(&scene.stage)).unwrap();
    }
}

/// The far end of the killed copy may still hold the lock then.
#[test]
fn a_push_that_is_repeated_at_once_after_its_near_end_was_killed_copies_everything() {
    let scene = need!(Scene::new());
    for moment in MOMENTS {
        let mut running = scene.copy(push).start();
        assert!(running.until(|| scene.arrived() >= moment), "{moment} bytes never arrived");
        running.signal(Signal::KILL);
        let _killed = running.wait();
        scene.copy(push).expect(0);
        assert_copied(&scene.stage);
        fs::remove_dir_all(there(&scene.stage)).unwrap();
    }
}

#[test]
fn a_push_waits_for_a_far_end_that_is_about_to_end() {
    let scene = need!(Scene::new());
    let mut running = scene.copy(push).start();
    assert!(running.until(|| scene.arrived() >= MOMENTS[1]), "it never began");
    let first = scene.far_ends();
    let _ = kill_process(first[0], Signal::STOP);
    running.signal(Signal::KILL);
    let _killed = running.wait();
    let mut again = scene.copy(push).start();
    // The second far end waits in the folder, and has changed nothing.
    let is_there = || scene.far_ends().iter().any(|pid| !first.contains(pid) && sleeps(*pid));
    assert!(again.until(is_there), "the second far end did not wait");
    let _ = kill_process(first[0], Signal::CONT);
    again.wait().assert_code(0);
    assert_copied(&scene.stage);
}

/// Whether the main thread of a process sleeps for a time, as the kernel names it (proc(5), wchan).
fn sleeps(pid: Pid) -> bool {
    let wait = format!("/proc/{}/wchan", pid.as_raw_nonzero());
    fs::read_to_string(wait).is_ok_and(|place| place.contains("nanosleep"))
}

#[test]
fn a_push_is_no_success_while_another_far_end_stays_at_work() {
    let scene = need!(Scene::new());
    let mut running = scene.copy(push).start();
    assert!(running.until(|| scene.arrived() >= MOMENTS[1]), "it never began");
    let stopped = scene.far_ends();
    assert_eq!(stopped.len(), 1);
    let _ = kill_process(stopped[0], Signal::STOP);
    running.signal(Signal::KILL);
    let _killed = running.wait();
    let busy = scene.copy(push).expect(1);
    busy.assert_says("nothing was copied: another run or copy is at work in");
    let _ = kill_process(stopped[0], Signal::KILL);
    scene.copy(push).expect(0);
    assert_copied(&scene.stage);
}

#[test]
fn a_far_end_that_is_killed_is_started_again() {
    let scene = need!(Scene::new());
    for way in [push, pull] {
        let mut running = scene.copy(way).start();
        for moment in MOMENTS {
            assert!(running.until(|| scene.arrived() >= moment), "{moment} bytes never arrived");
            let killed = scene.far_ends();
            for pid in &killed {
                let _ = kill_process(*pid, Signal::KILL);
            }
            assert!(!killed.is_empty());
        }
        running.wait().assert_code(0).assert_says("connecting again");
        assert_copied(&scene.stage);
        fs::remove_dir_all(there(&scene.stage)).unwrap();
    }
}

//! Remote runs that are stopped or killed: they end soon, leave no ssh behind, and the next run
//! continues.

use std::fs;
use std::time::Duration;

use fixtures::bulk::{big_file, big_tree};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

#[test]
fn signals_stop_a_run_at_once_and_the_next_one_goes_on() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    server.reached_by(stage.run()).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    big_tree(&stage.source.join("tree"), 2_000, 100, 1);
    big_file(&stage.source.join("large"), 100 << 20, 1);
    let temporary = stage.beside("tmp");
    fs::create_dir(&temporary).unwrap();
    let run = server.reached_by(stage.run()).env("TMPDIR", &temporary);
    // On a fast machine the run would otherwise end before the signal arrives.
    let slow = server.reached_by(stage.run()).env("TMPDIR", &temporary).rsync(&["--bwlimit=5m"]);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::TERM, 143)] {
        let mut running = slow.start();
        let copy = |name| {
            let incomplete = stage.history().incomplete();
            incomplete.first().is_some_and(|folder| stage.inside(folder).join(name).exists())
        };
        // The file of the previous round proves nothing; ssh exists only after this run has
        // installed its handlers.
        let under_way = || copy("large") && !server.clients().is_empty();
        assert!(running.until(under_way), "it is under way");
        running.signal(signal);
        running.wait().assert_code(code);
        assert_eq!(server.clients(), Vec::<u32>::new(), "ssh is still there");
        let left: Vec<_> = fs::read_dir(&temporary).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(stage.history().complete(), std::slice::from_ref(&first));
        assert_eq!(stage.history().incomplete().len(), 1, "it can be resumed");
    }
    run.expect(0);
    stage.assert_newest_is_source(Judge::remote());
    assert_untouched(&first, &before);
    let report = stage.history().report(&stage.history().newest());
    assert_eq!(report["resumed"], true);
}

#[test]
fn a_signal_while_ssh_connects_ends_it_too() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    let temporary = stage.beside("tmp");
    fs::create_dir(&temporary).unwrap();
    server.write_config("user", "ProxyCommand sleep 60");
    let run = server.reached_by(stage.run()).env("TMPDIR", &temporary);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut running = run.start();
        assert!(running.until(|| !server.clients().is_empty()), "ssh connects");
        running.signal(signal);
        running.wait().assert_code(code);
        assert_eq!(server.clients(), Vec::<u32>::new(), "ssh is still there");
        let left: Vec<_> = fs::read_dir(&temporary).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(stage.history().incomplete().is_empty());
    }
}

#[test]
fn a_killed_run_takes_its_ssh_with_it() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::new(BIN);
    big_file(&stage.source.join("large"), 200 << 20, 1);
    let temporary = stage.beside("tmp");
    fs::create_dir(&temporary).unwrap();
    let run = server.reached_by(stage.run()).env("TMPDIR", &temporary);
    let mut running = run.start();
    assert!(running.until(|| !stage.history().incomplete().is_empty()), "it is under way");
    assert!(!running.ended_within(Duration::from_millis(100)));
    assert!(!server.clients().is_empty());
    running.signal(Signal::KILL);
    running.wait().assert_code(137);
    wait_for("end of ssh", String::new, || server.clients().is_empty());
    run.expect(0);
    stage.assert_newest_is_source(Judge::remote());
}

#[test]
fn killed_again_and_again_it_completes() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("one", "1"));
    server.reached_by(stage.run()).expect(0);
    let first = stage.history().newest();
    let before = Fingerprint::of(&first);
    big_tree(&stage.source.join("tree"), 1_500, 60, 2);
    big_file(&stage.source.join("large"), 20 << 20, 2);
    let mut random = fixtures::random::Random::new(11);
    let mut kills = 0;
    let run = server.reached_by(stage.run());
    while !run.killed_after(Duration::from_millis(250 + random.below(500) + kills * 150)) {
        kills += 1;
    }
    println!("{kills} kills");
    stage.assert_newest_is_source(Judge::remote());
    assert_untouched(&first, &before);
    assert!(stage.history().incomplete().is_empty());
}

//! Containers that end during a run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use fixtures::bulk::{big_file, big_tree};
use fixtures::docker::Container;
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::stage::inside;

use crate::engine;
use crate::stand::Stand;

/// Starts a container with a slow tick, ends it with `end` in the middle, and lets the next tick
/// complete the snapshot.
fn interrupt(name: &str, end: impl FnOnce(&Container)) {
    let engine = need!(engine());
    let stand = Stand::new();
    big_tree(&stand.source(), 20_000, 500, 1);
    big_file(&stand.source().join("large"), 400 << 20, 2);
    let history = stand.history();
    let container = engine.start(name, &stand.options(&[]));
    let entries =
        |top: &PathBuf| fs::read_dir(inside(top, "/source".as_ref())).map_or(0, Iterator::count);
    let begun = || history.incomplete().iter().any(|top| entries(top) > 0);
    wait_for("beginning", || container.logs(), begun);
    end(&container);
    assert_eq!(container.field("State.Running"), "false");
    assert!(history.complete().is_empty(), "it was too fast\n{}", container.logs());
    let incomplete = history.incomplete();
    assert_eq!(incomplete.len(), 1, "{}", container.logs());
    let left = &incomplete[0];
    assert!(entries(left) > 0, "the stored entries are gone");
    container.docker(&["start"]);
    stand.wait_for_complete(1, &container);
    assert!(!left.exists());
    Judge::plain().assert_same(&stand.source(), &inside(&history.newest(), "/source".as_ref()));
    // Seen from the host, the next snapshot consists of hard links.
    stand.run_now(&container).assert_code(0);
    let inodes: Vec<_> = history
        .complete()
        .iter()
        .map(|snapshot| {
            fs::metadata(inside(snapshot, "/source/large".as_ref())).expect("a file").ino()
        })
        .collect();
    assert!(matches!(inodes[..], [first, second] if first == second), "{inodes:?}");
}

#[test]
fn a_killed_container_resumes_at_the_next_tick() {
    interrupt("bm-killed", |container| {
        container.docker(&["kill", "-s", "KILL"]);
    });
}

#[test]
fn a_stopped_container_ends_cleanly_and_resumes_at_the_next_tick() {
    interrupt("bm-stopped", |container| {
        container.docker(&["stop", "-t", "30"]);
        let (code, logs) = (container.field("State.ExitCode"), container.logs());
        assert_eq!(code, "0", "it did not end by itself\n{logs}");
        assert!(logs.contains("stopped"), "{logs}");
    });
}

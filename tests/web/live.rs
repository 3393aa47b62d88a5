//! The page while the backups change: a snapshot is removed, a run is in progress.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use fixtures::patience::wait_for;
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::Signal;

use crate::client::http::request;
use crate::client::site::{BIN, Site, name, path_of};

/// Removes all snapshots but the newest.
fn prune(stage: &Stage) -> Run {
    stage.look("prune").set("backup-name-prefix", "my_backup").set("max-backups", "1").arg("--yes")
}

#[test]
fn a_snapshot_that_was_removed_is_gone_from_the_page() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    let first = name(&stage.take());
    stage.take();
    let site = Site::of(&stage);
    let target = format!("/browse/my_backup{}?at={first}", path_of(&stage));
    site.page(&target);
    stage.look("prune").args(&[&first, "--yes"]).expect(0);
    let answer = site.get(&target);
    assert_eq!(answer.status, 404);
    answer.assert_has("exists no longer");
    site.page("/job/my_backup").assert_lacks(&first);
}

#[test]
fn a_snapshot_that_is_downloaded_is_not_removed() {
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 30_000_000, 1));
    for (page, file) in [("raw", "/large"), ("tar", ""), ("zip", "")] {
        assert_kept_while_read(&stage, page, file);
    }
}

fn assert_kept_while_read(stage: &Stage, page: &str, file: &str) {
    let first = stage.take();
    stage.take();
    let site = Site::of(stage);
    let target = format!("/{page}/my_backup{}{file}?at={}", path_of(stage), name(&first));
    let mut stream = TcpStream::connect(&site.address).expect("the page listens");
    stream.write_all(&request("GET", &target, "", "")).expect("sent");
    let mut start = [0; 1000];
    stream.read_exact(&mut start).expect("the download has begun");
    let refused = prune(stage).done();
    assert!(first.exists(), "{refused:?}");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("read");
    assert!(start.len() + rest.len() > 30_000_000);
    wait_for("end of the lock", String::new, || {
        let _ = prune(stage).done();
        !first.exists()
    });
}

/// A run that takes a while: each file does, until it is durable.
pub(crate) fn slow_run(stage: &Stage) -> Run {
    stage.sh("for file in *; do echo changed >>$file; done");
    stage.run().injecting(&["renameat,renameat2:delay_enter=100000", "openat:delay_enter=3000"])
}

#[test]
fn a_run_in_progress_has_its_percentage_rate_and_time_left() {
    let tree = (0..300).fold(Tree::new(), |tree, at| tree.random_file(format!("{at}"), 20_000, at));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let site = Site::of(&stage);
    let mut running = slow_run(&stage).start();
    let shown = || site.page("/").text().contains("A run is in progress");
    assert!(running.until(shown), "the run ended before it was shown");
    // It stays where it is, and what it has noted is replaced.
    running.signal(Signal::STOP);
    let folder = stage.backups.join(".backup_manager/progress");
    let noted = fs::read_dir(&folder).expect("a folder").next().expect("a file").expect("read");
    let text = fs::read_to_string(noted.path()).expect("read");
    let mut reached: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (name, value) in [
        ("began", "2026-01-01T00:00:00Z".into()),
        ("updated", "2026-01-01T00:01:40Z".into()),
        ("entries", 50.into()),
        ("entries_expected", 200.into()),
        ("bytes_copied", (100 * 1024 * 1024).into()),
    ] {
        reached[name] = value;
    }
    fs::write(noted.path(), reached.to_string()).expect("written");
    site.page("/").assert_has("value=\"25\"").assert_has("25 %").assert_has(
        "50 of about 200 entries, 100 MiB copied, 1.0 MiB a second, about 5 minutes left",
    );
    running.signal(Signal::CONT);
    running.wait().assert_code(0);
}

#[test]
fn a_run_in_progress_is_shown() {
    let tree = (0..300).fold(Tree::new(), |tree, at| tree.random_file(format!("{at}"), 20_000, at));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let site = Site::of(&stage);
    site.page("/").assert_lacks("A run is in progress");
    let mut running = slow_run(&stage).start();
    let shown = || {
        let (front, line) = (site.page("/").text(), site.page("/job/my_backup").text());
        front.contains("A run is in progress") && line.contains(">incomplete</span>")
    };
    assert!(running.until(shown), "the run ended before it was shown");
    running.wait().assert_code(0);
    site.page("/").assert_lacks("A run is in progress");
}

//! `drill` of a copy on a host: the sample comes over ssh, and is compared with the snapshot here.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixtures::history::History;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::reserved_port::ReservedPort;
use fixtures::run::Run;
use fixtures::sample_tree::everything;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;
use serde_json::Value;

use crate::BIN;
use crate::drill::flip;

fn server() -> Result<Sshd, need::Missing> {
    Sshd::serving(Subsystem::Internal)
}

fn there(stage: &Stage) -> PathBuf {
    stage.beside("copies")
}

fn to(stage: &Stage) -> String {
    format!("test:{}", there(stage).display())
}

fn copy(stage: &Stage, server: &Sshd) {
    let copy = server.known_to(stage.look("copy")).env("REMOTE_HELPER", BIN);
    copy.set("to", to(stage)).expect(0);
}

/// `drill` of all of the copy.
fn drill(stage: &Stage, server: &Sshd) -> Run {
    let scratch = stage.beside("scratch");
    fs::create_dir_all(&scratch).expect("a folder");
    let drill = server.known_to(stage.look("drill")).env("REMOTE_HELPER", BIN).arg("--json");
    drill.set("scratch", scratch).set("sample", "100%").set("of", to(stage))
}

fn summary(run: &Run, code: i32) -> Value {
    run.expect(code).objects().pop().expect("a summary")
}

/// What `status` says of the drill of the copy.
fn last(stage: &Stage) -> Value {
    let status = stage.look("status").arg("--json").env("COPY_TO", to(stage)).done().stdout;
    let status: Value = serde_json::from_str(&status).expect("an object");
    status["jobs"][0]["copies"][to(stage)]["drill"].clone()
}

#[track_caller]
fn none_left(stage: &Stage) {
    let left = |folder: &Path| fs::read_dir(folder).map_or(0, |entries| entries.count());
    assert_eq!(left(&stage.beside("scratch")), 0);
    assert_eq!(left(&stage.backups.join(".backup_manager/healing")), 0);
}

#[test]
fn a_copy_on_a_host_comes_back_and_the_status_says_so() {
    need!(need::root());
    let server = need!(server());
    let stage = Stage::with(BIN, &everything());
    stage.run().rsync(&["-A", "-X", "-H", "-S"]).expect(0);
    copy(&stage, &server);
    // The host does not have the newest snapshot.
    stage.sh("echo new >new");
    let older = stage.history().newest().file_name().expect("a name").to_owned();
    stage.run().rsync(&["-A", "-X", "-H", "-S"]).expect(0);
    let all = summary(&drill(&stage, &server), 0);
    assert!(all["files"].as_u64() > Some(15), "{all}");
    assert_eq!((&all["good"], &all["failed"]), (&all["files"], &0.into()), "{all}");
    assert_eq!(all["snapshot"], older.to_string_lossy().as_ref(), "{all}");
    assert_eq!(all["copy"], to(&stage), "{all}");
    assert_eq!(last(&stage)["failed"], 0, "{}", last(&stage));
    none_left(&stage);
    // COPY_TO names it as well.
    let copies = drill(&stage, &server).unset("of").arg("--copies").env("COPY_TO", to(&stage));
    assert_eq!(summary(&copies, 0)["good"], all["good"]);
}

#[test]
fn what_the_host_lacks_or_has_damaged_fails_the_drill() {
    let server = need!(server());
    let stage = Stage::with(
        BIN,
        &Tree::new().random_file("flipped", 300_000, 1).file("gone", "x").file("whole", "y"),
    );
    stage.take();
    copy(&stage, &server);
    let newest = History::new(&there(&stage), PREFIX).newest();
    flip(&stage.inside(&newest).join("flipped"));
    fs::remove_file(stage.inside(&newest).join("gone")).expect("removed");
    let run = drill(&stage, &server);
    let done = run.expect(4);
    let findings: Vec<_> =
        done.objects().into_iter().filter(|one| one["type"] == "finding").collect();
    assert_eq!(findings.len(), 2, "{findings:?}");
    for finding in &findings {
        let what = finding["what"].as_str().expect("a text");
        assert_eq!(finding["fault"], "damaged", "{finding}");
        assert!(what.starts_with("the copy lacks it"), "{what}");
    }
    assert_eq!(last(&stage)["failed"], 2, "{}", last(&stage));
    none_left(&stage);
}

#[test]
fn only_the_sample_crosses_the_line() {
    let server = need!(server());
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let proxy = Proxy::start(address, Duration::ZERO);
    let tree = (0..40)
        .fold(Tree::new(), |tree, n| tree.random_file(format!("folder {}/{n}", n % 4), 200_000, n));
    let stage = Stage::with(BIN, &tree);
    stage.take();
    copy(&stage, &server);
    server.write_known_hosts_of(proxy.port(), "host");
    let of = format!("test:{}:{}", proxy.port(), there(&stage).display());
    let some = drill(&stage, &server).unset("of").unset("sample");
    let some = summary(&some.set("of", of).set("sample", "10%").arg("--seed").arg("7"), 0);
    let files = some["files"].as_u64().expect("a number");
    assert!((1..16).contains(&files), "{some}");
    let (_, received) = proxy.bytes();
    assert!(received < files * 200_000 + 150_000, "{received} for {files} files");
    none_left(&stage);
}

#[test]
fn a_host_that_cannot_be_reached_or_has_no_copy_fails_the_drill() {
    let server = need!(server());
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    let nothing = drill(&stage, &server);
    nothing.expect(1).assert_says("could not be done");
    copy(&stage, &server);
    let port = ReservedPort::any();
    let closed = format!("test:{}:{}", port.number(), there(&stage).display());
    drill(&stage, &server).unset("of").set("of", closed).expect(1).assert_says("could not be done");
    drill(&stage, &server).unset("of").set("of", "test:99999:/x").expect(2).assert_says("port");
    fs::rename(there(&stage), stage.beside("away")).expect("renamed");
    drill(&stage, &server).expect(1);
    assert!(last(&stage)["reason"].as_str().is_some_and(|why| !why.is_empty()), "{}", last(&stage));
    none_left(&stage);
}

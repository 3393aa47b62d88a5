//! Copies on a host as they age: holds that change later, and the alert about an old copy.

use std::fs;
use std::path::Path;

use fixtures::need;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use fixtures::web::Web;
use serde_json::Value;

use crate::BIN;
use crate::copy::{pull, push, there};
use crate::setup::forced_command;

/// Three snapshots of one file.
fn stage() -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("file", "0"));
    for number in 0..3 {
        stage.sh(&format!("echo {number} >file"));
        stage.take();
    }
    stage
}

/// The notes of the held snapshots in `backups`, oldest first.
fn held(stage: &Stage, backups: &Path) -> Vec<String> {
    let listed = stage.look("list").arg("--json").set("backups-dir", backups).expect(0);
    let note = |line: &Value| Some(line["held"]["note"].as_str()?.to_owned());
    listed.objects().iter().filter_map(note).collect()
}

fn hold(stage: &Stage, name: &str, note: &str) -> Run {
    stage.look("hold").arg(name).arg("--note").arg(note)
}

#[test]
fn holds_that_change_later_follow_the_original_to_a_host_and_from_one() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    for copy in [push, pull] {
        let stage = stage();
        let to = there(&stage);
        let copied = || copy(&stage, &server).expect(0);
        copied();
        hold(&stage, "oldest", "original").expect(0);
        hold(&stage, "latest", "own").set("backups-dir", &to).expect(0);
        copied().assert_says("is held, as the original is");
        assert_eq!(held(&stage, &to), ["original", "own"]);
        // Holds that do not fit into one message.
        let long = "n".repeat(100_000);
        for name in ["oldest", "latest~1", "latest"] {
            hold(&stage, name, &long).expect(0);
        }
        copied();
        assert_eq!(held(&stage, &to), [&long, &long, "own"]);
        for name in ["oldest", "latest~1", "latest"] {
            stage.look("release").arg(name).expect(0);
        }
        copied().assert_says("is released, as that of the original is");
        assert_eq!(held(&stage, &to), ["own"]);
    }
}

#[test]
fn a_key_that_only_adds_copies_adds_holds_and_neither_changes_nor_removes_one() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let to = there(&stage);
    fs::create_dir(&to).unwrap();
    forced_command::force(&server, &format!("{BIN} serve --append-only --root {}", to.display()));
    let copied = || push(&stage, &server).expect(0);
    copied();
    hold(&stage, "oldest", "original").expect(0);
    copied().assert_says("is held, as the original is");
    hold(&stage, "oldest", "other words").expect(0);
    hold(&stage, "latest", "second").expect(0);
    copied();
    assert_eq!(held(&stage, &to), ["original", "second"]);
    for name in ["oldest", "latest"] {
        stage.look("release").arg(name).expect(0);
    }
    copied();
    copied();
    assert_eq!(held(&stage, &to), ["original", "second"]);
    // A key that may do more carries over what changed meanwhile.
    forced_command::force(&server, &format!("{BIN} serve --root {}", to.display()));
    copied().assert_says("is released, as that of the original is");
    assert_eq!(held(&stage, &to), Vec::<String>::new());
}

#[test]
fn an_old_copy_on_a_host_sends_an_alert_and_makes_the_job_unhealthy() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let (stage, web) = (Stage::with(BIN, &Tree::new().file("file", "0")), Web::start(None));
    let place = format!("test:{}", there(&stage).display());
    let run = |helper: &str| {
        let run = server.known_to(stage.run()).env("REMOTE_HELPER", helper);
        run.env("COPY_TO", &place).env("WEBHOOK_URL", &web.url).env("TMPDIR", stage.beside(""))
    };
    let status = |hours: &str| {
        let status = stage.look("status").arg("--check").set("srcs-to-backup", &stage.source);
        status.set("copy-to", &place).set("copy-max-age-h", hours)
    };
    run(BIN).expect(0);
    // The host has no helper any more.
    let without = |hours: &str| run("/none").set("copy-max-age-h", hours).expect(1);
    stage.sh("echo new >file");
    without("192").assert_says(&format!("the copy into {place} failed"));
    status("192").expect(0);
    let old = format!("the newest snapshot of the copy in {place} is ");
    let alerts = || web.requests().iter().filter(|sent| sent.body.contains(&old)).count();
    assert_eq!(alerts(), 0, "{:?}", web.requests());
    without("0");
    assert_eq!(alerts(), 1, "{:?}", web.requests());
    let late = status("0").expect(1);
    late.assert_says(&old);
    late.assert_says("COPY_MAX_AGE_H");
    // The same day it is not repeated.
    without("0");
    assert_eq!(alerts(), 1, "{:?}", web.requests());
    run(BIN).set("copy-max-age-h", "0").expect(0);
    status("0").expect(0);
}

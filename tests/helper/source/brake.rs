//! The brake on mass changes for a remote host, through the helper and over SFTP.

use fixtures::need;
use fixtures::run::Run;
use fixtures::tree::Tree;

use crate::source::deltas::Line;

const FILES: u64 = 60;

/// Files that the far end sends whole, and large ones of which it sends the differences.
fn documents() -> Tree {
    let mut tree = Tree::new();
    for number in 0..FILES {
        let text = format!("document {number}: about this and that, word for word\n").repeat(20);
        tree = tree.file(format!("documents/{number}.odt"), text);
    }
    for number in 0..4 {
        let text = format!("a long report {number} about this and that\n").repeat(10_000);
        tree = tree.file(format!("reports/{number}.txt"), text);
    }
    tree
}

const ENCRYPT: &str = "for f in $(find . -type f); do n=$(stat -c %s $f); head -c $n /dev/urandom >$f.locked; rm $f; done";

const IN_PLACE: &str = "for f in $(find . -type f); do n=$(stat -c %s $f); head -c $n /dev/urandom >../noise; cat ../noise >$f; done";

/// The kinds of the signs that a run finds after `script`. The run completes a snapshot that equals the source.
fn signs_after(line: &Line, run: &Run, script: &str) -> Vec<String> {
    documents().build(&line.stage.source);
    run.expect(0);
    line.stage.sh("echo another day >diary.txt");
    run.expect(0);
    line.stage.sh(script);
    let done = run.expect(3);
    done.assert_says("a mass change that may be unwanted").assert_says("backup_manager release");
    let report = line.stage.history().report(&line.stage.history().newest());
    let changes = &report["roots"][0]["changes"];
    assert_eq!(changes["sampled"], FILES + 4, "{changes}");
    assert_eq!(changes["turned_random"], FILES + 4, "{changes}");
    let signs = report["suspicions"][0]["signs"].as_array().cloned().unwrap_or_default();
    signs.iter().filter_map(|sign| Some(sign["sign"].as_str()?.to_owned())).collect()
}

#[test]
fn encryption_of_a_remote_source_is_noticed_through_the_helper() {
    let line = need!(Line::start());
    let run = line.run();
    assert_eq!(signs_after(&line, &run, IN_PLACE), ["share", "content", "burst"]);
}

#[test]
fn encryption_with_renaming_of_a_remote_source_is_noticed_through_the_helper() {
    let line = need!(Line::start());
    let run = line.run();
    assert_eq!(signs_after(&line, &run, ENCRYPT), ["share", "content", "extension", "burst"]);
}

#[test]
fn encryption_of_a_remote_source_is_noticed_over_sftp() {
    let line = need!(Line::start());
    let run = line.run().env("REMOTE_HELPER", "off");
    // Files change in another second than the one in which the run before began.
    let script = format!("sleep 1; {IN_PLACE}");
    assert_eq!(signs_after(&line, &run, &script), ["share", "content", "burst"]);
}

//! Two containers on one backups folder: only one works on a prefix at a time, and finding it at
//! work or killed causes no loss.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use fixtures::docker::{Container, Engine};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::{History, hours_ago};
use fixtures::judge::Judge;
use fixtures::need;
use fixtures::patience::wait_for;
use fixtures::run::Run;
use fixtures::stage::inside;
use fixtures::tree::Tree;

use crate::engine;
use crate::stand::{Stand, wait_for_complete};

/// The message of a run that finds another one at work.
const BUSY: &str = "another run of this job is at work";

/// A crontab without ticks during a test.
const SELDOM: &str = "0 0 1 1 * echo seldom\n";

/// Folders whose source takes a run with this rate limit twenty seconds.
fn stand() -> Stand {
    let tree = (0..30).fold(Tree::new(), |tree, number| {
        tree.file(format!("folder {}/{number}", number % 3), format!("content {number}"))
    });
    let stand = Stand::with_crontab(SELDOM);
    tree.random_file(LARGE, 40_000_000, 1).build(&stand.source());
    stand
}

/// The file that takes so long.
const LARGE: &str = "folder 2/large";

/// Options that slow runs down.
const SLOW: [&str; 2] = ["-e", "RSYNC_DICT_PARAMS={\"--bwlimit\":\"2000\"}"];

/// Fails the test unless the newest snapshot equals the source and verifies.
#[track_caller]
fn assert_whole(stand: &Stand, container: &Container) {
    let history = stand.history();
    assert!(history.incomplete().is_empty() && history.deleting().is_empty());
    let newest = inside(&history.newest(), "/source".as_ref());
    Judge::plain().assert_same(&stand.source(), &newest);
    container.exec(&["backup_manager", "verify", "--all"]).assert_code(0);
}

/// A snapshot from 50 hours ago, which a concurrent run must leave alone.
fn aged(engine: &Engine, stand: &Stand) -> PathBuf {
    engine.run(&stand.options(&[]), &["run"]).assert_code(0);
    let aged = stand.history().path(&hours_ago(50), "");
    fs::rename(stand.history().newest(), &aged).expect("a snapshot can be renamed");
    fs::write(stand.source().join(LARGE), vec![7; 40_000_000]).expect("written");
    aged
}

/// Waits until a run of `history` is in the middle of the large file.
#[track_caller]
fn wait_for_begun(history: &History, story: impl Fn() -> String) {
    let large = |top: &PathBuf| fs::metadata(inside(top, "/source".as_ref()).join(LARGE));
    let begun = || {
        history.incomplete().iter().any(|top| large(top).is_ok_and(|file| file.len() > 1_000_000))
    };
    wait_for("beginning", story, begun);
}

/// `backup_manager WORDS…` in a container.
fn call(container: &Container, words: &[&str]) -> Run {
    let call = fixtures::docker::docker(&["exec", &container.name, "backup_manager"]);
    words.iter().fold(call, Run::arg)
}

/// Two services with one prefix and ticks in the same second. Returns when one is at work and the
/// other has said so: the working one first.
fn two(engine: &Engine, stand: &Stand, name: &str) -> [Container; 2] {
    let start = |which: &str| engine.start(&format!("{name}-{which}"), &stand.options(&SLOW));
    let [one, other] = ["one", "other"].map(start);
    for container in [&one, &other] {
        container.wait_for_log("line 1, next at");
    }
    // Both must know it before the next minute starts.
    let second =
        || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() % 60;
    wait_for("begin of a minute", String::new, || second() < 40);
    fs::write(stand.folder.join("config/crontab"), "* * * * * backup_manager run\n")
        .expect("written");
    let found = |container: &Container| container.logs().contains(BUSY);
    let story = || format!("{}\n---\n{}", one.logs(), other.logs());
    wait_for("container that finds the other at work", story, || found(&one) || found(&other));
    if found(&one) { [other, one] } else { [one, other] }
}

#[test]
fn of_two_services_of_one_prefix_one_is_at_work_and_the_other_says_so() {
    let engine = need!(engine());
    let stand = stand();
    let older = aged(engine, &stand);
    let before = Fingerprint::of(&older);
    let [at_work, waiting] = two(engine, &stand, "bm-two");
    assert!(!at_work.logs().contains(BUSY), "{}", at_work.logs());
    wait_for_complete(&stand.history(), 2, &at_work);
    assert_eq!(stand.history().complete().len(), 2);
    // A line of the summary of a snapshot.
    at_work.wait_for_log("  saved ");
    assert!(!waiting.logs().contains("  saved "), "{}", waiting.logs());
    assert_whole(&stand, &waiting);
    assert_untouched(&older, &before);
}

#[test]
fn when_the_container_at_work_is_killed_the_other_one_resumes() {
    let engine = need!(engine());
    let stand = stand();
    let older = aged(engine, &stand);
    let before = Fingerprint::of(&older);
    let [at_work, waiting] = two(engine, &stand, "bm-heir");
    let history = stand.history();
    wait_for_begun(&history, || at_work.logs());
    at_work.docker(&["kill"]);
    assert_eq!(history.complete().len(), 1, "it was too fast\n{}", at_work.logs());
    let left = history.incomplete();
    assert_eq!(left.len(), 1, "{}", at_work.logs());
    let folder =
        |top: &PathBuf| fs::metadata(inside(top, "/source".as_ref())).expect("a folder").ino();
    let begun = folder(&left[0]);
    wait_for_complete(&history, 2, &waiting);
    assert_eq!(folder(&history.newest()), begun, "it began anew\n{}", waiting.logs());
    waiting.wait_for_log("from the interrupted run");
    assert_whole(&stand, &waiting);
    assert_untouched(&older, &before);
}

#[test]
fn one_container_prunes_a_prefix_while_another_one_runs_another() {
    let engine = need!(engine());
    let stand = stand();
    let [runs, prunes] =
        ["bm-runs", "bm-prunes"].map(|name| engine.start(name, &stand.options(&SLOW)));
    let other = History::new(&stand.folder.join("backups"), "other");
    fs::create_dir(stand.source().join("small")).unwrap();
    fs::write(stand.source().join("small/file"), "content").unwrap();
    let small = ["--backup-name-prefix=other", "--srcs-to-backup=/source/small"];
    for _ in 0..3 {
        let run = [&["run", "--minimum-time-guard-h=0"], &small[..]].concat();
        call(&prunes, &run).expect(0);
    }
    let newest = Fingerprint::of(&other.newest());
    let running = call(&runs, &["run"]).start();
    wait_for_begun(&stand.history(), || runs.logs());
    let prune = ["prune", "--backup-name-prefix=other", "--max-backups=1", "--yes"];
    call(&prunes, &prune).expect(0);
    assert_eq!(other.complete().len(), 1);
    assert!(other.deleting().is_empty());
    assert_untouched(&other.newest(), &newest);
    // No process removes the snapshot that the run works on.
    assert_eq!(stand.history().incomplete().len(), 1, "it was too fast");
    call(&prunes, &["run"]).expect(0).assert_says(BUSY);
    running.wait().assert_code(0);
    assert_whole(&stand, &prunes);
}

//! Errors of the destination at any system call: the run fails with a message that names the cause,
//! or its snapshot is correct; older snapshots stay unchanged, and the next run completes.
//!
//! `make errors` injects every error at many calls of each kind; the default test injects half of
//! them at one call of each.

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::stage::Stage;
use fixtures::strace::{CHANGING, LOOKING};
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

const SMALL: Spec = Spec { files: 30, folders: 5, largest: 9_000, root_only: false };

/// Errors with the system's texts (strerror(3)).
const ERRORS: [(&str, &str); 8] = [
    ("EIO", "Input/output error"),
    ("ENOSPC", "No space left on device"),
    ("EDQUOT", "Disk quota exceeded"),
    ("EROFS", "Read-only file system"),
    ("ESTALE", "Stale file handle"),
    ("EMLINK", "Too many links"),
    ("EPERM", "Operation not permitted"),
    ("EINTR", "Interrupted system call"),
];

fn run(stage: &Stage) -> Run {
    stage.run().rsync(&["-A", "-X"])
}

/// A call, an error, and which of the calls fail.
type Case = (&'static str, (&'static str, &'static str), &'static str);

/// The number of parallel setups: each run waits for a new second after its previous snapshot.
const STAGES: usize = 6;

/// Injects errors, one in `each`, at those calls of each of `kinds`. Returns one text per failure.
fn inject(kinds: &[&'static str], when: &[&'static str], each: usize) -> Vec<String> {
    let mut cases: Vec<Case> = Vec::new();
    for (row, kind) in kinds.iter().enumerate() {
        let errors = ERRORS.iter().enumerate().filter(|(at, _)| (row + at) % each == 0);
        cases.extend(
            errors.flat_map(|(_, error)| when.iter().map(move |when| (*kind, *error, *when))),
        );
    }
    let parts: Vec<Vec<Case>> = (0..STAGES)
        .map(|first| cases.iter().skip(first).step_by(STAGES).copied().collect())
        .collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts: Vec<_> = parts.iter().map(|part| scope.spawn(|| inject_each(part))).collect();
        let wrong = parts.into_iter().map(|part| part.join().expect("older snapshots stay"));
        wrong.flatten().collect()
    });
    println!(
        "{} errors injected, {} kinds of calls, {} cases wrong",
        cases.len(),
        kinds.len(),
        wrong.len()
    );
    wrong
}

/// Injects one error after the other, from the same state each time.
fn inject_each(cases: &[Case]) -> Vec<String> {
    // EMLINK starts a new group of links.
    let judge = Judge::strict().with_more_links();
    let bare = Judge::plain().with_more_links().without_owners().without_modes();
    let spec = Spec { files: 80, folders: 15, largest: 20_000, root_only: need::root().is_ok() };
    let mut tree = random_tree(6, spec);
    for number in 0..10 {
        tree = tree.file(format!("dressed {number}"), "x").xattr("user.colour", "red");
    }
    let stage = Stage::with(BIN, &tree);
    run(&stage).expect(0);
    let first = stage.history().path(&hours_ago(50), "");
    std::fs::rename(stage.history().newest(), &first).expect("a snapshot can be renamed");
    mutate(&stage.source, 6);
    stage.sh("for number in 0 1 2 3 4; do touch \"dressed $number\"; done");
    let before = Fingerprint::of(&first);
    let mut wrong = Vec::new();
    for (kind, (error, text), when) in cases {
        let when = match when.strip_suffix('+') {
            // An interrupted call is repeated, so an endless EINTR would only block the program.
            Some(from) if *error == "EINTR" => format!("{from}..60"),
            _ => (*when).to_owned(),
        };
        let rule = format!("{kind}:error={error}:when={when}");
        let done = run(&stage).injecting(&[&rule]).done();
        let mut found = Vec::new();
        let truth = match (*kind, *error) {
            // As if an inode could have no more names, or a user could not link to files of others.
            ("linkat", "EMLINK" | "ENOSPC" | "EPERM") => judge.without_hard_links(),
            _ => judge,
        };
        // A failed write of the output prevents the message.
        let is_silent = *kind == "write" && !done.said().contains("failed: ");
        match done.code {
            // The program itself could not be loaded.
            127 if done.said().contains("error while loading") => {}
            // Values that the destination refuses are in the sidecar.
            0 if matches!(*error, "EPERM" | "EMLINK" | "ENOSPC" | "EDQUOT") && kept(&stage) => {
                found.extend(untrue(&stage, 0, bare))
            }
            0 | 3 => found.extend(untrue(&stage, done.code, truth)),
            1 if named(&done.said(), text) || is_silent => {}
            1 => found.push("the cause is not named".to_owned()),
            code => found.push(format!("it ends with {code}")),
        }
        let next = run(&stage).done();
        if next.code == 0 {
            // Values linked from the base are in the sidecar as well.
            let truth = if kept(&stage) { bare } else { judge };
            found.extend(untrue(&stage, 0, truth).map(|what| format!("the next run: {what}")));
        } else {
            found.push(format!("the next run ends with {}: {}", next.code, next.said()));
        }
        assert_untouched(&first, &before);
        if !found.is_empty() {
            wrong.push(format!("{rule}: {}\n{}", found.join("\n"), done.said()));
        }
        for made in stage.history().complete().iter().filter(|path| **path != first) {
            std::fs::remove_dir_all(made).expect("a snapshot can be removed");
        }
    }
    wrong
}

/// If a run reports success, its snapshot equals the source; with exit code 3 it has a snapshot.
fn untrue(stage: &Stage, code: i32, judge: Judge) -> Option<String> {
    let complete = stage.history().complete();
    if complete.len() < 2 {
        return Some("it made no snapshot".to_owned());
    }
    let copy = stage.inside(&stage.history().newest());
    let differences = judge.differences(&stage.source, &copy);
    (code == 0 && !differences.is_empty()).then(|| differences.join("\n"))
}

/// Whether the newest snapshot has a sidecar.
fn kept(stage: &Stage) -> bool {
    let newest = stage.history().newest();
    let name = newest.file_name().expect("a snapshot has a name");
    stage.backups.join(".backup_manager/kept").join(name).is_dir()
}

/// Whether the output names the cause: the system's text, or ours for a full disk.
fn named(said: &str, text: &str) -> bool {
    said.contains(text) || said.contains("no space left in")
}

/// Half of the errors at one call of each changing kind. `ERRORS=all`: each error at many calls of
/// every kind. `ERRORS=fchmod`: of that kind.
#[test]
fn errors_at_calls_of_the_destination() {
    need!(need::tool("strace"));
    let wrong = if let Ok(wanted) = std::env::var("ERRORS") {
        let kinds = CHANGING.iter().chain(&LOOKING).copied();
        let kinds: Vec<_> = kinds.filter(|kind| wanted == "all" || wanted == *kind).collect();
        let when = ["1", "2", "3", "5", "8", "13", "21", "34", "55", "3+", "20+"];
        inject(&kinds, &when, 1)
    } else {
        inject(&CHANGING, &["5"], 2)
    };
    assert!(wrong.is_empty(), "{} cases\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The kernel reports a write-back error once and then forgets it.
#[test]
fn a_failed_sync_ends_the_run_and_is_not_retried_into_success() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &random_tree(8, SMALL));
    let done = stage.run().injecting(&["syncfs:error=EIO:when=1"]).expect(1);
    done.assert_says("Input/output error").assert_says("could not write everything");
    assert!(stage.history().complete().is_empty());
    stage.run().expect(0);
    let counts = stage.counts();
    let number = |key: &str| counts[key].as_u64().expect("a count");
    // Content that may exist only in memory is not trusted.
    assert_eq!(number("copied") + number("hard_links"), number("files"), "{counts}");
    stage.assert_newest_is_source(Judge::plain());
}

/// A failure to inspect a folder must not select another folder.
#[test]
fn a_root_that_cannot_be_looked_at_is_not_taken_for_the_folder_above() {
    need!(need::tool("strace"));
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "1"));
    let source = stage.source.display().to_string();
    for when in 1..8 {
        let rule = format!("inject=newfstatat:error=EIO:when={when}");
        let words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-P", &source, "-e", &rule];
        let done = stage.run().under(&words).done();
        match done.code {
            0 => stage.assert_newest_is_source(Judge::plain()),
            1 | 3 => {
                done.assert_says("Input/output error").assert_says(&source);
            }
            code => panic!("{code}: {}", done.said()),
        }
    }
}

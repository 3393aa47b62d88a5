//! The progress display on a terminal.

use std::fs;

use fixtures::need;
use fixtures::run::{Done, Run};
use fixtures::screen::Screen;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The columns of the terminal.
const COLUMNS: usize = 80;

/// The system calls that read content, each of them slow enough for the display to appear.
const SLOWLY: &str = "read,pread64,copy_file_range:delay_enter=60000";

fn tree() -> Tree {
    Tree::new()
        .random_file("one/large", 1_500_000, 1)
        .random_file("two/large", 1_500_000, 2)
        .file("three/small", "small")
        .file("three/empty", "")
        .file("two/below/small", "small")
}

/// A run over three sources, long enough for a display.
fn slow_run(stage: &Stage) -> Run {
    let sources = ["one", "three", "two"].map(|name| stage.source.join(name).display().to_string());
    stage
        .run()
        .set("srcs-to-backup", sources.join(","))
        .rsync(&["--bwlimit=1m"])
        .env("TERM", "xterm")
}

/// The end of a long output, for a message.
fn end_of(shown: &str) -> &str {
    let from = shown.len().saturating_sub(2000);
    let from = (from..).find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
    &shown[from..]
}

/// The percentages that were shown, in order.
fn percentages(shown: &str) -> Vec<u32> {
    let before = shown.split(" %, ").map(|text| text.rsplit(' ').next().unwrap_or_default());
    before.filter_map(|number| number.parse().ok()).collect()
}

/// The percentages are below 100 and never go back; the display leaves nothing behind.
#[track_caller]
fn assert_sound(done: &Done) {
    let percentages = percentages(&done.stdout);
    assert!(!percentages.is_empty(), "no percentage in:\n{}", end_of(&done.stdout));
    assert!(
        percentages.is_sorted() && percentages.iter().all(|percent| *percent < 100),
        "{percentages:?}"
    );
    assert!(done.stdout.contains(" elapsed"), "{}", end_of(&done.stdout));
    assert_nothing_left(done);
}

#[track_caller]
fn assert_nothing_left(done: &Done) {
    let screen = Screen::after(&done.stdout, COLUMNS);
    assert!(!screen.cursor_hidden, "{}", end_of(&done.stdout));
    for line in screen.lines() {
        let torn = ["copying:", "retrying:", "verifying:", "restoring:", " elapsed", "^C"];
        assert!(!torn.iter().any(|part| line.contains(part)), "{line:?} is left on the screen");
    }
}

#[test]
fn a_first_run_counts_its_source_beside_and_a_later_one_goes_by_the_last_snapshot() {
    let stage = Stage::with(BIN, &tree());
    // One worker copies one source after the other. They are numbered by their paths.
    let done = slow_run(&stage).under(&["taskset", "-c", "0"]).on_a_terminal().wait();
    done.assert_code(0);
    assert_sound(&done);
    assert!(done.stdout.contains(" of 2.8 MiB, "), "{}", end_of(&done.stdout));
    assert!(done.stdout.contains("source 3 of 3"), "{}", end_of(&done.stdout));
    assert!(done.stdout.contains("two/large"), "{}", end_of(&done.stdout));
    let entries = stage.counts()["entries"].clone();
    assert!(
        done.stdout.contains(&format!(" of about {entries} entries")),
        "{}",
        end_of(&done.stdout)
    );
    // The new snapshot has more than the one before had.
    stage.sh("head -c 1500000 /dev/urandom >one/new");
    let done = slow_run(&stage).on_a_terminal().wait();
    done.assert_code(0);
    assert_nothing_left(&done);
    assert!(
        percentages(&done.stdout).iter().all(|percent| *percent < 100),
        "{}",
        end_of(&done.stdout)
    );
    assert!(done.stdout.contains(" of about "), "{}", end_of(&done.stdout));
}

#[test]
fn a_first_run_of_a_remote_host_counts_it_where_a_second_listing_costs_little() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &tree());
    let run = server.reached_by(stage.run()).rsync(&["--bwlimit=700k"]).env("TERM", "xterm");
    let done = run.on_a_terminal().wait();
    done.assert_code(0);
    assert_sound(&done);
    assert!(done.stdout.contains(" of 2.8 MiB, "), "{}", end_of(&done.stdout));
    let small = (0..400).fold(Tree::new(), |tree, number| {
        tree.random_file(format!("{}/{number}", number % 20), 4096, number)
    });
    let stage = Stage::with(BIN, &small);
    let run = server.reached_by(stage.run()).rsync(&["--bwlimit=700k"]).env("TERM", "xterm");
    let done = run.on_a_terminal().wait();
    done.assert_code(0);
    assert!(percentages(&done.stdout).is_empty(), "{}", end_of(&done.stdout));
    assert_nothing_left(&done);
}

#[test]
fn only_a_display_makes_a_first_run_list_its_source_twice() {
    let lists = |terminal: bool| {
        let stage = Stage::with(BIN, &tree());
        let trace = stage.beside("trace");
        let file = trace.display().to_string();
        let run = slow_run(&stage).under(&[
            "strace",
            "-f",
            "-qqq",
            "-y",
            "-e",
            "trace=getdents64",
            "-o",
            &file,
        ]);
        match terminal {
            true => run.on_a_terminal().wait().assert_code(0),
            false => run.expect(0).assert_code(0),
        };
        let trace = fs::read_to_string(&trace).expect("a trace");
        let call = |line: &str| {
            let folder = format!("<{}/two/below>", stage.source.display());
            line.contains("getdents64(") && line.contains(&folder)
        };
        // Each listing takes two calls: one returns the entries, one nothing. The result of a call is on another line
        // when another thread calls meanwhile.
        trace.lines().filter(|line| call(line)).count() / 2
    };
    assert_eq!((lists(false), lists(true)), (1, 2));
}

#[test]
fn verify_and_restore_show_how_far_they_are() {
    let stage = Stage::with(BIN, &tree());
    stage.take();
    stage.sh("head -c 1500000 /dev/urandom >one/new");
    stage.take();
    let verify = stage.look("verify").arg("--all").env("TERM", "xterm").injecting(&[SLOWLY]);
    let done = verify.on_a_terminal().wait();
    done.assert_code(0);
    assert_sound(&done);
    assert!(done.stdout.contains("verifying: "), "{}", end_of(&done.stdout));
    assert!(done.stdout.contains("snapshot 1 of 2"), "{}", end_of(&done.stdout));
    let restore = stage.look("restore").arg("latest").set("to", stage.beside("back"));
    let done = restore.env("TERM", "xterm").injecting(&[SLOWLY]).on_a_terminal().wait();
    done.assert_code(0);
    assert_sound(&done);
    assert!(done.stdout.contains("restoring: "), "{}", end_of(&done.stdout));
    // A part of a source: its bytes are counted before.
    let part = stage.source.join("one");
    let restore = stage.look("restore").arg("latest").arg(&part).set("to", stage.beside("part"));
    let done = restore.env("TERM", "xterm").injecting(&[SLOWLY]).on_a_terminal().wait();
    done.assert_code(0);
    assert_sound(&done);
    assert!(done.stdout.contains(" of 2.8 MiB, "), "{}", end_of(&done.stdout));
}

#[test]
fn an_interrupted_run_leaves_only_its_last_message() {
    let stage = Stage::with(BIN, &tree());
    let mut session = slow_run(&stage).under(&["setsid", "--ctty"]).on_a_terminal();
    session.sees("source 1 of 3");
    session.interrupts();
    let done = session.wait();
    done.assert_code(130);
    assert_nothing_left(&done);
    // The message is longer than a line.
    let shown = Screen::after(&done.stdout, COLUMNS).lines().concat();
    assert!(shown.contains("stopped by SIGINT"), "{shown}");
    assert!(shown.ends_with("the next run resumes it"), "{shown}");
}

#[test]
fn without_utf_8_a_display_is_ascii_and_a_dumb_terminal_has_none() {
    let stage = Stage::with(BIN, &tree());
    let deep = "a-folder-with-a-long-name/".repeat(4);
    stage.sh(&format!("mkdir -p one/{deep} && mv one/large one/{deep}"));
    let shown = |name: &str, value: &str| {
        stage.sh(&format!("rm -rf {}", stage.backups.display()));
        let done = slow_run(&stage).env(name, value).on_a_terminal().wait();
        done.assert_code(0);
        done.stdout
    };
    assert!(shown("LANG", "C.UTF-8").contains("\u{2026}"));
    let ascii = shown("LC_ALL", "C");
    assert!(ascii.is_ascii() && ascii.contains("...") && ascii.contains(" %, "), "{ascii}");
    let dumb = shown("TERM", "dumb");
    assert!(!dumb.contains('\x1b') && !dumb.contains(" %, "), "{dumb}");
}

#[test]
fn warnings_and_errors_are_coloured_on_a_terminal_only() {
    let stage = Stage::with(BIN, &tree());
    let failing = || stage.run().set("srcs-to-backup", "/nowhere/at/all").env("TERM", "xterm");
    let unhealthy = || {
        let state = stage.look("status").set("srcs-to-backup", &stage.source);
        state.set("backups-dir", stage.beside("nothing")).env("TERM", "xterm")
    };
    let wrong = || stage.look("verify").arg("no-such-snapshot").env("TERM", "xterm");
    stage.take();
    for (shown, colour) in [
        (failing().on_a_terminal().wait().stdout, "\x1b[31mERROR\x1b[0m"),
        (unhealthy().on_a_terminal().wait().stdout, "\x1b[31mUNHEALTHY\x1b[0m"),
        (wrong().on_a_terminal().wait().stdout, "\x1b[31mbackup_manager:\x1b[0m"),
    ] {
        assert!(shown.contains(colour), "{shown}");
    }
    for run in [failing(), unhealthy(), wrong()] {
        let shown = run.start().wait();
        assert!(!shown.said().contains('\x1b'), "{}", shown.said());
        for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let shown = run.clone().env(name, value).on_a_terminal().wait().stdout;
            assert!(!shown.contains("\x1b[31m"), "{shown}");
        }
    }
}

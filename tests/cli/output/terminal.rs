//! On a terminal: the two questions that are asked only there, and the output that appears only
//! there.

use std::fs;

use fixtures::need;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The escape character, with which colours and cursor movements start (ECMA-48).
const ESCAPE: char = '\x1b';

/// What the user answers.
enum Answer {
    Writes(&'static str),
    EndsTheInput,
}

fn answered(run: &Run, question: &str, answer: &Answer) -> fixtures::run::Done {
    let mut session = run.on_a_terminal();
    session.sees(question);
    match answer {
        Answer::Writes(line) => session.writes(line),
        Answer::EndsTheInput => session.ends_the_input(),
    }
    session.wait()
}

#[test]
fn a_restore_in_place_begins_when_somebody_says_yes() {
    let stage = Stage::with(BIN, &Tree::new().file("lost", "lost").file("differs", "before"));
    stage.take();
    stage.sh("rm lost; echo now, and longer >differs");
    let restore = || stage.look("restore").arg("--in-place").arg("--overwrite").arg("changed");
    let lost = || stage.source.join("lost");
    for answer in [
        Answer::Writes("n"),
        Answer::Writes(""),
        Answer::Writes("what?"),
        Answer::Writes("yesterday"),
        Answer::EndsTheInput,
    ] {
        let done = answered(&restore().arg("--delete"), "Go on? [y/N]", &answer);
        done.assert_code(1).assert_says("nothing was done");
        // The question is preceded by what it is about.
        done.assert_says(&stage.source.display().to_string()).assert_says("REPLACED");
        done.assert_says("What the snapshot is known not to have had is REMOVED");
        assert!(!lost().exists());
        assert_eq!(fs::read_to_string(stage.source.join("differs")).unwrap(), "now, and longer\n");
    }
    // At the end of the input it neither waits nor starts.
    restore().expect(2).assert_says("add --yes");
    assert!(!lost().exists());
    for yes in ["y", "yes", "Y"] {
        stage.sh("rm -f lost");
        answered(&restore(), "Go on? [y/N]", &Answer::Writes(yes)).assert_code(0);
        assert_eq!(fs::read_to_string(lost()).unwrap(), "lost");
        assert_eq!(fs::read_to_string(stage.source.join("differs")).unwrap(), "before");
    }
    // No question when it is answered in advance or nothing is changed.
    for word in ["--yes", "--dry-run"] {
        let done = restore().arg(word).on_a_terminal().wait();
        done.assert_code(0);
        assert!(!done.stdout.contains("Go on?"), "{}", done.stdout);
    }
}

#[test]
fn a_host_key_is_pinned_when_somebody_has_compared_it() {
    let stage = Stage::with(BIN, &Tree::new().file("a", "1"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    let known = server.path("known_hosts");
    fs::remove_file(&known).expect("removed");
    let doctor = || {
        let run = stage.look("doctor").set("srcs-to-backup", &stage.source);
        server.reached_by(run.env("CONFIG_DIR", stage.beside("config"))).arg("--pin")
    };
    for answer in
        [Answer::Writes("no"), Answer::Writes(""), Answer::Writes("y"), Answer::EndsTheInput]
    {
        let done = answered(&doctor(), "Write yes to pin it", &answer);
        done.assert_code(1).assert_says("SHA256:").assert_says("nothing was pinned");
        assert!(!known.exists());
    }
    let done = answered(&doctor(), "Write yes to pin it", &Answer::Writes("yes"));
    done.assert_code(0).assert_says("is pinned in").assert_says("offers SFTP");
    let pinned = fs::read_to_string(&known).expect("it was made");
    // A known key needs no question.
    let done = doctor().on_a_terminal().wait();
    done.assert_code(0);
    assert!(!done.stdout.contains("Write yes"), "{}", done.stdout);
    assert_eq!(fs::read_to_string(&known).unwrap(), pinned);
}

#[test]
fn progress_and_colours_are_for_terminals() {
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 3_000_000, 1));
    // Long enough for progress output.
    let run = || stage.run().rsync(&["--bwlimit=2m"]).env("TERM", "xterm");
    let done = run().expect(0);
    assert!(!done.said().contains(ESCAPE), "{}", done.said());
    stage.sh("echo more >>large");
    let done = run().on_a_terminal().wait();
    done.assert_code(0);
    assert!(done.stdout.contains(ESCAPE), "{}", done.stdout);
    let list = || stage.look("list").env("TERM", "xterm");
    let shown = list().on_a_terminal().wait().stdout;
    assert!(shown.contains("\x1b[1m"), "a head that stands out in:\n{shown}");
    for plain in [
        list().expect(0).stdout,
        list().env("NO_COLOR", "1").on_a_terminal().wait().stdout,
        list().arg("--json").on_a_terminal().wait().stdout,
        // Only piped output is plain, whatever stderr is.
        list().under(&["sh", "-c", "\"$@\" | cat", "sh"]).on_a_terminal().wait().stdout,
    ] {
        assert!(plain.contains("my_backup."), "{plain}");
        assert!(!plain.contains(ESCAPE), "{plain}");
    }
    for verb in ["verify", "restore"] {
        let run = || match verb {
            "restore" => stage.look(verb).set("to", stage.beside("back")).env("TERM", "xterm"),
            _ => stage.look(verb).env("TERM", "xterm"),
        };
        let done = run().expect(0);
        assert!(!done.said().contains(ESCAPE), "{verb}: {}", done.said());
    }
}

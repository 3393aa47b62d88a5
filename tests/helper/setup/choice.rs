//! Hosts without a helper that this program understands: they are read over SFTP, and the log says why.

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::sshd::{Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP, run};

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("folder/file", "content"))
}

#[test]
fn a_host_without_a_helper_is_read_over_sftp() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let script = stage.beside("greets-wrongly");
    std::fs::write(&script, "#!/bin/sh\nprintf '\\0\\0\\0\\020abcdefghijklmnop'; cat >/dev/null\n")
        .unwrap();
    stage.sh("chmod 755 ../greets-wrongly");
    let wrong = script.display().to_string();
    for (helper, why) in [
        ("auto", "backup_manager: not found"),
        ("no-such-program", "exit status 127"),
        ("false", "exit status 1"),
        ("echo hello;", "hello"),
        (wrong.as_str(), ""),
    ] {
        let done = server.reached_by(stage.run()).env("REMOTE_HELPER", helper).done();
        done.assert_code(0).assert_says(OVER_SFTP).assert_says(why);
        stage.assert_newest_is_source(Judge::sftp());
    }
}

/// The line of the log that says that the host is read over SFTP, of a run with this helper.
#[track_caller]
fn over_sftp(server: &Sshd, stage: &Stage, helper: &str) -> String {
    let done = server.reached_by(stage.run()).env("REMOTE_HELPER", helper).expect(0);
    let line = done.said().lines().find(|line| line.contains(OVER_SFTP)).map(str::to_owned);
    assert!(line.is_some(), "{}", done.said());
    line.unwrap_or_default()
}

#[test]
fn a_helper_that_was_asked_for_and_does_not_start_is_a_warning_with_what_to_do() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let port = server.port();
    let shows = format!("ssh -p {port} {}@127.0.0.1 'false serve", server.account());
    let old = stage.beside("old");
    std::fs::write(
        &old,
        "#!/bin/sh\necho \"error: unrecognized subcommand 'serve'\" >&2; exit 2\n",
    )
    .unwrap();
    stage.sh("chmod 755 ../old");
    let old = old.display().to_string();
    for (helper, level, next) in [
        ("auto", "INFO", "REMOTE_HELPER=install copies it there"),
        ("false", "WARN", shows.as_str()),
        (&format!("echo Welcome; {BIN}"), "WARN", "a text before it starts anything: Welcome; let"),
        (&old, "WARN", "too old for this one"),
        (&format!("{BIN} serve --root /not/there"), "WARN", "leave serve out of REMOTE_HELPER"),
    ] {
        let line = over_sftp(&server, &stage, helper);
        assert!(line.contains(&format!(" {level} ")) && line.contains(next), "{helper}: {line}");
    }
    let appended = format!("{BIN} serve");
    let refused = server.reached_by(stage.run()).env("REMOTE_HELPER", &appended).expect(2);
    refused.assert_says(&format!("the program appends serve itself; write {BIN}"));
}

#[test]
fn a_host_for_sftp_only_is_read_over_sftp() {
    let plan = Plan::new(Subsystem::Internal).line("ForceCommand internal-sftp");
    let server = need!(plan.line("MaxSessions 1").start());
    let stage = stage();
    let done = server.reached_by(stage.run()).env("REMOTE_HELPER", "auto").expect(0);
    done.assert_says(OVER_SFTP);
    stage.assert_newest_is_source(Judge::sftp());
}

#[test]
fn a_host_without_sftp_is_read_through_its_helper() {
    let server = need!(Sshd::serving(Subsystem::Missing));
    let stage = stage();
    run(&server, &stage).expect(0);
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn a_host_that_offers_neither_a_helper_nor_sftp_is_named_with_both_reasons() {
    let server = need!(Sshd::serving(Subsystem::Missing));
    let refused =
        server.reached_by(stage().run()).env("REMOTE_HELPER", "no-such-program").expect(1);
    refused.assert_says("exit status 127").assert_says("the host offers no SFTP");
    refused.assert_says("enable the sftp subsystem");
}

#[test]
fn the_helper_in_the_folder_for_helpers_is_found() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let folder = server.path(".cache/backup_manager");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(BIN, folder.join("backup_manager")).unwrap();
    let done = server.reached_by(stage.run()).env("REMOTE_HELPER", "auto").expect(0);
    assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn options_that_sftp_does_not_carry_are_named_only_over_sftp() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let over = server.reached_by(stage.run()).env("REMOTE_HELPER", "false").rsync(&["-X"]);
    over.expect(0).assert_says("rsync options without effect: -X");
    let through = run(&server, &stage).rsync(&["-X"]).expect(0);
    assert!(!through.said().contains("without effect"), "{}", through.said());
}

#[test]
fn reports_name_the_transport_and_the_bytes_on_the_line() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let of_host = Stage::with(BIN, &Tree::new().file("file", ""));
    let last = |stage: &Stage| {
        let newest = stage.history().newest();
        let newest = newest.file_name().unwrap().to_str().unwrap();
        let mut reports = stage.history().reports().into_iter();
        reports.find(|report| report["snapshot"] == newest).unwrap()
    };
    let of_this_machine = stage();
    of_this_machine.take();
    assert_eq!(last(&of_this_machine).get("connection"), None);
    for (helper, transport) in [("auto", "helper"), ("off", "sftp")] {
        // A file that changed within the second of the run would be read twice over SFTP.
        let hour = if transport == "sftp" { 1 } else { 2 };
        of_host.sh(&format!("head -c 300000 /dev/urandom >file; touch -d '{hour} hours ago' file"));
        let run = match helper {
            "auto" => run(&server, &of_host),
            _ => server.reached_by(of_host.run()).env("REMOTE_HELPER", helper),
        };
        let done = run.rsync(&["-W", "--stats"]).expect(0);
        done.assert_says(&format!("line           {transport}, "))
            .assert_says("Total bytes received: ");
        let connection = &last(&of_host)["connection"];
        assert_eq!(connection["transport"], transport, "{connection}");
        let bytes = |key: &str| connection[key].as_u64().unwrap();
        assert!((300_000..330_000).contains(&bytes("received")), "{connection}");
        assert!((1..30_000).contains(&bytes("sent")), "{connection}");
        let shown = of_host.look("status").expect(0);
        shown.assert_says(&format!("{transport}, "));
    }
}

#[test]
fn serve_on_a_terminal_says_what_it_is_for() {
    let done = Run::new(BIN).arg("serve").env("TERM", "xterm").on_a_terminal().wait();
    done.assert_code(2).assert_says("there is nothing to type here");
}

#[test]
fn a_root_that_cannot_be_served_is_named_with_what_to_do() {
    for (root, why) in [
        ("home", "--root home: it must be an absolute path; write it from / on"),
        ("/nonexistent/folder", "create the folder, or correct the path"),
    ] {
        let done = Run::new(BIN).args(&["serve", "--root", root]).expect(2);
        done.assert_says(why);
    }
}

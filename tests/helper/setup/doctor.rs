//! What `doctor` says of the helper of a host, and the lines that it prints for `authorized_keys` there.

use std::fs;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Done;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::setup::install::{Host, copy, program};
use crate::{BIN, OVER_SFTP, run};

/// What a key for reading refuses.
const ONLY_READS: &str = "serve was started with --read-only there";

fn stage() -> Stage {
    Stage::with(BIN, &Tree::new().file("folder/file", "content").xattr("user.note", "kept"))
}

fn doctor(stage: &Stage, server: &Sshd, helper: &str) -> Done {
    let doctor = stage.look("doctor").set("srcs-to-backup", &stage.source);
    server.reached_by(doctor).env("REMOTE_HELPER", helper).done()
}

/// Puts the line that doctor printed in the finding `check` in front of the key of the server.
#[track_caller]
fn allow(server: &Sshd, said: &Done, check: &str) {
    let mut lines = said.stdout.lines();
    let line = lines.find(|line| line.starts_with(&format!("ok    {check}  "))).expect("a finding");
    let at = line.find("command=").expect("a line for authorized_keys");
    let key = fs::read_to_string(server.path("user.pub")).expect("a key");
    fs::write(server.path("authorized"), format!("{} {key}", &line[at..])).expect("written");
}

#[test]
fn doctor_says_how_the_host_is_read_and_restored_to() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let through = doctor(&stage, &server, BIN);
    through.assert_says("runs backup_manager");
    through.assert_says("goes through its backup_manager, and everything comes back");
    let over = doctor(&stage, &server, "no-such-program");
    over.assert_says("offers SFTP").assert_says("it runs no backup_manager (");
    over.assert_says("to fix it: this shows what it prints, and nothing where it works: ssh -p ");
    over.assert_says(" 'no-such-program serve --read-only </dev/null'");
    for over in [over, doctor(&stage, &server, "off")] {
        over.assert_says("goes over SFTP, with whole seconds");
    }
}

#[test]
fn the_printed_lines_limit_a_key_to_reading_and_another_to_restores() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let said = doctor(&stage, &server, BIN);
    let restore = |folder: &str| {
        let place = format!("test:{}", stage.beside(folder).display());
        let run = server.known_to(stage.look("restore")).env("REMOTE_HELPER", BIN);
        run.set("to", place).arg(&stage.source)
    };
    allow(&server, &said, "key        ");
    let done = run(&server, &stage).rsync(&["-X"]).expect(0);
    assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    stage.assert_newest_is_source(Judge::strict());
    restore("source/back").expect(1).assert_says(ONLY_READS);
    doctor(&stage, &server, BIN).assert_code(0).assert_says(ONLY_READS);

    allow(&server, &said, "restore key");
    restore("source/back").expect(0).assert_says("backup_manager serve");
    let back = stage.beside("source/back/source");
    Judge::strict().assert_same(&stage.inside(&stage.history().newest()), &back);
    let refused = restore("elsewhere").expect(1);
    refused.assert_says("was started with --root for other folders");
    assert!(!stage.beside("elsewhere").exists());
    doctor(&stage, &server, BIN).assert_says("everything comes back");
}

/// `doctor` for a host to which this program may copy itself.
fn of_host(host: &Host, helper: &str) -> Done {
    let doctor = host.stage.look("doctor").set("srcs-to-backup", &host.stage.source);
    let doctor = host.server.reached_by(doctor).program(&program(&host.stage));
    doctor.env("REMOTE_HELPER", helper).expect(0)
}

#[test]
fn the_lines_start_the_helper_where_the_host_has_it() {
    let host = need!(Host::new());
    let first = "after backup_manager was put into a folder in the PATH of that user";
    let logins = || host.server.log().matches("Accepted publickey").count();
    let none = of_host(&host, "auto");
    assert_eq!(logins(), 2, "one to look for a helper, and one for SFTP");
    assert_eq!(none.lines_with(first), 2, "{}", none.said());
    none.assert_says("command=\"backup_manager serve --read-only --root ");
    for (helper, name) in [("auto", "backup_manager-0.0.1-abc"), ("install", &copy(&host.stage))] {
        if helper == "auto" {
            host.put(name, format!("#!/bin/sh\nexec {BIN} \"$@\"\n"));
        } else {
            fs::remove_dir_all(host.folder()).expect("removed");
            host.run().expect(0);
        }
        let before = logins();
        let said = of_host(&host, helper);
        assert_eq!(logins() - before, 2, "one to read, and one to look for a helper that writes");
        assert_eq!(said.lines_with(first), 0, "{}", said.said());
        said.assert_says(&format!("command=\"~/.cache/backup_manager/{name} serve --root "));
        // The line works as it is printed.
        let key = fs::read_to_string(host.server.path("authorized")).expect("keys");
        allow(&host.server, &said, "key        ");
        let run = host.server.reached_by(host.stage.run()).env("REMOTE_HELPER", "auto");
        let done = run.expect(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
        // That key starts nothing else, and what it starts is not known.
        let said = of_host(&host, "auto");
        assert_eq!(said.lines_with("with the program that the line of the present key names"), 2);
        fs::write(host.server.path("authorized"), key).expect("written");
    }
}

#[test]
fn what_is_to_be_copied_stays_in_one_piece_on_a_terminal() {
    let mut server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    let doctor = |server: &Sshd| {
        let doctor = stage.look("doctor").set("srcs-to-backup", &stage.source);
        let run = server.reached_by(doctor).env("REMOTE_HELPER", BIN);
        run.on_a_terminal().wait().said().replace('\r', "")
    };
    let source = stage.source.display();
    let said = doctor(&server);
    for line in ["serve --read-only", "serve"] {
        let whole = format!("\ncommand=\"{BIN} {line} --root {source}\",restrict\n");
        assert!(said.contains(&whole), "{whole}: {said}");
    }
    server.change_host_key();
    let said = doctor(&server);
    let fix = said.lines().find(|line| line.contains("to fix it: ") && line.contains("ssh-keygen"));
    let fix = fix.unwrap_or_else(|| panic!("{said}"));
    assert!(fix.contains(" && echo '") && fix.contains("known_hosts"), "{said}");
}

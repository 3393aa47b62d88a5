//! `REMOTE_HELPER="sudo -n backup_manager"` with the real sudo, and the lines of docs/remote.md.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;
use fixtures::stage::{Stage, inside};
use fixtures::sudo_host::{ACCOUNT_ID, SudoHost};
use fixtures::tree::Tree;

use crate::setup::forced_command::force;
use crate::{BIN, OVER_SFTP};

/// What a message says where sudo does not start the helper.
const ALLOW: &str = "let sudo start this very command there without a password";

/// The words behind `sudo -n backup_manager` and in the rules, as in docs/remote.md.
const READ_FOLDERS: &str = "serve --read-only --root /etc --root /home";
const READ: &str = "serve --read-only";
const RESTORE: &str = "serve --root /srv/restored";

/// The rule of docs/remote.md that allows `words`.
#[track_caller]
fn rule(words: &str) -> &'static str {
    documented(&format!("me ALL=(root) NOPASSWD: /usr/bin/backup_manager {words}"))
}

/// The forced command of docs/remote.md that starts `words`.
#[track_caller]
fn forced(words: &str) -> &'static str {
    let line =
        documented(&format!("command=\"sudo -n backup_manager {words}\",restrict ssh-ed25519 …"));
    line.split('"').nth(1).expect("a quoted command")
}

/// A line of docs/remote.md.
#[track_caller]
fn documented(line: &str) -> &'static str {
    let mut lines = include_str!("../../../docs/remote.md").lines();
    let found = lines.find(|found| *found == line);
    assert!(found.is_some(), "docs/remote.md has no line: {line}");
    found.unwrap_or_default()
}

/// Puts files of several users into the home folder of the host. The account may read some of them.
fn fill(host: &SudoHost) {
    let tree = Tree::new()
        .file("me/own", "1")
        .owner(ACCOUNT_ID, ACCOUNT_ID)
        .file("other/secret", "2")
        .owner(1_001, 1_002)
        .mode(0o600)
        .file("root", "3")
        .mode(0o400)
        .mtime(1_500_000_000, 123_456_789);
    tree.build(&host.path("/home"));
}

/// A run from `/home` and `/etc` of the host.
fn run(host: &SudoHost, stage: &Stage, helper: &str) -> Run {
    host.server
        .reached_by(stage.run())
        .set("srcs-to-backup", "/home,/etc")
        .env("REMOTE_HELPER", helper)
}

/// The newest snapshot has all of `/home` and `/etc`.
#[track_caller]
fn assert_all(host: &SudoHost, stage: &Stage) {
    for folder in ["/home", "/etc"] {
        let copy = inside(&stage.history().newest(), Path::new(folder));
        Judge::plain().assert_same(&host.path(folder), &copy);
    }
}

#[test]
fn the_documented_rule_and_key_read_what_only_root_may_read() {
    let host = need!(SudoHost::new(BIN, rule(READ_FOLDERS)));
    fill(&host);
    let stage = Stage::new(BIN);
    let command = forced(READ_FOLDERS);
    force(&host.server, command);
    for helper in ["sudo -n backup_manager", "auto"] {
        let done = run(&host, &stage, helper).expect(0);
        assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
        assert_all(&host, &stage);
    }
    // sudo starts no other words.
    for other in [
        command.replace(" --root /etc", ""),
        command.replace(" --read-only", ""),
        format!("{command} --root /srv"),
        "sudo -n cat /etc/shadow".to_owned(),
    ] {
        force(&host.server, &other);
        let refused = run(&host, &stage, "auto").expect(1);
        refused.assert_says("a password is required").assert_says(ALLOW);
    }
}

#[test]
fn an_account_with_a_shell_reads_everything_with_the_documented_rule() {
    let host = need!(SudoHost::new(BIN, rule(READ)));
    fill(&host);
    let stage = Stage::new(BIN);
    let done = run(&host, &stage, "sudo -n backup_manager").expect(0);
    assert!(!done.said().contains(OVER_SFTP), "{}", done.said());
    assert_all(&host, &stage);
    let doctor = stage.look("doctor").set("srcs-to-backup", "/home,/etc");
    let doctor = host.server.reached_by(doctor).env("REMOTE_HELPER", "sudo -n backup_manager");
    let line =
        format!("authorized_keys of the host: command=\"{}\",restrict\n", forced(READ_FOLDERS));
    doctor.expect(0).assert_says(&line).assert_says("no backup_manager that writes starts there");
}

#[test]
fn the_program_of_rsync_users_starts_the_helper_in_the_same_way() {
    let host = need!(SudoHost::new(BIN, rule(READ)));
    fill(&host);
    let stage = Stage::new(BIN);
    let with = |value: &str| {
        let unset = run(&host, &stage, "").under(&["env", "-u", "REMOTE_HELPER"]);
        unset.rsync(&[&format!("--rsync-path={value}")])
    };
    // A path says nothing about rights, and nothing ends in rsync here.
    let done = with("/opt/bin/rsync").expect(3);
    done.assert_says("--rsync-path (it only names the path of rsync, which is not used)");
    let done = with("sudo rsync --fake-super").expect(3);
    done.assert_says("write what starts backup_manager there into REMOTE_HELPER");
    let done = run(&host, &stage, "backup_manager").rsync(&["--rsync-path=sudo rsync"]).expect(3);
    done.assert_says("--rsync-path (REMOTE_HELPER is set)").assert_says("/home/other/secret");
    for (value, command) in
        [("sudo rsync", "sudo backup_manager"), ("sudo -n rsync", "sudo -n backup_manager")]
    {
        let done = with(value).expect(0);
        done.assert_says(&format!("is started with `{command} serve`"));
        assert_all(&host, &stage);
    }
}

/// A restore into `/srv/restored` of the host.
fn restore(host: &SudoHost, stage: &Stage, helper: &str) -> Run {
    let run = host.server.known_to(stage.look("restore")).env("REMOTE_HELPER", helper);
    run.set("to", "test:/srv/restored/new").arg(&stage.source)
}

/// A snapshot of files of several users, and a folder of the host into which only root may write.
fn owned() -> Stage {
    let tree = Tree::new()
        .file("theirs", "1")
        .owner(1_001, 1_002)
        .mode(0o4750)
        .file("mine/file", "2")
        .owner(ACCOUNT_ID, 7)
        .mode(0o600);
    let stage = Stage::with(BIN, &tree);
    stage.take();
    stage
}

fn make_folder(host: &SudoHost) {
    fs::create_dir(host.path("/srv/restored")).expect("a new folder");
}

#[test]
fn the_documented_rule_and_key_restore_files_with_their_owners() {
    let host = need!(SudoHost::new(BIN, rule(RESTORE)));
    make_folder(&host);
    let stage = owned();
    force(&host.server, forced(RESTORE));
    let done = restore(&host, &stage, "sudo -n backup_manager").expect(0);
    done.assert_says("backup_manager serve");
    let back = host.path("/srv/restored/new/source");
    Judge::plain().assert_same(&stage.source, &back);
    assert_eq!(fs::metadata(back.join("theirs")).unwrap().uid(), 1_001);
    let elsewhere = restore(&host, &stage, "auto").set("to", "test:/home/new").expect(1);
    elsewhere.assert_says("was started with --root for other folders");
}

#[test]
fn a_rule_for_reading_is_not_one_for_restores() {
    let host = need!(SudoHost::new(BIN, rule(READ)));
    make_folder(&host);
    let stage = owned();
    // Over SFTP the account has no more rights than it has.
    let refused = restore(&host, &stage, "sudo -n backup_manager").expect(1);
    refused.assert_says("/srv/restored").assert_says("permission denied");
    let restored = host.path("/srv/restored");
    assert_eq!(fs::read_dir(&restored).unwrap().count(), 0);
    chown(&restored, Some(ACCOUNT_ID), Some(ACCOUNT_ID)).unwrap();
    let done = restore(&host, &stage, "sudo -n backup_manager").expect(3);
    done.assert_says("restored to over SFTP").assert_says("sudo").assert_says(ALLOW);
    assert_eq!(fs::metadata(restored.join("new/source/theirs")).unwrap().uid(), ACCOUNT_ID);
}

#[test]
fn a_sudo_that_asks_for_a_password_is_not_waited_for() {
    let host = need!(SudoHost::new(BIN, "me ALL=(ALL:ALL) ALL"));
    fill(&host);
    let stage = Stage::new(BIN);
    for helper in ["sudo -n backup_manager", "sudo backup_manager"] {
        let done = run(&host, &stage, helper).set("srcs-to-backup", "/home").expect(3);
        done.assert_says(OVER_SFTP).assert_says("a password is required").assert_says(ALLOW);
        done.assert_says("other/secret");
        let doctor = stage.look("doctor").set("srcs-to-backup", "/home");
        let doctor = host.server.reached_by(doctor).env("REMOTE_HELPER", helper).done();
        doctor.assert_says("a password is required").assert_says(ALLOW);
    }
    // It reads the password from what the program sends, and waits for the end of a line.
    let reads = run(&host, &stage, "sudo -S backup_manager").rsync(&["--contimeout=3"]).done();
    reads.assert_says(OVER_SFTP).assert_says("no answer within").assert_says(ALLOW);
}

#[test]
fn a_host_without_sudo_is_read_over_sftp_and_the_log_names_sudo() {
    let host = need!(SudoHost::without_sudo(BIN));
    fill(&host);
    let stage = Stage::new(BIN);
    let run = run(&host, &stage, "sudo -n backup_manager").set("srcs-to-backup", "/home/me");
    let done = run.expect(0);
    done.assert_says(OVER_SFTP).assert_says("sudo: not found").assert_says(ALLOW);
}

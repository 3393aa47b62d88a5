//! An unknown or changed host key ends a run with the fingerprint and the command that pins the
//! key.

use std::fs;
use std::process::Command;

use fixtures::need;
use fixtures::run::Done;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The fingerprint of the host's key by `ssh-keygen`.
fn fingerprint(server: &Sshd) -> String {
    let mut print = Command::new("ssh-keygen");
    let print = print.arg("-lf").arg(server.path("host.pub")).output().expect("ssh-keygen runs");
    let print = String::from_utf8_lossy(&print.stdout).into_owned();
    print.split(' ').nth(1).expect("a fingerprint").to_owned()
}

/// Runs the command in the message.
fn pin(said: &Done) {
    let line = said.stderr.lines().find_map(|line| line.split_once("pin it: ")).expect("a command");
    let done = Command::new("sh").arg("-c").arg(line.1).status();
    assert!(done.is_ok_and(|done| done.success()), "{}", line.1);
}

#[test]
fn the_command_in_the_message_pins_the_key() {
    need!(need::root());
    let mut server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "1"));
    let run = || server.reached_by(stage.run());
    fs::remove_file(server.path("known_hosts")).expect("removed");
    let refused = run().expect(1);
    refused.assert_says("is not known").assert_says(&fingerprint(&server));
    assert!(stage.history().incomplete().is_empty(), "nothing was begun");
    pin(&refused);
    run().expect(0);
    server.change_host_key();
    let run = || server.reached_by(stage.run());
    let refused = run().expect(1);
    refused.assert_says("has changed").assert_says(&fingerprint(&server));
    pin(&refused);
    run().expect(0);
}

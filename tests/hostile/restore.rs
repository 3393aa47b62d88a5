//! `restore --to user@host:DIR` to lying servers, with all lies of the tables in
//! `fixtures/src/lying_server/liar/lies/written`, and to a server without OpenSSH's extensions: the exit code is
//! that of the table, the cause is reported, nothing outside the folder is written, the snapshot is
//! unchanged, memory is bounded, and the same command completes with an honest server.

use fixtures::hostile_host::HostileHost;
use fixtures::liar::{Lie, lies};
use fixtures::lie_table;
use fixtures::need;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn check_all(sshd: bool, usual: &str) {
    need!(need::tool("rsync"));
    // With several channels, each file may have its handle to itself, and then nothing is wrong.
    let table = lies::restores().filter(|lie| !sshd || lie.name != "made-handle-same");
    need!(lie_table::check_all(table, (sshd, usual, 100), |lie| {
        Ok(HostileHost::new(BIN, sshd, lie.fresh)?.check(lie))
    }));
}

#[test]
fn the_server_serves_a_restore_when_it_is_honest() {
    need!(need::tool("rsync"));
    for fresh in [false, true] {
        let scene = need!(HostileHost::new(BIN, false, fresh));
        if let Err(why) = scene.restores() {
            panic!("fresh: {fresh}\n{why}");
        }
    }
}

#[test]
fn no_lie_of_a_server_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    check_all(false, "");
}

/// A server that greets like OpenSSH is treated as OpenSSH: the second table lists what goes
/// unnoticed. These lies are repeated here, and each third of the others. With the variable `LIE`
/// all are, but the endless listings: the greeting changes how files are stored, not how they are listed.
#[test]
fn no_lie_of_a_server_that_greets_as_openssh_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    need!(need::tool("rsync"));
    let is_listing =
        |lie: &Lie| lie.name.starts_with("list-endless") || lie.name.starts_with("tree-");
    let all = std::env::var_os("LIE").is_some();
    let table = lies::restores().filter(|lie| !is_listing(lie)).enumerate();
    let table = table
        .filter(|(number, lie)| all || number % 3 == 0 || lies::ends_of_openssh(lie) != lie.ends);
    let table = table.map(|(_, lie)| lie);
    need!(lie_table::check_all(table, (false, "", 40), |lie| {
        Ok(HostileHost::new(BIN, false, lie.fresh)?.that_greets_as_openssh().check(lie))
    }));
}

/// Behind sshd each channel has its own lying server, and a real ssh is in between. Tests some of
/// the lies.
#[test]
fn no_lie_of_a_server_behind_sshd_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    check_all(true, "without-");
}

/// Several channels are being opened while the server breaks the protocol. This program ends the
/// connection then, so it does not show that the host refuses channels.
#[test]
fn a_server_behind_sshd_that_breaks_the_protocol_keeps_its_number_of_channels() {
    need!(need::root());
    need!(need::tool("rsync"));
    let breaks = |lie: &&Lie| ["made-handle-0", "made-handle-257"].contains(&lie.name);
    let mut tried = 0;
    for lie in lies::restores().filter(breaks) {
        let scene = need!(HostileHost::new(BIN, true, lie.fresh));
        // This includes that nothing is stored in the backups folder.
        let done = scene.check(lie).unwrap_or_else(|why| panic!("{}: {why}", lie.name));
        assert!(!done.said().contains("SFTP channel"), "{}: {}", lie.name, done.said());
        tried += 1;
    }
    assert_eq!(tried, 2);
}

//! `restore --to user@host:DIR` to servers that lie while they are written to, in every way of the tables in
//! `fixtures/src/liar/lies/written`, and to one without OpenSSH's extensions: the exit code is that of the
//! table, the cause is said, nothing outside of the folder is written, the snapshot is as it was, memory
//! stays bounded, and the same command completes when it is told the truth.

use fixtures::endure;
use fixtures::hostile_host::HostileHost;
use fixtures::liar::lies;
use fixtures::need;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn endure_all(sshd: bool, usual: &str) {
    need!(need::tool("rsync"));
    // Over several channels each file may have the one handle to itself, and then nothing is wrong with it.
    let table = lies::restores().filter(|lie| !sshd || lie.name != "made-handle-same");
    need!(endure::endure_all(table, (sshd, usual, 100), |lie| {
        Ok(HostileHost::new(BIN, sshd, lie.fresh)?.endure(lie))
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
    endure_all(false, "");
}

/// A server that greets as OpenSSH's does is taken for one: its second table has what goes unnoticed.
#[test]
fn no_lie_of_a_server_that_greets_as_openssh_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    need!(need::tool("rsync"));
    need!(endure::endure_all(lies::restores(), (false, "", 100), |lie| {
        Ok(HostileHost::new(BIN, false, lie.fresh)?.that_greets_as_openssh().endure(lie))
    }));
}

/// Each channel is served by a liar of its own there, and a real ssh stands between: some of the lies.
#[test]
fn no_lie_of_a_server_behind_sshd_does_harm_to_what_is_restored_to_it() {
    need!(need::root());
    endure_all(true, "without-");
}

//! Servers that lie: in every way of the table in `fixtures/src/liar/lies`, behind a real sshd, and in
//! random ways. Nothing outside of the destination is touched, older snapshots are as they were, memory
//! stays bounded, the run ends with a cause, and the next one that is told the truth is whole.

use std::time::Duration;

use fixtures::endure;
use fixtures::fuzz::fuzz;
use fixtures::hostile::Hostile;
use fixtures::liar::{Ends, lies};
use fixtures::need;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn endure_all(sshd: bool, usual: &str) {
    need!(endure::endure_all(lies::all(), (sshd, usual, 60), |lie| {
        let small_disk = matches!(lie.ends, Ends::Full(_));
        Ok(Hostile::new(BIN, sshd, small_disk)?.endure(lie))
    }));
}

#[test]
fn no_lie_of_a_server_does_harm() {
    endure_all(false, "");
}

/// Each channel is served by a liar of its own there, and a real ssh stands between: some of the lies.
#[test]
fn no_lie_of_a_server_behind_sshd_does_harm() {
    endure_all(true, "place-");
}

#[test]
fn answers_that_are_changed_at_random_do_no_harm() {
    need!(fixtures::need::tool("rsync"));
    match fuzz(BIN, Duration::from_secs(25), 1) {
        Ok(line) => println!("{line}"),
        Err(why) => assert!(why.is_empty(), "{why}"),
    }
}

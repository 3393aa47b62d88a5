//! Lying servers: all lies of the table in `fixtures/src/lying_server/liar/lies`, behind a real sshd, and random
//! changes. Nothing outside of the destination is touched, older snapshots are unchanged, memory is
//! bounded, the run ends with a cause, and the next run with an honest server is complete.

use std::time::Duration;

use fixtures::fuzz::fuzz;
use fixtures::hostile::Hostile;
use fixtures::liar::{Ends, lies};
use fixtures::lie_table;
use fixtures::need;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

fn check_all(sshd: bool, usual: &str) {
    need!(lie_table::check_all(lies::all(), (sshd, usual, 60), |lie| {
        let small_disk = matches!(lie.ends, Ends::Full(_));
        Ok(Hostile::new(BIN, sshd, small_disk)?.check(lie))
    }));
}

#[test]
fn no_lie_of_a_server_does_harm() {
    check_all(false, "");
}

/// Behind sshd each channel has its own lying server, and a real ssh is in between. Tests some of
/// the lies.
#[test]
fn no_lie_of_a_server_behind_sshd_does_harm() {
    check_all(true, "place-");
}

#[test]
fn answers_that_are_changed_at_random_do_no_harm() {
    need!(fixtures::need::tool("rsync"));
    match fuzz(BIN, Duration::from_secs(12), 1) {
        Ok(line) => println!("{line}"),
        Err(why) => assert!(why.is_empty(), "{why}"),
    }
}

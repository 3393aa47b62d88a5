//! MooseFS: whole seconds, no holes, ACLs that are not listed.

use fixtures::distributed::Cluster;
use fixtures::need;
use fixtures::tree::Tree;

use crate::cases;

#[test]
fn it_holds_what_it_can_and_gives_it_back() {
    cases::runs_restores_verifies_and_prunes(&need!(Cluster::moosefs()).mounts());
}

#[test]
fn a_time_before_1970_is_kept_beside() {
    cases::keeps_old_times(&need!(Cluster::moosefs()).mounts());
}

#[test]
fn a_killed_run_is_resumed() {
    cases::resumes_after_a_kill(&need!(Cluster::moosefs()).mounts());
}

#[test]
fn a_lost_chunk_server_harms_no_snapshot() {
    cases::survives_a_lost_server(&need!(Cluster::moosefs()));
}

#[test]
fn two_machines_take_turns() {
    cases::two_machines_take_turns(&need!(Cluster::moosefs()).mounts());
}

#[test]
fn doctor_names_it_and_files_that_are_stored_once() {
    let cluster = need!(Cluster::moosefs());
    cases::doctor_names(&cluster.mounts(), "MooseFS: ");
    let stage = cases::stage(&cluster.mounts(), &Tree::new());
    let within = cluster.with_its_network();
    let within: Vec<_> = within.iter().map(String::as_str).collect();
    assert_eq!(cases::findings(&stage, &within).len(), 1);
    let mut set = std::process::Command::new(within[0]);
    set.args(&within[1..]).args(["mfssetgoal", "-r", "1"]).arg(&stage.backups);
    assert!(set.status().is_ok_and(|status| status.success()));
    let found = cases::findings(&stage, &within);
    assert!(found.iter().any(|found| found.contains("stores each file here once")), "{found:?}");
}

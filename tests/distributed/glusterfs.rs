//! GlusterFS: a low limit of links to an inode.

use fixtures::distributed::Cluster;
use fixtures::need;

use crate::cases;

#[test]
fn it_holds_what_it_can_and_gives_it_back() {
    cases::runs_restores_verifies_and_prunes(&need!(Cluster::glusterfs(&[])).mounts());
}

#[test]
fn a_killed_run_is_resumed() {
    cases::resumes_after_a_kill(&need!(Cluster::glusterfs(&[])).mounts());
}

#[test]
fn a_lost_brick_harms_no_snapshot() {
    cases::survives_a_lost_server(&need!(Cluster::glusterfs(&[])));
}

#[test]
fn two_machines_take_turns() {
    cases::two_machines_take_turns(&need!(Cluster::glusterfs(&[])).mounts());
}

/// Each name takes room in the attributes of the brick's inode, which ext4 then refuses with ENOSPC.
#[test]
fn at_the_limit_of_an_ext4_brick_a_file_is_stored_anew() {
    let cluster = need!(Cluster::glusterfs(&[]));
    cases::outlives_the_link_limit(&cluster.mounts(), 60, 30..60);
}

/// GlusterFS itself then answers EMLINK.
#[test]
fn at_the_limit_of_the_volume_a_file_is_stored_anew() {
    let cluster = need!(Cluster::glusterfs(&["storage.gfid2path off"]));
    cases::outlives_the_link_limit(&cluster.mounts(), 110, 99..102);
}

#[test]
fn doctor_names_it() {
    cases::doctor_names(&need!(Cluster::glusterfs(&[])).mounts(), "GlusterFS: ");
}

//! Any file system that is mounted at two folders, as two machines see it: `make -C tests distributed MOUNTS="DIR DIR"`.

use fixtures::distributed::Mounts;
use fixtures::need;
use fixtures::scratch::Scratch;

use crate::cases;

/// Calls `case` in a new folder of the file system.
fn in_a_folder(case: fn(&Mounts)) {
    let mut mounts = need!(Mounts::named());
    let folder = Scratch::below(&mounts.machines[0]);
    let name = folder.path().file_name().expect("a folder has a name").to_owned();
    mounts.machines = mounts.machines.map(|top| top.join(&name));
    case(&mounts);
}

#[test]
fn it_holds_what_it_can_and_gives_it_back() {
    in_a_folder(cases::runs_restores_verifies_and_prunes);
}

#[test]
fn a_killed_run_is_resumed() {
    in_a_folder(cases::resumes_after_a_kill);
}

#[test]
fn two_machines_take_turns() {
    in_a_folder(cases::two_machines_take_turns);
}

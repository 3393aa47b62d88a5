//! A command that gives the helper other rights than the account has, as `sudo -n backup_manager` does.
//!
//! The sudo of these tests is a stand-in, since the real one reads /etc/sudoers of the machine. The account is a user
//! who may read nothing of root's and holds the capability to become another user; the stand-in uses that. So the tests
//! show that the command reaches the host as it was written, and that the helper has the rights that the command
//! gives. What sudo itself allows is not part of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Run;
use fixtures::sshd::{NOBODY_ID, Plan, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, OVER_SFTP};

const SUDO: &str =
    "#!/bin/sh\n[ \"$1\" = -n ] && shift\nexec setpriv --reuid 0 --regid 0 --clear-groups \"$@\"\n";

/// A host whose account has other rights than root, and a source with a file that only root may read.
fn host() -> Result<(Stage, Sshd), Missing> {
    need::root()?;
    need::tool("setpriv")?;
    let stage =
        Stage::with(BIN, &Tree::new().file("open", "text").file("secret", "text").mode(0o600));
    let programs = stage.beside("programs");
    fs::create_dir(&programs).expect("a new folder");
    fs::copy(BIN, programs.join("backup_manager")).expect("a copy");
    fs::write(programs.join("sudo"), SUDO).expect("a script");
    for name in ["backup_manager", "sudo"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(programs.join(name), mode).expect("a program");
    }
    let capabilities = "+setuid,+setgid";
    let plan = Plan::new(Subsystem::Internal).line(format!(
        "ForceCommand PATH={}:$PATH exec setpriv --reuid {NOBODY_ID} --regid {NOBODY_ID} --clear-groups \
         --inh-caps {capabilities} --ambient-caps {capabilities} sh -c \"$SSH_ORIGINAL_COMMAND\"",
        programs.display()
    ));
    Ok((stage, plan.start()?))
}

/// The run without a setting for the helper.
fn unset(run: Run) -> Run {
    run.under(&["env", "-u", "REMOTE_HELPER"])
}

#[test]
fn a_command_with_sudo_reads_what_the_account_may_not() {
    let (stage, server) = need!(host());
    let run = |helper: &str| server.reached_by(stage.run()).env("REMOTE_HELPER", helper);
    let without = run("backup_manager").expect(3);
    without.assert_says("secret");
    assert!(!without.said().contains(OVER_SFTP), "{}", without.said());
    let with = run("sudo -n backup_manager").expect(0);
    assert!(!with.said().contains(OVER_SFTP), "{}", with.said());
    stage.assert_newest_is_source(Judge::plain());
}

#[test]
fn the_program_of_rsync_users_starts_the_helper_in_the_same_way() {
    let (stage, server) = need!(host());
    let run = |value: &str| {
        let run = unset(server.reached_by(stage.run()));
        run.rsync(&[&format!("--rsync-path={value}")])
    };
    // A path says nothing about rights, and nothing ends in rsync here.
    let done = run("/opt/bin/rsync").expect(3);
    done.assert_says("--rsync-path (it only names the path of rsync, which is not used)");
    let done = run("sudo rsync --fake-super").expect(3);
    done.assert_says("write what starts backup_manager there into REMOTE_HELPER");
    let set = server.reached_by(stage.run()).env("REMOTE_HELPER", "backup_manager");
    let done = set.rsync(&["--rsync-path=sudo rsync"]).expect(3);
    done.assert_says("--rsync-path (REMOTE_HELPER is set)");
    let done = run("sudo -n rsync").expect(0);
    done.assert_says("the helper on").assert_says("is started with `sudo -n backup_manager serve`");
    stage.assert_newest_is_source(Judge::plain());
}

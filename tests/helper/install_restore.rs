//! `REMOTE_HELPER=install` for `restore --to user@host:DIR`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;

use crate::install::Host;

/// A restore to a folder on the host, which may copy the program there.
fn restore(host: &Host) -> Run {
    let stage = &host.stage;
    let place = format!("test:{}", stage.beside("back").display());
    let run = host.server.known_to(stage.look("restore")).set("to", place);
    let program = stage.beside("program/bin/backup_manager");
    run.program(&program).env("REMOTE_HELPER", "install").arg(&stage.source)
}

#[test]
fn a_host_without_a_helper_gets_a_copy_which_the_next_restore_uses() {
    let host = need!(Host::new());
    host.stage.take();
    restore(&host).expect(0).assert_says("backup_manager serve");
    Judge::plain().assert_same(&host.stage.source, &host.stage.beside("back/source"));
    let names = host.names();
    assert_eq!(names.len(), 1, "{names:?}");
    // Without the permission to copy, the copy is used as well.
    let again = restore(&host).env("REMOTE_HELPER", "auto").expect(0);
    again.assert_says("backup_manager serve");
    assert_eq!(host.names(), names);
}

#[test]
fn where_nothing_can_be_copied_the_restore_goes_over_sftp_and_says_why() {
    let host = need!(Host::with(|fake, plan| {
        // Another machine, for which there is no program.
        fs::write(fake.join("uname"), "#!/bin/sh\necho Linux m68k\n").unwrap();
        fs::set_permissions(fake.join("uname"), fs::Permissions::from_mode(0o755)).unwrap();
        let fake = fake.display();
        plan.line(format!("ForceCommand PATH={fake}:$PATH sh -c \"$SSH_ORIGINAL_COMMAND\""))
    }));
    host.stage.take();
    let done = restore(&host).done();
    done.assert_code(0).assert_says("restored to over SFTP");
    Judge::sent_by_sftp().assert_same(&host.stage.source, &host.stage.beside("back/source"));
    assert_eq!(host.names(), BTreeSet::new());
}

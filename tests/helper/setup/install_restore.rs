//! `REMOTE_HELPER=install` for `restore --to user@host:DIR`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use fixtures::judge::Judge;
use fixtures::need;
use fixtures::run::Run;

use crate::BIN;
use crate::setup::install::{Host, copy, greets};
use crate::setup::install_refused::Mounted;

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
    restore(&host).arg("--dry-run").expect(0).assert_says("this command writes nothing");
    assert!(!host.folder().exists());
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

/// Shell commands that start the real far end, with another version in its greeting, which has the same length.
fn older() -> String {
    let greets = greets(1, true, "0.0.1").replace('\n', ";");
    format!("{BIN} \"$@\" | {{ dd bs=1 count=17 >/dev/null 2>&1; {greets} cat; }}")
}

#[test]
fn a_helper_that_is_older_broken_or_of_another_machine_is_replaced_before_a_restore() {
    let host = need!(Host::new());
    host.stage.take();
    let script = |text: &str| format!("#!/bin/sh\n{text}\n").into_bytes();
    for helper in [
        script(&older()),
        script(&(greets(2, true, "9.0.0") + "cat >/dev/null")),
        script("echo 'a text that is no greeting'"),
        script("kill -9 $$"),
        [&b"\x7fELF\x02\x01\x01"[..], &[0; 64]].concat(),
    ] {
        let _ = fs::remove_dir_all(host.folder());
        let _ = fs::remove_dir_all(host.stage.beside("back"));
        host.put("backup_manager", &helper);
        restore(&host).expect(0).assert_says("backup_manager serve");
        Judge::plain().assert_same(&host.stage.source, &host.stage.beside("back/source"));
        assert!(host.names().contains(&copy(&host.stage)), "{helper:?}: {:?}", host.names());
    }
}

#[test]
fn an_older_helper_that_cannot_be_replaced_restores() {
    let host = need!(Host::new());
    host.stage.take();
    let _full = need!(Mounted::on(host.server.path(".cache"), "size=2m,mode=700"));
    host.put("backup_manager", format!("#!/bin/sh\n{}\n", older()));
    restore(&host).expect(0).assert_says("backup_manager serve");
    Judge::plain().assert_same(&host.stage.source, &host.stage.beside("back/source"));
    assert_eq!(host.names(), BTreeSet::from(["backup_manager".to_owned()]));
}

#[test]
fn a_home_that_takes_no_program_is_restored_to_over_sftp_and_the_reason_is_said() {
    let host = need!(Host::new());
    host.stage.take();
    let falls_back = |why: &str| {
        let _ = fs::remove_dir_all(host.stage.beside("back"));
        restore(&host).expect(0).assert_says("restored to over SFTP").assert_says(why);
        Judge::sent_by_sftp().assert_same(&host.stage.source, &host.stage.beside("back/source"));
        assert_eq!(host.names(), BTreeSet::new());
    };
    let cache = host.server.path(".cache");
    {
        let _full = need!(Mounted::on(cache.clone(), "size=2m,mode=700"));
        falls_back("KiB free, and backup_manager needs");
    }
    {
        let _noexec = need!(Mounted::on(cache.clone(), "mode=700,noexec"));
        falls_back("programs in ~/.cache there do not start (mount option noexec?)");
    }
    let home = need!(Mounted::on(cache, "mode=700"));
    home.remount("ro");
    falls_back("cannot be written: mkdir: ");
}

//! `restore --in-place` of snapshots of remote hosts: it writes nothing to this machine.

use std::fs;
use std::path::PathBuf;

use fixtures::need;
use fixtures::run::Run;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::{BIN, Over};

/// A snapshot of the source on a host, on which this machine has no such folder.
fn of_host(server: &Sshd) -> Stage {
    let stage = Stage::with(BIN, &Tree::new().file("f1", "content").file("sub/f2", "content"));
    Over::Sftp.set(server.reached_by(stage.run())).expect(0);
    fs::remove_dir_all(&stage.source).expect("removed");
    stage
}

fn in_place(run: Run) -> Run {
    run.arg("--in-place").arg("--yes")
}

/// The report of the newest snapshot.
fn report(stage: &Stage) -> PathBuf {
    let newest = stage.history().newest();
    let name = newest.file_name().and_then(|name| name.to_str()).expect("a name");
    stage.backups.join(format!(".backup_manager/reports/{name}.json"))
}

#[test]
fn a_snapshot_of_a_host_is_not_restored_to_this_machine() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = of_host(&server);
    let source = stage.source.display().to_string();
    let job = || {
        let run = stage.look("restore").env("REMOTE_SRC_HOST", server.address());
        run.env("SRCS_TO_BACKUP", &stage.source)
    };
    let host = format!("{}@127.0.0.1", server.account());
    let file = stage.source.join("f1");
    for dry in [&["--dry-run"][..], &[]] {
        let refused = |run: Run, instead: &str| {
            let done = in_place(run).args(dry).expect(2);
            done.assert_says("is a snapshot of 127.0.0.1").assert_says(instead);
            done.assert_says("--to DIR for a folder of this machine");
        };
        refused(job(), &format!("write --to {host}:/ to restore to that host"));
        refused(job().arg("latest").arg(&file), &format!("write --to {host}:{source} to"));
        let two = job().arg("latest").arg(&file).arg(stage.source.join("sub/f2"));
        refused(two, &format!("--to {host}:{source}, with one PATH at a time"));
        // Without the settings of the job, the report records the host and its port.
        let port = server.port();
        refused(stage.look("restore"), &format!("write --to 127.0.0.1:/ --ssh-port {port} to"));
    }
    // A folder of this machine with the same path is none of the snapshot's.
    fs::create_dir(&stage.source).expect("created");
    let done = in_place(job()).expect(2);
    assert!(!done.said().contains("--accept-replaced"), "{}", done.said());
    // Without a report, the setting of the job says that the snapshot is of a host.
    fs::remove_file(report(&stage)).expect("removed");
    in_place(job()).expect(2).assert_says(&format!("--to {host}:/"));
    assert!(fs::read_dir(&stage.source).expect("a folder").next().is_none());
}

#[test]
fn what_the_message_names_restores_to_the_host() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = of_host(&server);
    let restore = || {
        let run = Over::Sftp.set(server.known_to(stage.look("restore")));
        run.env("REMOTE_SRC_HOST", server.address()).env("SRCS_TO_BACKUP", &stage.source)
    };
    let file = stage.source.join("f1");
    let refused = in_place(restore().arg(&file)).expect(2).said();
    let (_, rest) = refused.split_once("write --to ").expect("an option");
    let (place, _) = rest.split_once(' ').expect("a place");
    restore().arg(&file).set("to", place).expect(0);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "content");
}

#[test]
fn a_snapshot_of_this_machine_comes_back_in_a_job_that_is_of_a_host_now() {
    let stage = Stage::with(BIN, &Tree::new().file("f1", "content"));
    stage.run().expect(0);
    fs::remove_file(stage.source.join("f1")).expect("removed");
    let run = stage.look("restore").env("REMOTE_SRC_HOST", "me@nas");
    in_place(run.env("SRCS_TO_BACKUP", &stage.source)).expect(0);
    assert_eq!(fs::read_to_string(stage.source.join("f1")).expect("a file"), "content");
}

#[test]
fn a_host_without_a_colon_is_not_taken_for_a_folder() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = of_host(&server);
    let here = stage.beside("here");
    fs::create_dir(&here).expect("created");
    let restore = |to: &str| stage.look("restore").in_folder(&here).set("to", to);
    for (to, instead) in [
        ("bob@nas", "write --to bob@nas:DIR, or ./bob@nas for a folder here"),
        ("bob@nas/srv/x", "write --to bob@nas:/srv/x, or ./bob@nas/srv/x for a folder here"),
        ("127.0.0.1", "write --to 127.0.0.1:DIR for a folder there, or ./127.0.0.1"),
        ("nas:~bob/x", "no other home is known"),
    ] {
        restore(to).expect(2).assert_says(instead);
        assert!(fs::read_dir(&here).expect("a folder").next().is_none(), "{to}");
    }
    restore("folder").arg("-z").expect(2).assert_says("is for a folder on another machine");
    for folder in ["./bob@nas", "nas"] {
        restore(folder).expect(0);
        assert!(here.join(folder).is_dir());
    }
}

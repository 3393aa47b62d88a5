//! `copy` to a host and from one, through `backup_manager serve` there.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use fixtures::bulk::{big_file, big_tree};
use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::History;
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::proxy::Proxy;
use fixtures::run::Run;
use fixtures::sample_tree::everything;
use fixtures::sshd::{Sshd, Subsystem};
use fixtures::stage::{PREFIX, Stage};
use fixtures::tree::Tree;

use crate::BIN;
use crate::copy::{assert_copied, pull, push, there};
use crate::setup::forced_command;

/// A history of four snapshots: entries of all kinds, changed, renamed and removed ones.
fn stage() -> Stage {
    let stage = Stage::with(BIN, &everything().random_file("large", 5_000_000, 4));
    let take = || {
        stage.run().rsync(&["-A", "-X", "-H", "-S"]).expect(0);
    };
    take();
    stage.sh("echo new >new; mv large moved; ln new linked");
    take();
    stage.sh("echo more >>new; rm linked; mkdir -p deep/er; echo x >deep/er/file; chmod 600 new");
    take();
    take();
    stage
}

#[test]
fn a_history_goes_to_a_host_and_comes_from_one_with_its_links() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    for copy in [push, pull] {
        let stage = stage();
        let before = Fingerprint::of(&stage.backups.join(stage.history().newest()));
        copy(&stage, &server).expect(0);
        assert_copied(&stage);
        assert_eq!(History::new(&there(&stage), PREFIX).incomplete().len(), 0);
        assert_untouched(&stage.history().newest(), &before);
        // Once more: there is nothing to do. Then one snapshot more.
        let copied = Fingerprint::of(&there(&stage));
        copy(&stage, &server).expect(0);
        let snapshots = |print: &Fingerprint| {
            let of_snapshots = |path: &&Vec<u8>| !path.starts_with(b".backup_manager");
            print.entries().keys().filter(of_snapshots).count()
        };
        assert_eq!(snapshots(&Fingerprint::of(&there(&stage))), snapshots(&copied));
        stage.sh("echo last >last");
        stage.run().rsync(&["-A", "-X", "-H", "-S"]).expect(0);
        copy(&stage, &server).expect(0);
        assert_copied(&stage);
        // All verbs work on the copy.
        let verified = stage.look("verify").set("backups-dir", there(&stage)).arg("--all");
        verified.expect(0);
    }
    assert_eq!(server.clients(), Vec::<u32>::new(), "ssh is still there");
}

#[test]
fn a_cut_line_is_resumed() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let line = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())), Duration::ZERO);
    server.write_known_hosts_of(line.port(), "host");
    let stage = Stage::with(BIN, &Tree::new());
    big_tree(&stage.source, 1_500, 200, 1);
    big_file(&stage.source.join("large"), 30 << 20, 2);
    stage.take();
    stage.sh("echo changed >changed");
    stage.take();
    let by_line = |run: Run, dir: &Path, flag: &str| {
        let (account, port) = (server.account(), line.port());
        run.unset(flag).set(flag, format!("{account}@127.0.0.1:{port}:{}", dir.display()))
    };
    for (what, flag) in [("push", "to"), ("pull", "from")] {
        let run = || match flag {
            "to" => by_line(push(&stage, &server), &there(&stage), flag),
            _ => by_line(pull(&stage, &server), &stage.backups, flag),
        };
        let mut cuts = 0;
        for after in [30_000, 200_000, 4_000_000, 12_000_000] {
            line.cut_after(after);
            let done = run().expect(0);
            cuts += usize::from(done.said().contains("connecting again"));
            assert_copied(&stage);
            fs::remove_dir_all(there(&stage)).unwrap();
        }
        assert!(cuts >= 2, "{what}: {cuts} were cut");
    }
}

#[test]
fn a_key_that_only_adds_changes_nothing_and_reads_nothing() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = stage();
    fs::create_dir(there(&stage)).unwrap();
    let line = format!("{BIN} serve --append-only --root {}", there(&stage).display());
    forced_command::force(&server, &line);
    push(&stage, &server).expect(0);
    assert_copied(&stage);
    let before = Fingerprint::of(&there(&stage));
    let untouched = || assert_untouched(&there(&stage), &before);
    // A restore, a source, another folder.
    let into = format!("test:{}", there(&stage).display());
    let restore = server.known_to(stage.look("restore")).env("REMOTE_HELPER", BIN);
    restore.arg(&stage.source).set("to", into).expect(1);
    untouched();
    let read = server.reached_by(stage.run()).env("REMOTE_HELPER", BIN);
    let read = read.set("srcs-to-backup", there(&stage)).set("backup-name-prefix", "other");
    read.expect(1).assert_says("only receives snapshots");
    let place = format!("test:{}", stage.beside("elsewhere").display());
    let elsewhere = push(&stage, &server).unset("to").set("to", place);
    elsewhere.expect(1).assert_says("--root for another folder");
    pull(&stage, &server)
        .unset("from")
        .set("from", format!("test:{}", there(&stage).display()))
        .set("backups-dir", stage.beside("pulled"))
        .expect(1)
        .assert_says("--append-only");
    untouched();
    assert!(!stage.beside("elsewhere").exists());
    // Retention of the near end has no effect there.
    stage.sh("echo last >last");
    stage.run().rsync(&["-A", "-X", "-H", "-S"]).expect(0);
    push(&stage, &server).env("COPY_MAX_BACKUPS", "1").expect(0);
    assert_copied(&stage);
}

#[test]
fn a_key_that_only_reads_accepts_no_copy_and_a_host_with_sftp_alone_neither() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    forced_command::force(&server, &format!("{BIN} serve --read-only --root /"));
    push(&stage, &server).expect(1).assert_says("serve was started with --read-only there");
    let server = need!(Sshd::serving(Subsystem::Internal));
    let without = push(&stage, &server).env("REMOTE_HELPER", "auto");
    without.expect(1).assert_says("REMOTE_HELPER=install");
    assert!(!there(&stage).exists());
    push(&stage, &server).env("REMOTE_HELPER", "install").expect(0);
    assert_copied(&stage);
}

#[test]
fn a_full_disk_there_leaves_the_copy_incomplete() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let disk = need!(LoopFs::ext4(24));
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    big_file(&stage.source.join("large"), 60 << 20, 2);
    stage.take();
    let dir = disk.path().join("copies");
    let place = format!("test:{}", dir.display());
    let push = push(&stage, &server).unset("to").set("to", place);
    push.expect(1).assert_says("no space left");
    let history = History::new(&dir, PREFIX);
    assert_eq!((history.complete().len(), history.incomplete().len()), (1, 1));
    let first = Fingerprint::of(&history.newest());
    push.expect(1);
    assert_untouched(&history.newest(), &first);
}

#[test]
fn of_two_copies_at_once_one_does_the_work() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new());
    big_tree(&stage.source, 1_500, 200, 1);
    stage.take();
    let running = [push(&stage, &server).start(), push(&stage, &server).start()];
    for one in running {
        one.wait().assert_code(0);
    }
    push(&stage, &server).expect(0);
    assert_copied(&stage);
}

#[test]
fn doctor_prints_the_line_for_a_key_that_only_adds() {
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    let doctor = stage.look("doctor").set("srcs-to-backup", &stage.source);
    let said = doctor.env("COPY_TO", "me@nas:/srv/copies").done().said();
    let line = "command=\"backup_manager serve --append-only --root /srv/copies\",restrict";
    assert!(said.contains(line), "{said}");
}

#[test]
fn after_a_run_the_copy_on_a_host_is_brought_up_to_date() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    let place = format!("test:{}", there(&stage).display());
    let run = || server.known_to(stage.run()).env("REMOTE_HELPER", BIN).env("COPY_TO", &place);
    run().expect(0);
    stage.sh("echo more >more");
    run().expect(0);
    assert_copied(&stage);
    let status = stage.look("status").env("COPY_TO", &place).expect(0);
    status.assert_says(&place);
    // A host that is down fails the copy, and not the run.
    let down = server.known_to(stage.run()).env("REMOTE_HELPER", BIN);
    let down = down.env("COPY_TO", "me@127.0.0.1:1:/srv").expect(1);
    down.assert_says("the copy into me@127.0.0.1:1:/srv failed");
    assert_eq!(stage.history().complete().len(), 3);
}

#[test]
fn a_dry_run_names_the_snapshots_and_writes_nothing() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    let first = stage.history().newest();
    stage.sh("echo more >more");
    stage.take();
    let second = stage.history().newest();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    for copy in [push, pull] {
        let planned = || copy(&stage, &server).arg("--dry-run").expect(0);
        let linked =
            format!("{} would be copied, linked to the copy of {}", name(&second), name(&first));
        planned().assert_says(&format!("{} would be copied", name(&first)));
        planned().assert_says(&linked);
        assert!(!there(&stage).exists());
        copy(&stage, &server).set("newest", "1").expect(0);
        let before = Fingerprint::of(&there(&stage));
        planned().assert_says(&format!("{} would be copied", name(&first)));
        assert!(!planned().said().contains(&linked));
        assert_untouched(&there(&stage), &before);
        copy(&stage, &server).expect(0);
        planned().assert_says("lacks no snapshot");
        fs::remove_dir_all(there(&stage)).unwrap();
    }
}

#[test]
fn the_same_folder_by_way_of_a_host_is_refused() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("file", "content"));
    stage.take();
    let newest = stage.history().newest();
    let before = Fingerprint::of(&newest);
    let inside = stage.backups.join("inside");
    let above = stage.backups.parent().unwrap().to_owned();
    for folder in [&stage.backups, &inside, &above] {
        for dry_run in [true, false] {
            let place = format!("test:{}", folder.display());
            let pushed = push(&stage, &server).unset("to").set("to", place);
            let pulled = pull(&stage, &server).unset("backups-dir").set("backups-dir", folder);
            for run in [pushed, pulled] {
                let run = if dry_run { run.arg("--dry-run") } else { run };
                run.expect(2).assert_says("are the same folder, or one lies in the other");
            }
        }
    }
    // The far end has made the folder to look at it.
    assert!(fs::read_dir(&inside).is_ok_and(|names| names.count() == 0));
    assert_untouched(&newest, &before);
    assert_eq!(stage.history().complete(), [newest]);
}

#[test]
fn the_limit_of_the_rate_holds_for_copies_to_a_host_and_from_one() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new());
    big_file(&stage.source.join("large"), 3 << 20, 2);
    stage.take();
    for copy in [push, pull] {
        let run = copy(&stage, &server).env("SRCS_TO_BACKUP", &stage.source).env("BWLIMIT", "1m");
        let began = Instant::now();
        run.expect(0);
        // Three seconds, less what passes at first.
        assert!(began.elapsed() > Duration::from_millis(2_500), "{:?}", began.elapsed());
        assert_copied(&stage);
        fs::remove_dir_all(there(&stage)).unwrap();
    }
}

#[test]
fn owners_of_a_fake_super_history_come_from_a_host() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "x").file("program", "y"));
    stage
        .sh("chown -R 77:88 folder; chmod 755 . folder; chmod 644 folder/file; chmod 4755 program");
    let fake = |run: Run| {
        let run = run.env("RSYNC_SINGLE_PARAMS", "-a,--relative,-H,--fake-super");
        run.env("SRCS_TO_BACKUP", &stage.source)
    };
    fake(stage.run_as(1_234)).expect(0);
    fake(pull(&stage, &server)).expect(0);
    let newest = History::new(&there(&stage), PREFIX).newest();
    Judge::plain().assert_same(&stage.source, &stage.inside(&newest));
}

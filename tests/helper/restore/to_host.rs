//! `restore --to user@host:DIR` through the helper: everything comes back, as with a local restore.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::time::Duration;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::judge::Judge;
use fixtures::loop_fs::Mount;
use fixtures::need;
use fixtures::run::Run;
use fixtures::sample_tree::{everything, odd_and_deep};
use fixtures::scan::scan;
use fixtures::sshd::{NOBODY_ID, Sshd, Subsystem};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};

use crate::BIN;
use crate::setup::forced_command;

/// `restore --to` a folder beside the setup, through this program on the server.
fn to(stage: &Stage, server: &Sshd, folder: &str) -> Run {
    let place = format!("test:{}", stage.beside(folder).display());
    server.known_to(stage.look("restore")).env("REMOTE_HELPER", BIN).set("to", place)
}

#[test]
fn everything_comes_back_as_with_a_local_restore() {
    need!(need::root());
    need!(need::tool("setfacl"));
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &everything().random_file("large", 3_000_000, 4));
    stage.run().rsync(&["-A", "-X", "-H", "-S"]).expect(0);
    let snapshot = stage.history().newest();
    let before = Fingerprint::of(&snapshot);
    let restore = || to(&stage, &server, "back").arg(&stage.source);
    let done = restore().expect(0);
    done.assert_says("backup_manager serve");
    let back = stage.beside("back/source");
    Judge::strict().assert_same(&stage.source, &back);
    assert_untouched(&snapshot, &before);
    let first = Fingerprint::of(&back);
    let again = restore().arg("--json").expect(0).objects().pop().unwrap();
    let done = ["created", "replaced", "metadata", "removed", "bytes"];
    assert_eq!(done.map(|what| again["counts"][what].as_u64()), [Some(0); 5], "{again}");
    assert_eq!((&again["over"], &again["whole_seconds"]), (&"helper".into(), &false.into()));
    assert_untouched(&back, &first);
    assert_eq!(server.clients(), Vec::<u32>::new(), "ssh is still there");
}

/// Writes a program that all users may start, beside the setup.
fn program(stage: &Stage, name: &str, script: &str) -> String {
    let path = stage.beside(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    stage.sh(&format!("chmod 755 {} . .. ../..", path.display()));
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn an_ordinary_user_there_gets_what_is_theirs_and_hears_what_is_missing_of_others() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new()
        .file("mine/file", "1")
        .mode(0o400)
        .xattr("user.note", "kept")
        .mtime(1_500_000_000, 123_456_789)
        .file("mine/closed/file", "2")
        .fifo("mine/pipe")
        .file("theirs", "#!")
        .owner(7, 8)
        .mode(0o4755);
    let stage = Stage::with(BIN, &tree);
    stage.sh("chown -R 65534:65534 . && chown 7:8 theirs && chmod 4755 theirs");
    stage.sh("chmod 500 mine/closed; setfattr -n user.note -v kept mine/file");
    stage.run().rsync(&["-A", "-X"]).expect(0);
    let back = stage.beside("back");
    fs::create_dir(&back).unwrap();
    chown(&back, Some(NOBODY_ID), Some(NOBODY_ID)).unwrap();
    fs::copy(BIN, stage.beside("bin")).unwrap();
    let bin = stage.beside("bin");
    let script =
        format!("exec setpriv --reuid=65534 --regid=65534 --clear-groups {} \"$@\"", bin.display());
    let nobody = program(&stage, "nobody", &script);
    let run = || to(&stage, &server, "back").env("REMOTE_HELPER", &nobody).arg(&stage.source);
    let done = run().expect(3);
    done.assert_says("source/theirs: restored without its owner or group, mode");
    let found = fs::metadata(back.join("source/theirs")).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o7777), (NOBODY_ID, 0o755), "no rights of another");
    Judge::strict().assert_same(&stage.source.join("mine"), &back.join("source/mine"));
    // A folder of the user that forbids writing is opened for the restore, and closed again.
    stage.sh(&format!("rm {}/source/mine/closed/file", back.display()));
    run().expect(3);
    Judge::strict().assert_same(&stage.source.join("mine"), &back.join("source/mine"));
}

#[test]
fn a_helper_that_only_reads_is_not_written_through() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("folder/file", "content"));
    stage.take();
    let reads = program(&stage, "reads", &format!("exec {BIN} serve --read-only"));
    let restore = || to(&stage, &server, "back").env("REMOTE_HELPER", &reads).arg(&stage.source);
    let done = restore().expect(0);
    done.assert_says("restored to over SFTP").assert_says("serve was started with --read-only");
    Judge::sent_by_sftp().assert_same(&stage.source, &stage.beside("back/source"));
    // With a key that starts nothing else, there is no SFTP.
    need!(need::root());
    forced_command::force(&server, &format!("{BIN} serve --read-only --root /"));
    let refused = to(&stage, &server, "other").arg(&stage.source).expect(1);
    refused.assert_says("serve was started with --read-only");
    assert!(!stage.beside("other").exists());
}

#[test]
fn a_key_restores_into_its_folders_and_no_others() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &everything());
    stage.run().rsync(&["-A", "-X"]).expect(0);
    let (root, outside) = (stage.beside("root"), stage.beside("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, root.join("way out")).unwrap();
    forced_command::force(&server, &format!("{BIN} serve --root {}", root.display()));
    let restore = |folder: &str| to(&stage, &server, folder).arg(&stage.source);
    restore("root/new").expect(0).assert_says("backup_manager serve");
    Judge::strict().assert_same(&stage.source, &stage.beside("root/new/source"));
    for folder in ["outside", "outside/new", "root/way out", "root/way out/new", "root/../other"] {
        let refused = restore(folder).expect(1);
        refused.assert_says("was started with --root for other folders");
        refused.assert_says("backup_manager: test: cannot ");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!stage.beside("other").exists());
}

#[test]
fn nothing_is_removed_beyond_a_mount_point_there() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().file("a", "a").folder("bound"));
    stage.take();
    let (back, elsewhere) = (stage.beside("back/source"), stage.beside("elsewhere"));
    fs::create_dir_all(elsewhere.join("deep")).unwrap();
    fs::write(elsewhere.join("deep/only"), "the only copy").unwrap();
    for folder in ["bound", "new/below/bound", "new/disk", "gone/deep"] {
        fs::create_dir_all(back.join(folder)).unwrap();
    }
    for file in ["new/file", "gone/deep/file"] {
        fs::write(back.join(file), "x").unwrap();
    }
    // Two mounts of the same file system, which only the mount ID distinguishes from folders of it.
    let _bound = need!(Mount::bind(&elsewhere, &back.join("bound")));
    let _below = need!(Mount::bind(&elsewhere, &back.join("new/below/bound")));
    let _disk = need!(Mount::tmpfs(&back.join("new/disk")));
    fs::write(back.join("new/disk/only"), "the only copy").unwrap();
    let run = || to(&stage, &server, "back").arg(&stage.source).arg("--delete").arg("--json");
    let lines = |run: Run| -> Vec<(String, String)> {
        let lines = run.set("overwrite", "changed").expect(0).objects();
        let entries = lines.iter().filter(|line| line["type"] == "entry");
        let word = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
        let mut all: Vec<_> =
            entries.map(|line| (word(line, "what"), word(line, "path"))).collect();
        all.sort();
        all
    };
    let preview = lines(run().arg("-n"));
    assert!(back.join("gone/deep/file").exists(), "a dry run writes nothing");
    let done = lines(run());
    assert_eq!(preview, done, "the dry run reports something else");
    let of = |what: &str| -> Vec<String> {
        let top = format!("test:{}/", back.display());
        let of = done.iter().filter(|(other, _)| other == what);
        of.map(|(_, path)| path.trim_start_matches(&top).trim_end_matches('/').to_owned()).collect()
    };
    assert_eq!(of("removed"), ["gone", "new/file"]);
    assert_eq!(of("protected"), ["bound", "new/below/bound", "new/disk"]);
    for path in ["bound/deep/only", "new/below/bound/deep/only", "new/disk/only"] {
        assert_eq!(fs::read_to_string(back.join(path)).unwrap(), "the only copy", "{path}");
    }
}

#[test]
fn symlinks_that_are_planted_meanwhile_lead_nowhere() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = (0..400).fold(Tree::new(), |tree, number| {
        tree.file(format!("folder {}/{number}", number % 4), format!("{number}"))
    });
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let (back, outside) = (stage.beside("back/source"), stage.beside("outside"));
    fs::create_dir_all(&outside).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for number in 0..4 {
                    let folder = back.join(format!("folder {number}"));
                    let moved = back.join(format!("moved {number}"));
                    if fs::rename(&folder, &moved).is_ok() {
                        let _ = symlink(&outside, &folder);
                        std::thread::sleep(Duration::from_millis(1));
                        let _ = fs::remove_file(&folder);
                        let _ = fs::rename(&moved, &folder);
                    }
                }
            }
        });
        for _ in 0..8 {
            let run = to(&stage, &server, "back").arg(&stage.source).set("overwrite", "always");
            let done = run.done();
            assert!([0, 1, 3].contains(&done.code), "{}", done.said());
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was written outside");
    let _ = fs::remove_dir_all(&back);
    to(&stage, &server, "back").arg(&stage.source).expect(0);
    Judge::plain().assert_same(&stage.source, &back);
}

#[test]
fn a_helper_that_is_killed_is_started_again_and_leaves_nothing() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new());
    fixtures::bulk::big_tree(&stage.source.join("tree"), 1_000, 50, 1);
    fixtures::bulk::big_file(&stage.source.join("large"), 120 << 20, 2);
    stage.take();
    let pids = stage.beside("pids");
    let script = format!("echo $$ >>{}; exec {BIN} \"$@\"", pids.display());
    let mortal = program(&stage, "mortal", &script);
    let restore = to(&stage, &server, "back").env("REMOTE_HELPER", &mortal).arg(&stage.source);
    let mut running = restore.set("sftp-channels", "1").start();
    let started = || fs::read_to_string(&pids).unwrap_or_default().lines().count();
    let written = || {
        let found = fs::read_dir(stage.beside("back/source")).into_iter().flatten().flatten();
        let temporary = |name: std::ffi::OsString| name.to_string_lossy().contains("restoring");
        let sizes = found.filter(|entry| temporary(entry.file_name()));
        sizes.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum::<u64>()
    };
    for round in 1..=3 {
        assert!(running.until(|| started() == round && written() > round as u64 * 20_000_000));
        let pid = fs::read_to_string(&pids).unwrap().lines().last().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        assert!(running.until(|| started() > round), "it is started again");
    }
    let done = running.wait();
    done.assert_code(0).assert_says("connecting again");
    let back = stage.beside("back/source");
    Judge::plain().assert_same(&stage.source, &back);
    let left =
        scan(&back).into_keys().filter(|path| path.windows(9).any(|part| part == b"restoring"));
    assert_eq!(left.count(), 0, "temporary files are left");
}

#[test]
fn what_an_ended_restore_left_is_removed_by_the_next_one() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &Tree::new().random_file("large", 60 << 20, 1).file("file", "x"));
    stage.take();
    let restore = || to(&stage, &server, "back").arg(&stage.source);
    let mut running = restore().start();
    let back = stage.beside("back/source");
    let temporary = || {
        let found = fs::read_dir(&back).into_iter().flatten().flatten();
        let is = |name: std::ffi::OsString| name.to_string_lossy().contains("restoring");
        found.filter(|entry| is(entry.file_name())).count()
    };
    assert!(running.until(|| temporary() > 0), "it is under way");
    running.signal(Signal::KILL);
    running.wait();
    restore().expect(0);
    assert_eq!(temporary(), 0);
    Judge::plain().assert_same(&stage.source, &back);
}

#[test]
fn a_helper_with_few_handles_takes_everything() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::new(BIN);
    fixtures::bulk::big_tree(&stage.source.join("tree"), 500, 100, 1);
    stage.take();
    let few = program(&stage, "few", &format!("ulimit -n 32; exec {BIN} \"$@\""));
    let restore = to(&stage, &server, "back").env("REMOTE_HELPER", few).arg(&stage.source);
    restore.expect(0).assert_says("backup_manager serve");
    Judge::plain().assert_same(&stage.source, &stage.beside("back/source"));
}

#[test]
fn odd_names_and_folders_deeper_than_any_path_come_back() {
    let server = need!(Sshd::serving(Subsystem::Internal));
    let stage = Stage::with(BIN, &odd_and_deep());
    stage.take();
    let before = scan(&stage.source);
    to(&stage, &server, "back").arg(&stage.source).expect(0);
    let found = scan(&stage.beside("back/source"));
    assert_eq!(Judge::plain().tree_differences(&before, &found), Vec::<String>::new());
}

#[test]
fn an_entry_that_the_far_end_refuses_is_listed_and_the_others_are_restored() {
    need!(need::root());
    let server = need!(Sshd::serving(Subsystem::Internal));
    let tree = Tree::new().file("file", "1").file("sub/a", "2").random_file("sub/b", 600_000, 1);
    let stage = Stage::with(BIN, &tree);
    stage.take();
    let closed = stage.beside("back/source/sub");
    fs::create_dir_all(&closed).unwrap();
    stage.sh(&format!("chattr +i {} || true", closed.display()));
    let immutable = fs::write(closed.join("x"), "").is_err();
    let done = to(&stage, &server, "back").arg(&stage.source).done();
    stage.sh(&format!("chattr -i {} || true", closed.display()));
    assert!(immutable, "the file system of temporary folders has no immutable folders (chattr)");
    done.assert_code(3).assert_says("source/sub/a: ").assert_says("source/sub/b: ");
    assert_eq!(fs::read_to_string(stage.beside("back/source/file")).unwrap(), "1");
}

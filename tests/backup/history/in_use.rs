//! A snapshot that is being read stays, whatever the retention says, and goes later; a killed
//! reader blocks nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::loop_fs::Mount;
use fixtures::need;
use fixtures::run::{Run, Running};
use fixtures::stage::Stage;
use fixtures::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Two snapshots; the older one contains files that the newer does not.
fn stage() -> (Stage, PathBuf) {
    let stage = Stage::with(BIN, &Tree::new().file("old", "old").file("folder/both", "both"));
    let aged = stage.history().path(&hours_ago(50), "");
    fs::rename(stage.take(), &aged).expect("renamed");
    stage.sh("rm old; echo new >new");
    stage.take();
    (stage, aged)
}

/// A command that is stopped as soon as it has reported which snapshot it reads.
struct Reader {
    running: Running,
    pid: Pid,
}

impl Reader {
    fn of(run: Run, snapshot: &Path) -> Self {
        let mut running = run.injecting(&["flock:signal=STOP:when=1"]).start();
        let mut pid = None;
        let inode = format!(":{}", fs::metadata(snapshot).expect("a snapshot").ino());
        let found = running.until(|| {
            pid = locker(&inode);
            pid.is_some()
        });
        assert!(found, "no lock on {}", snapshot.display());
        Self { running, pid: pid.expect("found") }
    }

    /// Continues or ends the command.
    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it is there");
    }
}

/// The process with a lock on an inode, from /proc/locks: `1: FLOCK ADVISORY READ PID
/// MAJOR:MINOR:INODE 0 EOF`.
fn locker(inode: &str) -> Option<Pid> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let line = locks.lines().find(|line| line.contains(&format!("{inode} ")))?;
    Pid::from_raw(line.split_ascii_whitespace().nth(4)?.parse().ok()?)
}

fn prune(stage: &Stage, snapshot: &Path) -> Run {
    let name = snapshot.file_name().expect("a name");
    stage.look("prune").arg(name).arg("--yes")
}

const READERS: [fn(&Stage) -> Run; 4] = [
    |stage| stage.look("restore").arg("oldest").set("to", stage.beside("back")),
    |stage| stage.look("verify").arg("oldest"),
    |stage| stage.look("diff").arg("oldest").arg("latest"),
    |stage| stage.look("diff").arg("oldest").set("srcs-to-backup", &stage.source),
];

#[test]
fn neither_a_run_nor_prune_takes_it_away_from_who_reads_it() {
    need!(need::tool("strace"));
    for reader in READERS {
        let (stage, old) = stage();
        let reading = Reader::of(reader(&stage), &old);
        let full = || stage.run().set("max-backups", "2");
        full()
            .expect(0)
            .assert_says("is due for removal but stays for now: another process is reading it");
        let done = prune(&stage, &old).arg("--json").expect(3);
        assert!(done.stdout.contains(r#""type":"in_use""#), "{}", done.stdout);
        assert!(done.stderr.contains("call it again"), "{}", done.stderr);
        let newest = stage.history().newest();
        assert_eq!(stage.history().report(&newest)["pruned"], serde_json::json!([]));
        assert_eq!(stage.history().complete().len(), 3);
        reading.signal(Signal::CONT);
        reading.running.wait().assert_code(0);
        full().expect(0);
        assert!(!old.exists(), "it goes the next time");
        assert_eq!(stage.history().complete().len(), 2);
    }
}

#[test]
fn a_restore_during_a_run_is_complete() {
    need!(need::tool("strace"));
    let (stage, old) = stage();
    let copy = stage.beside("copy");
    stage.sh(&format!("cp -a {} {}", stage.inside(&old).display(), copy.display()));
    let reading = Reader::of(READERS[0](&stage), &old);
    stage.run().set("max-backups", "1").expect(0);
    assert_eq!(stage.history().complete().len(), 2, "only what nobody reads went");
    reading.signal(Signal::CONT);
    reading.running.wait().assert_code(0);
    Judge::plain()
        .assert_same(&copy, &fixtures::stage::inside(&stage.beside("back"), &stage.source));
}

#[test]
fn a_killed_process_holds_no_read_lock() {
    need!(need::tool("strace"));
    let (stage, old) = stage();
    let reading = Reader::of(READERS[0](&stage), &old);
    reading.signal(Signal::KILL);
    reading.running.wait().assert_code(137);
    prune(&stage, &old).expect(0);
    assert!(!old.exists());
}

#[test]
fn a_folder_that_is_mounted_read_only_is_read_all_the_same() {
    need!(need::tool("strace"));
    need!(need::root());
    let (stage, old) = stage();
    let seen = stage.beside("seen");
    fs::create_dir(&seen).expect("a folder");
    let bound = need!(Mount::new(&["--bind"], &stage.backups, &seen).map_err(need::Missing));
    stage.sh(&format!("mount -o remount,bind,ro {}", seen.display()));
    let reading = Reader::of(READERS[0](&stage).set("backups-dir", &seen), &old);
    prune(&stage, &old).expect(3);
    reading.signal(Signal::CONT);
    reading.running.wait().assert_code(0);
    drop(bound);
    prune(&stage, &old).expect(0);
}

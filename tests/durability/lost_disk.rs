//! The disk of the backups disappears during a run: removed, unmounted, read-only, or its daemon
//! dies. Complete snapshots stay intact, and the next run completes.

use std::fs;
use std::path::Path;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::history::hours_ago;
use fixtures::judge::Judge;
use fixtures::loop_fs::{LoopFs, kill_fuse};
use fixtures::need;
use fixtures::need::Missing;
use fixtures::run::Done;
use fixtures::scan::scan;
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// Backups on `disk` with a snapshot, and a source with two hundred additional files.
fn stage(disk: &LoopFs) -> Stage {
    let stage = Stage::new(BIN).backups_in(&disk.path().join("backups"));
    stage.sh("echo old >old; mkdir kept; echo kept >kept/file");
    stage.take();
    let aged = stage.history().path(&hours_ago(30), "");
    fs::rename(stage.history().newest(), aged).expect("a snapshot can be renamed");
    stage.sh("for i in $(seq 200); do echo $i >$i; done");
    stage
}

/// Runs slowly and calls `harm` when some files are there.
fn harmed(stage: &Stage, harm: impl FnOnce()) -> Done {
    let mut running = stage.run().injecting(&["utimensat:delay_exit=5000"]).start();
    let some = || {
        let begun = stage.history().incomplete().pop();
        let copied = begun.and_then(|begun| fs::read_dir(stage.inside(&begun)).ok());
        copied.is_some_and(|copied| copied.count() > 40)
    };
    assert!(running.until(some), "it copies");
    harm();
    running.wait()
}

/// The disk is back: complete snapshots are unchanged, and a run completes.
fn recovers(stage: &Stage, before: &Fingerprint) {
    let first = &stage.history().complete()[0];
    assert_untouched(first, before);
    stage.take();
    stage.assert_newest_is_source(Judge::plain());
    assert_untouched(first, before);
    assert!(stage.history().incomplete().is_empty());
}

#[test]
fn a_disk_that_is_taken_out_fails_the_run() {
    need!(need::tool("strace"));
    need!(need::tool("xfs_io"));
    for (kind, megabytes) in [("ext4", 64), ("xfs", 320)] {
        let mut disk = need!(LoopFs::new(kind, megabytes, &["-q"]));
        let stage = stage(&disk);
        let before = Fingerprint::of(&stage.history().newest());
        let done = harmed(&stage, || disk.shut_down());
        done.assert_code(1).assert_says("Input/output error");
        disk.mount_again();
        assert_eq!(stage.history().complete().len(), 1, "{kind}");
        recovers(&stage, &before);
    }
}

#[test]
fn a_disk_that_turns_read_only_fails_the_run() {
    need!(need::tool("strace"));
    let mut disk = need!(LoopFs::new("ext4", 64, &["-q", "-F", "-e", "remount-ro"]));
    let stage = stage(&disk);
    let before = Fingerprint::of(&stage.history().newest());
    harmed(&stage, || disk.trigger_error()).assert_code(1).assert_says("ead-only");
    assert_untouched(&stage.history().newest(), &before);
    disk.mount_again();
    assert_eq!(stage.history().complete().len(), 1);
    recovers(&stage, &before);
}

/// Open handles still lead to the disk: the run writes there, and nothing to the mount point.
#[test]
fn a_disk_that_is_unmounted_gets_all_or_nothing_and_its_mount_point_nothing() {
    need!(need::tool("strace"));
    for (kind, megabytes) in [("ext4", 64), ("xfs", 320)] {
        let mut disk = need!(LoopFs::new(kind, megabytes, &["-q"]));
        let stage = stage(&disk);
        let before = Fingerprint::of(&stage.history().newest());
        let done = harmed(&stage, || disk.detach());
        assert!([0, 1].contains(&done.code), "{}", done.said());
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "{}", done.said());
        disk.mount_again();
        assert_eq!(stage.history().complete().len(), 2 - usize::try_from(done.code).unwrap());
        recovers(&stage, &before);
    }
}

/// Only names and contents, because exFAT has nothing else.
fn files(top: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let found = scan(top).into_iter().filter(|(_, found)| found.is_file());
    found.map(|(path, found)| (path, found.content)).collect()
}

#[test]
fn a_file_system_whose_daemon_dies_fails_the_run() {
    need!(need::tool("strace"));
    let mut disk = need!(LoopFs::exfat(64));
    need!(on_fuse(disk.path()));
    let stage = stage(&disk);
    let before = files(&stage.history().newest());
    let done = harmed(&stage, || kill_fuse(disk.path()));
    done.assert_code(1);
    let causes = ["endpoint is not connected", "connection abort", "Input/output error"];
    assert!(causes.iter().any(|cause| done.said().contains(cause)), "{}", done.said());
    disk.mount_again();
    let first = stage.history().newest();
    assert_eq!(files(&first), before);
    assert_eq!(stage.history().complete().len(), 1);
    stage.take();
    assert_eq!(files(&stage.inside(&stage.history().newest())), files(&stage.source));
    assert_eq!(files(&first), before);
}

/// Whether a FUSE daemon, rather than the kernel, serves the mount.
fn on_fuse(path: &Path) -> Result<(), Missing> {
    const FUSE: u64 = 0x6573_5546;
    let kind = rustix::fs::statfs(path).map(|found| u64::try_from(found.f_type));
    match kind {
        Ok(Ok(FUSE)) => Ok(()),
        _ => Err(Missing("needs an exFAT over FUSE".to_owned())),
    }
}

//! A healing that cannot write, or must not.

use std::fs;

use fixtures::fingerprint::{Fingerprint, assert_untouched};
use fixtures::loop_fs::{LoopFs, Mount};
use fixtures::need;
use fixtures::stage::{PREFIX, Stage};
use rustix::fs::FlockOperation;

use crate::heal::{assert_whole, copied, copy, heal, inside, none_left, stage};
use crate::snapshots::{BIN, overwrite, sample, verify};

#[test]
fn nothing_is_healed_in_the_same_folder_during_a_run_or_where_nothing_can_be_written() {
    need!(need::root());
    let stage = stage();
    overwrite(&inside(&stage, 0).join("large"), 2_000_000, b"flip");
    let same = verify(&stage).arg("--heal-from").arg(&stage.backups).done();
    same.assert_says("is the backups folder itself");
    verify(&stage)
        .arg("--heal-from")
        .arg(stage.beside("none"))
        .expect(1)
        .assert_says("cannot open");
    let lock = stage.backups.join(format!(".backup_manager/locks/{PREFIX}.lock"));
    let lock = fs::OpenOptions::new().read(true).write(true).open(lock).expect("a lock");
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("locked");
    heal(&stage).expect(4).assert_says("a run of my_backup is at work");
    drop(lock);
    let [ours, theirs] = ["mounted", "mounted copy"].map(|name| stage.beside(name));
    for folder in [&ours, &theirs] {
        fs::create_dir(folder).expect("a folder");
    }
    let ours = need!(Mount::bind(&stage.backups, &ours));
    let theirs = need!(Mount::bind(&copied(&stage), &theirs));
    for mounted in [&ours, &theirs] {
        stage.sh(&format!("mount -o remount,ro,bind '{}'", mounted.path().display()));
    }
    let heal = verify(&stage).arg("--heal-from").arg(theirs.path());
    let before = Fingerprint::of(&stage.history().newest());
    let cannot = verify(&stage).set("backups-dir", ours.path());
    let cannot = cannot.arg("--heal-from").arg(theirs.path()).expect(4);
    cannot.assert_says("nothing was healed");
    assert_untouched(&stage.history().newest(), &before);
    // The other side is only read.
    heal.expect(0);
    assert_whole(&stage, "a read-only copy");
}

#[test]
fn a_full_disk_leaves_the_damaged_file_and_nothing_else() {
    need!(need::root());
    let disk = need!(LoopFs::ext4(24));
    let stage = Stage::all_on(BIN, disk.path());
    sample().build(&stage.source);
    stage.take();
    copy(&stage.backups, &copied(&stage));
    let large = stage.inside(&stage.history().newest()).join("large");
    overwrite(&large, 2_000_000, b"flip");
    stage.sh("head -c 100M /dev/zero >../fill 2>/dev/null || :");
    let before = Fingerprint::of(&stage.history().newest());
    heal(&stage).expect(4);
    assert_untouched(&stage.history().newest(), &before);
    none_left(&stage, "a full disk");
    stage.sh("rm ../fill");
    heal(&stage).expect(0);
    assert_whole(&stage, "after there was room again");
}

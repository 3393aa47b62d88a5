//! Memory does not grow with the size of the tree.

use fixtures::bulk::{big_tree, flat_folder};
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::need::Missing;
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
/// The memory limit of a run (resident), KiB.
const LIMIT: u64 = 64 * 1024;

/// Source and backups are on their own disk. Deleting hundreds of thousands of files from a shared
/// ext4 slows down the creation of files there for minutes, because ext4 skips recently freed
/// inodes one by one.
fn stage(gigabytes: u64) -> Result<(LoopFs, Stage), Missing> {
    let disk = LoopFs::xfs(gigabytes << 10)?;
    let stage = Stage::all_on(BIN, disk.path());
    Ok((disk, stage))
}

/// Runs twice, a first copy and a run that links everything; both must stay below `limit`, KiB.
#[track_caller]
fn assert_small(stage: &Stage, files: u64, limit: u64) {
    for work in ["copied", "linked"] {
        let done = stage.run().patience(1_800).expect(0);
        println!("{files} files {work}: {} KiB, {:?}", done.peak_kib, done.took);
        assert!(done.peak_kib > 1_000, "the measuring works");
        assert!(done.peak_kib < limit, "{} KiB for {files} files {work}", done.peak_kib);
        let counts = stage.counts();
        assert_eq!(counts["files"], files, "{counts}");
        // Further names of an inode count as neither: they are linked to its first name.
        let done = [work, "hard_links"].map(|key| counts[key].as_u64().unwrap_or_default());
        assert!(done.iter().sum::<u64>() >= files, "{counts}");
    }
}

#[test]
fn many_files_in_one_folder_and_in_many() {
    let (_disk, stage) = need!(stage(20));
    let (flat, spread) = (files().max(120_000), files().min(40_000));
    flat_folder(&stage.source.join("flat"), flat);
    big_tree(&stage.source.join("tree"), spread, spread / 40, 1);
    assert_small(&stage, flat + spread, limit(flat));
}

#[test]
fn ever_more_folders_cost_nothing() {
    let (_disk, stage) = need!(stage(20));
    let files = files();
    big_tree(&stage.source, files, files / 40, 2);
    assert_small(&stage, files, limit(files));
}

#[test]
fn hard_linked_files_cost_64_bytes_each_on_top() {
    let (_disk, stage) = need!(stage(20));
    let files = files();
    flat_folder(&stage.source.join("one"), files / 2);
    stage.sh("cp -al one two");
    assert_small(&stage, files, LIMIT + files * 64 / 1024);
}

/// An inode that has a name outside the source is remembered until the end: a user can make many.
#[test]
fn inodes_with_names_outside_cost_no_more_than_a_bound_and_8_bytes_each() {
    let (_disk, stage) = need!(stage(20));
    let files = files();
    flat_folder(&stage.source.join("inside"), files);
    stage.sh("cp -al inside ../outside");
    // Those in memory take 16 MiB at most.
    assert_small(&stage, files, limit(files) + (16 << 10) + files * 16 / 1024);
}

/// The files that are gone and the deferred folders have a bound.
#[test]
fn whatever_was_renamed_costs_24_mib_on_top() {
    let (_disk, stage) = need!(stage(20));
    let files = files();
    big_tree(&stage.source.join("tree"), files / 2, files / 80, 3);
    flat_folder(&stage.source.join("flat"), files / 2);
    stage.take();
    let peaks = [("off", "mv tree wood; mv flat even"), ("0", "mv wood tree; mv even flat")];
    let peaks = peaks.map(|(value, script)| {
        stage.sh(script);
        let done = stage.run().set("rename-detection", value).patience(1_800).expect(0);
        println!("{files} renamed files, {value}: {} KiB, {:?}", done.peak_kib, done.took);
        done.peak_kib
    });
    let renamed = stage.counts()["renamed"].as_u64().unwrap_or_default();
    assert!(renamed > files.min(150_000) / 2, "{}", stage.counts());
    assert!(peaks[1] < peaks[0] + (24 << 10), "{peaks:?}");
}

/// The limit for `files` files: at most [`LIMIT`], which would hide hundreds of bytes for each of few
/// files. A small tree takes 25 to 40 MiB.
fn limit(files: u64) -> u64 {
    LIMIT.min((40 << 10) + files * 100 / 1024)
}

/// The number of files: `FILES`, or the default.
fn files() -> u64 {
    std::env::var("FILES").ok().and_then(|files| files.parse().ok()).unwrap_or(40_000)
}

//! Memory does not grow with the tree.

use fixtures::bulk::{big_tree, flat_folder};
use fixtures::stage::Stage;

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");
/// The most that a run may have resident, KiB.
const LIMIT: u64 = 64 * 1024;

/// Runs twice, a first copy and a run that links all; neither may pass the limit.
#[track_caller]
fn assert_small(stage: &Stage, files: u64, surplus: u64) {
    for work in ["copied", "linked"] {
        let done = stage.run().patience(1_800).expect(0);
        println!("{files} files {work}: {} KiB, {:?}", done.peak_kib, done.took);
        assert!(done.peak_kib > 1_000, "the measuring works");
        assert!(done.peak_kib < LIMIT + surplus, "{} KiB for {files} files {work}", done.peak_kib);
        let counts = stage.counts();
        assert_eq!(counts["files"], files, "{counts}");
        assert!(counts[work].as_u64() >= Some(files), "{counts}");
    }
}

#[test]
fn many_files_in_one_folder_and_in_many() {
    let stage = Stage::new(BIN);
    flat_folder(&stage.source.join("flat"), 300_000);
    big_tree(&stage.source.join("tree"), 100_000, 2_500, 1);
    assert_small(&stage, 400_000, 0);
}

#[test]
#[ignore = "takes minutes: make -C tests large"]
fn a_million_files_in_25_000_folders() {
    let stage = Stage::new(BIN);
    big_tree(&stage.source, 1_000_000, 25_000, 2);
    assert_small(&stage, 1_000_000, 0);
}

#[test]
#[ignore = "takes minutes: make -C tests large"]
fn a_million_hard_linked_files_cost_64_bytes_each_on_top() {
    let stage = Stage::new(BIN);
    flat_folder(&stage.source.join("one"), 500_000);
    stage.sh("cp -al one two");
    assert_small(&stage, 1_000_000, 1_000_000 * 64 / 1024);
}

//! Memory does not grow with the size of the tree, but for the count of names.

use fixtures::bulk::big_tree;
use fixtures::judge::Judge;
use fixtures::loop_fs::LoopFs;
use fixtures::need;
use fixtures::stage::Stage;

use crate::judge::{assert_content, copy};

const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// `FILES` sets the number of files. The limit is 64 MiB, and for few files less, which would hide hundreds of bytes for each.
#[test]
fn a_copy_of_many_names_stays_small() {
    let disk = need!(LoopFs::xfs(20 << 10));
    let stage = Stage::all_on(BIN, disk.path());
    let files = std::env::var("FILES").ok().and_then(|files| files.parse().ok()).unwrap_or(40_000);
    big_tree(&stage.source, files, files / 40, 5);
    stage.take();
    stage.take();
    let to = stage.beside("copy");
    let done = copy(&stage, &to).patience(1_800).expect(0);
    println!("{files} files twice: {} KiB, {:?}", done.peak_kib, done.took);
    assert!(done.peak_kib > 1_000, "the measuring works");
    let limit = (64 << 10).min((40 << 10) + files * 100 / 1024);
    assert!(done.peak_kib < limit, "{} KiB for {files} files twice", done.peak_kib);
    assert_content(&stage, &to, Judge::plain());
}

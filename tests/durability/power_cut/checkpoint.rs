//! A power cut costs at most the work since the last checkpoint.

use std::time::Duration;

use fixtures::disk::cuts::{Cut, Loss, Replay};
use fixtures::disk::{Disk, formatted};
use fixtures::judge::Judge;
use fixtures::need::{Missing, tool};
use fixtures::random::Random;
use fixtures::stage::Stage;
use fixtures::tree::Tree;

use crate::power_cut::recording::{BIN, options};

/// Files that take the run about twice as long as its first checkpoint.
const FILES: u64 = 80;

/// Checks how much of the data stored before the first checkpoint is copied again after a cut
/// directly after it.
pub(crate) fn cost(kind: &str) -> Result<(), Missing> {
    tool("strace")?;
    let megabytes = if kind == "ext4" { 96 } else { 300 };
    let options = options(kind);
    let disk = Disk::new(formatted(kind, megabytes, if kind == "ext4" { &["-F"] } else { &[] })?)?;
    let missing = |error| Missing(format!("needs a mounted {kind}: {error}"));
    let before = disk.image();
    disk.record();
    let mounted = disk.mount(kind, options).map_err(missing)?;
    let mut random = Random::new(1);
    let tree = (0..FILES).fold(Tree::new(), |tree, number| {
        tree.file(format!("folder-{}/{number}", number % 9), random.bytes(5_000))
    });
    let stage = Stage::with(BIN, &tree).backups_in(&mounted.path().join("backups"));
    let run = stage.run().injecting(&["utimensat:delay_enter=400000"]);
    let mut running = run.start();
    let journal = stage.backups.join(".backup_manager/journal/my_backup.json");
    let noted = running.until(|| {
        std::thread::sleep(Duration::from_millis(20));
        std::fs::read_to_string(&journal)
            .is_ok_and(|text| !text.contains("\"durable_before\":null"))
    });
    assert!(noted, "{kind}: a checkpoint is made while it runs");
    let stored = stored(&stage);
    let moment = disk.events();
    running.wait().assert_code(0);
    drop(mounted);
    let events = disk.recorded();
    let cut = Cut { after: moment, loss: Loss::All, seed: 0 };
    disk.replace(Replay::new(before, &events).state(cut));
    let mounted = disk.mount(kind, options).map_err(missing)?;
    stage.run().expect(0);
    stage.assert_newest_is_source(Judge::plain());
    let counts = stage.counts();
    let copied = counts["copied"].as_u64().expect("a count");
    drop(mounted);
    println!("{kind}: {stored} of {FILES} files at the checkpoint, {copied} copied after the cut");
    // A few files were in progress at the checkpoint.
    assert!(stored > 10 && copied <= FILES - stored + 8, "{stored} were stored, {counts}");
    Ok(())
}

/// The number of files in the incomplete snapshot.
fn stored(stage: &Stage) -> u64 {
    let incomplete = stage.history().incomplete().pop().expect("it is under way");
    let tree = fixtures::scan::scan(&incomplete);
    tree.values().filter(|found| found.is_file()).count() as u64
}

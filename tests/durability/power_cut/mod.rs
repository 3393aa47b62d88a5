//! Power cuts at any moment: a snapshot with a complete name is intact, and the next run completes.
//!
//! The destination is on a disk that records every write and flush. Then each possible state of the
//! disk after a cut is checked: unflushed writes dropped, reordered or torn.

mod checkpoint;
mod copies;
mod heal;
mod recording;
mod state;

use fixtures::disk::cuts::{Cut, Event, Replay, choose};
use fixtures::need;
use fixtures::need::{Missing, tool};

use recording::{Act, Recording, has_reflinks, record};

/// The recorded runs: two that are killed, one that resumes them, and one that prunes.
const WHOLE: [Act; 4] = [Act::Killed, Act::KilledInFile, Act::Run, Act::ChangedRun];

/// The cuts to test: `usual` at flushes and as many between them. With `CUTS`, one at every flush and that many between.
fn cuts(events: &[Event], usual: usize) -> Vec<Cut> {
    let between = std::env::var("CUTS").ok().and_then(|cuts| cuts.parse().ok());
    let at_flushes = if between.is_some() { usize::MAX } else { usual };
    choose(events, at_flushes, between.unwrap_or(usual), seed())
}

/// The seed of the cuts, which every failure prints.
fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

/// Checks `cuts` of a recording. Returns one text per bad state, each as soon as it is found.
fn wrong<'a>(
    recording: &'a Recording,
    cuts: &'a [Cut],
    next_run: bool,
) -> impl Iterator<Item = String> + use<'a> {
    let mut replay = Replay::new(recording.before.clone(), &recording.events);
    cuts.iter().enumerate().filter_map(move |(number, cut)| {
        let image = replay.state(*cut);
        // Running on every third state is enough and saves most of the time.
        let found = state::problems(recording, image, next_run && number % 3 == 0);
        let of = recording.events.len();
        (!found.is_empty()).then(|| format!("{cut:?} of {of} events:\n  {}", found.join("\n  ")))
    })
}

fn prove(kind: &str, usual: usize) -> Result<(), Missing> {
    let started = std::time::Instant::now();
    let possible = |act: &Act| *act != Act::KilledInFile || has_reflinks(kind);
    let acts: Vec<Act> = WHOLE.into_iter().filter(possible).collect();
    let recording = record(kind, &acts, &[])?;
    let cuts = cuts(&recording.events, usual);
    let wrong: Vec<_> = wrong(&recording, &cuts, true).collect();
    println!(
        "{kind}: {} states out of {} writes and flushes, {:.0?}",
        cuts.len(),
        recording.events.len(),
        started.elapsed()
    );
    assert!(
        wrong.is_empty(),
        "{kind}, seed {}: {} of {} states are wrong\n{}",
        seed(),
        wrong.len(),
        cuts.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Runs whose syncs do nothing must be detected; otherwise the tests prove nothing.
fn control(kind: &str) -> Result<(), Missing> {
    tool("strace")?;
    let nothing = "syncfs,fsync,fdatasync,sync_file_range:retval=0";
    let recording = record(kind, &[Act::ChangedRun], &[nothing])?;
    let cuts = choose(&recording.events, usize::MAX, 40, seed());
    assert!(
        wrong(&recording, &cuts, false).next().is_some(),
        "{kind}: a snapshot that was never synced looks good in each of {} states",
        cuts.len()
    );
    Ok(())
}

#[test]
fn on_ext4_nothing_is_lost() {
    need!(prove("ext4", 60));
}

#[test]
fn on_xfs_nothing_is_lost() {
    need!(prove("xfs", 60));
}

#[test]
fn on_btrfs_nothing_is_lost() {
    need!(prove("btrfs", 60));
}

#[test]
fn on_ext4_a_healing_loses_nothing() {
    need!(heal::prove("ext4"));
}

#[test]
fn on_xfs_a_healing_loses_nothing() {
    need!(heal::prove("xfs"));
}

#[test]
fn on_btrfs_a_healing_loses_nothing() {
    need!(heal::prove("btrfs"));
}

#[test]
fn a_seal_without_a_sync_is_caught_on_ext4() {
    need!(control("ext4"));
}

#[test]
fn a_seal_without_a_sync_is_caught_on_xfs() {
    need!(control("xfs"));
}

#[test]
fn a_seal_without_a_sync_is_caught_on_btrfs() {
    need!(control("btrfs"));
}

#[test]
fn on_ext4_what_a_checkpoint_covers_is_not_copied_again() {
    need!(checkpoint::cost("ext4"));
}

#[test]
fn on_xfs_what_a_checkpoint_covers_is_not_copied_again() {
    need!(checkpoint::cost("xfs"));
}

#[test]
fn on_btrfs_what_a_checkpoint_covers_is_not_copied_again() {
    need!(checkpoint::cost("btrfs"));
}

#[test]
fn on_ext4_no_snapshot_of_a_copy_is_wrong() {
    need!(copies::prove("ext4"));
}

#[test]
fn on_xfs_no_snapshot_of_a_copy_is_wrong() {
    need!(copies::prove("xfs"));
}

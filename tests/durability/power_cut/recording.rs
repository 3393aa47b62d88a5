//! Records the writes of runs to a disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fixtures::bulk::{big_file, rewrite_pages};
use fixtures::disk::cuts::Event;
use fixtures::disk::image::Image;
use fixtures::disk::{Disk, formatted};
use fixtures::extents::Extents;
use fixtures::fingerprint::Fingerprint;
use fixtures::mutate::mutate;
use fixtures::need::Missing;
use fixtures::random_tree::{Spec, random_tree};
use fixtures::scan::{FoundTree, scan};
use fixtures::stage::Stage;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_backup_manager");

/// The number of snapshots to keep: the recorded runs remove the oldest one.
pub(crate) const KEPT: &str = "3";

/// A recorded step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The source changes, and a run is killed in the middle.
    Killed,
    /// The source changes, and a run is killed in a file that shares blocks with the base.
    KilledInFile,
    /// A run without a change since the last step.
    Run,
    /// The source changes, and a run follows.
    ChangedRun,
}

/// A recording, and what every state must contain.
pub(crate) struct Recording {
    pub(crate) kind: String,
    pub(crate) stage: Stage,
    pub(crate) disk: Disk,
    /// The disk before the first event.
    pub(crate) before: Image,
    pub(crate) events: Vec<Event>,
    /// Snapshots from before the recording, by name, oldest first.
    pub(crate) older: Vec<(String, Fingerprint)>,
    /// The sources of the snapshots that were completed during the recording.
    pub(crate) newer: BTreeMap<String, FoundTree>,
}

/// Mount options that make the file system write early and often, for many different states.
pub(crate) fn options(kind: &str) -> &'static str {
    match kind {
        // The same file system is mounted repeatedly.
        "xfs" => "nouuid",
        _ => "commit=1",
    }
}

/// Whether a changed large file shares blocks with the base.
pub(crate) fn has_reflinks(kind: &str) -> bool {
    kind != "ext4"
}

/// The name of a large file of the source.
const LARGE: &str = "large";

/// Changes the source at random. Where blocks can be shared, it also has a large file, of which some pages change.
fn change(stage: &Stage, kind: &str, seed: u64) {
    mutate(&stage.source, seed);
    if !has_reflinks(kind) {
        return;
    }
    let large = stage.beside(LARGE);
    if !large.exists() {
        big_file(&large, 3 << 20, 1);
    }
    rewrite_pages(&large, 24, seed);
    stage.sh(&format!("rm -rf {LARGE}; cp ../{LARGE} {LARGE}"));
}

/// The last component of a path.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Performs `acts` on a file system of `kind` with two snapshots; their runs use strace's `rules`.
pub(crate) fn record(kind: &str, acts: &[Act], rules: &[&str]) -> Result<Recording, Missing> {
    let megabytes = if kind == "ext4" { 96 } else { 300 };
    let disk = Disk::new(formatted(kind, megabytes, if kind == "ext4" { &["-F"] } else { &[] })?)?;
    let spec = Spec { files: 130, folders: 25, largest: 40_000, root_only: true };
    let missing = |error| Missing(format!("needs a mounted {kind}: {error}"));
    let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
    let stage = Stage::with(BIN, &random_tree(3, spec)).backups_in(&mounted.path().join("backups"));
    let mut older = Vec::new();
    for seed in 0..2 {
        change(&stage, kind, seed);
        let path = stage.take();
        older.push((name(&path), Fingerprint::of(&path).wherever_mounted()));
    }
    drop(mounted);
    let before = disk.image();
    disk.record();
    let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
    let mut newer = BTreeMap::new();
    with_neighbour(mounted.path(), || {
        for (number, act) in acts.iter().enumerate() {
            if *act != Act::Run {
                change(&stage, kind, 10 + number as u64);
            }
            let run = stage.run().set("max-backups", KEPT);
            // The first is late enough for files of many kinds to exist.
            let kill = match act {
                Act::Killed => Some("utimensat:signal=KILL:when=8"),
                Act::KilledInFile => Some("copy_file_range:signal=KILL:when=9"),
                Act::Run | Act::ChangedRun => None,
            };
            if let Some(kill) = kill {
                let done = run.injecting(&[kill]).done();
                assert_eq!(done.code, 137, "{act:?}: it is killed: {}", done.said());
                continue;
            }
            let run = if rules.is_empty() { run } else { run.injecting(rules) };
            run.expect(0);
            let newest = stage.history().newest();
            newer.insert(name(&newest), scan(&stage.source));
            if has_reflinks(kind) && fixtures::need::tool("filefrag").is_ok() {
                let extents = Extents::of(&stage.inside(&newest).join(LARGE));
                assert!(extents.shared > 2 << 20, "{kind}: {extents:?}");
            }
        }
        // Unsynced data stays in memory for a while; names reach the disk before contents.
        std::thread::sleep(Duration::from_millis(2_500));
    });
    drop(mounted);
    let events = disk.recorded();
    Ok(Recording { kind: kind.to_owned(), stage, disk, before, events, older, newer })
}

/// Runs `work` while another process repeatedly syncs its own file on the same file system.
pub(crate) fn with_neighbour(top: &Path, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::create(top.join("neighbour")).expect("a file can be made");
            while !over.load(Ordering::Relaxed) {
                file.write_all(b"something\n")
                    .and_then(|()| file.sync_all())
                    .expect("it is written");
                std::thread::sleep(Duration::from_millis(60));
            }
        });
        let _ends_also_after_a_panic = End(&over);
        work();
    });
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

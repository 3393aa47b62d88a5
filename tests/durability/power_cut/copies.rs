//! A power cut of the disk with the copy: a copied snapshot with a complete name is intact, and the next copy completes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fixtures::disk::cuts::Replay;
use fixtures::disk::{Disk, formatted};
use fixtures::history::History;
use fixtures::judge::Judge;
use fixtures::mutate::mutate;
use fixtures::need::{Missing, tool};
use fixtures::random_tree::{Spec, random_tree};
use fixtures::run::Run;
use fixtures::stage::{PREFIX, Stage};

use crate::power_cut::recording::{BIN, name, options, with_neighbour};
use crate::power_cut::{cuts, seed};

/// Checks the states after cuts while a copy is killed in the middle, and the next one completes it.
pub(crate) fn prove(kind: &str) -> Result<(), Missing> {
    tool("strace")?;
    let megabytes = if kind == "ext4" { 96 } else { 300 };
    let disk = Disk::new(formatted(kind, megabytes, if kind == "ext4" { &["-F"] } else { &[] })?)?;
    let missing = |error| Missing(format!("needs a mounted {kind}: {error}"));
    let spec = Spec { files: 130, folders: 25, largest: 40_000, root_only: true };
    let stage = Stage::with(BIN, &random_tree(3, spec));
    stage.take();
    let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
    let to = mounted.path().join("copy");
    copy(&stage, &to).expect(0);
    for seed in 0..2 {
        mutate(&stage.source, seed);
        stage.take();
    }
    drop(mounted);
    let before = disk.image();
    disk.record();
    let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
    with_neighbour(mounted.path(), || {
        let killed = copy(&stage, &to).injecting(&["utimensat:signal=KILL:when=20"]).done();
        assert_eq!(killed.code, 137, "it is killed: {}", killed.said());
        copy(&stage, &to).expect(0);
    });
    drop(mounted);
    let events = disk.recorded();
    let cuts = cuts(&events, 40);
    let mut replay = Replay::new(before, &events);
    let mut wrong = Vec::new();
    for (number, cut) in cuts.iter().enumerate() {
        disk.replace(replay.state(*cut));
        let mounted = disk.mount(kind, options(kind)).map_err(missing)?;
        // A scan panics if something cannot be read.
        let looked = catch_unwind(AssertUnwindSafe(|| problems(&stage, &to, number % 3 == 0)));
        drop(mounted);
        let found = looked.unwrap_or_else(|_| vec!["something cannot be read".to_owned()]);
        if !found.is_empty() {
            wrong.push(format!("{cut:?} of {} events:\n  {}", events.len(), found.join("\n  ")));
        }
    }
    println!("{kind}: {} states out of {} writes and flushes", cuts.len(), events.len());
    assert!(wrong.is_empty(), "{kind}, seed {}:\n{}", seed(), wrong.join("\n"));
    Ok(())
}

fn copy(stage: &Stage, to: &Path) -> Run {
    stage.look("copy").arg("--to").arg(to)
}

/// The problems of the copies in `to`; with `next_copy` also those after another copy.
fn problems(stage: &Stage, to: &Path, next_copy: bool) -> Vec<String> {
    let originals = stage.history().complete();
    let mut problems = wrong_copies(&originals, to);
    if !next_copy || !problems.is_empty() {
        return problems;
    }
    let next = copy(stage, to).done();
    if next.code != 0 {
        return vec![format!("the next copy ends with {}: {}", next.code, next.said())];
    }
    problems = wrong_copies(&originals, to);
    let history = History::new(to, PREFIX);
    let left = history.incomplete().len() + history.deleting().len();
    if history.complete().len() != originals.len() || left > 0 {
        problems.push(format!("{:?} and {left} leftovers", history.complete()));
    }
    problems.iter().map(|what| format!("after the next copy: {what}")).collect()
}

/// What differs from the original in a copy with a complete name. The first copy was there before all cuts.
fn wrong_copies(originals: &[PathBuf], to: &Path) -> Vec<String> {
    let copies = History::new(to, PREFIX).complete();
    let mut problems = Vec::new();
    for copy in &copies {
        let of = originals.iter().find(|original| name(original) == name(copy));
        let found = match of {
            Some(original) => Judge::strict().differences(original, copy),
            None => vec!["it is not a copy".to_owned()],
        };
        problems.extend(found.iter().map(|what| format!("{}: {what}", name(copy))));
    }
    if !copies.iter().any(|copy| name(copy) == name(&originals[0])) {
        problems.push("the first copy is gone".to_owned());
    }
    problems
}

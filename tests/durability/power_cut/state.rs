//! Checks one possible state of the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fixtures::disk::image::Image;
use fixtures::fingerprint::Fingerprint;
use fixtures::judge::Judge;
use fixtures::scan::scan;

use crate::power_cut::recording::{KEPT, Recording, name, options};

/// The problems of a state; with `next_run` also those after another run.
pub(crate) fn problems(recording: &Recording, image: Image, next_run: bool) -> Vec<String> {
    recording.disk.replace(image);
    let mounted = match recording.disk.mount(&recording.kind, options(&recording.kind)) {
        Ok(mounted) => mounted,
        Err(error) => return vec![format!("it cannot be mounted: {error}")],
    };
    // A scan panics if something cannot be read.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut problems = snapshots(recording);
        if next_run && problems.is_empty() {
            problems = after_a_run(recording);
        }
        problems
    }));
    drop(mounted);
    looked.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        vec![text.unwrap_or_else(|| "a panic without a text".to_owned())]
    })
}

/// Each snapshot with a complete name is intact, and no older one is missing.
fn snapshots(recording: &Recording) -> Vec<String> {
    let mut problems = Vec::new();
    let complete = recording.stage.history().complete();
    let names: Vec<_> = complete.iter().map(|path| name(path)).collect();
    for (path, name) in complete.iter().zip(&names) {
        let older = recording.older.iter().find(|(older, _)| older == name);
        let found = if let Some((_, before)) = older {
            Fingerprint::of(path).wherever_mounted().changes_since(before)
        } else if let Some(source) = recording.newer.get(name) {
            Judge::plain().tree_differences(source, &scan(&recording.stage.inside(path)))
        } else {
            vec!["nobody made it".to_owned()]
        };
        problems.extend(found.iter().map(|what| format!("{name}: {what}")));
    }
    // The first may go only for a complete successor; the second is the base and stays.
    let whole = names.iter().filter(|name| recording.newer.contains_key(*name)).count();
    for (number, (name, _)) in recording.older.iter().enumerate() {
        if !names.contains(name) && (number > 0 || whole == 0) {
            problems.push(format!("{name} is gone, {names:?} are there"));
        }
    }
    problems
}

/// The next run completes, equals the source, and leaves older snapshots unchanged.
fn after_a_run(recording: &Recording) -> Vec<String> {
    let stage = &recording.stage;
    let before = stage.history().complete();
    let run = stage.run().set("max-backups", KEPT).done();
    if run.code != 0 {
        return vec![format!("the next run ends with {}: {}", run.code, run.said())];
    }
    let history = stage.history();
    let newest = history.newest();
    let copy = stage.inside(&newest);
    let mut problems = Judge::plain().differences(&stage.source, &copy);
    if before.contains(&newest) {
        problems.push("it made no snapshot".to_owned());
    }
    let left = history.incomplete().len() + history.deleting().len();
    if left > 0 {
        problems.push(format!("{left} unfinished ones are left"));
    }
    problems.extend(snapshots_of(recording, &name(&newest)));
    problems.iter().map(|what| format!("after the next run: {what}")).collect()
}

/// The remaining older snapshots, except the one just made.
fn snapshots_of(recording: &Recording, made: &str) -> Vec<String> {
    let mut problems = snapshots(recording);
    problems.retain(|what| !what.starts_with(made) && !what.contains(" is gone, "));
    problems
}

//! A backups folder without settings for its sources: its snapshots, and what they contain.

use std::path::Path;

use engine::Prefix;
use engine::Report;

use crate::config::load_for_reading;
use crate::config::mistake::shown_path;
use crate::config::resolve::job::machine;
use crate::config::setting::Key;
use crate::config::types::{Inputs, SnapshotConfig, SnapshotPlace};

/// The locations of the snapshots, if the settings name no sources and the folder is all that is known: it
/// exists, or the command line names it.
pub(crate) fn only_folder(inputs: &Inputs) -> Option<SnapshotConfig> {
    let reading = load_for_reading(inputs).ok()?;
    let named = inputs.flags.iter().any(|(key, _)| *key == Key::BackupsDir);
    let folder =
        |place: &SnapshotPlace| place.job.is_none() && (named || place.backups_dir.is_dir());
    (!reading.places.is_empty() && reading.places.iter().all(folder)).then_some(reading)
}

/// What a snapshot contains, for people: `/home, /etc on nas`.
pub(crate) fn contents(report: &Report) -> String {
    let roots: Vec<&str> = report.roots.iter().map(|root| root.path.as_str()).collect();
    let roots = roots.join(", ");
    let Some(host) = &report.host else { return roots };
    match (&host.name, host.port) {
        (Some(name), Some(port)) => format!("{roots} on {name}:{port}"),
        (Some(name), None) => format!("{roots} on {name}"),
        (None, _) => match (&host.machine, machine()) {
            (Some(theirs), Some(ours)) if *theirs == ours => format!("{roots} on this machine"),
            (Some(_), Some(_)) => format!("{roots} on another machine that ran the job"),
            _ => roots,
        },
    }
}

/// The message that `dir` has no snapshot of the prefixes `asked`, with those that are there.
pub(crate) fn no_snapshot(asked: Option<&str>, dir: &Path, there: &[Prefix]) -> String {
    let dir = shown_path(dir);
    let of = asked.map(|asked| format!(" of {asked}")).unwrap_or_default();
    let there: Vec<&str> = there.iter().map(Prefix::as_str).collect();
    match &there[..] {
        [] => format!("there is no snapshot{of} in {dir}"),
        there => {
            format!("there is no snapshot{of} in {dir}; there are those of {}", there.join(", "))
        }
    }
}

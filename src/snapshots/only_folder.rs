//! A backups folder without settings for its sources: its snapshots, and what they contain.

use std::fmt;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) roots: String,
    pub(crate) from: Origin,
}

/// The machine that the sources of a snapshot are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Unknown,
    /// This host, with its port if that is not the usual one.
    Host(String),
    ThisMachine,
    AnotherMachine,
}

impl Contents {
    /// What the snapshot of `report` contains.
    pub(crate) fn of(report: &Report) -> Self {
        let roots: Vec<&str> = report.roots.iter().map(|root| root.path.as_str()).collect();
        Self { roots: roots.join(", "), from: Origin::of(report) }
    }
}

impl Origin {
    fn of(report: &Report) -> Self {
        let Some(host) = &report.host else { return Self::Unknown };
        match (&host.name, host.port) {
            (Some(name), Some(port)) => Self::Host(format!("{name}:{port}")),
            (Some(name), None) => Self::Host(name.clone()),
            (None, _) => match (&host.machine, machine()) {
                (Some(theirs), Some(ours)) if *theirs == ours => Self::ThisMachine,
                (Some(_), Some(_)) => Self::AnotherMachine,
                _ => Self::Unknown,
            },
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = &self.roots;
        match &self.from {
            Origin::Unknown => f.write_str(roots),
            Origin::Host(host) => write!(f, "{roots} on {host}"),
            Origin::ThisMachine => write!(f, "{roots} on this machine"),
            Origin::AnotherMachine => write!(f, "{roots} on another machine that ran the job"),
        }
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

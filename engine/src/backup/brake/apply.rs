//! Applies the brake: reads what earlier runs recorded, judges, and holds the last snapshot from before a mass change.

use std::io;

use crate::backup::brake::judge::{HISTORY, RootRun, is_worth_judging, judge};
use crate::entry::human::rfc3339;
use crate::job::Job;
use crate::repository::Repository;
use crate::repository::records::holds::{Hold, pin_in};
use crate::repository::records::report::{Report, RootFound};
use crate::repository::records::report_file::report;
use crate::snapshot::changes::{ChangeBrake, Freeze, Suspicion};
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;

/// The suspicious changes among those of `roots`, found by a run that began at `began` and has the base `base`. Reads the
/// reports of earlier runs only if something changed that can be suspicious.
pub(crate) fn suspicions(
    job: &Job,
    repository: &Repository,
    history: &History,
    base: Option<&SnapshotName>,
    began: chrono::DateTime<chrono::Utc>,
    roots: &[RootFound],
) -> Vec<Suspicion> {
    let is_worth = |root: &&RootFound| root.changes.as_ref().is_some_and(is_worth_judging);
    if job.change_brake == ChangeBrake::Off || !roots.iter().any(|root| is_worth(&root)) {
        return Vec::new();
    }
    let newest = history.complete.iter().rev().take(HISTORY);
    let mut reports: Vec<Report> = newest.filter_map(|name| report(repository, name)).collect();
    reports.reverse();
    let suspicion = |root: &RootFound| {
        let now = RootRun {
            base: base.map(ToString::to_string),
            began: rfc3339(began),
            files: root.files_before,
            changes: root.changes.clone()?,
            suspicious: false,
        };
        let past: Vec<_> = reports.iter().filter_map(|report| run_of(report, root)).collect();
        let found = judge(&now, &past, job.change_brake)?;
        Some(Suspicion { path: root.path.clone(), ..found })
    };
    roots.iter().filter(is_worth).filter_map(suspicion).collect()
}

/// What the run of `report` found below `root`.
fn run_of(report: &Report, root: &RootFound) -> Option<RootRun> {
    let found = report.roots.iter().find(|found| found.inside == root.inside)?;
    Some(RootRun {
        base: report.base.clone(),
        began: report.started.clone(),
        files: found.files_before,
        changes: found.changes.clone()?,
        suspicious: report.suspicions.iter().any(|suspicion| suspicion.path == found.path),
    })
}

/// Holds the newest snapshot from before the changes, and so freezes the pruning. `noticed` is the complete snapshot that
/// has the changes, if there is one already. Returns the freeze; `None` when there is no snapshot to hold.
///
/// # Errors
/// The hold cannot be stored.
pub(crate) fn hold_good(
    repository: &Repository,
    history: &History,
    base: Option<&SnapshotName>,
    noticed: Option<&SnapshotName>,
    found: &[Suspicion],
    began: chrono::DateTime<chrono::Utc>,
) -> io::Result<Option<Freeze>> {
    // Of several changes, the oldest decides. The snapshot from before it may be gone.
    let named = |name: &SnapshotName| {
        let name = name.to_string();
        found.iter().any(|suspicion| suspicion.good.as_ref() == Some(&name))
    };
    let good = history.complete.iter().find(|name| named(name)).or(base);
    let (Some(good), Some(first)) = (good, found.iter().min_by(|a, b| a.since.cmp(&b.since)))
    else {
        return Ok(None);
    };
    let what: Vec<_> = found.iter().map(ToString::to_string).collect();
    let freeze = Freeze {
        held: good.to_string(),
        since: first.since.clone(),
        noticed: noticed.map(ToString::to_string).unwrap_or_default(),
        what: what.join("; "),
        examples: found.iter().flat_map(|suspicion| suspicion.examples.clone()).collect(),
    };
    let note = format!("before a mass change: {}", freeze.what);
    let hold = Hold { since: rfc3339(began), note: Some(note), brake: Some(freeze.clone()) };
    pin_in(repository, good, &hold).map(|()| Some(freeze))
}

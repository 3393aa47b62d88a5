//! Converts the states of jobs to those that the page shows.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use engine::SnapshotName;
use engine::snapshot::Freeze;

use crate::health::copies::CopyState;
use crate::health::growth::Forecast;
use crate::health::mass_change;
use crate::health::reason::Reason;
use crate::snapshots::only_folder::{Contents, Origin};
use crate::ui::job_state::JobState;

/// The state of a job for the page.
pub(crate) fn state(state: JobState) -> web::State {
    let (disk_full, bytes_per_day) = match state.forecast {
        Forecast::Unknown => (None, None),
        Forecast::NotInSight { bytes_per_day } => (None, Some(bytes_per_day)),
        Forecast::Full { when, bytes_per_day } => (Some(when), Some(bytes_per_day)),
    };
    let newest = state.look.as_ref().ok().and_then(|look| look.reports.last());
    web::State {
        contains: newest.map(|report| contents(Contents::of(report))),
        copies: copies(&state),
        job: state.name,
        look: state.look,
        reasons: state.complaints.into_iter().map(reason).collect(),
        max_backups: state.max_backups,
        due: state.due,
        starts: state.crontab,
        disk_full,
        bytes_per_day,
    }
}

fn contents(of: Contents) -> web::Contents {
    let from = match of.from {
        Origin::Unknown => web::Origin::Unknown,
        Origin::Host(host) => web::Origin::Host(host),
        Origin::ThisMachine => web::Origin::ThisMachine,
        Origin::AnotherMachine => web::Origin::AnotherMachine,
    };
    web::Contents { roots: of.roots, from }
}

/// The copies that were attempted, and those that the settings ask for.
fn copies(state: &JobState) -> Vec<web::Copy> {
    let folders: BTreeSet<&String> = state.copies.0.keys().chain(&state.copy_to).collect();
    let is_late = |folder: &String| {
        state.complaints.iter().any(|reason| match reason {
            Reason::OldCopy { folder: of, .. } | Reason::NoCopy { folder: of, .. } => of == folder,
            _ => false,
        })
    };
    let copy = |folder: &String| {
        let known = state.copies.0.get(folder).cloned().unwrap_or_default();
        web::Copy {
            folder: folder.clone(),
            newest: newest(&known),
            is_whole: known.completed.is_some() && known.reason.is_none(),
            is_absent: known.absent,
            is_late: is_late(folder),
            why: known.reason,
        }
    };
    folders.into_iter().map(copy).collect()
}

fn newest(copy: &CopyState) -> Option<DateTime<Utc>> {
    let name = SnapshotName::parse_any(copy.newest.as_ref()?.as_bytes())?;
    Some(name.stamp.time())
}

fn reason(of: Reason) -> web::Reason {
    match of {
        Reason::Old { age, limit } => web::Reason::Old { age, limit },
        Reason::ClockNeverSet { now } => web::Reason::ClockNeverSet(now),
        Reason::FromTheFuture { newest } => web::Reason::FromTheFuture(newest),
        Reason::NoSnapshot => web::Reason::NoSnapshot,
        Reason::NoRun => web::Reason::NoRun,
        Reason::NotCompleted { since, limit } => web::Reason::NotCompleted { since, limit },
        Reason::Unread { number, since, limit, report } => {
            web::Reason::Unread { number, since, limit, report }
        }
        Reason::Failed { runs, why } => web::Reason::Failed { runs, why },
        Reason::Stuck { snapshot, path, why } => {
            web::Reason::Stuck { snapshot, why: format!("{path}: {why}") }
        }
        Reason::NoDrill { finished, why } => {
            web::Reason::NoDrill { finished: time(&finished), why }
        }
        Reason::DrillFailed { finished, failed, snapshot, why } => {
            web::Reason::DrillFailed { finished: time(&finished), failed, snapshot, why }
        }
        Reason::OtherSources(why) => web::Reason::OtherSources(why),
        Reason::MassChange { freeze, backups_dir } => mass_change(freeze, &backups_dir),
        Reason::OldCopy { folder, age, limit, why } => {
            web::Reason::OldCopy { folder, age, limit, why }
        }
        Reason::NoCopy { folder, age, limit, why } => {
            web::Reason::NoCopy { folder, age, limit, why }
        }
        Reason::CopyDrill { folder, reason: of_copy } => {
            web::Reason::CopyDrill { folder, reason: Box::new(reason(*of_copy)) }
        }
        Reason::Unreadable(why) => web::Reason::Unreadable(why),
    }
}

fn mass_change(freeze: Freeze, backups_dir: &[u8]) -> web::Reason {
    let commands = mass_change::commands(&freeze, backups_dir);
    let Freeze { held, since, noticed, what, .. } = freeze;
    web::Reason::MassChange {
        since: time(&since),
        noticed,
        what,
        held,
        commands: commands.map(|commands| [commands.restore, commands.release]),
    }
}

/// A time in RFC 3339.
fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

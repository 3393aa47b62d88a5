//! Why a job is not healthy: values, and their English words. Does no I/O.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use engine::SnapshotName;
use engine::repository::LastDrill;
use engine::snapshot::Freeze;

use crate::health::mass_change::sentence;
use crate::term::local_time;
use crate::term::units::{counted, duration};

/// Why a job is not healthy. A `why` is a message in English, of the system or of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The newest snapshot is older than `MAX_AGE_H`.
    Old { age: TimeDelta, limit: TimeDelta },
    /// The clock of this machine was never set.
    ClockNeverSet { now: DateTime<Utc> },
    /// The newest snapshot is from the future.
    FromTheFuture { newest: SnapshotName },
    /// There is no snapshot, but runs were attempted.
    NoSnapshot,
    /// There is no snapshot, and no run has begun.
    NoRun,
    /// The first snapshot was not completed within `MAX_AGE_H`.
    NotCompleted { since: TimeDelta, limit: TimeDelta },
    /// Entries could not be read for longer than `MAX_AGE_H`.
    Unread { number: u64, since: DateTime<Utc>, limit: TimeDelta, report: String },
    /// The last runs failed; without `why`, the last one was killed.
    Failed { runs: u32, why: Option<String> },
    /// A snapshot cannot be removed.
    Stuck { snapshot: String, path: String, why: String },
    /// The last restore drill could not be done.
    NoDrill { finished: String, why: String },
    /// The last restore drill failed.
    DrillFailed { finished: String, failed: u64, snapshot: String, why: String },
    /// The snapshots belong to other sources than this job's.
    OtherSources(String),
    /// A mass change froze the pruning.
    MassChange { freeze: Freeze, backups_dir: Vec<u8> },
    /// The newest snapshot of a copy is older than `COPY_MAX_AGE_H`.
    OldCopy { folder: String, age: TimeDelta, limit: TimeDelta, why: Option<String> },
    /// There was never a copy, for longer than `COPY_MAX_AGE_H`.
    NoCopy { folder: String, age: TimeDelta, limit: TimeDelta, why: Option<String> },
    /// The last restore drill of a copy failed.
    CopyDrill { folder: String, reason: Box<Reason> },
    /// The backups folder cannot be read.
    Unreadable(String),
}

impl Reason {
    /// Why a restore drill failed.
    pub(crate) fn of_drill(drill: &LastDrill) -> Option<Self> {
        let (finished, why) = (drill.finished.clone(), drill.reason.clone()?);
        Some(match drill.failed {
            0 => Self::NoDrill { finished, why },
            failed => Self::DrillFailed { finished, failed, snapshot: drill.snapshot.clone(), why },
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old { age, limit } => write!(
                f,
                "the newest snapshot is {} old, more than {} (MAX_AGE_H)",
                shown(*age),
                shown(*limit)
            ),
            Self::ClockNeverSet { now } => write!(
                f,
                "the clock was never set, it says {}; set it (timedatectl set-ntp true)",
                local_time::minute(*now)
            ),
            Self::FromTheFuture { newest } => {
                write!(f, "the newest snapshot, {newest}, is from the future; check the clock")
            }
            Self::NoSnapshot => f.write_str("there is no snapshot yet"),
            Self::NoRun => f.write_str("there is no snapshot yet, and no run has begun"),
            Self::NotCompleted { since, limit } => write!(
                f,
                "no snapshot was completed in the {} since it began, more than {} (MAX_AGE_H)",
                shown(*since),
                shown(*limit)
            ),
            Self::Unread { number, since, limit, report } => write!(
                f,
                "{} could not be read and {} carried forward, the oldest since {}, longer than {} (MAX_AGE_H); the report of {report} lists them",
                counted(*number, "entry", "entries"),
                if *number == 1 { "is" } else { "are" },
                local_time::minute(*since),
                shown(*limit),
            ),
            Self::Failed { runs, why } => {
                let why = why.as_deref().unwrap_or("it was killed, or the machine went down");
                match runs {
                    1 => write!(f, "the last run failed: {why}"),
                    runs => write!(f, "the last {runs} runs failed, the last one: {why}"),
                }
            }
            Self::Stuck { snapshot, path, why } => {
                write!(f, "{snapshot} is due for removal but cannot be removed: {path}: {why}")
            }
            Self::NoDrill { finished, why } => write!(
                f,
                "the restore drill of {} could not be done: {why}",
                local_time::of_rfc3339(finished)
            ),
            Self::DrillFailed { finished, failed, snapshot, why } => write!(
                f,
                "the restore drill of {} failed: {failed} of {snapshot} did not come back as backed up, the first: {why}",
                local_time::of_rfc3339(finished)
            ),
            Self::MassChange { freeze, backups_dir } => f.write_str(&sentence(freeze, backups_dir)),
            Self::OldCopy { folder, age, limit, why } => {
                let age = shown(*age);
                write!(f, "the newest snapshot of the copy in {folder} is {age} old")?;
                late(f, *limit, why.as_deref())
            }
            Self::NoCopy { folder, age, limit, why } => {
                write!(f, "there is no copy in {folder} since {}", shown(*age))?;
                late(f, *limit, why.as_deref())
            }
            Self::CopyDrill { folder, reason } => write!(f, "the copy in {folder}: {reason}"),
            Self::OtherSources(why) | Self::Unreadable(why) => f.write_str(why),
        }
    }
}

fn late(f: &mut fmt::Formatter<'_>, limit: TimeDelta, why: Option<&str>) -> fmt::Result {
    write!(f, ", more than {} (COPY_MAX_AGE_H)", shown(limit))?;
    why.map_or(Ok(()), |why| write!(f, ": {why}"))
}

fn shown(time: TimeDelta) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds of less than a century")]
    duration(time.num_seconds() as f64)
}

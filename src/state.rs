//! The state of each job, as `status` and the web page show it.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use engine::LookError;
use engine::Prefix;
use engine::Repository;
use engine::fs::open_to_others;
use engine::inspect::{Look, look};
use engine::repository::Sources;
use engine::snapshot::Freeze;

use crate::args::load::configured;
use crate::config::mistake::{Mistake, shown_path};
use crate::config::types::{HealthLimits, Inputs, NamedJob, SnapshotPlace};
use crate::config::{bounded, config_dir, load};
use crate::daemon::config_dir::CRONTAB;
use crate::daemon::environment_zone;
use crate::health::copies::{CopyStates, failed_drills, late};
use crate::health::growth::{Forecast, REPORTS, forecast};
use crate::health::reason::Reason;
use crate::health::{complaints, due};
use crate::hint::hint;
use crate::schedule::crontab::Crontab;
use crate::snapshots::only_folder::{Contents, only_folder};
use crate::ui::job_state::JobState;

/// What the states are about.
pub(crate) enum Subjects {
    /// The jobs of the configuration, and when they run.
    Jobs(Vec<NamedJob>, Schedule),
    /// The prefixes in folders about which no job is known.
    Folders(Vec<SnapshotPlace>),
}

/// Why there are no states.
pub(crate) enum NoStates {
    /// The backups folder cannot be read.
    Unreadable(LookError),
    /// A folder has none of the snapshots, but those of these prefixes.
    NoSnapshot(PathBuf, Vec<Prefix>),
}

impl Subjects {
    /// Reads the configuration, and prints the mistakes in it.
    pub(crate) fn load(inputs: &Inputs) -> Option<Self> {
        configured(inputs, Self::read)
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// The mistakes in it.
    pub(crate) fn read(inputs: &Inputs) -> Result<Self, Vec<Mistake>> {
        Ok(match only_folder(inputs) {
            Some(config) => Self::Folders(config.places),
            None => Self::Jobs(load(inputs)?.jobs, Schedule::of(inputs)),
        })
    }

    /// The state of each job. Of folders, the states of the prefixes called `names`, or of all.
    ///
    /// # Errors
    /// See [`NoStates`].
    pub(crate) fn states(
        &self,
        names: &[String],
        now: DateTime<Utc>,
    ) -> Result<Vec<JobState>, NoStates> {
        match self {
            Self::Jobs(jobs, schedule) => {
                let of_job = |job| state(&Job::of(job), Some(job), Some(schedule), now);
                Ok(jobs.iter().map(of_job).collect())
            }
            Self::Folders(places) => of_folders(places, names, now),
        }
    }
}

/// The states of all prefixes in folders about which no job is known, or of the prefixes called `names`.
fn of_folders(
    places: &[SnapshotPlace],
    names: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<JobState>, NoStates> {
    let mut states = Vec::new();
    for place in places {
        let dir = &place.backups_dir;
        let there = Repository::open(dir).and_then(|folder| folder.prefixes());
        let there = there.map_err(NoStates::Unreadable)?;
        let mut prefixes = match &place.prefix {
            Some(prefix) => vec![prefix.clone()],
            None => there.clone(),
        };
        if place.prefix.is_none() && !names.is_empty() {
            prefixes.retain(|prefix| names.iter().any(|name| name == prefix.as_str()));
        }
        if prefixes.is_empty() {
            return Err(NoStates::NoSnapshot(dir.clone(), there));
        }
        for prefix in &prefixes {
            let of = Job {
                name: prefix.as_str(),
                dir,
                prefix,
                backups_mode: place.backups_mode,
                alert: place.alert,
                max_backups: None,
            };
            states.push(state(&of, None, None, now));
        }
    }
    Ok(states)
}

/// What a state is about: a job, or a prefix in a folder.
struct Job<'a> {
    name: &'a str,
    dir: &'a Path,
    prefix: &'a Prefix,
    backups_mode: Option<u32>,
    alert: HealthLimits,
    max_backups: Option<usize>,
}

impl<'a> Job<'a> {
    fn of(job: &'a NamedJob) -> Self {
        Self {
            name: &job.name,
            dir: &job.job.backups_dir,
            prefix: &job.job.prefix,
            backups_mode: job.job.backups_mode,
            alert: job.alert,
            max_backups: job.job.retention.max.map(NonZeroUsize::get),
        }
    }
}

fn state(
    of: &Job<'_>,
    job: Option<&NamedJob>,
    schedule: Option<&Schedule>,
    now: DateTime<Utc>,
) -> JobState {
    let looked = look(of.dir, of.prefix, REPORTS);
    let mut state = JobState {
        name: of.name.to_owned(),
        open_mode: open_to_others(of.dir).filter(|_| of.backups_mode.is_none()),
        now,
        look: Err(String::new()),
        complaints: Vec::new(),
        max_backups: of.max_backups,
        due: None,
        contains: None,
        crontab: None,
        forecast: Forecast::Unknown,
        copies: CopyStates::of(of.dir, of.prefix),
        copy_to: job.into_iter().flat_map(|job| &job.copies.to).map(|to| shown_path(to)).collect(),
    };
    match looked {
        Ok(look) => {
            let since = schedule.and_then(|schedule| schedule.since);
            state.complaints = complaints(now, &look, of.alert, since);
            state.complaints.extend(job.and_then(|job| other_sources(job, &look)));
            let frozen = |freeze: &Freeze| Reason::MassChange {
                freeze: freeze.clone(),
                backups_dir: of.dir.as_os_str().as_bytes().to_vec(),
            };
            state.complaints.extend(look.frozen.as_ref().map(frozen));
            if let Some(job) = job {
                let oldest = look.history.complete.first().map(|name| name.stamp.time());
                let newest = look.history.base(now).map(|name| name.stamp.time());
                let late = late(now, &job.copies, &state.copies, (oldest, newest));
                state.complaints.extend(late.into_iter().map(|late| late.reason));
                let drills = failed_drills(&job.copies, &state.copies);
                state.complaints.extend(drills.into_iter().map(|(_, reason)| reason));
            }
            state.due = job
                .map(|job| due(&look.history, job.job.minimum_time_guard, job.limits.hours, now));
            state.crontab = schedule.zip(state.due).and_then(|(schedule, due)| schedule.next(due));
            state.contains = look.reports.last().map(|report| Contents::of(report).to_string());
            state.forecast = match look.space {
                Some(space) => forecast(&look.reports, space.free_bytes, now),
                None => Forecast::Unknown,
            };
            state.look = Ok(look);
        }
        Err(error) => {
            let complaint = match hint(&error) {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            };
            state.complaints = vec![Reason::Unreadable(complaint.clone())];
            state.look = Err(complaint);
        }
    }
    state
}

/// Why the snapshots belong to other sources than this job's. In that case the job has no snapshots.
fn other_sources(job: &NamedJob, look: &Look) -> Option<Reason> {
    let newest = Sources::of(look.reports.last()?);
    let error = newest.refuse(&job.job.host, &job.job.layout, &job.job.prefix)?;
    Some(Reason::OtherSources(match hint(&error) {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }))
}

/// When the crontab starts runs, if there is a crontab.
pub(crate) struct Schedule {
    crontab: Crontab,
    /// When the crontab was written. Snapshots are expected from then on.
    since: Option<DateTime<Utc>>,
}

impl Schedule {
    fn of(inputs: &Inputs) -> Self {
        let path = crontab_path(inputs);
        let (zone, _) = environment_zone();
        let text = bounded::read(&path, bounded::TEXT).unwrap_or_default();
        Self {
            crontab: Crontab::read(&String::from_utf8_lossy(&text), zone),
            since: written(&path),
        }
    }

    /// The first time at or after `from` at which a run of any job starts.
    fn next(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let just_before = from - chrono::TimeDelta::seconds(1);
        let lines = self.crontab.lines.iter();
        let lines = lines.filter(|line| line.command.split_whitespace().any(|word| word == "run"));
        lines.filter_map(|line| line.next(just_before)).min()
    }
}

/// The path of the crontab.
pub(crate) fn crontab_path(inputs: &Inputs) -> PathBuf {
    config_dir(&inputs.variables, &inputs.current_dir).join(CRONTAB)
}

fn written(path: &Path) -> Option<DateTime<Utc>> {
    Some(DateTime::from(fs::metadata(path).ok()?.modified().ok()?))
}

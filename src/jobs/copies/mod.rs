//! Copies the snapshots of a job into further folders: on request, and after each run.

pub(crate) mod failure;
pub(crate) mod hosts;

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use engine::copy::{CopiedSnapshot, CopyJob, CopyOutcome, CopyStep, copy, preview};
use engine::fs::missing_mount;
use engine::monitor::Phase;
use engine::repository::{AppFiles, LastDrill};
use engine::snapshot::SnapshotLinks;
use engine::{LookError, Monitor, Prefix, Progress, Repository, Retention, RunError, Stop};
use serde_json::json;
use tracing::Level;
use transport::LocalStore;

use crate::config::host_dir::HostDir;
use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::health::copies::CopyStates;
use crate::jobs::copies::failure::CopyFailure;
use crate::jobs::copies::hosts::{HostsReached, is_host};
use crate::jobs::job_context::context;
use crate::jobs::log_monitor::{LogMonitor, event};
use crate::log::JobLog;
use crate::term::terminal;
use crate::term::units::{bytes, counted};
use crate::ui::parts::Parts;
use crate::ui::progress::{ProgressTimer, Show};
use crate::ui::progress_line::Task;

/// The snapshots to copy.
#[derive(Debug, Clone)]
pub(crate) struct CopyFrom<'a> {
    /// The name of the job, for the log.
    pub(crate) name: &'a str,
    /// The folder that is read.
    pub(crate) folder: &'a Path,
    pub(crate) prefix: &'a Prefix,
    /// The retention rules of the copy.
    pub(crate) retention: Retention,
    /// Only so many of the newest.
    pub(crate) newest: Option<NonZeroUsize>,
    /// The mode of a new folder.
    pub(crate) backups_mode: Option<u32>,
    pub(crate) rename_from: Option<u64>,
    pub(crate) fake_super: bool,
    /// Whether the folder that is read records the state of its copies.
    pub(crate) is_own: bool,
    /// Whether a run makes the copy. The next one tries again what cannot be done now.
    pub(crate) after_run: bool,
    /// How a host is reached, if one of the folders is on a host.
    pub(crate) hosts: HostsReached<'a>,
    pub(crate) format: Format,
    /// Whether a display on the terminal may show the progress.
    pub(crate) display: bool,
}

impl<'a> CopyFrom<'a> {
    fn of(job: &'a NamedJob, format: Format, display: bool) -> Self {
        Self {
            name: &job.name,
            folder: &job.job.backups_dir,
            prefix: &job.job.prefix,
            retention: job.copies.retention.clone(),
            newest: None,
            backups_mode: job.job.backups_mode,
            rename_from: job.job.rename_from,
            fake_super: job.job.keep.fake_super,
            is_own: true,
            after_run: true,
            hosts: HostsReached { reach: &job.copies.reach, job: Some(job) },
            format,
            display,
        }
    }

    fn to(&self, folder: &Path) -> CopyJob {
        CopyJob {
            prefix: self.prefix.clone(),
            backups_dir: folder.to_owned(),
            backups_mode: self.backups_mode,
            retention: self.retention.clone(),
            newest: self.newest,
            rename_from: self.rename_from,
            links: SnapshotLinks::default(),
            fake_super: self.fake_super,
            only_adds: false,
            selection: None,
        }
    }

    fn store(&self, stop: &Arc<Stop>) -> Result<LocalStore, RunError> {
        let opened: Result<_, LookError> =
            LocalStore::open(self.folder, self.fake_super, Arc::clone(stop));
        Ok(opened?)
    }

    /// Copies into the folder `to`, logs what was done and records it.
    pub(crate) fn copy_into(&self, to: &Path, stop: &Arc<Stop>) -> Exit {
        let log = JobLog::new(self.name, self.format);
        let progress = Arc::new(Progress::default());
        let monitor = Arc::new(LogMonitor::of_copy(log.clone())) as Arc<dyn Monitor>;
        let context = context(stop, &progress, monitor);
        let display = self.display && self.format == Format::Text && terminal::can_redraw();
        let show = match display {
            true => Show::Display(Parts { noun: "copy into", paths: vec![shown_path(to)] }),
            false => Show::Lines(log.clone()),
        };
        progress.enter(Phase::Preparing);
        let timer = ProgressTimer::start(Arc::clone(&progress), show, Task::Backup);
        let outcome = match (HostDir::of(self.folder), HostDir::of(to)) {
            (None, None) => self
                .store(stop)
                .and_then(|store| copy(&self.to(to), &store, &context))
                .map_err(CopyFailure::from),
            (None, Some(host)) => {
                self.hosts.push((self.folder, &host), &self.to(Path::new("")), &context, &log)
            }
            // The command line names one host at most.
            (Some(host), _) => self.hosts.pull(&host, &self.to(to), &context, &log),
        };
        drop(timer);
        let exit = match &outcome {
            Ok(CopyOutcome::Busy) => self.logged_busy(&log, to),
            Ok(CopyOutcome::Done { copied, newest }) => {
                logged(&log, to, copied, newest.as_ref().map(ToString::to_string))
            }
            Err(failure) => logged_failure(&log, to, failure, stop),
        };
        self.record(to, &outcome, &log);
        exit
    }

    /// Nothing was copied, which is no success for a user who asked for it.
    fn logged_busy(&self, log: &JobLog, to: &Path) -> Exit {
        let to = shown_path(to);
        let (level, what, exit) = match self.after_run {
            true => (
                Level::INFO,
                format!(
                    "the copy into {to} is put off: another run or copy is at work there; the next run tries again"
                ),
                Exit::Done,
            ),
            false => (
                Level::ERROR,
                format!(
                    "nothing was copied: another run or copy is at work in {to}; try again when it is done"
                ),
                Exit::Failed,
            ),
        };
        log.log(level, &what, event(json!({"event": "copy_busy", "to": to})), "");
        exit
    }

    /// What [`Self::copy_into`] would copy, a line for each snapshot.
    pub(crate) fn preview(&self, to: &Path, stop: &Arc<Stop>) -> Result<Vec<String>, CopyFailure> {
        let log = JobLog::new(self.name, self.format);
        let monitor = Arc::new(LogMonitor::new(log.clone())) as Arc<dyn Monitor>;
        let context = context(stop, &Arc::default(), monitor);
        let steps = match (HostDir::of(self.folder), HostDir::of(to)) {
            (None, None) => {
                let store = self.store(stop)?;
                preview(&self.to(to), &store)?
            }
            (None, Some(host)) => {
                let job = self.to(Path::new(""));
                self.hosts.preview_push((self.folder, &host), &job, &context, &log)?
            }
            (Some(host), _) => self.hosts.preview_pull(&host, &self.to(to), &context, &log)?,
        };
        let line = |step: &CopyStep| match (&step.common, step.resumes) {
            (_, true) => format!("{} would be continued", step.name),
            (Some(common), _) => {
                format!("{} would be copied, linked to the copy of {common}", step.name)
            }
            (None, _) => format!("{} would be copied", step.name),
        };
        Ok(steps.iter().map(line).collect())
    }

    /// Records the state of the copy in the folder that is read.
    fn record(&self, to: &Path, outcome: &Result<CopyOutcome, CopyFailure>, log: &JobLog) {
        let reason = match outcome {
            Ok(CopyOutcome::Busy) => return,
            Ok(CopyOutcome::Done { .. }) => None,
            Err(failure) if failure.is_stop || failure.exit == Exit::Usage => return,
            Err(failure) => Some(failure.what.clone()),
        };
        self.note(to, log, |state, now| {
            if let Ok(CopyOutcome::Done { newest, .. }) = outcome {
                state.completed = Some(now);
                state.newest = newest.as_ref().map(ToString::to_string);
            }
            (state.reason, state.absent) = (reason, false);
        });
    }

    fn note(
        &self,
        to: &Path,
        log: &JobLog,
        change: impl FnOnce(&mut crate::health::copies::CopyState, i64),
    ) {
        // Snapshots that another program made have no place for it.
        let Some(own) = AppFiles::open(self.folder).ok().filter(|_| self.is_own) else { return };
        let mut states = CopyStates::load(&own, self.prefix);
        let now = Utc::now().timestamp();
        let state = states.0.entry(shown_path(to)).or_default();
        if state.since == 0 {
            state.since = now;
        }
        state.tried = now;
        state.drill = drilled(to, self.prefix).or(state.drill.take());
        change(state, now);
        if let Err(error) = states.store(&own, self.prefix) {
            log.warn(&format!("the state of the copy cannot be recorded: {error}"));
        }
    }
}

/// Brings the copies of `job` (`COPY_TO`) up to date. A copy whose disk is missing is put off.
pub(crate) fn after_run(job: &NamedJob, format: Format, display: bool, stop: &Arc<Stop>) -> Exit {
    let from = CopyFrom::of(job, format, display);
    let log = JobLog::new(&job.name, format);
    let mut worst = Exit::Done;
    for to in &job.copies.to {
        if stop.asked() {
            return worst.worse(Exit::STOPPED);
        }
        let states = CopyStates::of(&job.job.backups_dir, &job.job.prefix);
        let known = states.0.get(&shown_path(to)).is_some_and(|state| state.newest.is_some());
        if !is_host(to)
            && let Some(why) = absence(to, known)
        {
            let what = format!(
                "the copy into {} is put off: {why}; the next run tries again",
                shown_path(to)
            );
            log.log(Level::INFO, &what, event(json!({"event": "copy_put_off"})), "");
            from.note(to, &log, |state, _| (state.reason, state.absent) = (Some(why), true));
            continue;
        }
        worst = worst.worse(match from.copy_into(to, stop) {
            // The settings are right; the folder is not.
            Exit::Usage => Exit::Failed,
            exit => exit,
        });
    }
    worst
}

/// The last restore drill of the copy in `to`, as it is stored there.
pub(crate) fn drilled(to: &Path, prefix: &Prefix) -> Option<LastDrill> {
    Repository::open(to).ok()?.last_drill(prefix)
}

/// Records a restore drill of the copy in `to` for the status of the job with the backups folder `own`, if that made the copy.
pub(crate) fn note_drill(
    own: &Path,
    prefix: &Prefix,
    to: &Path,
    drill: LastDrill,
) -> io::Result<()> {
    let opened: Result<_, LookError> = AppFiles::open(own);
    let Ok(own) = opened else { return Ok(()) };
    let mut states = CopyStates::load(&own, prefix);
    let Some(state) = states.0.get_mut(&shown_path(to)) else { return Ok(()) };
    state.drill = Some(drill);
    states.store(&own, prefix)
}

/// Why the disk of the copy in `to` is not there. `known`: it had snapshots before.
pub(crate) fn absence(to: &Path, known: bool) -> Option<String> {
    if let Some(mount_point) = missing_mount(to) {
        return Some(format!("{} is not mounted", shown_path(&mount_point)));
    }
    if known && !to.join(".backup_manager").is_dir() {
        let why = "the snapshots that were copied there are gone, so its disk is not mounted";
        let again = "if the copy is to begin anew there, backup_manager copy does it";
        return Some(format!("{why}; {again}"));
    }
    let parent = to.parent().filter(|parent| !parent.is_dir());
    parent.map(|parent| format!("there is no folder {}", shown_path(parent)))
}

fn logged(log: &JobLog, to: &Path, copied: &[CopiedSnapshot], newest: Option<String>) -> Exit {
    let to = shown_path(to);
    let what = match (copied, &newest) {
        ([], Some(newest)) => format!("nothing to copy: {to} has {newest}"),
        ([], None) => format!("nothing to copy: there is no snapshot for {to}"),
        (copied, _) => described(copied, &to),
    };
    let problems: u64 = copied.iter().map(|one| one.problems).sum();
    let fields = json!({
        "event": "copied", "to": to, "newest": newest, "problems": problems,
        "snapshots": copied.iter().map(|one| one.name.to_string()).collect::<Vec<_>>(),
    });
    log.log(Level::INFO, &what, event(fields), "");
    if problems == 0 {
        return Exit::Done;
    }
    log.warn(&format!(
        "copied, but {} not as {} in the snapshots, see above (exit code 3)",
        counted(problems, "entry is", "entries are"),
        if problems == 1 { "it is" } else { "they are" },
    ));
    Exit::Listed
}

fn logged_failure(log: &JobLog, to: &Path, failure: &CopyFailure, stop: &Stop) -> Exit {
    let CopyFailure { what: error, hint, exit, is_stop } = failure;
    if *is_stop && stop.asked() {
        return Exit::STOPPED;
    }
    let to = shown_path(to);
    let fields = json!({"event": "copy_failed", "to": to, "error": error, "hint": hint});
    let what = match hint {
        Some(hint) => format!("the copy into {to} failed: {error}; {hint}"),
        None => format!("the copy into {to} failed: {error}"),
    };
    log.log(Level::ERROR, &what, event(fields), "");
    *exit
}

fn described(copied: &[CopiedSnapshot], to: &str) -> String {
    let sum = |of: fn(&CopiedSnapshot) -> u64| copied.iter().map(of).sum::<u64>();
    let (linked, files) = (sum(|one| one.counts.linked), sum(|one| one.counts.copied));
    let stored = bytes(sum(|one| one.counts.bytes_copied));
    let count = copied.len() as u64;
    let newest = copied.last().map(|one| one.name.to_string()).unwrap_or_default();
    format!(
        "copied {} into {to}, the last one is {newest}: {} linked, {} with {stored} copied",
        counted(count, "snapshot", "snapshots"),
        counted(linked, "entry", "entries"),
        counted(files, "file", "files"),
    )
}

//! Copies the snapshots of a job into further folders: on request, and after each run.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use engine::copy::{CopiedSnapshot, CopyJob, CopyOutcome, copy, preview};
use engine::fs::missing_mount;
use engine::monitor::Phase;
use engine::repository::AppFiles;
use engine::snapshot::SnapshotLinks;
use engine::{LookError, Monitor, Prefix, Progress, Retention, RunError, Stop};
use serde_json::json;
use tracing::Level;
use transport::LocalStore;

use crate::config::log_format::Format;
use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::exit::Exit;
use crate::health::copies::CopyStates;
use crate::hint;
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
        let monitor = Arc::new(LogMonitor::new(log.clone())) as Arc<dyn Monitor>;
        let context = context(stop, &progress, monitor);
        let display = self.display && self.format == Format::Text && terminal::can_redraw();
        let show = match display {
            true => Show::Display(Parts { noun: "copy into", paths: vec![shown_path(to)] }),
            false => Show::Lines(log.clone()),
        };
        progress.enter(Phase::Preparing);
        let timer = ProgressTimer::start(Arc::clone(&progress), show, Task::Backup);
        let outcome = self.store(stop).and_then(|store| copy(&self.to(to), &store, &context));
        drop(timer);
        let exit = logged(&log, to, &outcome, stop);
        self.record(to, &outcome, &log);
        exit
    }

    /// What [`Self::copy_into`] would copy, a line for each snapshot.
    pub(crate) fn preview(&self, to: &Path) -> Result<Vec<String>, RunError> {
        let store = self.store(&Arc::default())?;
        let steps = preview(&self.to(to), &store)?;
        let line = |step: &engine::copy::CopyStep| match (&step.common, step.resumes) {
            (_, true) => format!("{} would be continued", step.name),
            (Some(common), _) => {
                format!("{} would be copied, linked to the copy of {common}", step.name)
            }
            (None, _) => format!("{} would be copied", step.name),
        };
        Ok(steps.iter().map(line).collect())
    }

    /// Records the state of the copy in the folder that is read.
    fn record(&self, to: &Path, outcome: &Result<CopyOutcome, RunError>, log: &JobLog) {
        let reason = match outcome {
            Ok(CopyOutcome::Busy) | Err(RunError::Stopped | RunError::NotForCopies { .. }) => {
                return;
            }
            Ok(CopyOutcome::Done { .. }) => None,
            Err(error) => Some(error.to_string()),
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
        if let Some(why) = absence(to, known) {
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

/// Why the disk of the copy in `to` is not there. `known`: it had snapshots before.
fn absence(to: &Path, known: bool) -> Option<String> {
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

fn logged(log: &JobLog, to: &Path, outcome: &Result<CopyOutcome, RunError>, stop: &Stop) -> Exit {
    let to = shown_path(to);
    match outcome {
        Ok(CopyOutcome::Busy) => {
            let what = format!("nothing to copy: another run or copy is at work in {to}");
            log.log(Level::INFO, &what, event(json!({"event": "copy_busy"})), "");
            Exit::Done
        }
        Ok(CopyOutcome::Done { copied, newest }) => {
            let newest = newest.as_ref().map(ToString::to_string);
            let what = match (&copied[..], &newest) {
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
        Err(RunError::Stopped) if stop.asked() => Exit::STOPPED,
        Err(error) => {
            let hint = hint_for(error);
            let fields =
                json!({"event": "copy_failed", "to": to, "error": error.to_string(), "hint": hint});
            let what = match &hint {
                Some(hint) => format!("the copy into {to} failed: {error}; {hint}"),
                None => format!("the copy into {to} failed: {error}"),
            };
            log.log(Level::ERROR, &what, event(fields), "");
            match error {
                RunError::NotForCopies { .. } => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
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

/// The next step after a failed copy.
pub(crate) fn hint_for(error: &RunError) -> Option<String> {
    match error {
        RunError::NoSpace { .. } => Some(
            "free space there, or lower COPY_MAX_BACKUPS; what was copied so far stays for the next copy"
                .to_owned(),
        ),
        RunError::NotForCopies { .. } => Some("write another folder".to_owned()),
        RunError::Destination { action: "cannot create", path, .. } => {
            let above = shown_path(path.parent().unwrap_or(path));
            Some(format!("mount or make {above}, or write another folder"))
        }
        RunError::Destination { .. } => {
            Some("check that both folders are mounted, and that of the copy writable".to_owned())
        }
        error => hint::hint(error).map(|step| step.to_string()),
    }
}

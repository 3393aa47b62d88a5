//! Runs the jobs, one after the other or several at the same time. The exit code is the worst of theirs.

pub(crate) mod channels;
pub(crate) mod copies;
pub(crate) mod explain;
pub(crate) mod hooks;
pub(crate) mod job_context;
pub(crate) mod lifecycle;
pub(crate) mod limits;
pub(crate) mod log_monitor;
pub(crate) mod metrics;
pub(crate) mod mistakes;
pub(crate) mod open_source;
pub(crate) mod parallel;
pub(crate) mod signals;
pub(crate) mod sync_child;

use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use engine::Accept;
use engine::Report;
use engine::Repository;
use engine::RunError;
use engine::SnapshotName;
use engine::Stop;
use engine::backup::ChangeSink;
use engine::backup::ReadySource;
use engine::backup::dry_run;
use engine::monitor::Items;
use engine::repository::SourceRoots;
use engine::{Monitor, Progress};
use engine::{Outcome, run};
use rustix::process::geteuid;
use serde_json::json;
use tracing::Level;

use crate::config::mistake::shown_path;
use crate::config::types::NamedJob;
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::hint::hint_for;
pub(crate) use crate::jobs::job_context::context;
use crate::jobs::lifecycle::Lifecycle;
use crate::jobs::limits::window::WindowStop;
use crate::jobs::log_monitor::{LogMonitor, event, fields};
use crate::jobs::open_source::{Access, close, local, remember, remote};
use crate::jobs::parallel::part::Part;
use crate::log::JobLog;
use crate::schedule::window::{OpenHours, WindowState};
use crate::term::local_time;
use crate::term::terminal;
use crate::term::units::{counted, duration};
use crate::ui::dry_run::{DryRunChanges, DryRunEnd, DryRunFormat};
use crate::ui::itemize::ItemLines;
use crate::ui::mass_change::frozen;
use crate::ui::parts::Parts;
use crate::ui::progress::{ProgressTimer, Show};
use crate::ui::progress_line::Task;
use crate::ui::stats::stats;
use crate::ui::summary::{SnapshotCount, summary};

/// What to do with each job.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// Take a snapshot.
    Run,
    /// Print what a run would do.
    DryRun(DryRunFormat),
}

impl Mode {
    /// The dry-run mode that corresponds to this mode.
    pub(crate) fn dry(self) -> Self {
        match self {
            Self::Run => Self::DryRun(DryRunFormat::Text),
            dry => dry,
        }
    }
}

/// The options for running the jobs.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) mode: Mode,
    pub(crate) accept: Accept,
    pub(crate) format: Format,
    /// The process that started this one for one of several jobs.
    pub(crate) part: Option<Part>,
}

impl Work {
    /// Runs all `jobs`. A failed job does not stop the others.
    pub(crate) fn all(&self, jobs: &[NamedJob], stop: &Arc<Stop>) -> Exit {
        let mut worst = Exit::Done;
        for job in jobs {
            if stop.asked() {
                return worst.worse(Exit::STOPPED);
            }
            // `-n` in a job's rsync options applies to that job.
            let mode = if job.wanted.dry_run { self.mode.dry() } else { self.mode };
            let exit = match mode {
                Mode::Run => self.run(job, stop),
                Mode::DryRun(form) => match self.dry_run(job, form, jobs.len() > 1, stop) {
                    Some(exit) => exit,
                    None => return worst,
                },
            };
            worst = worst.worse(exit);
        }
        worst
    }

    fn run(&self, job: &NamedJob, stop: &Arc<Stop>) -> Exit {
        let log = JobLog::new(&job.name, self.format);
        if let Some(hours) = job.limits.hours
            && let WindowState::Closed { opens } = hours.at(Utc::now())
        {
            return outside(&log, job, stop, hours, opens);
        }
        let all = stop;
        let in_window = WindowStop::new(all, job.limits.hours);
        let stop = &in_window.stop;
        if !job.without_effect.is_empty() {
            log.info(&format!("rsync options without effect: {}", job.without_effect.join(", ")));
        }
        let (progress, monitor) =
            (Arc::new(Progress::default()), Arc::new(LogMonitor::new(log.clone())));
        let mut context = context(stop, &progress, Arc::clone(&monitor) as Arc<dyn Monitor>);
        context.items = self.items(job, self.format == Format::Json);
        let ticker = self.ticker(job, &progress, &log, Task::Backup);
        let mut connected = None;
        let lifecycle = Lifecycle { job, stop, log: &log, began: Instant::now() };
        let outcome = match &job.remote {
            None => {
                let source = || lifecycle.before().map(|()| local(job, stop));
                // The sources may be mounted by PRE_BACKUP, so they are ready only without it.
                let ready = job.hooks.pre.is_none();
                let near = ReadySource { source: local(job, stop), ready };
                run(&job.job, Some(near), source, self.accept, &context)
            }
            Some(host) => {
                let mut connect = || remote(host, job, stop, Access::Run, &mut connected);
                let source =
                    || lifecycle.before().and_then(|()| connect().map_err(RunError::NoConnection));
                run(&job.job, None, source, self.accept, &context)
            }
        };
        remember(job, connected.as_ref(), &log);
        close(connected);
        drop(ticker);
        let exit = match &outcome {
            Ok(Outcome::Busy) => {
                let what = "nothing to do: another run of this job is at work";
                log.log(Level::INFO, what, event(json!({"event": "busy"})), "");
                Exit::Done
            }
            Ok(Outcome::Held { newest, next }) => {
                held(&log, job, newest, *next);
                Exit::Done
            }
            Ok(Outcome::Completed(report)) => completed(&log, job, report, &monitor),
            Err(RunError::PutOff { said }) => {
                let what = format!("nothing to do: {said}; the next run tries again");
                log.log(Level::INFO, &what, event(json!({"event": "put_off"})), "");
                Exit::Done
            }
            Err(RunError::Stopped) if stop.asked() && !all.asked() => window_end(&log, job),
            Err(error) => failed(&log, job, error, stop),
        };
        let is_over =
            matches!(outcome, Ok(Outcome::Busy) | Err(RunError::PutOff { .. } | RunError::Stopped));
        let copied = match is_over {
            true => Exit::Done,
            false => copies::after_run(job, self.format, self.part.is_none(), stop),
        };
        let copied = match copied {
            Exit::Signal(_) if !all.asked() => window_end(&log, job),
            exit => exit,
        };
        lifecycle.after(&outcome, exit);
        exit.worse(copied)
    }

    /// Prints what a run would do. Returns `None` if the output is closed.
    fn dry_run(
        &self,
        job: &NamedJob,
        form: DryRunFormat,
        several: bool,
        stop: &Arc<Stop>,
    ) -> Option<Exit> {
        let log = JobLog::new(&job.name, self.format);
        let (progress, monitor) =
            (Arc::new(Progress::default()), Arc::new(LogMonitor::new(log.clone())));
        let mut context = context(stop, &progress, Arc::clone(&monitor) as Arc<dyn Monitor>);
        context.items = self.items(job, form == DryRunFormat::Json);
        let itemized = context.items.is_some() && form == DryRunFormat::Text;
        let mut changes = DryRunChanges::to_stdout(
            form,
            &job.name,
            SourceRoots::of_layout(&job.job.layout),
            Arc::clone(stop),
        );
        if itemized {
            changes = changes.totals_only();
        }
        let changes = Arc::new(changes);
        if several {
            changes.heading(&format!("job {}:", job.name));
        }
        let ticker = self.ticker(job, &progress, &log, Task::DryRun);
        let sink = Arc::clone(&changes) as Arc<dyn ChangeSink>;
        let mut connected = None;
        let forecast = match &job.remote {
            None => dry_run(&job.job, local(job, stop), sink, self.accept, &context),
            Some(host) => remote(host, job, stop, Access::Look, &mut connected)
                .map_err(RunError::NoConnection)
                .and_then(|source| dry_run(&job.job, source, sink, self.accept, &context))
                .map_err(|error| error.or_stopped(stop)),
        };
        close(connected);
        drop(ticker);
        if let (true, Ok(forecast)) = (job.wanted.stats && form == DryRunFormat::Text, &forecast) {
            changes.heading(&stats(&forecast.counts, None));
        }
        let written = changes.finish(forecast.as_ref().ok(), self.accept.shrink);
        let exit = match forecast {
            // A run that would be held or refused is a valid answer, not a failure. Entries that could not be
            // read make the answer incomplete.
            Ok(forecast) if forecast.counts.problems > 0 => Exit::Listed,
            Ok(_) => Exit::Done,
            Err(_) if matches!(written, DryRunEnd::Closed) => return None,
            Err(error) => failed(&log, job, &error, stop),
        };
        match written {
            DryRunEnd::Whole => Some(exit),
            DryRunEnd::Closed => None,
            DryRunEnd::Failed(error) => {
                log.log(Level::ERROR, &format!("cannot write to stdout: {error}"), None, "");
                Some(Exit::Failed)
            }
        }
    }

    /// The sink for each change, if requested (`-i`).
    fn items(&self, job: &NamedJob, json: bool) -> Option<Items> {
        let lines = || ItemLines::new(&job.name, json);
        let often = job.wanted.itemize;
        (often > 0).then(|| Items::new(Arc::new(lines()), often > 1))
    }

    fn ticker(
        &self,
        job: &NamedJob,
        progress: &Arc<Progress>,
        log: &JobLog,
        task: Task,
    ) -> ProgressTimer {
        // The lines of a dry run on the same terminal already show the progress.
        let free = !(task == Task::DryRun && io::stdout().is_terminal());
        let display = self.format == Format::Text && terminal::can_redraw() && free;
        let roots = || job.job.layout.roots().into_iter().map(|(path, _)| shown_path(&path));
        let show = if let Some(pass_on) = self.part.as_ref().and_then(Part::progress) {
            Show::Elsewhere(pass_on)
        } else if display {
            Show::Display(Parts { noun: "source", paths: roots().collect() })
        } else {
            Show::Lines(log.clone())
        };
        ProgressTimer::start(Arc::clone(progress), show, task)
    }
}

fn held(log: &JobLog, job: &NamedJob, newest: &SnapshotName, next: DateTime<Utc>) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds and milliseconds of less than a century"
    )]
    let (age, hours) = (
        (Utc::now() - newest.stamp.time()).num_seconds() as f64,
        job.job.minimum_time_guard.num_milliseconds() as f64 / 3_600_000.0,
    );
    let message = format!(
        "nothing to do: {newest} is {} old, the next snapshot is due at {} (MINIMUM_TIME_GUARD_H={hours}); run --now takes one at once",
        duration(age),
        local_time::second(next),
    );
    let fields = event(
        json!({"event": "held", "newest": newest.to_string(), "next": next.to_rfc3339_opts(SecondsFormat::Secs, true)}),
    );
    log.log(Level::INFO, &message, fields, "");
}

/// Reports that the window of the job is closed.
fn outside(
    log: &JobLog,
    job: &NamedJob,
    stop: &Stop,
    hours: OpenHours,
    opens: DateTime<Utc>,
) -> Exit {
    let said =
        format!("outside WINDOW={}, which opens at {}", hours.window, local_time::second(opens));
    let message = format!("nothing to do: {said}; run --now does not wait for it");
    let opens = opens.to_rfc3339_opts(SecondsFormat::Secs, true);
    log.log(Level::INFO, &message, event(json!({"event": "outside_window", "opens": opens})), "");
    let lifecycle = Lifecycle { job, stop, log, began: Instant::now() };
    lifecycle.after(&Err(RunError::PutOff { said }), Exit::Done);
    Exit::Done
}

/// Reports that the run was stopped because its window has ended.
fn window_end(log: &JobLog, job: &NamedJob) -> Exit {
    let window = job.limits.hours.map(|hours| hours.window.to_string()).unwrap_or_default();
    let message = format!(
        "stopped at the end of WINDOW={window}; what was copied stays, the next run in it resumes it"
    );
    log.log(Level::INFO, &message, event(json!({"event": "window_end"})), "");
    Exit::WindowEnd
}

fn completed(log: &JobLog, job: &NamedJob, report: &Report, monitor: &LogMonitor) -> Exit {
    let counts = &report.counts;
    let problems = counts.problems;
    let with = match problems {
        0 if report.frozen.is_some() => ", but no snapshot was removed".to_owned(),
        0 => String::new(),
        _ => format!(", but {} could not be read well", counted(problems, "entry", "entries")),
    };
    let message = format!("completed {}{with}", report.snapshot);
    let after = count_after(job);
    let complete = after.map(|after| after.complete);
    let fields =
        event(json!({"event": "completed", "report": fields(report), "snapshots": complete}));
    let mut below = summary(report, monitor.problems(), after);
    if job.wanted.stats {
        below.push_str(&stats(counts, report.connection.as_ref()));
    }
    log.log(Level::INFO, &message, fields, &below);
    if let Some(freeze) = &report.frozen {
        log.warn(&frozen(freeze, job.job.backups_dir.as_os_str().as_bytes()));
    }
    if problems == 0 {
        let is_well = report.stuck.is_empty() && report.frozen.is_none();
        return if is_well { Exit::Done } else { Exit::Listed };
    }
    let file = format!(".backup_manager/reports/{}.json", report.snapshot);
    let file = shown_path(&job.job.backups_dir.join(file));
    let root = monitor.is_denied() && job.remote.is_none() && !geteuid().is_root();
    log.warn(&format!(
        "completed, but some files could not be read: {} in {file} (exit code 3){}",
        counted(problems, "entry is listed", "entries are listed"),
        if root { "; a run by root reads what this user may not" } else { "" }
    ));
    Exit::Listed
}

/// The number of complete snapshots now; `None` if the backups folder cannot be listed.
fn count_after(job: &NamedJob) -> Option<SnapshotCount> {
    let repository = Repository::open(&job.job.backups_dir).ok()?;
    let history = repository.history(&job.job.prefix).ok()?;
    Some(SnapshotCount { complete: history.complete.len(), most: job.job.retention.max })
}

fn failed(log: &JobLog, job: &NamedJob, error: &RunError, stop: &Stop) -> Exit {
    if stop.asked() && matches!(error, RunError::Stopped) {
        return Exit::STOPPED;
    }
    let hint = hint_for(job, error);
    let message = match &hint {
        Some(hint) => format!("failed: {error}; {hint}"),
        None => format!("failed: {error}"),
    };
    let fields = event(json!({"event": "failed", "error": error.to_string(), "hint": hint}));
    log.log(Level::ERROR, &message, fields, "");
    match error {
        RunError::OtherSources { .. } => Exit::Usage,
        _ => Exit::Failed,
    }
}

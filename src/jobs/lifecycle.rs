//! The actions around a run: the user's commands, metrics and alerts.

use std::ffi::OsString;
use std::time::Instant;

use chrono::Utc;
use engine::Outcome;
use engine::Report;
use engine::RunError;
use engine::Stop;
use engine::repository::AppFiles;

use crate::config::types::NamedJob;
use crate::exit::Exit;
use crate::hint::hint_for;
use crate::jobs::hooks::HookVariables;
use crate::jobs::metrics::LastRun;
use crate::jobs::{hooks, metrics};
use crate::log::JobLog;
use crate::notify;
use crate::notify::decide;

/// One run of a job.
pub(crate) struct Lifecycle<'a> {
    pub(crate) job: &'a NamedJob,
    pub(crate) stop: &'a Stop,
    pub(crate) log: &'a JobLog,
    pub(crate) began: Instant,
}

impl Lifecycle<'_> {
    /// Runs PRE_BACKUP before anything is changed.
    ///
    /// # Errors
    /// If the user's command failed, or postponed the run.
    pub(crate) fn before(&self) -> Result<(), RunError> {
        let ended = match &self.job.hooks.pre {
            Some(command) => self.hook("PRE_BACKUP", command, Vec::new()),
            None => hooks::HookEnd::Well,
        };
        match ended {
            hooks::HookEnd::Well => {
                notify::begun(self.job, self.log);
                Ok(())
            }
            hooks::HookEnd::PutOff => {
                Err(RunError::PutOff { said: "PRE_BACKUP ended with exit code 75".to_owned() })
            }
            hooks::HookEnd::Failed(said) => Err(RunError::Preparation { said }),
            hooks::HookEnd::Stopped => Err(RunError::Stopped),
        }
    }

    /// Runs POST_BACKUP, and writes metrics and alerts, after a run with this outcome.
    pub(crate) fn after(&self, outcome: &Result<Outcome, RunError>, exit: Exit) {
        if matches!(outcome, Ok(Outcome::Busy)) {
            // The run that is in progress does this when it ends.
            return;
        }
        let ended = ended(self.job, outcome);
        let (job, log) = (self.job, self.log);
        let began = !matches!(ended, decide::RunEnd::Nothing);
        let last = began.then(|| LastRun {
            finished: Utc::now().timestamp(),
            seconds: self.began.elapsed().as_secs_f64(),
            exit_code: exit.code(),
        });
        if let Ok(own) = AppFiles::open(&job.job.backups_dir)
            && let Err(error) = metrics::write(&own, job, last, Utc::now())
        {
            log.warn(&format!("the metrics cannot be written: {error}"));
        }
        let (name, command) = match ended {
            decide::RunEnd::Completed { .. } => ("POST_BACKUP", &job.hooks.post),
            decide::RunEnd::Failed { .. } => ("ON_FAILURE", &job.hooks.on_failure),
            decide::RunEnd::Nothing => ("", &None),
        };
        if let Some(command) = command
            && let hooks::HookEnd::Failed(why) = self.hook(name, command, facts(outcome, exit))
        {
            log.warn(&why);
        }
        notify::after(&job.reporting(), ended, self.stop, log);
    }

    fn hook(&self, name: &'static str, command: &str, mut more: HookVariables) -> hooks::HookEnd {
        let (job, log) = (self.job, self.log);
        let mut facts: HookVariables = vec![
            ("BM_JOB", job.name.clone().into()),
            ("BM_PREFIX", job.job.prefix.to_string().into()),
            ("BM_BACKUPS_DIR", job.job.backups_dir.clone().into()),
        ];
        facts.append(&mut more);
        let lifecycle = hooks::HookContext { timeout: job.hooks.timeout, stop: self.stop, log };
        hooks::run(name, command, &facts, &lifecycle)
    }
}

fn ended(job: &NamedJob, outcome: &Result<Outcome, RunError>) -> decide::RunEnd {
    match outcome {
        Ok(Outcome::Completed(report)) => decide::RunEnd::Completed {
            snapshot: report.snapshot.clone(),
            problems: report.counts.problems,
            carried_forward: report.counts.carried_forward,
        },
        Ok(Outcome::Busy | Outcome::Held { .. })
        | Err(RunError::PutOff { .. } | RunError::Stopped) => decide::RunEnd::Nothing,
        Err(error) => decide::RunEnd::Failed {
            reason: error.to_string(),
            hint: hint_for(job, error).map(|hint| hint.to_string()),
        },
    }
}

/// The environment variables that describe a run to POST_BACKUP.
fn facts(outcome: &Result<Outcome, RunError>, exit: Exit) -> HookVariables {
    let mut facts: HookVariables = vec![("BM_EXIT_CODE", exit.code().to_string().into())];
    match outcome {
        Ok(Outcome::Completed(report)) => facts.extend(of_report(report)),
        Err(error) => facts.extend([
            ("BM_OUTCOME", OsString::from("failed")),
            ("BM_ERROR", error.to_string().into()),
        ]),
        Ok(_) => {}
    }
    facts
}

fn of_report(report: &Report) -> HookVariables {
    let counts = &report.counts;
    let is_well = counts.problems == 0 && report.frozen.is_none();
    let outcome = if is_well { "completed" } else { "completed_with_problems" };
    vec![
        ("BM_OUTCOME", outcome.into()),
        ("BM_SNAPSHOT", report.snapshot.clone().into()),
        ("BM_PATH", report.path.clone().into()),
        ("BM_ENTRIES", counts.entries.to_string().into()),
        ("BM_BYTES_COPIED", counts.bytes_copied.to_string().into()),
        ("BM_PROBLEMS", counts.problems.to_string().into()),
    ]
}

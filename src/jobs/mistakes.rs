//! Reports mistakes in the configuration of jobs that ran before, as failed runs: by alerts, pings and
//! ON_FAILURE, and in the status.

use std::sync::Arc;

use chrono::Utc;
use engine::Stop;
use engine::repository::AppFiles;
use tracing::Level;

use crate::config::types::{BrokenConfig, Reporting};
use crate::config::values::log_format::Format;
use crate::exit::Exit;
use crate::jobs::hooks::{self, HookContext, HookEnd};
use crate::jobs::signals::supervise;
use crate::log::{self, JobLog, Stream};
use crate::notify;
use crate::notify::decide::RunEnd;

const NEXT: &str = "correct it; doctor checks all settings";

/// Reports `reason` for each job that ran before. `None` if there is none: nothing was printed then.
pub(crate) fn report(mut config: BrokenConfig, reason: String) -> Option<Exit> {
    config.jobs.retain(|job| {
        AppFiles::open(&job.backups_dir).is_ok_and(|own| own.status(&job.prefix).is_some())
    });
    let (file, format) = (config.log_file.as_deref(), config.log_format);
    if config.jobs.is_empty() {
        return None;
    }
    log::start(format, Stream::Stdout, file);
    let work = move |stop: Arc<Stop>| {
        config.jobs.iter().for_each(|job| one(&job.reporting(), &reason, &stop, format));
        Exit::Usage
    };
    Some(supervise(work, |_| ()))
}

fn one(job: &Reporting<'_>, reason: &str, stop: &Stop, format: Format) {
    let log = JobLog::new(job.name, format);
    log.log(Level::ERROR, &format!("failed: {reason}; {NEXT}"), None, "");
    let noted =
        AppFiles::open(job.backups_dir).map_err(|error| error.to_string()).and_then(|own| {
            own.note_failure(job.prefix, Utc::now(), reason).map_err(|error| error.to_string())
        });
    if let Err(error) = noted {
        log.warn(&format!("the failure cannot be recorded: {error}"));
    }
    if let Some(command) = &job.hooks.on_failure {
        let facts = vec![
            ("BM_JOB", job.name.into()),
            ("BM_PREFIX", job.prefix.to_string().into()),
            ("BM_BACKUPS_DIR", job.backups_dir.into()),
            ("BM_EXIT_CODE", Exit::Usage.code().to_string().into()),
            ("BM_OUTCOME", "failed".into()),
            ("BM_ERROR", reason.into()),
        ];
        let context = HookContext { timeout: job.hooks.timeout, stop, log: &log };
        if let HookEnd::Failed(why) = hooks::run("ON_FAILURE", command, &facts, &context) {
            log.warn(&why);
        }
    }
    let ended = RunEnd::Failed { reason: reason.to_owned(), hint: Some(NEXT.to_owned()) };
    notify::after(job, ended, stop, &log);
}

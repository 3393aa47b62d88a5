//! Checks what a new user gets wrong, and says the command that mends it.

mod checks;
pub(crate) mod pin;

use std::sync::Arc;

use engine::error::RunError;
use engine::run::Stop;
use serde::Serialize;

use crate::config::{Config, NamedJob};
use crate::hint::hint;
use crate::notify;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    Good,
    /// It works, but its user should know.
    Warning,
    /// No snapshot can be taken, or nobody will hear of it.
    Bad,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The job that it is about; `None` for all.
    pub(crate) job: Option<String>,
    pub(crate) check: &'static str,
    pub(crate) grade: Grade,
    pub(crate) found: String,
    /// What mends it.
    pub(crate) mend: Option<String>,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { job: None, check, grade: Grade::Good, found: found.into(), mend: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let mend = Some(mend.into());
        Self { job: None, check, grade: Grade::Warning, found: found.into(), mend }
    }

    fn bad(check: &'static str, found: impl Into<String>, mend: Option<String>) -> Self {
        Self { job: None, check, grade: Grade::Bad, found: found.into(), mend }
    }

    /// Why a run could not do its work.
    fn of(check: &'static str, error: &RunError) -> Self {
        Self::bad(check, error.to_string(), hint(error).map(|hint| hint.to_string()))
    }

    fn about(self, job: &str) -> Self {
        Self { job: Some(job.to_owned()), ..self }
    }
}

/// What is done beside looking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Send a test every way that alerts are set up.
    pub(crate) notify_test: bool,
    /// Remove what is left of snapshots that are gone.
    pub(crate) remove_orphans: bool,
}

/// Looks at everything; each finding is told as soon as it is there.
pub(crate) fn examine(
    config: &Config,
    crontab: &std::path::Path,
    ask: Ask,
    stop: &Arc<Stop>,
    mut tell: impl FnMut(Finding),
) {
    checks::machine(crontab).into_iter().for_each(&mut tell);
    if config.jobs.iter().any(|job| job.remote.is_some()) {
        checks::ssh().into_iter().for_each(&mut tell);
    }
    for job in &config.jobs {
        let mut found = checks::sources(job, stop);
        found.extend(checks::destination(job));
        found.extend(checks::orphans(job, ask.remove_orphans, stop));
        found.extend(notifications(job, ask.notify_test));
        found.into_iter().map(|finding| finding.about(&job.name)).for_each(&mut tell);
    }
}

fn notifications(job: &NamedJob, test: bool) -> Vec<Finding> {
    let ways = notify::names(job);
    if ways.is_empty() {
        return vec![Finding::warning(
            "alerts",
            "nobody is told when this job fails",
            "set MAIL_TO and SMTP_HOST, NTFY_URL, WEBHOOK_URL or PING_URL, then: backup_manager doctor --notify-test",
        )];
    }
    if !test {
        let what = format!("set up: {}; --notify-test sends one", ways.join(", "));
        return vec![Finding::good("alerts", what)];
    }
    let sent = notify::test(job).into_iter().map(|(way, sent)| match sent {
        Ok(()) => {
            Finding::good("alerts", format!("a test was sent by {way}; see whether it arrived"))
        }
        Err(error) => Finding::bad(
            "alerts",
            format!("a test could not be sent by {way}: {error}"),
            Some(format!("check the settings of {way}, and that this machine reaches its server")),
        ),
    });
    sent.collect()
}

//! Checks for common mistakes of a setup, and names the command that corrects each.

pub(crate) mod checks;
pub(crate) mod finding;
pub(crate) mod pin;

use std::sync::Arc;

use engine::threads::cancel::Stop;

use crate::config::types::{Config, NamedJob};
use crate::doctor::finding::DoctorFinding;
use crate::notify;

/// What doctor does in addition to checking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Send a test message through every configured alert channel.
    pub(crate) notify_test: bool,
    /// Remove files of removed snapshots.
    pub(crate) remove_orphans: bool,
    /// Give a `.backup_manager` that belongs to root to the owner of the backups folder.
    pub(crate) give_back: bool,
}

/// Checks everything; each finding is reported at once.
pub(crate) fn examine(
    config: &Config,
    crontab: &std::path::Path,
    ask: Ask,
    stop: &Arc<Stop>,
    mut tell: impl FnMut(DoctorFinding),
) {
    crate::doctor::checks::machine(crontab).into_iter().for_each(&mut tell);
    if config.jobs.iter().any(|job| job.remote.is_some()) {
        crate::doctor::checks::ssh().into_iter().for_each(&mut tell);
    }
    for job in &config.jobs {
        let mut found = crate::doctor::checks::sources(job, stop);
        found.extend(crate::doctor::checks::destination(job));
        found.extend(crate::doctor::checks::ownership(job, ask.give_back));
        found.extend(crate::doctor::checks::orphans(job, ask.remove_orphans, stop));
        found.extend(notifications(job, ask.notify_test));
        found.into_iter().map(|finding| finding.about(&job.name)).for_each(&mut tell);
    }
}

fn notifications(job: &NamedJob, test: bool) -> Vec<DoctorFinding> {
    let ways = notify::names(job);
    if ways.is_empty() {
        return vec![DoctorFinding::warning(
            "alerts",
            "no alert is configured, so that a failure of this job is not reported",
            "set MAIL_TO and SMTP_HOST, NTFY_URL, WEBHOOK_URL or PING_URL, then: backup_manager doctor --notify-test",
        )];
    }
    if !test {
        let what = format!("set up: {}; --notify-test sends one", ways.join(", "));
        return vec![DoctorFinding::good("alerts", what)];
    }
    let sent = notify::test(job).into_iter().map(|(way, sent)| match sent {
        Ok(()) => DoctorFinding::good(
            "alerts",
            format!("a test was sent by {way}; see whether it arrived"),
        ),
        Err(error) => DoctorFinding::bad(
            "alerts",
            format!("a test could not be sent by {way}: {error}"),
            Some(format!("check the settings of {way}, and that this machine reaches its server")),
        ),
    });
    sent.collect()
}

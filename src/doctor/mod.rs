//! Checks for common mistakes of a setup, and names the command that corrects each.

pub(crate) mod checks;
pub(crate) mod finding;
pub(crate) mod host;
pub(crate) mod network_disk;
pub(crate) mod pin;

use std::sync::Arc;

use engine::Repository;
use engine::Stop;

use crate::config::mistake::shown_path;
use crate::config::types::{Config, NamedJob, SnapshotPlace};
use crate::doctor::finding::DoctorFinding;
use crate::hint::step::Step;
use crate::hint::unlookable;
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
    mut report: impl FnMut(DoctorFinding),
) {
    checks::machine(crontab).into_iter().for_each(&mut report);
    if config.jobs.iter().any(|job| job.remote.is_some()) {
        host::ssh(&config.jobs).into_iter().for_each(&mut report);
    }
    for job in &config.jobs {
        let (dir, prefix) = (&job.job.backups_dir, &job.job.prefix);
        let mut found = match &job.remote {
            Some(host) => host::sources(job, host, stop),
            None => checks::sources(job, stop),
        };
        found.extend(checks::destination(dir, job.job.backups_mode));
        found.extend(host::copy_keys(job));
        found.extend(checks::history(dir, prefix, Some(job)));
        found.extend(checks::ownership(dir, ask.give_back));
        found.extend(checks::orphans(dir, prefix, ask.remove_orphans, stop));
        found.extend(notifications(job, ask.notify_test));
        found.into_iter().map(|finding| finding.about(&job.name)).for_each(&mut report);
    }
}

/// Checks the backups folder of `place`, about whose sources nothing is known. It must exist: nothing is
/// created for snapshots that a user only looks for.
pub(crate) fn examine_folder(
    place: &SnapshotPlace,
    ask: Ask,
    stop: &Arc<Stop>,
    mut report: impl FnMut(DoctorFinding),
) {
    let dir = &place.backups_dir;
    let there = Repository::open(dir).and_then(|folder| folder.prefixes());
    let prefixes = match (there, &place.prefix) {
        (Err(error), _) => {
            let fix = Some(unlookable(&error).into());
            return report(DoctorFinding::bad("destination", error.to_string(), fix));
        }
        (Ok(_), Some(prefix)) => vec![prefix.clone()],
        (Ok(there), None) => there,
    };
    if prefixes.is_empty() {
        let found = format!("there is no snapshot in {}", shown_path(dir));
        return report(DoctorFinding::bad("history", found, Some("name another folder".into())));
    }
    report(DoctorFinding::warning(
        "source",
        "SRCS_TO_BACKUP is not set: only the folder is checked",
        "set what the runs have (SRCS_TO_BACKUP, --config FILE) to check sources and alerts too",
    ));
    checks::destination(dir, place.backups_mode).into_iter().for_each(&mut report);
    checks::ownership(dir, ask.give_back).into_iter().for_each(&mut report);
    for prefix in prefixes {
        let mut found = checks::history(dir, &prefix, None);
        found.extend(checks::orphans(dir, &prefix, ask.remove_orphans, stop));
        found.into_iter().map(|finding| finding.about(prefix.as_str())).for_each(&mut report);
    }
}

fn notifications(job: &NamedJob, test: bool) -> Vec<DoctorFinding> {
    let ways = notify::names(job);
    if ways.is_empty() {
        return vec![DoctorFinding::warning(
            "alerts",
            "no alert is configured, so that a failure of this job is not reported",
            Step::command(
                "set MAIL_TO and SMTP_HOST, NTFY_URL, WEBHOOK_URL or PING_URL, then: backup_manager doctor --notify-test",
            ),
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
            Some(
                format!("check the settings of {way}, and that this machine reaches its server")
                    .into(),
            ),
        ),
    });
    sent.collect()
}

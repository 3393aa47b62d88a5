//! Stores how a run ended, for the next run and for `status`.

use chrono::{DateTime, Utc};

use crate::entry::human::rfc3339;
use crate::error::RunError;
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::Repository;
use crate::repository::records::progress::reached;
use crate::repository::records::report::Report;
use crate::repository::records::status::{JobStatus, last_status, store_status};
use crate::snapshot::name::SnapshotName;

/// Stores how the run ended. A failure to store it is reported and does not change the result.
pub(crate) fn note_status(
    job: &Job,
    repository: &Repository,
    context: &Context,
    began: DateTime<Utc>,
    result: &Result<Report, RunError>,
) {
    let (outcome, reason, snapshot) = match result {
        Ok(report)
            if report.counts.problems > 0
                || !report.stuck.is_empty()
                || report.frozen.is_some() =>
        {
            ("completed_with_problems", None, Some(report.snapshot.clone()))
        }
        Ok(report) => ("completed", None, Some(report.snapshot.clone())),
        Err(RunError::Stopped) => ("stopped", None, None),
        // The run was put off and does not count, so the status of the last run stays.
        Err(RunError::PutOff { .. }) => return,
        Err(error) => ("failed", Some(error.to_string()), None),
    };
    store(
        job,
        repository,
        context,
        JobStatus {
            version: 1,
            started: rfc3339(began),
            finished: rfc3339((context.now)()),
            outcome: outcome.to_owned(),
            reason,
            snapshot,
            failures_in_a_row: 0,
            stuck: result.as_ref().map(|report| report.stuck.clone()).unwrap_or_default(),
        },
    );
}

/// Stores that no snapshot is due, if the runs before failed: the sources can be read again.
pub(crate) fn note_held(
    job: &Job,
    repository: &Repository,
    context: &Context,
    newest: &SnapshotName,
) {
    if last_status(repository, &job.prefix).is_none_or(|status| status.failures_in_a_row == 0) {
        return;
    }
    let now = rfc3339((context.now)());
    store(
        job,
        repository,
        context,
        JobStatus {
            version: 1,
            started: now.clone(),
            finished: now,
            outcome: "held".to_owned(),
            reason: None,
            snapshot: Some(newest.to_string()),
            failures_in_a_row: 0,
            stuck: Vec::new(),
        },
    );
}

/// Stores that the run before was killed or that the machine went down, if that run did not record its end.
pub(crate) fn note_killed(job: &Job, repository: &Repository, context: &Context) {
    let Some(left) = reached(repository, &job.prefix).filter(|left| !left.ended) else { return };
    store(
        job,
        repository,
        context,
        JobStatus {
            version: 1,
            started: left.began,
            finished: left.updated,
            outcome: "killed".to_owned(),
            reason: Some("it was killed, or the machine went down".to_owned()),
            snapshot: None,
            failures_in_a_row: 0,
            stuck: Vec::new(),
        },
    );
}

fn store(job: &Job, repository: &Repository, context: &Context, status: JobStatus) {
    if let Err(error) = store_status(repository, &job.prefix, status) {
        let what = format!("the status of this run cannot be stored: {error}");
        context.monitor.event(&Event::Aside { what });
    }
}

//! The last step of an attempt: removes what is no longer needed after the snapshot was sealed.

use crate::backup::run::attempt::Attempt;
use crate::backup::run::seal::Sealed;
use crate::error::RunError;
use crate::monitor::Phase;
use crate::monitor::event::Event;
use crate::repository::records::report::Report;
use crate::repository::{removal, snapshot_links};
use crate::source::Source;

/// Removes the journal and the retired snapshots. A failure is reported, and the next run continues the removal.
pub(crate) fn clean_up<S: Source>(attempt: &Attempt<'_, S>, sealed: Sealed) -> Report {
    let Sealed { mut report, retired, mut stuck, checkpoints, .. } = sealed;
    if let Err(error) = checkpoints.forget() {
        attempt.aside("the journal of the finished snapshot stays behind", error);
    }
    let links = snapshot_links::update(attempt.repository, &attempt.job.prefix, attempt.job.links);
    if let Err(error) = links {
        attempt.aside(snapshot_links::STALE, error);
    }
    attempt.context.progress.enter(Phase::Removing);
    match removal::remove_retired(attempt.repository, &retired, attempt.context) {
        Ok(more) => stuck.extend(more),
        Err(RunError::Stopped) => {}
        Err(error) => {
            attempt.context.monitor.event(&Event::Aside { what: error.to_string() });
        }
    }
    report.stuck = stuck;
    report
}

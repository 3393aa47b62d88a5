//! The first step of an attempt: checks the sources and the clock, and names the snapshots.

use std::io;

use crate::backup::roots::find_roots;
use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::entry::Time;
use crate::entry::human::rfc3339;
use crate::entry::racy::begin_of;
use crate::error::RunError;
use crate::monitor::event::Event;
use crate::repository::lineage;
use crate::repository::records::report_file::carried;
use crate::snapshot::history::History;
use crate::snapshot::name::{SnapshotName, SnapshotState};
use crate::source::Source;
use crate::threads::lock::lock;

/// The state after the first step: the sources are readable and the snapshots have names. Nothing is written yet.
pub(crate) struct Prepared {
    pub(crate) names: SnapshotNames,
    pub(crate) history: History,
}

/// Checks that the source roots can be read, and decides which snapshot to fill and which base to use.
///
/// # Errors
/// When a source root is missing or unreadable, or when the clock's year does not fit into a snapshot name.
pub(crate) fn prepare<S: Source>(
    attempt: &Attempt<'_, S>,
    history: History,
) -> Result<Prepared, RunError> {
    let Attempt { job, source, repository, recorder, context, .. } = attempt;
    *lock(&attempt.opened) = find_roots(job, source, context)?;
    check_clock(attempt, &history);
    let names = name(attempt, &history, begin_of(source.clock(), attempt.reads_from))?;
    context.monitor.event(&Event::Started {
        snapshot: names.incomplete.to_string(),
        base: names.base.as_ref().map(ToString::to_string),
        resumed: names.resumed,
    });
    for root in lineage::dropped(job, repository, &history) {
        context.monitor.event(&Event::RootDropped { path: root.path, last: root.last });
    }
    let base = names.base.as_ref();
    let carried_before = base.map(|base| carried(repository, base)).unwrap_or_default();
    recorder.go_on(carried_before, rfc3339(attempt.began));
    Ok(Prepared { names, history })
}

fn name<S: Source>(
    attempt: &Attempt<'_, S>,
    history: &History,
    reads_from: Time,
) -> Result<SnapshotNames, RunError> {
    let stamp = history.free_stamp(attempt.began).ok_or_else(|| {
        let error = io::Error::other("the clock's year cannot be written with four digits");
        let path = attempt.repository.path.clone();
        RunError::Destination { action: "cannot name a snapshot in", path, error }
    })?;
    let prefix = attempt.job.prefix.clone();
    let complete = SnapshotName { prefix, stamp, state: SnapshotState::Complete };
    let interrupted = history.incomplete.last().cloned();
    Ok(SnapshotNames {
        base: history.base(attempt.began).cloned(),
        resumed: interrupted.is_some(),
        incomplete: interrupted.unwrap_or_else(|| complete.with_state(SnapshotState::Incomplete)),
        complete,
        reads_from,
    })
}

fn check_clock<S: Source>(attempt: &Attempt<'_, S>, history: &History) {
    let future = history.from_the_future(attempt.began);
    if let Some(newest) = future.last() {
        let what = format!(
            "but {newest} is from the future ({} in all): one of the two clocks was wrong; backups go on",
            future.len(),
        );
        attempt.context.monitor.event(&Event::Clock { says: rfc3339(attempt.began), what });
    }
}

//! Counts the source beside a first run, so that a display can show percentages. Later runs take the totals of the base.

use std::sync::Arc;

use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::backup::dry_run::DiscardedChanges;
use crate::backup::preview::Preview;
use crate::backup::run::attempt::Attempt;
use crate::backup::walk::Walk;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::setting::{WalkSetting, everything, gather};
use crate::error::RunError;
use crate::monitor::Silent;
use crate::monitor::context::Context;
use crate::source::{Answers, Source};
use crate::threads::cancel::Stop;

/// The most folders that the count holds open. The walk of the run needs the other handles of the process.
const OPEN_FOLDERS: usize = 32;

/// Whether the source is counted: a display wants the total, no report has it, and listing the source twice costs little. The
/// listings of another machine would delay the run.
pub(super) fn is_wanted<S: Source>(attempt: &Attempt<'_, S>, writer: &SnapshotWriter<S>) -> bool {
    let progress = &attempt.context.progress;
    progress.is_watched()
        && progress.walk().entries_expected == 0
        && writer.walk.set.base.top.is_none()
        && attempt.source.answers() == Answers::AtOnce
}

/// Lists the source with the rules of the run until `walked` is asked, and sets the totals of the progress. After an error
/// the progress stays without totals: the run reports the error itself.
pub(super) fn count<S: Source>(attempt: &Attempt<'_, S>, walked: Arc<Stop>) {
    let Ok(set) = setting(attempt, walked) else { return };
    let stop = Arc::clone(&set.context.stop);
    let walk = WalkState::new(Arc::clone(attempt.source), set);
    let preview = Arc::new(Preview::new(&walk, Arc::new(DiscardedChanges)));
    let listed = Walk::new(Arc::clone(&walk), preview).list_all(attempt.job);
    if listed.is_ok() && !stop.asked() {
        let counts = walk.tally.counts();
        attempt.context.progress.expect(counts.entries, counts.bytes);
    }
}

/// The setting of the run's walk without a base and without an incomplete snapshot, silent, on one thread.
fn setting<S: Source>(
    attempt: &Attempt<'_, S>,
    walked: Arc<Stop>,
) -> Result<WalkSetting, RunError> {
    let Attempt { job, source, repository, context, accept_shrink, .. } = attempt;
    let context = Context {
        stop: walked,
        progress: Arc::default(),
        monitor: Arc::new(Silent),
        items: None,
        ..(*context).clone()
    };
    let granularity = source.time_granularity_ns();
    let set =
        gather(job, repository, None, None, granularity, everything(), *accept_shrink, &context)?;
    Ok(WalkSetting { threads: 1, most_open: OPEN_FOLDERS, ..set })
}

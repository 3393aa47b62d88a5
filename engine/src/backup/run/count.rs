//! Counts the source beside a first run, so that a display can show percentages. Later runs take the totals of the base.

use std::sync::Arc;
use std::time::Duration;

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
use crate::monitor::progress::WalkProgress;
use crate::source::{Answers, Source};
use crate::threads::cancel::Stop;

/// The most folders that the count holds open. The walk of the run needs the other handles of the process.
const OPEN_FOLDERS: usize = 32;

/// The most folders of another machine that the count lists at a time. The walk of the run lists 64 and more, so its
/// requests hardly wait for these.
const LISTINGS: usize = 4;

/// How long the walk of another machine lasts before the count begins, and how often the count looks.
const BEGIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

/// Another machine is counted when its entries have at least this many bytes on average: an entry takes about 130 bytes of a
/// listing, so that the second listing is less than a hundredth of the transfer.
const BYTES_PER_ENTRY: u64 = 16 << 10;

/// Whether the source is counted: a display wants the total, and no report has it.
pub(super) fn is_wanted<S: Source>(attempt: &Attempt<'_, S>, writer: &SnapshotWriter<S>) -> bool {
    let progress = &attempt.context.progress;
    progress.is_watched()
        && progress.walk().entries_expected == 0
        && writer.walk.set.base.top.is_none()
}

/// Lists the source with the rules of the run until `walked` is asked, and sets the totals of the progress. After an error
/// the progress stays without totals: the run reports the error itself.
pub(super) fn count<S: Source>(attempt: &Attempt<'_, S>, walked: Arc<Stop>) {
    let progress = &attempt.context.progress;
    if attempt.source.answers() != Answers::AtOnce {
        while !is_cheap(&progress.walk()) {
            if walked.asked() {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
    let Ok(set) = setting(attempt, walked) else { return };
    let stop = Arc::clone(&set.context.stop);
    let walk = WalkState::new(Arc::clone(attempt.source), set);
    let preview = Arc::new(Preview::new(&walk, Arc::new(DiscardedChanges)));
    let listed = Walk::new(Arc::clone(&walk), preview).list_all(attempt.job);
    if listed.is_ok() && !stop.asked() {
        let counts = walk.tally.counts();
        progress.expect(counts.entries, counts.bytes);
    }
}

/// Whether a second listing of another machine costs little, by what the walk has done so far.
fn is_cheap(walk: &WalkProgress) -> bool {
    walk.elapsed >= BEGIN && walk.entries > 0 && walk.bytes / walk.entries >= BYTES_PER_ENTRY
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
    Ok(WalkSetting { threads: 1, most_open: OPEN_FOLDERS, most_listings: LISTINGS, ..set })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_counted_when_the_second_listing_is_a_small_part_of_the_transfer() {
        for (seconds, entries, bytes, is) in [
            (0, 10, 1 << 30, false),
            (1, 10, 160 << 10, true),
            (1, 10, 159 << 10, false),
            (99, 0, 0, false),
        ] {
            let elapsed = Duration::from_secs(seconds);
            let walk =
                WalkProgress { entries, bytes, entries_expected: 0, bytes_expected: 0, elapsed };
            assert_eq!(is_cheap(&walk), is, "{walk:?}");
        }
    }
}

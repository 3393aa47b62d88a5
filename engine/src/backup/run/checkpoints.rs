//! Makes checkpoints during a walk, so that an interruption costs little.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::backup::apply::snapshot_writer::SnapshotWriter;
use crate::error::RunError;
use crate::monitor::event::Event;
use crate::repository::records::journal::{CheckpointTimer, Checkpoints, clock_offset};
use crate::source::Source;
use crate::threads::lock::unpoisoned;

/// Bytes of content after which a checkpoint is due, regardless of the time since the last one.
const CHECKPOINT_BYTES: u64 = 4 << 30;
/// The time to the first checkpoint. Each further one takes twice as long, up to [`CHECKPOINT_LONGEST`]. Early
/// checkpoints keep the disk busy while content still arrives: first copies end sooner (measured).
const CHECKPOINT_FIRST: Duration = Duration::from_millis(500);
const CHECKPOINT_LONGEST: Duration = Duration::from_secs(60);
/// With fewer bytes of content than this since the last one, a checkpoint comes after [`CHECKPOINT_OF_LITTLE`] at the
/// earliest. An earlier one would cost more than it saves: when all files are linked, the disk has nothing to write.
const LITTLE: u64 = 8 << 20;
const CHECKPOINT_OF_LITTLE: Duration = Duration::from_secs(10);
/// The interval at which the thread checks whether a checkpoint is due.
const TICK: Duration = Duration::from_millis(250);

/// Makes a checkpoint whenever one is due, until `ticker` ends. A failure ends the walk.
pub(crate) fn keep_checkpoints<S: Source>(
    writer: &SnapshotWriter<S>,
    checkpoints: &Checkpoints,
    ticker: &CheckpointTimer,
) {
    let walk = &writer.walk;
    let (mut due, mut waited, mut bytes) = (CHECKPOINT_FIRST, Duration::ZERO, 0);
    let mut offset = clock_offset();
    let fail = |error| {
        let path = walk.set.backups_dir.clone();
        walk.fail(RunError::Sync { path, error });
    };
    while ticker.wait(TICK) {
        waited += TICK;
        let ahead = clock_offset();
        // The limit is 10 ms. A smaller step is a slewed clock, and no file time lags that much.
        if ahead < offset - 10_000_000
            && let Err(error) = checkpoints.distrust()
        {
            return fail(error);
        }
        offset = ahead;
        let written = writer.written.load(Ordering::Relaxed);
        if !is_due(waited, due, written - bytes) {
            continue;
        }
        let time = {
            let flight = &writer.in_flight;
            let _nothing_in_flight = unpoisoned(flight.write());
            checkpoints.clock()
        };
        match checkpoints.sync() {
            Ok(()) => {}
            Err(_) if walk.halted() => return,
            Err(error) => return fail(error),
        }
        walk.event(&match time.and_then(|time| checkpoints.note(time)) {
            Ok(()) => Event::Checkpoint,
            Err(error) => Event::Aside { what: format!("the journal cannot be written: {error}") },
        });
        (due, waited, bytes) = ((due * 2).min(CHECKPOINT_LONGEST), Duration::ZERO, written);
    }
}

/// Whether a checkpoint is due when the last one was `waited` ago and the run has stored `bytes` of content since.
fn is_due(waited: Duration, due: Duration, bytes: u64) -> bool {
    let due = if bytes < LITTLE { due.max(CHECKPOINT_OF_LITTLE) } else { due };
    waited >= due || bytes >= CHECKPOINT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_soon_when_there_is_something_to_write_and_late_when_there_is_little() {
        let second = Duration::from_secs(1);
        for (waited, due, bytes, is) in [
            (CHECKPOINT_FIRST, CHECKPOINT_FIRST, LITTLE, true),
            (CHECKPOINT_FIRST, CHECKPOINT_FIRST, LITTLE - 1, false),
            (TICK, CHECKPOINT_FIRST, LITTLE, false),
            (CHECKPOINT_OF_LITTLE, CHECKPOINT_FIRST, 0, true),
            (20 * second, 32 * second, 0, false),
            (32 * second, 32 * second, 0, true),
            (TICK, CHECKPOINT_LONGEST, CHECKPOINT_BYTES, true),
        ] {
            assert_eq!(is_due(waited, due, bytes), is, "{waited:?} of {due:?}, {bytes} bytes");
        }
    }
}

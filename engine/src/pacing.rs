//! Makes checkpoints while a walk goes on, so that an interruption costs little.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::build::Build;
use crate::durable::{Checkpoints, Ticker, clock_offset};
use crate::error::RunError;
use crate::event::Event;
use crate::source::Source;
use crate::walk::Walk;

/// Bytes after which a checkpoint is due, however short the time since the last one.
const CHECKPOINT_BYTES: u64 = 4 << 30;
/// The first checkpoint comes after this time, each further one after twice the time, up to the longest.
const CHECKPOINT_FIRST: Duration = Duration::from_secs(10);
const CHECKPOINT_LONGEST: Duration = Duration::from_secs(60);

/// Makes a checkpoint now and then until `ticker` ends; a failure ends the walk.
pub(crate) fn keep_checkpoints<S: Source>(
    walk: &Arc<Walk<S, Build<S>>>,
    checkpoints: &Checkpoints,
    ticker: &Ticker,
) {
    let second = Duration::from_secs(1);
    let (mut due, mut waited, mut bytes) = (CHECKPOINT_FIRST, Duration::ZERO, 0);
    let mut offset = clock_offset();
    let fail = |error| {
        let path = walk.set.backups_dir.clone();
        walk.fail(RunError::Sync { path, error });
    };
    while ticker.wait(second) {
        waited += second;
        let ahead = clock_offset();
        // A hundredth of a second: less is the clock being slewed, and no file is that late.
        if ahead < offset - 10_000_000
            && let Err(error) = checkpoints.distrust()
        {
            return fail(error);
        }
        offset = ahead;
        let written = walk.target.written.load(Ordering::Relaxed);
        if waited < due && written - bytes < CHECKPOINT_BYTES {
            continue;
        }
        let time = {
            let flight = &walk.target.in_flight;
            let _nothing_in_flight = flight.write().unwrap_or_else(PoisonError::into_inner);
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

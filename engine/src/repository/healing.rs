//! The entries of a host that a healing brings to `.backup_manager/healing/fetched/`, and their removal.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::fs::dir::Dir;
use crate::fs::remove_tree::remove;
use crate::threads::work_queue::workers;

/// The name of the folder.
pub(crate) const FETCHED: &CStr = c"fetched";

/// A healing that began to fetch before this time is gone, even on another machine.
const OLD: TimeDelta = TimeDelta::days(1);

/// Reserves the folder for the caller, as long as `healing` stays open. `false` while another process has it.
pub(crate) fn reserve(healing: &Dir) -> bool {
    // Some file systems have no locks.
    flock(healing, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

/// Removes the folder. The caller has reserved it.
///
/// # Errors
/// Those of the removal.
pub(crate) fn clear(healing: &Dir) -> io::Result<()> {
    match remove(healing, FETCHED, workers(), &AtomicU64::new(0), &|| false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what a killed healing left, unless one is at work: with `now` only what is older than a day.
pub(crate) fn clear_left(healing: &Dir, now: Option<DateTime<Utc>>) {
    let Ok(Some(left)) = healing.find(FETCHED) else { return };
    let is_old = |now: DateTime<Utc>| left.mtime.secs < (now - OLD).timestamp();
    if now.is_none_or(is_old) && flock(healing, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // It is tried again the next time.
        let _ = clear(healing);
    }
}

//! A run: takes the lock, decides whether a snapshot is due, and completes one in five steps.

mod access;
pub(crate) mod attempt;
mod checkpoints;
mod clean_up;
mod count;
pub(crate) mod fill;
mod judge;
mod open;
pub(crate) mod prepare;
mod retire;
pub(crate) mod seal;
mod status;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backup::roots::{Accept, find_roots};
use crate::backup::run::access::report_access;
use crate::backup::run::attempt::Attempt;
use crate::backup::run::clean_up::clean_up;
use crate::backup::run::fill::fill;
use crate::backup::run::judge::judge;
use crate::backup::run::prepare::prepare;
use crate::backup::run::seal::seal;
use crate::backup::run::status::{note_held, note_killed, note_status};
use crate::entry::human::rfc3339;
use crate::entry::racy;
use crate::error::RunError;
use crate::fs::access::own_umask;
use crate::job::Job;
use crate::monitor::Monitor;
use crate::monitor::context::Context;
use crate::monitor::event::Event;
use crate::repository::lock::{Locked, report_lease};
use crate::repository::records::progress::Tracker;
use crate::repository::records::report::Report;
use crate::repository::records::report_file::Recorder;
use crate::repository::records::status::reserve_status;
use crate::repository::store::Store;
use crate::repository::{Repository, check_mounted, lineage, removal, uptime};
use crate::snapshot::history::{Decision, History};
use crate::snapshot::name::{SnapshotName, Stamp};
use crate::source::Source;
use crate::threads::cancel::Stop;

/// The result of a run that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// Another run of the same prefix is active. This run did nothing.
    Busy,
    /// The newest snapshot is younger than the minimum time. This run did nothing.
    Held {
        /// The snapshot that is too young.
        newest: SnapshotName,
        /// The time from which a run will take a snapshot.
        next: DateTime<Utc>,
    },
    /// The run completed a snapshot. The monitor received its problems as events, and the stored report lists them.
    Completed(Box<Report>),
}

/// A source that the run can read without `connect`.
pub struct ReadySource<S> {
    /// The source.
    pub source: Arc<S>,
    /// Whether its roots must exist before the run begins.
    pub ready: bool,
}

/// Takes a snapshot for `job`, or completes an interrupted one. The run calls `connect` only when a snapshot is due,
/// while it holds the lock and before it changes a snapshot. It checks the roots of `near` even when no snapshot is due.
///
/// # Errors
/// When no snapshot was completed. Older snapshots are unchanged, and the next run resumes with what was copied.
pub fn run<S: Source>(
    job: &Job,
    near: Option<ReadySource<S>>,
    connect: impl FnOnce() -> Result<Arc<S>, RunError>,
    accept: Accept,
    context: &Context,
) -> Result<Outcome, RunError> {
    let _ = own_umask();
    check_mounted(&job.backups_dir)?;
    let repository = Repository::open_or_make(&job.backups_dir, job.backups_mode)?;
    let context = &Context { stop: Arc::new(Stop::within(&context.stop)), ..context.clone() };
    let lock = match repository.lock(&job.prefix, &context.stop)? {
        Locked::Mine(lock) => lock,
        Locked::Busy => return Ok(Outcome::Busy),
    };
    report_lease(&lock, context);
    let prepared = repository.history(&job.prefix).map_err(RunError::from).and_then(|history| {
        Ok((removal::remove_leftovers(&repository, &history, context)?, history))
    });
    let (leftovers, mut history) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let failed = Err(error);
            note_status(job, &repository, context, (context.now)(), &failed);
            return failed.map(|report| Outcome::Completed(Box::new(report)));
        }
    };
    // A user may have removed the lock file of an active run. The claim on its incomplete snapshot still holds.
    if let Some(incomplete) = history.incomplete.last()
        && let Err(RunError::Taken { .. }) = repository.claim(incomplete)
    {
        return Ok(Outcome::Busy);
    }
    removal::copies::remove_unfinished(&repository, &mut history, None, context)?;
    let other_sources = lineage::check(job, &repository, &history);
    let accepted = other_sources.is_err();
    let mut refused = None;
    if let Err(error) = other_sources {
        // This error does not change the stored status: that belongs to the job that owns this history.
        let found =
            near.as_ref().map_or(Ok(()), |near| find_roots(job, &near.source, context).map(drop));
        match found {
            Err(missing) if near.as_ref().is_some_and(|near| !near.ready) => return Err(missing),
            // After `connect`, the run reports the missing root like that of any source.
            Err(_) => refused = Some(error),
            Ok(()) if !accept.sources => return Err(error),
            Ok(()) => context.monitor.event(&Event::SourcesAccepted { what: error.to_string() }),
        }
    }
    let now = (context.now)();
    let since_last = history.doubted_by(now).and_then(|newest| {
        let what = format!(
            "and {newest} is the newest snapshot: the clock is wrong, so MINIMUM_TIME_GUARD_H is counted by the time since boot; set the clock (timedatectl set-ntp true)",
        );
        context.monitor.event(&Event::Clock { says: rfc3339(now), what });
        uptime::since_last(&repository, &job.prefix, &history, true)
    });
    let decision = history.decide(now, job.minimum_time_guard, since_last);
    if let Decision::Held { newest, next } = decision {
        let ready = near.filter(|near| near.ready);
        let found = ready.map_or(Ok(()), |near| find_roots(job, &near.source, context).map(drop));
        if let Err(error) = found {
            let failed = Err(error);
            note_status(job, &repository, context, (context.now)(), &failed);
            return failed.map(|report| Outcome::Completed(Box::new(report)));
        }
        // Only a new snapshot records the accepted sources, so the run takes one now.
        let new = lineage::new_root(job, &repository, &history);
        if new.is_none() && !accepted {
            note_held(job, &repository, context, &newest);
            return Ok(Outcome::Held { newest, next });
        }
        if let Some(path) = new {
            context.monitor.event(&Event::NewRoot { path });
        }
    }
    report_access(job, &repository, &history, context);
    let began = free_second(&history, context);
    let boot = uptime::boot();
    let reads_from = racy::clock();
    note_killed(job, &repository, context);
    reserve_status(&repository, &job.prefix);
    let tracker =
        Tracker::new(&repository, &job.prefix, Arc::clone(&context.progress), context.now);
    tracker.note();
    let recorder = Arc::new(Recorder::new(
        Arc::clone(&context.monitor),
        tracker,
        repository.store(Store::Reports).as_ref(),
        &job.prefix,
    ));
    let monitor = Arc::clone(&recorder) as Arc<dyn Monitor>;
    let context = &Context { monitor, ..context.clone() };
    let result = connect()
        .and_then(|source| match refused {
            Some(error) => Err(find_roots(job, &source, context).err().unwrap_or(error)),
            None => Ok(source),
        })
        .and_then(|source| {
            let attempt = Attempt {
                job: &job.with(&*source),
                source: &source,
                repository: &repository,
                lock: &lock,
                recorder: &recorder,
                context,
                began,
                boot,
                reads_from,
                accept_shrink: accept.shrink,
                leftovers,
                opened: Mutex::default(),
                links_since: OnceLock::new(),
            };
            complete(&attempt, history)
        })
        .map_err(|error| error.or_stopped(&context.stop));
    // A run that has lost its lease may have failed on files of the other run before it noticed the loss.
    let about = |error: &RunError| matches!(error, RunError::Stopped) || lock.is_lease().is_some();
    let lost = result.as_ref().is_err_and(about) && !lock.is_mine();
    if lost || matches!(result, Err(RunError::Taken { .. })) {
        return Ok(Outcome::Busy);
    }
    note_status(job, &repository, context, began, &result);
    recorder.ended();
    result.map(|report| Outcome::Completed(Box::new(report)))
}

/// Completes a snapshot: the five steps from the check of the sources to the report of the sealed snapshot.
///
/// # Errors
/// When no snapshot was completed.
fn complete<S: Source>(attempt: &Attempt<'_, S>, history: History) -> Result<Report, RunError> {
    let prepared = prepare(attempt, history)?;
    let filled = fill(attempt, prepared)?;
    let accepted = judge(attempt, filled)?;
    let sealed = seal(attempt, accepted)?;
    Ok(clean_up(attempt, sealed))
}

/// The current time, or the next second if a snapshot already has the name of the current one: names are unique. With a
/// clock that does not advance, it waits three times at most.
fn free_second(history: &History, context: &Context) -> DateTime<Utc> {
    let mut now = (context.now)();
    for _ in 0..3 {
        if Stamp::of(now) == history.free_stamp(now) {
            break;
        }
        let rest = 1_000 - u64::from(now.timestamp_subsec_millis().min(999));
        std::thread::sleep(Duration::from_millis(rest));
        now = (context.now)();
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_with_the_whole_and_the_whole_goes_on_without_it() {
        let whole = Arc::new(Stop::default());
        let [part, other] = [(); 2].map(|()| Stop::within(&whole));
        part.ask();
        assert!(part.asked() && !other.asked() && !whole.asked());
        whole.ask();
        assert!(other.asked());
    }
}

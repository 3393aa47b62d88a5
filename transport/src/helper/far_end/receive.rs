//! The far end of a copy to a host: it gets the snapshots that the near end has. The ends exchange their roles on the open
//! channel. Then this end lists and reads the snapshots like a source, and copies them into a folder of this machine.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use engine::copy::CopyOutcome;
use engine::fs::sync_file_system;
use engine::source::RateLimit;
use engine::{Context, Progress, RunError, SourceError, Stop};

use crate::compress::Level;
use crate::helper::far_end::prepare::{Prepared, prepare};
use crate::helper::far_end::tell::Teller;
use crate::helper::protocol::CONNECTION;
use crate::helper::protocol::copy::{CopyAnswer, CopyRequest};
use crate::helper::protocol::frame::{append, read};
use crate::helper::protocol::message::{Answer, Request};
use crate::helper::protocol::report::SentResult;
use crate::helper::read::HelperSource;
use crate::helper::read::snapshots::RemoteSnapshots;
use crate::helper::serve::confine::Roots;
use crate::helper::serve::{ServeError, ServeOptions, greeting, next};
use crate::ssh::line::Streams;
use crate::ssh::options::{Compression, Options};

/// How long a copy waits for another one in the same folder, and the interval at which it looks.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(500);

/// The least content on its way, bytes, whatever the limit of the rate is.
const UNDER_WAY: u64 = 256 * 1024;

/// Answers the near end that greeted, and copies what it has. Nothing behind its greeting may have been read.
///
/// # Errors
/// See [`ServeError`]. The near end is told why a copy failed.
pub(crate) fn receive(
    options: &ServeOptions,
    roots: &Roots,
    Streams { from, to }: Streams,
) -> Result<(), ServeError> {
    let (mut input, mut output) = (File::from(from), File::from(to));
    output.write_all(&greeting(options, false)).map_err(ServeError::Write)?;
    let mut frame = Vec::new();
    if !next(&mut input, &mut frame)? {
        return Ok(());
    }
    let (number, Request::Copy(CopyRequest::Receive(sent)), []) = read(&frame)? else {
        let what = "a near end that has snapshots asks for something else";
        return Err(ServeError::Protocol(what.to_owned()));
    };
    let prepared = prepare(options, roots, sent);
    let (answer, prepared) = match prepared {
        Ok(prepared) => (Ok(()), Some(prepared)),
        Err(refusal) => (Err(refusal), None),
    };
    let mut answered = Vec::new();
    // A refusal is far shorter than a frame.
    let _ = append(&mut answered, number, &Answer::Copy(CopyAnswer::Receiving(answer)), &[]);
    output.write_all(&answered).map_err(ServeError::Write)?;
    let Some(prepared) = prepared else { return Ok(()) };
    debug_assert_ne!(number, CONNECTION);
    copy(prepared, Streams { from: input.into(), to: output.into() })
}

/// Copies, and tries again for a while when another process is at work in the folder. That may be the far end of a copy whose
/// near end was killed: it first finishes what it does.
fn when_free(
    stop: &Stop,
    copy: impl Fn() -> Result<CopyOutcome, RunError>,
) -> Result<CopyOutcome, RunError> {
    let began = Instant::now();
    loop {
        match copy()? {
            CopyOutcome::Busy if began.elapsed() < PATIENCE => std::thread::sleep(STEP),
            done => return Ok(done),
        }
        if stop.asked() {
            return Err(RunError::Stopped);
        }
    }
}

/// Copies the snapshots of the other end of `streams`.
fn copy(prepared: Prepared, streams: Streams) -> Result<(), ServeError> {
    let Prepared { job, from, level, rate, dry_run, offered } = prepared;
    let stop = Arc::new(Stop::default());
    let compression = level.map_or(Compression::AsConfigured, |level| {
        Compression::Protocol(Level::nearest(level.into()))
    });
    let under_way = rate.map(|rate| (rate / 8).max(UNDER_WAY));
    let options = Options { compression, under_way, ..Options::default() };
    // A stop ends the copy, and the connection after the last report.
    let source = HelperSource::over(streams, options, || false);
    let source = Arc::new(source.map_err(|error| ServeError::Protocol(error.to_string()))?);
    let progress = Arc::new(Progress::default());
    // Zero: no limit.
    let rate = Arc::new(AtomicU64::new(rate.unwrap_or(0)));
    let place = (Arc::clone(&source), Arc::clone(&rate));
    let (teller, thread) =
        Teller::start(place, Arc::clone(&progress), &stop).map_err(ServeError::Thread)?;
    let teller = Arc::new(teller);
    let context = Context {
        now: Utc::now,
        stop: Arc::clone(&stop),
        progress,
        monitor: Arc::clone(&teller) as Arc<dyn engine::Monitor>,
        sync: sync_file_system,
        items: None,
    };
    let store = RemoteSnapshots::new(Arc::clone(&source), Vec::new(), from)
        .offering(offered)
        .reporting(Arc::clone(&context.monitor))
        .limited(Some(RateLimit::new(
            move || Some(rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0),
            stop,
        )));
    let result = match dry_run {
        true => engine::copy::preview(&job, &store).map(|steps| SentResult::of_steps(&steps)),
        false => when_free(&context.stop, || engine::copy::copy(&job, &store, &context))
            .map(|done| SentResult::of(&done)),
    };
    let result = match result {
        Ok(result) => result,
        Err(RunError::Stopped) => SentResult::Stopped,
        Err(RunError::SourceLost(SourceError::Lost(_))) => SentResult::Lost,
        Err(error @ RunError::NotForCopies { .. }) => SentResult::NotForCopies(error.to_string()),
        Err(error) => SentResult::Failed(error.to_string()),
    };
    drop((store, context));
    teller.end(result);
    drop(teller);
    // The last report is on its way. The connection ends with this process.
    let _ = thread.join();
    source.close();
    Ok(())
}

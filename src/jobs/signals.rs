//! Runs the work on a separate thread and watches for signals at the same time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use engine::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::term::print::fail;
use crate::term::terminal;

/// How long the work may take to end by itself after a signal. It can be killed at any moment, because the
/// next run resumes it.
const GRACE: Duration = Duration::from_millis(1500);

/// What the main thread waits for.
enum WakeReason {
    Ended(Exit),
    Signal(i32),
}

/// The signals that stop the work: SIGTERM always; SIGINT and SIGHUP unless the parent process set them to be
/// ignored, as nohup(1) and shells with background jobs do. `status` is the text of `/proc/self/status`
/// (proc_pid_status(5)); without it no signal counts as ignored.
fn stopping(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    let heard = |signal: &i32| *signal == SIGTERM || ignored >> (signal - 1) & 1 == 0;
    [SIGTERM, SIGINT, SIGHUP].into_iter().filter(heard).collect()
}

/// Runs `work` until it ends, or until SIGTERM, SIGINT or SIGHUP arrives and [`GRACE`] has passed. `work`
/// returns [`Exit::Signal`] (with any number) if it was stopped before it was done. In that case, or if the
/// time has passed, `stopped` receives the number of the signal and the process ends at once: threads that
/// still work may end at any point.
pub(crate) fn supervise(
    work: impl FnOnce(Arc<Stop>) -> Exit + Send + 'static,
    stopped: impl FnOnce(u8),
) -> Exit {
    supervise_for(GRACE, work, stopped)
}

/// Like [`supervise`], for work in processes of its own, which have [`GRACE`] themselves.
pub(crate) fn supervise_processes(
    work: impl FnOnce(Arc<Stop>) -> Exit + Send + 'static,
    stopped: impl FnOnce(u8),
) -> Exit {
    supervise_for(GRACE * 2, work, stopped)
}

/// As [`supervise`], for work that may take `grace` to end by itself, because it has something to remove.
pub(crate) fn supervise_for(
    grace: Duration,
    work: impl FnOnce(Arc<Stop>) -> Exit + Send + 'static,
    stopped: impl FnOnce(u8),
) -> Exit {
    match supervised(grace, work) {
        Ok(Exit::Signal(number)) => {
            terminal::close();
            stopped(number);
            std::process::exit(i32::from(Exit::Signal(number).code()))
        }
        Ok(exit) => exit,
        Err(error) => {
            fail(&format!("cannot catch signals or start threads: {error}"));
            Exit::Failed
        }
    }
}

fn supervised(
    grace: Duration,
    work: impl FnOnce(Arc<Stop>) -> Exit + Send + 'static,
) -> io::Result<Exit> {
    let stop = Arc::new(Stop::default());
    let (sender, receiver) = mpsc::channel();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut signals = Signals::new(stopping(&status))?;
    let signal_sender = sender.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in &mut signals {
            if signal_sender.send(WakeReason::Signal(signal)).is_err() {
                break;
            }
        }
    })?;
    let work_stop = Arc::clone(&stop);
    thread::Builder::new().name("run".to_owned()).spawn(move || {
        // The panic hook reports a panic; without catching it, the main thread would wait forever.
        let exit = catch_unwind(AssertUnwindSafe(|| work(work_stop))).unwrap_or(Exit::Failed);
        let _ = sender.send(WakeReason::Ended(exit));
    })?;
    Ok(match receiver.recv() {
        Ok(WakeReason::Ended(exit)) => exit,
        Ok(WakeReason::Signal(signal)) => {
            stop.ask();
            after_signal(&receiver, signal, grace)
        }
        Err(_) => Exit::Failed,
    })
}

fn after_signal(receiver: &Receiver<WakeReason>, signal: i32, grace: Duration) -> Exit {
    let stopped = |signal: i32| Exit::Signal(u8::try_from(signal).unwrap_or_default());
    match receiver.recv_timeout(grace) {
        Ok(WakeReason::Ended(Exit::Signal(_))) | Err(RecvTimeoutError::Timeout) => stopped(signal),
        Ok(WakeReason::Ended(exit)) => exit,
        // A second signal ends the wait.
        Ok(WakeReason::Signal(second)) => stopped(second),
        Err(RecvTimeoutError::Disconnected) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_ends_or_panics_ends_the_wait() {
        for exit in [Exit::Done, Exit::Failed, Exit::Listed] {
            assert_eq!(supervise(move |_| exit, |_| ()), exit);
        }
        assert_eq!(supervise(|_| panic!("on purpose"), |_| ()), Exit::Failed);
    }

    #[test]
    fn signals_that_were_ignored_at_the_start_stay_ignored() {
        for (ignored, expected) in [
            ("0000000000000000", &[SIGTERM, SIGINT, SIGHUP][..]),
            ("0000000000000001", &[SIGTERM, SIGINT]),
            ("0000000000001006", &[SIGTERM, SIGHUP]),
            ("ffffffffffffffff", &[SIGTERM]),
        ] {
            assert_eq!(stopping(&format!("Name:\tx\nSigIgn:\t{ignored}\n")), expected);
        }
        assert_eq!(stopping(""), [SIGTERM, SIGINT, SIGHUP]);
    }

    #[test]
    fn a_signal_wins_over_work_that_was_stopped_but_not_over_work_that_was_done() {
        for (ended, expected) in [
            (WakeReason::Ended(Exit::Signal(0)), Exit::Signal(15)),
            (WakeReason::Ended(Exit::Done), Exit::Done),
            (WakeReason::Ended(Exit::Failed), Exit::Failed),
            (WakeReason::Signal(SIGINT), Exit::Signal(2)),
        ] {
            let (sender, receiver) = mpsc::channel();
            assert!(sender.send(ended).is_ok());
            assert_eq!(after_signal(&receiver, SIGTERM, GRACE), expected);
        }
    }
}

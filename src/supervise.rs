//! Runs the work on a thread of its own and watches for signals meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use engine::run::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// How long the work may take to end by itself after a signal. What it does can be killed at any
/// moment: the next run resumes.
const GRACE: Duration = Duration::from_millis(1500);

/// What the main thread waits for.
enum Wake {
    Ended(Exit),
    Signal(i32),
}

/// Does `work` until it ends, or until SIGTERM or SIGINT comes and [`GRACE`] is over. `work` ends
/// with [`Exit::Signal`] (of any number) when it was stopped before it was done.
///
/// # Errors
/// When signals cannot be caught or threads not started.
pub(crate) fn supervise(work: impl FnOnce(Arc<Stop>) -> Exit + Send + 'static) -> io::Result<Exit> {
    let stop = Arc::new(Stop::default());
    let (sender, receiver) = mpsc::channel();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let signal_sender = sender.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in &mut signals {
            if signal_sender.send(Wake::Signal(signal)).is_err() {
                break;
            }
        }
    })?;
    let work_stop = Arc::clone(&stop);
    let worker = thread::Builder::new().name("run".to_owned()).spawn(move || {
        let exit = work(work_stop);
        let _ = sender.send(Wake::Ended(exit));
    })?;
    Ok(match receiver.recv() {
        Ok(Wake::Ended(exit)) => exit,
        Ok(Wake::Signal(signal)) => {
            stop.ask();
            after_signal(&receiver, signal)
        }
        // Both threads are gone without a word: the work panicked.
        Err(_) => {
            let _ = worker.join();
            Exit::Failed
        }
    })
}

fn after_signal(receiver: &Receiver<Wake>, signal: i32) -> Exit {
    let stopped = |signal: i32| Exit::Signal(u8::try_from(signal).unwrap_or_default());
    match receiver.recv_timeout(GRACE) {
        Ok(Wake::Ended(Exit::Signal(_))) | Err(RecvTimeoutError::Timeout) => stopped(signal),
        Ok(Wake::Ended(exit)) => exit,
        // Whoever sends a second one is in a hurry.
        Ok(Wake::Signal(second)) => stopped(second),
        Err(RecvTimeoutError::Disconnected) => Exit::Failed,
    }
}

//! Reads and writes the pipes of one channel.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::ssh::framing::{Frames, Violation};
use crate::ssh::scheduler::Scheduler;

/// Maximum number of full buffers read from one channel before the other channels get their turn.
const READS: usize = 4;

/// Why a channel was lost.
pub(crate) enum Loss {
    /// The host, ssh or the line ended it.
    Ended(String),
    /// This program ends it, because the server broke the protocol. This does not show that the host refuses
    /// further channels.
    Broken(Violation),
}

impl Loss {
    pub(crate) fn unwritable(error: &io::Error) -> Self {
        Self::Ended(format!("cannot write to ssh: {error}"))
    }
}

/// Reads from a channel until it is lost; the error is the reason.
pub(crate) async fn receive<T: Scheduler>(
    scheduler: &RefCell<T>,
    number: usize,
    from: &Receiver,
    mut frames: Frames,
) -> Result<std::convert::Infallible, Loss> {
    let unreadable = |error| Loss::Ended(format!("cannot read from ssh: {error}"));
    // What arrived together with the greeting.
    process(scheduler, number, &mut frames).await?;
    loop {
        from.readable().await.map_err(unreadable)?;
        for _ in 0..READS {
            let room = frames.room();
            let most = room.len();
            let count = match from.try_read(room) {
                Ok(0) => return Err(Loss::Ended("ssh closed the channel".to_owned())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(unreadable(error)),
            };
            frames.filled(count);
            process(scheduler, number, &mut frames).await?;
            if count < most {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Processes the frames that are whole. Waits while too much of the channel waits for the sinks: a few received bytes can become
/// many frames.
async fn process<T: Scheduler>(
    scheduler: &RefCell<T>,
    number: usize,
    frames: &mut Frames,
) -> Result<(), Loss> {
    loop {
        let is_done = process_some(&mut *scheduler.borrow_mut(), number, frames)?;
        while scheduler.borrow().is_flooded(number) {
            sleep(Duration::from_millis(20)).await;
        }
        if is_done {
            return Ok(());
        }
    }
}

/// Processes the frames that are whole until too much waits for the sinks, and sends what follows from them. Returns whether
/// it processed all.
fn process_some<T: Scheduler>(
    scheduler: &mut T,
    number: usize,
    frames: &mut Frames,
) -> Result<bool, Loss> {
    let now = Instant::now();
    scheduler.heard(number, now);
    let mut is_done = false;
    while !is_done && !scheduler.is_flooded(number) {
        match frames.next().map_err(Loss::Broken)? {
            Some(frame) => scheduler.receive(number, frame, now).map_err(Loss::Broken)?,
            None => is_done = true,
        }
    }
    scheduler.pump().map_err(|error| Loss::unwritable(&error))?;
    Ok(is_done)
}

/// Sends the bytes that the pipe did not accept immediately.
pub(crate) async fn send<T: Scheduler>(
    scheduler: &RefCell<T>,
    number: usize,
    to: &Sender,
    full: &Notify,
) -> io::Result<std::convert::Infallible> {
    loop {
        full.notified().await;
        to.writable().await?;
        let mut scheduler = scheduler.borrow_mut();
        scheduler.outbox(number).flush()?;
        if scheduler.outbox(number).unsent() == 0 {
            scheduler.pump()?;
        }
    }
}

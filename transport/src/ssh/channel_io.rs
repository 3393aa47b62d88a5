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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Level;
    use crate::ssh::outbox::Outbox;
    use crate::ssh::service::{Service, Start};

    struct Silent;

    impl Service for Silent {
        const PROTOCOL: &'static str = "no";
        type Offers = ();

        fn start(&self) -> Start<'_> {
            Start::Command("")
        }

        fn hello(&self, _: &mut Vec<u8>) {}

        fn read_hello(&self, _: &[u8]) -> Result<(), Violation> {
            Ok(())
        }

        fn compression(&self, (): &()) -> Option<Level> {
            None
        }

        fn begins_greeting(_: &[u8]) -> bool {
            false
        }

        fn keeps_channels_apart(&self, _: Option<&str>, (): &()) -> bool {
            true
        }
    }

    /// Takes so many messages before it is flooded.
    struct Counting {
        taken: usize,
        most: usize,
        pumped: usize,
    }

    impl Scheduler for Counting {
        type Service = Silent;
        type Command = ();

        fn add_channel(&mut self, _: Outbox, (): (), _: bool) -> usize {
            0
        }

        fn outbox(&mut self, _: usize) -> &mut Outbox {
            panic!("nothing is sent")
        }

        fn heard(&mut self, _: usize, _: Instant) {}

        fn command(&mut self, (): ()) {}

        fn receive(&mut self, _: usize, _: &[u8], _: Instant) -> Result<(), Violation> {
            self.taken += 1;
            Ok(())
        }

        fn pump(&mut self) -> io::Result<()> {
            self.pumped += 1;
            Ok(())
        }

        fn is_far(&self) -> bool {
            false
        }

        fn is_flooded(&self, _: usize) -> bool {
            self.taken >= self.most
        }

        fn stalled(&self, _: Instant, _: Duration) -> bool {
            false
        }

        fn progressed(&mut self) -> bool {
            false
        }

        fn reset(&mut self, _: &str) {}

        fn give_up(&mut self, _: &str) {}
    }

    #[test]
    fn no_message_is_processed_after_the_one_that_floods_although_it_arrived_with_it() {
        let mut frames = Frames::new();
        let message = [&5_u32.to_be_bytes()[..], &[0; 5]].concat().repeat(1000);
        frames.room()[..message.len()].copy_from_slice(&message);
        frames.filled(message.len());
        let mut scheduler = Counting { taken: 0, most: 3, pumped: 0 };
        for most in [3, 4, 700] {
            scheduler.most = most;
            assert!(matches!(process_some(&mut scheduler, 0, &mut frames), Ok(false)));
            assert_eq!(scheduler.taken, most);
        }
        scheduler.most = 2000;
        assert!(matches!(process_some(&mut scheduler, 0, &mut frames), Ok(true)));
        assert_eq!((scheduler.taken, scheduler.pumped), (1000, 4));
    }
}

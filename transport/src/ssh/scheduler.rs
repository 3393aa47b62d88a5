//! The protocol logic of a connection's channels.

use std::io;
use std::time::{Duration, Instant};

use crate::ssh::framing::Violation;
use crate::ssh::outbox::Outbox;
use crate::ssh::service::Service;

/// The protocol logic that the network thread drives: it decides what to send on which channel and processes the
/// answers. It does no I/O on the ssh pipes and runs no timers.
pub(crate) trait Scheduler: 'static {
    /// What runs at the far end of each channel.
    type Service: Service;
    /// The requests that callers send to the thread.
    type Command;

    /// Adds an open channel; returns its number. `apart` says whether the far end is known to run a process of its
    /// own for each channel.
    fn add_channel(&mut self, outbox: Outbox, offers: Offers<Self>, apart: bool) -> usize;

    /// The sending half of a channel.
    fn outbox(&mut self, number: usize) -> &mut Outbox;

    /// Records that bytes arrived on a channel, possibly in the middle of a long answer.
    fn heard(&mut self, number: usize, now: Instant);

    /// Accepts a command.
    fn command(&mut self, command: Self::Command);

    /// Processes a frame received on a channel.
    fn receive(&mut self, number: usize, frame: &[u8], now: Instant) -> Result<(), Violation>;

    /// Sends everything that the limits allow now.
    fn pump(&mut self) -> io::Result<()>;

    /// Whether the host is known to be far away (long round trips).
    fn is_far(&self) -> bool;

    /// Whether the thread must stop reading from this channel for now.
    fn is_flooded(&self, number: usize) -> bool;

    /// Whether an answer is overdue.
    fn stalled(&self, now: Instant, limit: Duration) -> bool;

    /// Whether any request was answered since the last call.
    fn progressed(&mut self) -> bool;

    /// Called when the connection is lost; `why` is the reason.
    fn reset(&mut self, why: &str);

    /// Called when there will be no further connection.
    fn give_up(&mut self, why: &str);
}

/// What the far end of a scheduler's channels offers.
pub(crate) type Offers<T> = <<T as Scheduler>::Service as Service>::Offers;

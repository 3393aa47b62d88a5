//! What runs at the far end of a channel, and how both ends greet each other.

use crate::compress::Level;
use crate::ssh::framing::Violation;

/// How ssh starts what runs at the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    /// A subsystem of the host's SSH server (ssh(1), `-s`).
    Subsystem(&'a str),
    /// A command line for the user's login shell.
    Command(&'a str),
}

impl Start<'_> {
    pub(crate) fn is_command(self) -> bool {
        matches!(self, Self::Command(_))
    }
}

/// The number of bytes by which a greeting is recognized behind a text.
pub(crate) const GREETING: usize = 9;

/// What runs at the far end of each channel.
pub(crate) trait Service: 'static {
    /// The name of its protocol, for messages.
    const PROTOCOL: &'static str;

    /// What the far end offers.
    type Offers: Copy + Send + 'static;

    /// How ssh starts it.
    fn start(&self) -> Start<'_>;

    /// Writes the bytes that this end sends first.
    fn hello(&self, out: &mut Vec<u8>);

    /// Reads the first frame of the far end, without its length field.
    ///
    /// # Errors
    /// If the frame is no greeting.
    fn read_hello(&self, frame: &[u8]) -> Result<Self::Offers, Violation>;

    /// Whether these bytes, of which there are [`GREETING`], begin a greeting. A text of the host's shell may come before.
    fn begins_greeting(bytes: &[u8]) -> bool;

    /// How this end compresses what it sends behind the greeting. `None`: neither end compresses.
    fn compression(&self, _: &Self::Offers) -> Option<Level> {
        None
    }

    /// Whether the far end is known to run a process of its own for each channel. `software` is the name of the host's
    /// SSH software, if ssh reported it.
    fn keeps_channels_apart(&self, software: Option<&str>, offers: &Self::Offers) -> bool;
}

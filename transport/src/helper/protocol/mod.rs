//! The messages between both ends. `docs/protocol.md` specifies them.
//!
//! A connection begins with [`PREAMBLE`] from the near end. Everything else is frames: a length of four bytes
//! (big-endian, without itself), the number of a request of four bytes (big-endian), and a message in the
//! encoding of postcard. An answer carries the number of its request.

pub(crate) mod content;
pub(crate) mod copy;
pub(crate) mod delta;
pub(crate) mod entry;
pub(crate) mod error;
pub(crate) mod features;
pub(crate) mod frame;
#[cfg(test)]
pub(crate) mod fuzz_tests;
pub(crate) mod known;
pub(crate) mod message;
pub(crate) mod report;
#[cfg(test)]
mod tests;
pub(crate) mod write;

/// The first bytes from the near end. An SFTP server takes them for a frame that is too long, and ends.
pub(crate) const PREAMBLE: &[u8; 8] = b"BMSERVE\n";

/// The protocol number of this program.
pub(crate) const PROTOCOL: u16 = 1;

/// The longest frame, without its length field, bytes.
pub(crate) const FRAME_MAX: usize = 300 * 1024;

/// The most content in one message, bytes.
pub(crate) const CONTENT_MAX: usize = 256 * 1024;

/// The number of messages that belong to no request.
pub(crate) const CONNECTION: u32 = 0;

/// Whether these bytes begin the frame with which the far end greets: a length of less than 256 bytes, [`CONNECTION`], and
/// the number of the message.
pub(crate) fn begins_greeting(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, 0, _, 0, 0, 0, 0, 0])
}

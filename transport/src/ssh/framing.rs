//! Splits the byte stream of a channel into frames: a length of four bytes, and the message.

use crate::ssh::options::Traffic;

/// Maximum accepted frame length. The longest expected answer of an SFTP server is 252 KiB of data.
pub(crate) const FRAME_MAX: usize = 320 * 1024;

/// The far end violated the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) &'static str);

/// Received bytes that are not yet parsed as frames. The buffer does not grow.
pub(crate) struct Frames {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    traffic: Traffic,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; 2 * FRAME_MAX], from: 0, to: 0, traffic: Traffic::default() }
    }

    /// Counts from now on what arrives.
    pub(crate) fn count(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }

    /// Where they are counted.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Free space for more bytes. It is never empty after all whole frames have been taken.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.buffer.len() - self.to < FRAME_MAX {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        &mut self.buffer[self.to..]
    }

    /// Records that `count` bytes were written into the free space.
    pub(crate) fn filled(&mut self, count: usize) {
        self.to = (self.to + count).min(self.buffer.len());
        self.traffic.received(count);
    }

    /// The next whole frame, without its length field.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Violation> {
        let held = &self.buffer[self.from..self.to];
        let Some((length, rest)) = held.split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        // A frame has at least a type byte and a request number.
        if !(5..=FRAME_MAX - 4).contains(&length) {
            return Err(Violation("a message is too short or too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.from + 4;
        self.from = start + length;
        Ok(Some(&self.buffer[start..start + length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(frames: &mut Frames, bytes: &[u8]) {
        frames.room()[..bytes.len()].copy_from_slice(bytes);
        frames.filled(bytes.len());
    }

    #[test]
    fn a_length_out_of_bounds_is_a_violation() {
        for length in [0_u32, 4, FRAME_MAX as u32 - 3, u32::MAX] {
            let mut frames = Frames::new();
            feed(&mut frames, &length.to_be_bytes());
            assert!(frames.next().is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_however_the_stream_is_cut(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 5..2000), 1..20),
            cuts in prop::collection::vec(1_usize..3000, 1..50),
        ) {
            let mut stream = Vec::new();
            for frame in &sent {
                stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
                stream.extend_from_slice(frame);
            }
            let (mut frames, mut got, mut rest) = (Frames::new(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                feed(&mut frames, now);
                rest = later;
                while let Some(frame) = frames.next().unwrap() {
                    got.push(frame.to_vec());
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, sent);
        }
    }
}

//! Splits the byte stream of a channel into frames: a length of four bytes, and the message.

use std::ops::Range;

use crate::compress::pieces::{BadPiece, Pieces};
use crate::ssh::options::Traffic;

/// Maximum accepted frame length. The longest expected answer of an SFTP server is 252 KiB of data.
pub(crate) const FRAME_MAX: usize = 320 * 1024;

/// The far end violated the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) &'static str);

impl From<BadPiece> for Violation {
    fn from(BadPiece(what): BadPiece) -> Self {
        Self(what)
    }
}

/// Received bytes that are not yet parsed as frames. The buffer does not grow.
pub(crate) struct Frames {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    traffic: Traffic,
    /// Where the bytes arrive that are compressed.
    pieces: Option<Pieces>,
}

impl Frames {
    pub(crate) fn new() -> Self {
        let traffic = Traffic::default();
        Self { buffer: vec![0; 2 * FRAME_MAX], from: 0, to: 0, traffic, pieces: None }
    }

    /// What is behind the frames taken so far is compressed.
    pub(crate) fn decompress(&mut self) {
        self.pieces = Some(Pieces::new(&self.buffer[self.from..self.to]));
        (self.from, self.to) = (0, 0);
    }

    /// What is behind the frames taken so far, if it is not compressed.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
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
        match &mut self.pieces {
            Some(pieces) => pieces.room(),
            None => own_room(&mut self.buffer, &mut self.from, &mut self.to),
        }
    }

    /// Records that `count` bytes were written into the free space.
    pub(crate) fn filled(&mut self, count: usize) {
        match &mut self.pieces {
            Some(pieces) => pieces.filled(count),
            None => self.to = (self.to + count).min(self.buffer.len()),
        }
        self.traffic.received(count);
    }

    /// The next whole frame, without its length field.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Violation> {
        loop {
            if let Some(frame) = self.whole()? {
                self.from = frame.end;
                return Ok(Some(&self.buffer[frame]));
            }
            let Some(pieces) = &mut self.pieces else { return Ok(None) };
            let room = own_room(&mut self.buffer, &mut self.from, &mut self.to);
            match pieces.next(room)? {
                Some(count) => self.to += count,
                None => return Ok(None),
            }
        }
    }

    /// Where the next whole frame is.
    fn whole(&self) -> Result<Option<Range<usize>>, Violation> {
        let held = &self.buffer[self.from..self.to];
        let Some((length, rest)) = held.split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        // A frame has at least a type byte and a request number.
        if !(5..=FRAME_MAX - 4).contains(&length) {
            return Err(Violation("a message is too short or too long"));
        }
        let start = self.from + 4;
        Ok((rest.len() >= length).then(|| start..start + length))
    }
}

/// The free space of the buffer: `FRAME_MAX` bytes and more, when no frame in it is whole.
fn own_room<'a>(buffer: &'a mut [u8], from: &mut usize, to: &mut usize) -> &'a mut [u8] {
    if from == to {
        (*from, *to) = (0, 0);
    } else if buffer.len() - *to < FRAME_MAX {
        buffer.copy_within(*from..*to, 0);
        (*from, *to) = (0, *to - *from);
    }
    &mut buffer[*to..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Level;
    use crate::compress::compressor::Compressor;
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

    #[test]
    fn what_follows_a_greeting_is_compressed() {
        let frame = |byte: u8, count: usize| {
            let length = u32::try_from(count).unwrap().to_be_bytes();
            [&length[..], &vec![byte; count]].concat()
        };
        // The first frame is cut by the end of a piece, and is as long as a frame may be.
        let (first, second) = (frame(1, FRAME_MAX - 4), frame(2, 9));
        let mut sent = frame(0, 5);
        let mut compressor = Compressor::new(Level::default());
        compressor.append(&[first, second].concat(), &mut sent).unwrap();
        let (mut frames, traffic) = (Frames::new(), Traffic::default());
        frames.count(traffic.clone());
        feed(&mut frames, &sent[..20]);
        assert_eq!(frames.next().unwrap(), Some(&[0; 5][..]));
        frames.decompress();
        for part in sent[20..].chunks(7) {
            feed(&mut frames, part);
        }
        assert!(frames.next().unwrap().unwrap() == vec![1; FRAME_MAX - 4]);
        assert_eq!(frames.next().unwrap(), Some(&[2; 9][..]));
        assert_eq!(frames.next().unwrap(), None);
        assert_eq!(traffic.get().1, sent.len() as u64);
        feed(&mut frames, &[0xFF; 4]);
        assert!(frames.next().is_err());
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

//! The end that compresses.

use std::io::{self, Write};

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use crate::compress::{COMPRESSED, COMPRESSED_MAX, Level, PIECE_MAX, WINDOW_LOG};

/// A shorter piece is sent as it is: the headers of a block take as much as there is to gain.
const SHORTEST: usize = 24;

/// The length from which a piece shows that its content does not become shorter, and the share of it that has to be
/// gained.
const TELLING: usize = 4 * 1024;
const GAIN: usize = 32;

/// The most bytes that are sent as they are before the next attempt.
const UNTRIED_MAX: usize = 8 * PIECE_MAX;

/// The tables of a level have at most 2 to the power of this many entries of 4 bytes. More do not help within the window.
const TABLE_LOG: u32 = WINDOW_LOG + 1;

/// Compresses what is sent on a channel.
pub(crate) struct Compressor {
    level: Level,
    /// Made for the first piece that is compressed: many channels send little.
    encoder: Option<Encoder<'static>>,
    buffer: Vec<u8>,
    /// How many bytes were sent as they are after the last attempt that gained nothing. 0 after one that did.
    pause: usize,
    /// How many more bytes are sent as they are.
    untried: usize,
}

impl Compressor {
    pub(crate) fn new(level: Level) -> Self {
        Self { level, encoder: None, buffer: Vec::new(), pause: 0, untried: 0 }
    }

    /// Appends the pieces for `bytes` to `out`.
    ///
    /// # Errors
    /// zstd gets no memory.
    pub(crate) fn append(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        bytes.chunks(PIECE_MAX).try_for_each(|piece| self.piece(piece, out))
    }

    fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if piece.len() < SHORTEST || self.untried > 0 {
            self.untried = self.untried.saturating_sub(piece.len());
            out.extend_from_slice(&length(piece.len()).to_be_bytes());
            out.extend_from_slice(piece);
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.compress(piece, out)?;
        let count = out.len() - start - 4;
        out[start..start + 4].copy_from_slice(&(COMPRESSED | length(count)).to_be_bytes());
        if piece.len() >= TELLING {
            let gained = count <= piece.len() - piece.len() / GAIN;
            // A long pause after a long file that is compressed already, none for a short one among others.
            self.pause = if gained { 0 } else { (self.pause * 2).clamp(PIECE_MAX, UNTRIED_MAX) };
            self.untried = self.pause;
        }
        Ok(())
    }

    fn compress(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let mut encoder = Encoder::new(self.level.number().into())?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                // Without a known length, zstd makes tables for its own larger window from level 9 on.
                if self.level.number() >= 9 {
                    encoder.set_parameter(CParameter::HashLog(TABLE_LOG))?;
                    encoder.set_parameter(CParameter::ChainLog(TABLE_LOG))?;
                }
                self.buffer.resize(COMPRESSED_MAX, 0);
                none.insert(encoder)
            }
        };
        let mut input = InBuffer::around(piece);
        loop {
            let mut output = OutBuffer::around(&mut self.buffer[..]);
            encoder.run(&mut input, &mut output)?;
            let left = encoder.flush(&mut output)?;
            out.extend_from_slice(output.as_slice());
            if left == 0 && input.pos() == piece.len() {
                return Ok(());
            }
        }
    }
}

/// A length as it is sent: no piece is longer than [`COMPRESSED_MAX`].
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Compresses what is written to it.
pub(crate) struct Compressed<W> {
    output: W,
    compressor: Compressor,
    pieces: Vec<u8>,
}

impl<W: Write> Compressed<W> {
    pub(crate) fn new(output: W, level: Level) -> Self {
        Self { output, compressor: Compressor::new(level), pieces: Vec::new() }
    }
}

impl<W: Write> Write for Compressed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = &bytes[..bytes.len().min(PIECE_MAX)];
        self.pieces.clear();
        self.compressor.append(now, &mut self.pieces)?;
        self.output.write_all(&self.pieces)?;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

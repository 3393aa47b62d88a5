//! The end that decompresses. It takes nothing on trust: a piece never becomes longer than [`PIECE_MAX`], and the
//! memory is bounded by the window.

use std::io::{self, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::compress::{COMPRESSED, COMPRESSED_MAX, PIECE_MAX, WINDOW_LOG};

/// Bytes that are no pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadPiece(pub(crate) &'static str);

const BROKEN: BadPiece = BadPiece("a compressed piece that is broken");

/// The bytes received on a channel, as pieces. The buffer does not grow.
pub(crate) struct Pieces {
    /// Made for the first piece that is compressed.
    decoder: Option<Decoder<'static>>,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

/// The bytes of a piece with its length.
const WHOLE: usize = 4 + COMPRESSED_MAX;

impl Pieces {
    /// Begins with what was received already.
    pub(crate) fn new(received: &[u8]) -> Self {
        let mut buffer = received.to_vec();
        buffer.resize(received.len() + 2 * WHOLE, 0);
        Self { decoder: None, buffer, from: 0, to: received.len() }
    }

    /// Free space for more bytes. It is never empty after all whole pieces have been taken.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.buffer.len() - self.to < WHOLE {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        &mut self.buffer[self.to..]
    }

    /// Records that `count` bytes were written into the free space.
    pub(crate) fn filled(&mut self, count: usize) {
        self.to = (self.to + count).min(self.buffer.len());
    }

    /// Whether some bytes of a piece that is not whole are here.
    fn is_within_piece(&self) -> bool {
        self.from < self.to
    }

    /// Puts the content of the next whole piece at the start of `out`, which has room for [`PIECE_MAX`] bytes. Returns
    /// their number; `None` if no piece is whole.
    ///
    /// # Errors
    /// [`BadPiece`].
    pub(crate) fn next(&mut self, out: &mut [u8]) -> Result<Option<usize>, BadPiece> {
        let held = &self.buffer[self.from..self.to];
        let Some((head, rest)) = held.split_first_chunk() else { return Ok(None) };
        let head = u32::from_be_bytes(*head);
        let (is_compressed, length) = (head & COMPRESSED != 0, (head & !COMPRESSED) as usize);
        let most = if is_compressed { COMPRESSED_MAX } else { PIECE_MAX };
        if !(1..=most).contains(&length) {
            return Err(BadPiece("a piece is too short or too long"));
        }
        let Some(piece) = rest.get(..length) else { return Ok(None) };
        let out = out.get_mut(..PIECE_MAX).ok_or(BROKEN)?;
        let count = match is_compressed {
            true => decompress(&mut self.decoder, piece, out)?,
            false => {
                out[..length].copy_from_slice(piece);
                length
            }
        };
        self.from += 4 + length;
        Ok(Some(count))
    }
}

fn decompress(
    decoder: &mut Option<Decoder<'static>>,
    piece: &[u8],
    out: &mut [u8],
) -> Result<usize, BadPiece> {
    let decoder = match decoder {
        Some(decoder) => decoder,
        none => none.insert(new_decoder().map_err(|_| BadPiece("there is no memory for zstd"))?),
    };
    let (mut input, mut output) = (InBuffer::around(piece), OutBuffer::around(out));
    while input.pos() < piece.len() {
        if output.pos() == PIECE_MAX {
            return Err(BadPiece("a compressed piece becomes too long"));
        }
        // 0 says that the stream has ended.
        if decoder.run(&mut input, &mut output).map_err(|_| BROKEN)? == 0 {
            return Err(BadPiece("compressed bytes that end"));
        }
    }
    let count = output.pos();
    let mut more = [0];
    let mut beyond = OutBuffer::around(&mut more[..]);
    if count == PIECE_MAX {
        decoder.run(&mut InBuffer::around(&[]), &mut beyond).map_err(|_| BROKEN)?;
    }
    match (count, beyond.pos()) {
        (0, _) => Err(BadPiece("a compressed piece without content")),
        (_, 0) => Ok(count),
        _ => Err(BadPiece("a compressed piece becomes too long")),
    }
}

fn new_decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
    Ok(decoder)
}

/// Decompresses what is read from it.
pub(crate) struct Decompressed<R> {
    input: R,
    pieces: Pieces,
    piece: Vec<u8>,
    from: usize,
    to: usize,
}

impl<R: Read> Decompressed<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, pieces: Pieces::new(&[]), piece: vec![0; PIECE_MAX], from: 0, to: 0 }
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.from == self.to {
            let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            if let Some(count) = self.pieces.next(&mut self.piece).map_err(bad)? {
                (self.from, self.to) = (0, count);
                break;
            }
            match self.input.read(self.pieces.room())? {
                0 if self.pieces.is_within_piece() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                0 => return Ok(0),
                count => self.pieces.filled(count),
            }
        }
        let count = out.len().min(self.to - self.from);
        out[..count].copy_from_slice(&self.piece[self.from..self.from + count]);
        self.from += count;
        Ok(count)
    }
}

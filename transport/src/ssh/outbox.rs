//! Sends the bytes of one channel.

use std::io;
use std::rc::Rc;

use tokio::net::unix::pipe::Sender;
use tokio::sync::Notify;

use crate::compress::compressor::Compressor;
use crate::compress::{Level, PIECE_MAX};
use crate::ssh::options::Traffic;

/// The bytes that wait for a channel's pipe.
pub(crate) struct Outbox {
    out: Vec<u8>,
    compressor: Option<Compressor>,
    /// The pieces of what was taken from `out`.
    pieces: Vec<u8>,
    to: Rc<Sender>,
    full: Rc<Notify>,
    traffic: Traffic,
}

impl Outbox {
    /// With a `level` everything is compressed.
    pub(crate) fn new(to: Rc<Sender>, traffic: Traffic, level: Option<Level>) -> Self {
        let (full, compressor) = (Rc::new(Notify::new()), level.map(Compressor::new));
        Self { out: Vec::new(), compressor, pieces: Vec::new(), to, full, traffic }
    }

    /// Notified when there are more bytes to send than the pipe accepts.
    pub(crate) fn full(&self) -> Rc<Notify> {
        Rc::clone(&self.full)
    }

    /// The buffer to which a frame is appended. [`Outbox::flush`] sends it.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Appends a frame; returns its bytes in the buffer.
    pub(crate) fn push(&mut self, frame: &[u8]) -> &mut [u8] {
        let start = self.out.len();
        self.out.extend_from_slice(frame);
        &mut self.out[start..]
    }

    /// Sends as many bytes as the pipe accepts.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Self { out, compressor, pieces, to, full, traffic } = self;
        let Some(compressor) = compressor else { return send(out, to, full, traffic) };
        let mut taken = 0;
        loop {
            send(pieces, to, full, traffic)?;
            // What the pipe does not accept is not compressed yet: a request still joins it.
            if !pieces.is_empty() || taken == out.len() {
                break;
            }
            let now = &out[taken..out.len().min(taken + PIECE_MAX)];
            compressor.append(now, pieces)?;
            taken += now.len();
        }
        out.drain(..taken);
        Ok(())
    }

    /// Number of bytes that the pipe has not accepted yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() + self.pieces.len()
    }
}

/// Sends as many bytes as the pipe accepts, and removes them.
fn send(bytes: &mut Vec<u8>, to: &Sender, full: &Notify, traffic: &Traffic) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match to.try_write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                full.notify_one();
                break;
            }
            Err(error) => return Err(error),
        }
    }
    bytes.drain(..sent);
    traffic.sent(sent);
    Ok(())
}

//! Sends the bytes of one channel.

use std::io;
use std::rc::Rc;

use tokio::net::unix::pipe::Sender;
use tokio::sync::Notify;

use crate::ssh::options::Traffic;

/// The bytes that wait for a channel's pipe.
pub(crate) struct Outbox {
    out: Vec<u8>,
    to: Rc<Sender>,
    full: Rc<Notify>,
    traffic: Traffic,
}

impl Outbox {
    pub(crate) fn new(to: Rc<Sender>, traffic: Traffic) -> Self {
        Self { out: Vec::new(), to, full: Rc::new(Notify::new()), traffic }
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
        let mut sent = 0;
        while sent < self.out.len() {
            match self.to.try_write(&self.out[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full.notify_one();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..sent);
        self.traffic.sent(sent);
        Ok(())
    }

    /// Number of bytes that the pipe has not accepted yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len()
    }
}

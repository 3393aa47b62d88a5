//! A body that a thread writes while it is sent.

use std::fs::File;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures_core::Stream;
use rustix::buffer::spare_capacity;
use rustix::io::{read, retry_on_intr};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes per chunk.
const CHUNK: usize = 256 * 1024;
/// Chunks that wait to be sent.
const WAITING: usize = 2;

/// The writing end. Its reader sees an error unless [`ChunkWriter::finish`] is called: a download that ends early never
/// looks complete.
pub(crate) struct ChunkWriter {
    sender: Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    finished: bool,
}

impl ChunkWriter {
    /// Sends what is left.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.finished = true;
        Ok(())
    }

    /// Sends exactly `length` bytes of a file, from its position on. They are read into the chunks that are sent.
    pub(crate) fn send(&mut self, file: &File, length: u64) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let before = self.buffer.len();
            self.buffer.reserve_exact(CHUNK.saturating_sub(before));
            let read = retry_on_intr(|| read(file, spare_capacity(&mut self.buffer)))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(read);
            self.buffer.truncate(before + wanted);
            left -= wanted as u64;
            if self.buffer.len() >= CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    /// Sends what was written so far, at once.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let chunk = Bytes::from(chunk);
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.sender.blocking_send(Err(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The chunks of a body, and the first one if it has already come.
struct Chunks(Receiver<io::Result<Bytes>>, Option<io::Result<Bytes>>);

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.1.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.0.poll_recv(context),
        }
    }
}

/// A body that `write` produces on a thread of its own. The thread ends when the reader has gone.
pub(crate) fn body(
    write: impl FnOnce(&mut ChunkWriter) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, receiver) = channel(WAITING);
    Handle::current().spawn_blocking(move || {
        let mut writer = ChunkWriter { sender, buffer: Vec::new(), finished: false };
        // The reader has gone, or sees the error as the end of the connection.
        let _ = write(&mut writer).and_then(|()| writer.finish());
    });
    Body::from_stream(Chunks(receiver, None))
}

/// A body as [`body`]. Waits until it begins, or is complete.
///
/// # Errors
/// What `write` returns before the body begins. A later error ends the connection.
pub(crate) fn begun<E: Send + 'static>(
    write: impl FnOnce(&mut ChunkWriter) -> Result<(), E> + Send + 'static,
) -> Result<Body, E> {
    let (sender, mut receiver) = channel(WAITING);
    let (fail, failed) = std::sync::mpsc::channel();
    Handle::current().spawn_blocking(move || {
        let mut writer = ChunkWriter { sender, buffer: Vec::new(), finished: false };
        match write(&mut writer) {
            Ok(()) => {
                let _ = writer.finish();
            }
            Err(error) => {
                let _ = fail.send(error);
            }
        }
    });
    let first = receiver.blocking_recv();
    match (&first, failed.try_recv()) {
        (Some(Err(_)), Ok(error)) => Err(error),
        _ => Ok(Body::from_stream(Chunks(receiver, first))),
    }
}

//! What waits for the way to the near end. Answers go before content, so that a large file delays no listing.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex};

use engine::threads::{lock, unpoisoned};
use serde::Serialize;

use crate::helper::protocol::frame::{TooLong, append};
use crate::helper::protocol::message::Answer;

/// Bytes of answers and of content that may wait before senders have to wait.
const ANSWERS: usize = 1 << 20;
const CONTENT: usize = 1 << 20;

/// Bytes of frames that are written together.
const TOGETHER: usize = 64 * 1024;

/// Messages for the near end.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Notified when there is something to write and the writer waits for it. A notification without a receiver is a
    /// system call all the same, and there are several messages for each small file.
    filled: Condvar,
    /// Notified when there is room and senders wait for it.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    answers: Queue,
    content: Queue,
    ended: bool,
    /// The writer waits for something to write.
    writer_waits: bool,
    /// Senders that wait for room.
    senders_wait: usize,
}

impl Waiting {
    /// The next frame. Answers go first.
    fn pop(&mut self) -> Option<Vec<u8>> {
        self.answers.pop().or_else(|| self.content.pop())
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

/// The connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

impl Outbox {
    /// Queues an answer to the request `number`. Waits while many wait.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) fn answer<M: Serialize>(&self, number: u32, message: &M) -> Result<(), Ended> {
        let mut frame = Vec::new();
        // An answer that is too long is a fault of its sender, which splits listings.
        append(&mut frame, number, message, &[]).map_err(|_| Ended)?;
        self.queue(frame, |waiting| &mut waiting.answers, ANSWERS)
    }

    /// Queues an answer whose frame is made.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) fn framed(&self, frame: Vec<u8>) -> Result<(), Ended> {
        self.queue(frame, |waiting| &mut waiting.answers, ANSWERS)
    }

    /// Queues a message about the content of a file, and the bytes that follow it. Waits while much content
    /// waits. The messages of one file stay in order.
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) fn content(&self, number: u32, message: &Answer, bytes: &[u8]) -> Result<(), Ended> {
        let mut frame = Vec::with_capacity(bytes.len() + 32);
        append(&mut frame, number, message, bytes).map_err(|TooLong| Ended)?;
        self.queue(frame, |waiting| &mut waiting.content, CONTENT)
    }

    /// Queues messages about the content of a file whose frames are made, like [`Outbox::content`].
    ///
    /// # Errors
    /// [`Ended`].
    pub(crate) fn framed_content(&self, frame: Vec<u8>) -> Result<(), Ended> {
        self.queue(frame, |waiting| &mut waiting.content, CONTENT)
    }

    fn queue(
        &self,
        frame: Vec<u8>,
        queue: impl Fn(&mut Waiting) -> &mut Queue,
        most: usize,
    ) -> Result<(), Ended> {
        let mut waiting = lock(&self.waiting);
        while !waiting.ended && queue(&mut waiting).bytes >= most {
            waiting.senders_wait += 1;
            waiting = unpoisoned(self.emptied.wait(waiting));
            waiting.senders_wait -= 1;
        }
        if waiting.ended {
            return Err(Ended);
        }
        queue(&mut waiting).push(frame);
        if waiting.writer_waits {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Ends all waiting: the connection is gone.
    pub(crate) fn end(&self) {
        lock(&self.waiting).ended = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// Writes what waits, until the connection has ended.
    ///
    /// # Errors
    /// The error of the write.
    pub(crate) fn write_to(&self, output: &mut impl Write) -> io::Result<()> {
        while let Some(bytes) = self.next() {
            output.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Waits for frames and returns some of them. `None` when the connection has ended.
    fn next(&self) -> Option<Vec<u8>> {
        let mut waiting = lock(&self.waiting);
        loop {
            // A large frame is returned as it is: copying it takes processor time.
            let mut bytes = waiting.pop().unwrap_or_default();
            while bytes.len() < TOGETHER
                && let Some(frame) = waiting.pop()
            {
                bytes.extend_from_slice(&frame);
            }
            if !bytes.is_empty() {
                if waiting.senders_wait > 0 {
                    self.emptied.notify_all();
                }
                return Some(bytes);
            }
            if waiting.ended {
                return None;
            }
            waiting.writer_waits = true;
            waiting = unpoisoned(self.filled.wait(waiting));
            waiting.writer_waits = false;
        }
    }
}

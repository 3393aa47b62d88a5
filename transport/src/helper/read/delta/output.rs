//! Where the thread that builds files sends what it built, and what it asks for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};

use engine::SourceError;
use engine::entry::Meta;
use tokio::sync::mpsc::UnboundedSender;

use crate::delivery::{Backlog, ContentPart, Delivery, Lent};
use crate::helper::read::command::Command;
use crate::helper::read::delta::DeltaCommand;

/// The buffers for bytes of the base, and their size.
const BUFFERS: usize = 8;
const BUFFER: usize = 256 * 1024;

/// Where the thread sends what it built, and what it asks for.
pub(crate) struct Output {
    contents: Sender<Vec<(u64, ContentPart)>>,
    backlog: Arc<Backlog>,
    commands: UnboundedSender<Command>,
    buffers: Receiver<Vec<u8>>,
    back: Sender<Vec<u8>>,
}

impl Output {
    pub(crate) fn new(delivery: &Delivery, commands: UnboundedSender<Command>) -> Self {
        let (back, buffers) = channel();
        for _ in 0..BUFFERS {
            let _ = back.send(Vec::new());
        }
        let (contents, backlog) = (delivery.to_contents(), Arc::clone(&delivery.backlog));
        Self { contents, backlog, commands, buffers, back }
    }

    pub(crate) fn command(&self, command: DeltaCommand) {
        // The network thread may have ended.
        let _ = self.commands.send(Command::Delta(command));
    }

    /// Records that bytes of content, which the network thread counted, are dropped.
    pub(crate) fn taken(&self, count: usize) {
        self.backlog.taken(count);
    }

    /// Records that a message of `bytes` was taken from the queue.
    pub(crate) fn took_event(&self, bytes: usize) {
        self.backlog.events.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Passes on a part whose bytes of content the network thread counted.
    pub(crate) fn content(&self, request: u64, part: ContentPart) {
        self.backlog.bytes.fetch_add(part.around(), Ordering::Relaxed);
        // The thread of the sinks lives as long as this one.
        let _ = self.contents.send(vec![(request, part)]);
    }

    /// Passes on bytes of the base: as many of `length` as a buffer holds, whose number it returns. Waits while all
    /// buffers wait for the sinks.
    pub(crate) fn of_base(
        &self,
        request: u64,
        index: usize,
        base: &File,
        offset: u64,
        length: u64,
    ) -> io::Result<u64> {
        let count = length.min(BUFFER as u64);
        let mut bytes = self.buffers.recv().unwrap_or_default();
        bytes.resize(usize::try_from(count).unwrap_or(BUFFER), 0);
        let mut lent = Lent { bytes, back: self.back.clone() };
        base.read_exact_at(&mut lent.bytes, offset)?;
        self.content(request, ContentPart::OfBase(index, lent));
        Ok(count)
    }

    /// Passes on bytes of the base that were read already, like [`Output::of_base`].
    pub(crate) fn read_of_base(&self, request: u64, index: usize, read: &[u8]) {
        for part in read.chunks(BUFFER) {
            let mut bytes = self.buffers.recv().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(part);
            let lent = Lent { bytes, back: self.back.clone() };
            self.content(request, ContentPart::OfBase(index, lent));
        }
    }

    /// Ends a file.
    pub(crate) fn end(
        &self,
        request: u64,
        index: usize,
        hash: [u8; 32],
        result: Result<Meta, SourceError>,
    ) {
        let hashed = ContentPart::Hashed(index, hash);
        let end = ContentPart::FileEnd(index, result);
        let _ = self.contents.send(vec![(request, hashed), (request, end)]);
    }
}

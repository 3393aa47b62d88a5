//! Stores a file on the host. A small file takes three steps: open it, write all of it, rename it.
//! [`large_file`](super::large_file) stores a large one.

use std::sync::atomic::Ordering;

use engine::entry::Entry;
use engine::repository::{Content, Piece, StoreError, is_damaged, read_through};
use engine::restore::StoreOutcome;

use crate::sftp::protocol::packet::Request;
use crate::sftp::protocol::write_packet::{Change, Set};
use crate::sftp::write::entries::attributes::{WantedAttrs, is_set_id};
use crate::sftp::write::entries::create::TemporaryFile;
use crate::sftp::write::folder::TargetFolder;
use crate::sftp::write::link::error::RequestError;
use crate::sftp::write::link::request_batch::{Requests, Via};
use crate::sftp::write::link::session::UNSUPPORTED;
use crate::sftp::write::target::SftpTarget;
use crate::ssh::again::again;

/// Maximum size in bytes of a file that is read completely before it is sent.
const SMALL: u64 = 512 << 10;

/// Minimum memory in bytes of a file in progress, in addition to its content.
pub(crate) const AROUND: u64 = 16 << 10;

impl SftpTarget {
    /// Stores a file with its attributes.
    pub(crate) fn store_file(
        &self,
        folder: &TargetFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        let size = content.file.metadata().map_err(StoreError::Unreadable)?.len();
        if size > SMALL {
            return self.upload(folder, entry, content, replace);
        }
        let path = self.temporary(folder, &entry.name).map_err(refused)?;
        let stored = self.handles.with_one(|| {
            let _room = self.memory.acquire(2 * size + AROUND);
            let read = match self.read_small(content) {
                Ok(read) => read,
                Err(error) => return Ok(Err(error)),
            };
            let attrs = self.wanted_attrs(entry);
            let store =
                || again(|_| self.store_small(folder, (&path, entry), (&read, &attrs), replace));
            let stored = match store() {
                // Try once more: the server may sometimes mix up its files.
                Err(RequestError::Garbled) => store(),
                stored => stored,
            };
            let shortfall = stored?.shortfall;
            Ok(Ok(StoreOutcome { shortfall, damaged: read.damaged, id: None }))
        });
        stored.unwrap_or_else(|fault| Err(refused(fault)))
    }

    /// Reads a small file completely, and verifies it.
    pub(crate) fn read_small(&self, content: &Content<'_>) -> Result<SmallContent, StoreError> {
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        let (size, hash) = read_through(content, &mut |piece| {
            if let Piece::Data(at, bytes) = piece {
                let parts = bytes.chunks(self.session.chunk);
                let starts = (0..).map(|number| at + number * self.session.chunk as u64);
                pieces.extend(starts.zip(parts.map(<[u8]>::to_vec)));
            }
            Ok(())
        })?;
        let damaged = is_damaged(content, &hash);
        if damaged && !content.accept_damage {
            return Err(StoreError::Damaged);
        }
        let end = pieces.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64);
        Ok(SmallContent { pieces, length: size, hash, size: (size > end).then_some(size), damaged })
    }

    fn store_small(
        &self,
        folder: &TargetFolder,
        (path, entry): (&[u8], &Entry),
        (read, attrs): (&SmallContent, &WantedAttrs),
        replace: bool,
    ) -> Result<WantedAttrs, RequestError> {
        let made = self.create(folder, path.to_vec())?;
        let writes = read.writes(Requests::new(), &made.handle);
        let mut attrs = attrs.clone();
        attrs.set.size = read.size;
        self.finish_content(folder, (&made, read.length), writes, &mut attrs)?;
        self.finish(folder, &made, (read.length, read.hash), entry, replace)?;
        Ok(attrs)
    }

    /// Sends the last writes of a file, sets its attributes, syncs it to the disk, and checks it with the
    /// final length. If a step fails, the file is removed.
    pub(crate) fn finish_content(
        &self,
        folder: &TargetFolder,
        (made, length): (&TemporaryFile, u64),
        writes: Requests,
        attrs: &mut WantedAttrs,
    ) -> Result<(), RequestError> {
        let done = self.try_finish_content((made, length), writes, attrs);
        if let Err(fault) = done {
            let fault = self.explain_refusal(folder, fault);
            self.discard(made);
            return Err(fault);
        }
        Ok(())
    }

    fn try_finish_content(
        &self,
        (made, length): (&TemporaryFile, u64),
        writes: Requests,
        attrs: &mut WantedAttrs,
    ) -> Result<(), RequestError> {
        let requester = &self.session.requester;
        let (handle, count) = (&made.handle, writes.len());
        let syncs = self.offers().fsync;
        // The owner of a setuid or setgid file must be set before its mode.
        let together = !is_set_id(&attrs.set);
        let mut ask = writes;
        if together {
            ask = ask.change(Change::SetOpen(handle, attrs.set));
        }
        if together && syncs {
            ask = ask.change(Change::Sync(handle));
        }
        if together {
            ask = ask.ask(Request::FStat(handle));
        }
        let mut answers = requester.ask(Via::Same(made.channel), ask)?;
        for _ in 0..count {
            answers.next().done()?;
        }
        if !together || answers.next().done().is_err() {
            return self.finish_separately((made, length), attrs);
        }
        if syncs {
            self.synced_or_unsupported(answers.next().done())?;
        }
        attrs.wanted(length).prove(answers.next(), &mut attrs.shortfall)
    }

    /// Sets the attributes of a written file one by one, and syncs it to the disk.
    pub(crate) fn finish_separately(
        &self,
        (made, length): (&TemporaryFile, u64),
        attrs: &mut WantedAttrs,
    ) -> Result<(), RequestError> {
        let handle = &made.handle;
        let wanted = attrs.wanted(length);
        self.set_attrs_separately(made.channel, attrs, &|set: Set| Change::SetOpen(handle, set))?;
        let syncs = self.offers().fsync;
        let mut ask = Requests::new();
        if syncs {
            ask = ask.change(Change::Sync(handle));
        }
        let ask = ask.ask(Request::FStat(handle));
        let mut answers = self.session.requester.ask(Via::Same(made.channel), ask)?;
        if syncs {
            self.synced_or_unsupported(answers.next().done())?;
        }
        wanted.prove(answers.next(), &mut attrs.shortfall)
    }

    /// Ignores the error of a file system or a server that cannot sync.
    pub(crate) fn synced_or_unsupported(
        &self,
        done: Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        match done {
            Err(RequestError::Refused(UNSUPPORTED)) => {
                self.no_sync.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done,
        }
    }

    /// Closes a file, reads its `content` (length and hash) back where that is needed, and renames it to its final name.
    pub(crate) fn finish(
        &self,
        folder: &TargetFolder,
        made: &TemporaryFile,
        content: (u64, blake3::Hash),
        entry: &Entry,
        replace: bool,
    ) -> Result<(), RequestError> {
        let mut close = Requests::new().ask(Request::Close(&made.handle));
        let mut via = Via::Same(made.channel);
        let reads_back = self.reads_back();
        if reads_back || !self.offers().fsync {
            // The server may report a write error only at CLOSE (close(2)).
            let closed = self.session.requester.ask(via, close)?.next().done();
            match closed {
                // FSYNC has succeeded already.
                Err(RequestError::Refused(_)) if self.offers().fsync => {}
                closed => closed.map_err(|fault| self.explain_refusal(folder, fault))?,
            }
            (close, via) = (Requests::new(), Via::Any);
        }
        if reads_back {
            // The server may allow one open file, so this follows the close.
            let read = self.read_back(made.channel, &made.path, content);
            read.inspect_err(|_| self.remove_temporary(&made.path))?;
        }
        self.rename(folder, (via, close), (&made.path, entry), replace)
    }
}

/// The content of a small file.
pub(crate) struct SmallContent {
    /// Offsets and the bytes to write there.
    pieces: Vec<(u64, Vec<u8>)>,
    /// The length of the file.
    pub(crate) length: u64,
    /// The hash of the whole content.
    hash: blake3::Hash,
    /// The length, if the file ends with a hole.
    pub(crate) size: Option<u64>,
    pub(crate) damaged: bool,
}

impl SmallContent {
    /// Appends the WRITE requests for the content.
    pub(crate) fn writes(&self, requests: Requests, handle: &[u8]) -> Requests {
        self.pieces.iter().fold(requests, |requests, (offset, bytes)| {
            requests.change(Change::Write { handle, offset: *offset, bytes })
        })
    }

    /// Number of WRITE requests.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }
}

pub(crate) fn refused(fault: RequestError) -> StoreError {
    StoreError::Target(fault.into())
}

//! Writes and checks the content of files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use engine::entry::{Entry, Kind};
use engine::fs::{Dir, stat};
use engine::repository::{Content, Digest, read_through};
use engine::restore::{LocalTarget, NewFile, StoreOutcome};

use crate::helper::protocol::write::{Pieces, SentEnd, method_of};
use crate::helper::serve::write::changes::exists;

/// The content of a file as it arrives, in order.
pub(crate) struct Arriving {
    digest: Digest,
    /// The end of what has arrived.
    pub(crate) at: u64,
}

impl Arriving {
    pub(crate) fn new(method: u8) -> Self {
        Self { digest: method_of(method).begin(), at: 0 }
    }

    /// Writes bytes at `offset`; what is between them and those before is a hole.
    pub(crate) fn write(&mut self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.pass(offset)?;
        file.write_all_at(bytes, offset)?;
        self.digest.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Reads what an earlier process wrote of the file.
    pub(crate) fn read(&mut self, file: &File) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read_at(&mut buffer, self.at) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.digest.update(&buffer[..count]);
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn pass(&mut self, offset: u64) -> io::Result<()> {
        let hole = offset.checked_sub(self.at).ok_or(io::ErrorKind::InvalidInput)?;
        self.digest.zeros(hole, &|| false);
        self.at = offset;
        Ok(())
    }

    /// Checks the whole content.
    ///
    /// # Errors
    /// It is not what was sent.
    pub(crate) fn end(mut self, file: &File, (size, _, hash): &SentEnd) -> io::Result<()> {
        if *size > self.at {
            file.set_len(*size)?;
        }
        let fits = self.pass(*size).is_ok();
        match fits && self.digest.finish().as_bytes() == hash {
            true => Ok(()),
            false => Err(io::Error::other(GARBLED)),
        }
    }
}

/// The text of the error for a content that arrived with another hash.
pub(crate) const GARBLED: &str = "its content did not arrive as it was sent";

/// Whether pieces can be those of a file: in order, and with `length` bytes together.
pub(crate) fn fit(pieces: &Pieces, end: &SentEnd) -> bool {
    let mut at = 0_u64;
    for (offset, length) in pieces {
        if *offset < at {
            return false;
        }
        at = offset.saturating_add(u64::from(*length));
    }
    at <= end.0 && i64::try_from(end.0).is_ok()
}

/// Gives a file its final name. When its request is sent `again`, and a file has that name, this is the file that the
/// request stored before, if it has the same content.
pub(crate) fn finish(
    (target, dir): (&LocalTarget, &Dir),
    new: NewFile,
    (entry, end): (&Entry, &SentEnd),
    (replace, again): (bool, bool),
) -> io::Result<StoreOutcome> {
    match target.finish_file(dir, new, entry, replace) {
        Err(error) if again && exists(&error) => stored_before(dir, entry, end).ok_or(error),
        stored => stored,
    }
}

fn stored_before(dir: &Dir, entry: &Entry, (size, method, hash): &SentEnd) -> Option<StoreOutcome> {
    let file = dir.open_file(&entry.name).ok()?;
    let meta = stat::meta(&file).ok()?;
    if meta.kind != Kind::File || meta.size != *size || meta.mtime != entry.meta.mtime {
        return None;
    }
    let content = Content { method: method_of(*method), ..Content::unproved(&file) };
    let (_, found) = read_through(&content, &mut |_| Ok(())).ok()?;
    (found.as_bytes() == hash).then(|| StoreOutcome { id: meta.id, ..StoreOutcome::default() })
}

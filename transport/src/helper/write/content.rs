//! Sends the content of files: small files several at a time, a large file in parts.

use std::cell::Cell;
use std::io;

use engine::entry::{Entry, ListedEntry};
use engine::repository::{Content, Piece, StoreError, is_damaged, read_through};
use engine::restore::{StoreOutcome, ToStore};
use engine::threads::Permit;

use crate::helper::protocol::CONTENT_MAX;
use crate::helper::protocol::entry::SentEntry;
use crate::helper::protocol::write::{
    Pieces, SentNewFile, WriteAnswer, WriteRequest, method, outcome,
};
use crate::helper::write::fault::RequestError;
use crate::helper::write::folder::RestoredFolder;
use crate::helper::write::request::PendingAnswer;
use crate::helper::write::session::{Question, unexpected};
use crate::helper::write::target::HelperTarget;
use crate::ssh::again::again;

/// The most content of a file that travels in one message, bytes.
const SMALL: u64 = 192 * 1024;

/// Bytes of entries and content in a message of several small files.
const FULL: usize = 96 * 1024;

/// Memory of a small file beside its content and its attributes, bytes.
const AROUND: usize = 1024;

/// A small file, read and verified.
struct ReadFile {
    sent: SentNewFile,
    content: Vec<u8>,
    damaged: bool,
}

/// Small files that were sent in one message: their positions, and whether each is damaged.
struct SentFiles {
    files: Vec<(usize, bool)>,
    answer: Result<PendingAnswer, RequestError>,
}

/// The result of each file, in order; `None` for a file that must be sent again.
type StoreResults = Vec<Option<Result<StoreOutcome, StoreError>>>;

impl HelperTarget {
    /// Stores small files. Files for which the connection is lost are sent again.
    pub(crate) fn store_together(
        &self,
        folder: &RestoredFolder,
        files: &[&dyn ToStore],
    ) -> Vec<Result<StoreOutcome, StoreError>> {
        let mut results: StoreResults = files.iter().map(|_| None).collect();
        let stored = again(|again| {
            let lost = self.send_small(folder, files, again, &mut results);
            lost.map_or(Ok(()), Err)
        });
        let error = stored.err().unwrap_or_else(RequestError::ended);
        let error: io::Error = error.into();
        let missing = || Err(StoreError::Target(io::Error::new(error.kind(), error.to_string())));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    /// Sends the files that have no result yet, and waits for their results. Returns why some are still missing.
    fn send_small(
        &self,
        folder: &RestoredFolder,
        files: &[&dyn ToStore],
        again: bool,
        results: &mut StoreResults,
    ) -> Option<RequestError> {
        let (mut sent, mut lost) = (Vec::new(), None);
        let missing = (0..files.len()).filter(|position| results[*position].is_none());
        for (positions, bytes) in
            grouped(missing.map(|position| (position, files[position].entry())))
        {
            // A thread never holds memory while it waits for more.
            let room = Some(self.memory.acquire(bytes as u64));
            let mut read = Vec::with_capacity(positions.len());
            for position in positions {
                folder.makes(&files[position].entry().name);
                match self.read_one(files[position]) {
                    Ok(one) => read.push((position, one)),
                    Err(error) => results[position] = Some(Err(error)),
                }
            }
            if !read.is_empty() {
                sent.push(self.send_files(folder, read, again, room));
            }
        }
        for SentFiles { files, answer } in sent {
            let stored = answer.and_then(|answer| answer.next());
            match stored {
                Ok(WriteAnswer::Stored(stored)) => {
                    for ((position, damaged), stored) in files.into_iter().zip(stored) {
                        results[position] = Some(match stored {
                            Ok(stored) => Ok(StoreOutcome { damaged, ..outcome(stored) }),
                            Err(fault) => Err(StoreError::Target(fault.into())),
                        });
                    }
                }
                Ok(_) => lost = Some(unexpected()),
                Err(RequestError::Refused(error)) => {
                    for (position, _) in files {
                        let error = io::Error::new(error.kind(), error.to_string());
                        results[position] = Some(Err(StoreError::Target(error)));
                    }
                }
                Err(error) => lost = Some(error),
            }
        }
        lost
    }

    fn send_files(
        &self,
        folder: &RestoredFolder,
        files: Vec<(usize, ReadFile)>,
        again: bool,
        room: Option<Permit>,
    ) -> SentFiles {
        let positions = files.iter().map(|(position, file)| (*position, file.damaged)).collect();
        let (mut sent, mut content) = (Vec::new(), Vec::new());
        for (_, file) in files {
            sent.push(file.sent);
            content.extend_from_slice(&file.content);
        }
        let request = WriteRequest::Store { folder: folder.handle.number, files: sent, again };
        let folders = [&folder.handle];
        let question = Question { folders: &folders, request: &request, content: &content, room };
        SentFiles { files: positions, answer: self.session.send(question) }
    }

    fn read_one(&self, file: &dyn ToStore) -> Result<ReadFile, StoreError> {
        let mut read = None;
        file.open(&mut |content| {
            read = Some(read_small(file.entry(), content, file.replace())?);
            Ok(StoreOutcome::default())
        })?;
        read.ok_or_else(|| StoreError::Unreadable(io::ErrorKind::NotFound.into()))
    }

    /// Stores one file.
    pub(crate) fn store_file(
        &self,
        folder: &RestoredFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        folder.makes(&entry.name);
        let size = content.file.metadata().map_err(StoreError::Unreadable)?.len();
        if size > SMALL || cost(entry) > 2 * FULL {
            let _one = self.uploads.acquire(1);
            return self.upload(folder, entry, content, replace);
        }
        let read = read_small(entry, content, replace)?;
        let request = |again| WriteRequest::Store {
            folder: folder.handle.number,
            files: vec![read.sent.clone()],
            again,
        };
        let stored = again(|again| {
            let (folders, request) = ([&folder.handle], request(again));
            let room = Some(self.memory.acquire(size + AROUND as u64));
            let question =
                Question { folders: &folders, request: &request, content: &read.content, room };
            self.session.ask(question)
        });
        stored_one(stored, read.damaged)
    }

    /// Sends a large file in parts. After a lost connection, it goes on where the far end has it.
    fn upload(
        &self,
        folder: &RestoredFolder,
        entry: &Entry,
        content: &Content<'_>,
        replace: bool,
    ) -> Result<StoreOutcome, StoreError> {
        let counted = Cell::new(0);
        let stored = again(|again| {
            match self.try_upload(folder, (entry, content), (replace, again), &counted) {
                Err(Failure::Here(error)) => Ok(Err(error)),
                Err(Failure::There(error)) => Err(error),
                Ok((answer, damaged)) => Ok(stored_one(Ok(answer), damaged)),
            }
        });
        stored.unwrap_or_else(|error| Err(StoreError::Target(error.into())))
    }

    fn try_upload(
        &self,
        folder: &RestoredFolder,
        (entry, content): (&Entry, &Content<'_>),
        (replace, again): (bool, bool),
        counted: &Cell<u64>,
    ) -> Result<(WriteAnswer, bool), Failure> {
        let method = method(content.method);
        let file = SentEntry::from(ListedEntry::from(entry));
        let request =
            WriteRequest::Begin { folder: folder.handle.number, file, method, replace, again };
        let pending = self.session.send(Question::new(&[&folder.handle], &request))?;
        pending.placed()?;
        let mut from = 0;
        if again {
            match pending.next()? {
                WriteAnswer::From(offset) => from = offset,
                answer => return Ok((answer, false)),
            }
        }
        let mut ended = None;
        let mut send = |piece: Piece<'_>| {
            let Piece::Data(at, bytes) = piece else { return Ok(()) };
            let skipped = usize::try_from(from.saturating_sub(at)).unwrap_or(usize::MAX);
            let Some(rest) = bytes.get(skipped.min(bytes.len())..) else { return Ok(()) };
            let at = at + skipped.min(bytes.len()) as u64;
            for (part, offset) in rest.chunks(CONTENT_MAX).zip((at..).step_by(CONTENT_MAX)) {
                if let Some(early) = pending.early() {
                    ended = Some(early);
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                let room = Some(self.memory.acquire(part.len() as u64));
                let request = WriteRequest::Part { offset };
                self.session.part(pending.id, &request, part, room)?;
            }
            let end = at + rest.len() as u64;
            (content.written)(end.saturating_sub(counted.get().max(at)));
            counted.set(counted.get().max(end));
            Ok(())
        };
        let content_read = Content { written: &|_| {}, ..*content };
        let read = read_through(&content_read, &mut send);
        match (ended, read) {
            (Some(Ok(answer)), _) => Ok((answer, false)),
            (Some(Err(error)), _) => Err(error.into()),
            (None, Err(error)) => {
                self.session.discard(pending.id);
                Err(Failure::Here(error))
            }
            (None, Ok((size, hash))) => {
                let damaged = is_damaged(content, &hash);
                if damaged && !content.accept_damage {
                    self.session.discard(pending.id);
                    return Err(Failure::Here(StoreError::Damaged));
                }
                let end = WriteRequest::End { end: (size, method, *hash.as_bytes()) };
                self.session.part(pending.id, &end, &[], None)?;
                Ok((pending.next()?, damaged))
            }
        }
    }
}

/// Memory of an entry and its content, bytes. They are that long in a message, too.
fn cost(entry: &Entry) -> usize {
    let xattrs: usize = entry.xattrs().iter().map(|(name, value)| name.len() + value.len()).sum();
    usize::try_from(entry.meta.size).unwrap_or(usize::MAX).saturating_add(xattrs + AROUND)
}

/// Files that fit into one message each, and their memory. What is long goes alone.
fn grouped<'a>(files: impl Iterator<Item = (usize, &'a Entry)>) -> Vec<(Vec<usize>, usize)> {
    let mut groups: Vec<(Vec<usize>, usize)> = Vec::new();
    for (position, entry) in files {
        let cost = cost(entry);
        match groups.last_mut() {
            Some((group, bytes)) if *bytes + cost <= FULL => {
                group.push(position);
                *bytes += cost;
            }
            _ => groups.push((vec![position], cost)),
        }
    }
    groups
}

/// Why a file could not be sent.
enum Failure {
    There(RequestError),
    Here(StoreError),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::There(error)
    }
}

fn stored_one(
    answer: Result<WriteAnswer, RequestError>,
    damaged: bool,
) -> Result<StoreOutcome, StoreError> {
    let refused = |error: io::Error| Err(StoreError::Target(error));
    match answer {
        Ok(WriteAnswer::Stored(mut stored)) => match stored.pop() {
            Some(Ok(stored)) => Ok(StoreOutcome { damaged, ..outcome(stored) }),
            Some(Err(fault)) => refused(fault.into()),
            None => refused(unexpected().into()),
        },
        Ok(_) => refused(unexpected().into()),
        Err(error) => refused(error.into()),
    }
}

/// Reads a small file completely, and verifies it.
fn read_small(entry: &Entry, content: &Content<'_>, replace: bool) -> Result<ReadFile, StoreError> {
    let (mut pieces, mut data): (Pieces, Vec<u8>) = Default::default();
    let (size, hash) = read_through(content, &mut |piece| {
        if let Piece::Data(at, bytes) = piece {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            pieces.push((at, length));
            data.extend_from_slice(bytes);
        }
        Ok(())
    })?;
    let damaged = is_damaged(content, &hash);
    if damaged && !content.accept_damage {
        return Err(StoreError::Damaged);
    }
    let end = (size, method(content.method), *hash.as_bytes());
    let entry = SentEntry::from(ListedEntry::from(entry));
    Ok(ReadFile { sent: SentNewFile { entry, pieces, end, replace }, content: data, damaged })
}

//! Receives the content of files from the source, hashes it and stores it.

mod request;

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backup::apply::built::Built;
use crate::backup::apply::comparing::{Comparing, is_as_listed, rights};
use crate::backup::apply::partial_file::Writing;
use crate::backup::apply::snapshot_writer::{SnapshotWriter, here};
use crate::backup::apply::stored_names::create;
use crate::backup::plan::planned::{PendingEntry, Renamed};
use crate::backup::plan::{Action, Verdict};
use crate::backup::walk::folder::{FolderHandles, WalkFolder};
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::tally::Batched;
use crate::backup::walk::state::task::InFlight;
use crate::entry::digest::Method;
use crate::entry::{Entry, Kind, ListedEntry, Meta};
use crate::monitor::add;
use crate::monitor::event::Instead;
use crate::repository::manifest::record::RecordedHash;
use crate::source::{ContentProof, ContentSink, Source, SourceError};

/// How many times the run reads a file again that changed while it was read.
const ATTEMPTS: u32 = 2;

/// The same for a file that has not changed and was not delivered to its end: the connection was lost in it, and its time is too
/// young to prove that it is still the same.
const ATTEMPTS_WHEN_LOST: u32 = 10;

/// A function of [`Writing`] that stores the next bytes.
type WriteNext = fn(&mut Writing, &[u8], &dyn Fn() -> bool) -> io::Result<()>;

/// Receives and stores the files of one request.
pub(crate) struct FileReceiver<S: Source> {
    writer: Arc<SnapshotWriter<S>>,
    walk: Arc<WalkState<S>>,
    folder: Arc<WalkFolder<S::Folder>>,
    handles: Arc<FolderHandles<S::Folder>>,
    source: Arc<S::Folder>,
    items: Vec<PendingEntry>,
    _in_flight: Option<InFlight<S::Folder>>,
    /// How many times the run has read these files before.
    attempt: u32,
    writing: HashMap<usize, Writing>,
    comparing: HashMap<usize, Comparing>,
    built: HashMap<usize, Built>,
    again: Vec<PendingEntry>,
    done: Batched,
}

/// The result of reading a file to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadResult {
    Stored,
    ReadAgain,
    Missing,
}

impl<S: Source> FileReceiver<S> {
    pub(crate) fn new(
        writer: &Arc<SnapshotWriter<S>>,
        folder: &Arc<WalkFolder<S::Folder>>,
        handles: &Arc<FolderHandles<S::Folder>>,
        source: &Arc<S::Folder>,
        items: Vec<PendingEntry>,
        in_flight: Option<InFlight<S::Folder>>,
    ) -> Self {
        Self {
            writer: Arc::clone(writer),
            walk: Arc::clone(&writer.walk),
            folder: Arc::clone(folder),
            handles: Arc::clone(handles),
            source: Arc::clone(source),
            items,
            _in_flight: in_flight,
            attempt: 0,
            writing: HashMap::new(),
            comparing: HashMap::new(),
            built: HashMap::new(),
            again: Vec::new(),
            done: Batched::default(),
        }
    }

    fn open(&self, index: usize) -> io::Result<Writing> {
        let entry = &self.items[index].entry;
        let mode = self.writer.metadata_writer.creation_mode(&entry.meta);
        let here = here(&self.handles)?;
        let file = create(!self.folder.fresh, here, &entry.name, mode)?;
        let marked = self.writer.metadata_writer.abilities.xattrs;
        let base = self.writer.base_to_share(&self.handles, &self.items[index]);
        Ok(Writing::new(file, &entry.meta, marked).sharing(base, &entry.meta))
    }

    /// Calls `write` with the file that is being written, and opens it first if needed. An error of the destination ends
    /// this file, or the run.
    fn writing(
        &mut self,
        index: usize,
        write: impl FnOnce(&mut Writing) -> io::Result<()>,
    ) -> ControlFlow<()> {
        self.walk.goes_on()?;
        let opened = match self.writing.remove(&index) {
            Some(writing) => Ok(writing),
            None => self.open(index),
        };
        let written = opened.and_then(|mut writing| write(&mut writing).map(|()| writing));
        match written {
            Ok(writing) => {
                self.writing.insert(index, writing);
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.refused(index, error);
                ControlFlow::Break(())
            }
        }
    }

    /// Handles an error of the destination while it stores a file.
    fn refused(&mut self, index: usize, error: io::Error) {
        let name = self.items[index].entry.name.clone();
        drop(self.writing.remove(&index));
        let writer = Arc::clone(&self.writer);
        if let Err(error) = writer.refused(&self.folder, &self.handles, &name, error) {
            self.walk.fail(error);
        }
        self.items[index].step.action = Action::Enter;
    }

    /// Removes the part of a file that was written.
    fn discard(&mut self, index: usize) -> io::Result<()> {
        match self.writing.remove(&index) {
            Some(_) => here(&self.handles)?.unlink(&self.items[index].entry.name),
            None => Ok(()),
        }
    }

    /// Finishes a file that was read to its end. The result says whether the snapshot holds it, so that other names can
    /// link to it.
    fn file_is_read(&mut self, index: usize, after: &Meta) -> io::Result<ReadResult> {
        let meta = self.items[index].entry.meta.clone();
        let compared = self.comparing.remove(&index);
        let written = || self.writing.get(&index).map_or(0, Writing::length);
        let length = compared.as_ref().map_or_else(written, Comparing::length);
        let same = is_as_listed(&meta, after) && length == after.size;
        let built = self.built.remove(&index).unwrap_or_default();
        if same && self.is_damaged(index, &built) {
            self.discard(index)?;
            self.built.insert(index, built);
            self.unread(index, SourceError::Damaged);
            return Ok(ReadResult::Missing);
        }
        if same && self.is_built_wrong(index, &built, compared.as_ref()) {
            // The base has rotted, or the file changed without a trace. Read without the base, it is stored as it is.
            self.discard(index)?;
            let mut item = self.items[index].clone();
            item.step.action = Action::Fetch;
            self.again.push(item);
            return Ok(ReadResult::ReadAgain);
        }
        let replaced = after.id != meta.id;
        let other_rights = meta.id.is_some() && rights(&meta) != rights(after);
        if let Some(compared) = compared.filter(|_| same) {
            return self.is_compared(index, &compared);
        }
        if !same && after.kind != Kind::File {
            self.discard(index)?;
            self.unread(index, SourceError::Replaced);
            return Ok(ReadResult::Missing);
        }
        let is_cut_short =
            is_as_listed(&meta, after) && length < after.size && after.size == meta.size;
        let attempts = if is_cut_short { ATTEMPTS_WHEN_LOST } else { ATTEMPTS };
        if !same && self.attempt < attempts {
            self.discard(index)?;
            let mut item = self.items[index].clone();
            let other_inode = replaced || after.ctime != meta.ctime;
            if item.group.is_some() && other_inode && self.walk.may_look_later() {
                // At the end of the walk its new inode, and so its group, is known.
                self.walk.look_later(&self.folder, &item.entry.name);
                return Ok(ReadResult::Missing);
            }
            match self.described_again(&item.entry, after) {
                Ok(entry) => item.entry = entry,
                Err(error) => {
                    self.unread(index, error);
                    return Ok(ReadResult::Missing);
                }
            }
            item.step.action = Action::Fetch;
            if other_inode {
                // Another inode has the name now, possibly with the same number: it does not belong to the group.
                item.group = None;
            }
            self.again.push(item);
            return Ok(if other_inode { ReadResult::Missing } else { ReadResult::ReadAgain });
        }
        if !same && (replaced || other_rights) {
            // Content and permissions may come from two different files. The snapshot must not combine them.
            self.discard(index)?;
            self.unread(index, SourceError::Replaced);
            return Ok(ReadResult::Missing);
        }
        let writing = match self.writing.remove(&index) {
            Some(writing) => writing,
            None => self.open(index)?,
        };
        self.done.counts.bytes_from_base += built.bytes;
        self.seal(index, writing)?;
        if !same {
            let path = self.folder.place.source_of(&self.items[index].entry.name);
            self.walk.problem(&path, "it changed each time it was read", Instead::LastRead);
        }
        Ok(if replaced { ReadResult::Missing } else { ReadResult::Stored })
    }

    /// Whether the content of a file in a snapshot that is copied is not the one that was backed up.
    fn is_damaged(&self, index: usize, built: &Built) -> bool {
        let written = || self.writing.get(&index).map(Writing::hash);
        self.walk.keep().of_snapshot
            && built.hash.is_some()
            && written().is_some_and(|hash| built.differs(&hash))
    }

    /// Whether the content that was received is not that of the source.
    fn is_built_wrong(&self, index: usize, built: &Built, compared: Option<&Comparing>) -> bool {
        let written = || self.writing.get(&index).map(Writing::hash);
        // A file that no base was offered for has its bytes from the source.
        let may_be_wrong = built.hash.is_some() || built.bytes > 0 || built.taken_up;
        may_be_wrong
            && compared
                .map(Comparing::hash)
                .or_else(written)
                .is_some_and(|hash| built.differs(&hash))
    }

    /// The current description of a file that changed since it was listed. A source that answers at once is asked again,
    /// for attributes too. For a source that answers later, `after` from the open handle is all there is. It has no
    /// attributes, and another inode may have others: its ACL may admit fewer users.
    fn described_again(&self, listed: &Entry, after: &Meta) -> Result<Entry, SourceError> {
        if self.walk.later() {
            if self.walk.asked().any() && after.id != listed.meta.id {
                return Err(SourceError::Replaced);
            }
            return Ok(Entry { meta: after.clone(), ..listed.clone() });
        }
        let entry = self.writer.source.look(&self.source, &listed.name)?;
        if entry.meta.kind == Kind::File { Ok(entry) } else { Err(SourceError::Replaced) }
    }

    /// Finishes a file that was read only to compare it: links or copies it from the base, or reads it again to store it.
    fn is_compared(&mut self, index: usize, compared: &Comparing) -> io::Result<ReadResult> {
        let mut item = self.items[index].clone();
        if let Some(Renamed::Same(origins)) = item.renamed.take() {
            let (folder, handles) = (&self.folder, &self.handles);
            let proof = (compared.method(), compared.proof());
            if self.writer.store_renamed(
                folder,
                handles,
                (&item, &origins),
                proof,
                &mut self.done,
            )? {
                return Ok(ReadResult::Stored);
            }
            item.step.action = Action::Fetch;
            self.again.push(item);
            return Ok(ReadResult::ReadAgain);
        }
        let in_base = self.writer.hash_in_base(&self.handles, &item, compared.method())?;
        let as_in_base = match compared.proof() {
            ContentProof::Hash(hash) => in_base == Some(hash.into()),
            ContentProof::Samples => false,
        };
        if as_in_base {
            let (folder, handles) = (&self.folder, &self.handles);
            if self.writer.store_from_base(folder, handles, &item, &mut self.done)? {
                self.done.counts.compared += 1;
                self.done.counts.bytes_compared += compared.length();
                return Ok(ReadResult::Stored);
            }
        } else {
            self.writer.turned_out(&self.folder, &mut item, Verdict::Changed);
        }
        item.step.action = Action::Fetch;
        self.again.push(item);
        Ok(ReadResult::ReadAgain)
    }

    /// Gives a completely written file its hash, owner, mode and, last, its mtime.
    fn seal(&mut self, index: usize, mut writing: Writing) -> io::Result<()> {
        let item = self.items[index].clone();
        let entry = ListedEntry::from(&item.entry);
        writing.settle()?;
        let (length, taken_up, method) = (writing.length(), writing.taken_up(), writing.method());
        let (stored, looks_random) = (writing.stored(), writing.looks_random());
        let (file, hash) = writing.finish(self.writer.metadata_writer.abilities.xattrs)?;
        self.done.counts.bytes_stored += stored;
        self.done.counts.copied += 1;
        self.done.counts.bytes_copied += length - taken_up;
        if item.step.action == Action::FetchAndCompare
            && item.step.verdict == Verdict::Changed
            && self.writer.hash_in_base(&self.handles, &item, method)? == Some(hash)
        {
            // Only its mtime differs.
            self.writer.turned_out(&self.folder, &mut item.clone(), Verdict::Metadata);
        }
        let (metadata_writer, fresh) = (&self.writer.metadata_writer, self.folder.fresh);
        let record = self.writer.sealed_file(&file, || match taken_up {
            0 => metadata_writer.new_file(&file, entry, fresh),
            _ => metadata_writer.existing(&file, entry),
        })?;
        self.folder.changes.stored(entry.name, method, &hash);
        self.writer.sampled(&self.folder, &self.handles, &item, looks_random);
        self.writer.note(&self.folder, entry.name, record);
        add(&self.walk.set.context.progress.copied, 1);
        Ok(())
    }

    /// Counts bytes of a file that arrived, for the progress. A file never counts with more than its size.
    fn show(&mut self, index: usize, arrived: u64) {
        let item = &mut self.items[index];
        let arrived = arrived.min(item.entry.meta.size.saturating_sub(item.shown));
        item.shown += arrived;
        let progress = &self.walk.set.context.progress;
        add(&progress.bytes, arrived);
        progress.set_file(|| {
            crate::entry::escape::shown(&self.folder.place.source_of(&self.items[index].entry.name))
        });
    }

    /// Receives the next bytes of a file; `write` stores them.
    fn store(&mut self, index: usize, bytes: &[u8], write: WriteNext) -> ControlFlow<()> {
        self.show(index, bytes.len() as u64);
        if let Some(comparing) = self.comparing.get_mut(&index) {
            comparing.data(bytes);
            return self.walk.goes_on();
        }
        let writer = Arc::clone(&self.writer);
        self.writing(index, |writing| {
            write(writing, bytes, &|| writer.walk.halted())?;
            add(&writer.walk.set.context.progress.bytes_copied, bytes.len() as u64);
            add(&writer.written, bytes.len() as u64);
            Ok(())
        })
    }

    /// Records in the manifest that the copy lacks a file.
    fn lacks(&self, index: usize) {
        let entry = &self.items[index].entry;
        let hash = self.built.get(&index).and_then(|built| built.hash);
        let content = hash.map(|hash| RecordedHash::new(Method::of(&entry.meta), &hash.into()));
        let (place, content) = (&self.folder.place, content.unwrap_or_default());
        self.writer.manifest.lack(place, &entry.name, &entry.meta, content);
    }

    fn unread(&mut self, index: usize, error: SourceError) {
        if self.walk.keep().of_snapshot {
            self.lacks(index);
        }
        let name = self.items[index].entry.name.clone();
        if let Err(error) = self.writer.unread(&self.folder, &name, error) {
            self.walk.fail(error);
        }
    }
}

impl<S: Source> ContentSink for FileReceiver<S> {
    fn of_base(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.built.entry(index).or_default().bytes += bytes.len() as u64;
        self.store(index, bytes, Writing::of_base)
    }

    fn hashed(&mut self, index: usize, hash: [u8; 32]) {
        self.built.entry(index).or_default().hash = Some(hash);
    }

    fn same(&mut self, index: usize, proof: ContentProof) {
        let Some(item) = self.items.get(index) else { return };
        // No other file was requested with a file of the base that may be the same.
        let is_asked = item.renamed.is_some() || self.walk.keep().of_snapshot;
        if let Some(comparing) = self.comparing.get_mut(&index).filter(|_| is_asked) {
            comparing.same(item.entry.meta.size, proof);
        }
    }

    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        self.store(index, bytes, Writing::data)
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        self.show(index, length);
        let walk = Arc::clone(&self.walk);
        if let Some(comparing) = self.comparing.get_mut(&index) {
            let _ = comparing.hole(length, &|| walk.halted());
            return walk.goes_on();
        }
        self.writing(index, |writing| writing.hole(length, &|| walk.halted()))
    }

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        // The run was stopped, lost the source, or filled the destination: the partial file does not get its mtime.
        let lost = matches!(after, Err(SourceError::Lost(_)));
        if lost || self.walk.halted() || self.walk.is_full() {
            if let Some(writing) = self.writing.remove(&index) {
                writing.leave();
            }
            if let Err(error @ SourceError::Lost(_)) = after {
                self.unread(index, error);
            }
            return;
        }
        let result = match after {
            // The destination has refused the file.
            _ if self.items[index].step.action == Action::Enter => Ok(ReadResult::Missing),
            Ok(after) => self.file_is_read(index, &after),
            Err(error) => {
                self.comparing.remove(&index);
                self.discard(index).map(|()| {
                    self.unread(index, error);
                    ReadResult::Missing
                })
            }
        };
        let fate = result.unwrap_or_else(|error| {
            self.refused(index, error);
            ReadResult::Missing
        });
        if fate != ReadResult::ReadAgain {
            self.show(index, u64::MAX);
        }
        if fate != ReadResult::ReadAgain && !self.walk.halted() {
            let (item, stored) = (&self.items[index], fate == ReadResult::Stored);
            if let Err(error) = self.writer.led(&self.folder, &self.handles, item, stored) {
                self.walk.fail(error);
            }
        }
    }

    fn end(self: Box<Self>) {
        let mut this = *self;
        this.walk.tally.add(&std::mem::take(&mut this.done), None);
        this.writing.clear();
        this.comparing.clear();
        this.built.clear();
        let again = std::mem::take(&mut this.again);
        if !again.is_empty() && !this.walk.halted() {
            let attempt = this.attempt + 1;
            return Self { items: again, attempt, ..this }.ask();
        }
        if let Err(error) = this.writer.settle(&this.folder) {
            this.walk.fail(error);
        }
    }
}

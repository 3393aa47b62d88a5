//! Takes the content of files from the source, hashes and stores it.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::writing::{WORTH_MARKING, Writing};
use super::{Build, BuildWalk, here, replacing};
use crate::entry::{Entry, FileId, Kind, Listed, Meta};
use crate::event::{Event, Instead};
use crate::folder::{Folder, Handles};
use crate::monitor::add;
use crate::plan::{Action, Held, Step};
use crate::source::{ContentSink, Source, SourceError, Wanted};
use crate::tally::Batched;
use crate::walk::{InFlight, Planned, Walk};

/// How often a file that changes while it is read is read again.
const ATTEMPTS: u32 = 2;

/// An entry with its plan, for work that outlives the batch it was listed in.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    pub(crate) base: Option<Held>,
    pub(crate) here: Option<Held>,
    pub(crate) step: Step,
    /// The source's inode, when the entry is one of several names of it.
    pub(crate) group: Option<FileId>,
}

impl Item {
    /// An item of its own for an entry that is one of several names of an inode.
    pub(super) fn of<S: Source>(walk: &Walk<S, Build<S>>, planned: &Planned<'_>) -> Option<Self> {
        let meta = planned.entry.meta;
        let several = walk.keep().hard_links && meta.links > 1 && meta.kind != Kind::Folder;
        let group = meta.id.filter(|_| several)?;
        Some(Self { group: Some(group), ..Self::to_fetch(planned) })
    }

    /// An item for a file that is to be read.
    pub(super) fn to_fetch(planned: &Planned<'_>) -> Self {
        Self {
            entry: planned.entry.to_entry(),
            base: planned.base.clone(),
            here: planned.here.clone(),
            step: planned.step,
            group: None,
        }
    }

    pub(super) fn planned(&self) -> Planned<'_> {
        Planned {
            entry: Listed::from(&self.entry),
            base: self.base.clone(),
            here: self.here.clone(),
            step: self.step,
        }
    }
}

/// Stores the files of one request.
pub(super) struct Store<S: Source> {
    walk: BuildWalk<S>,
    folder: Arc<Folder<S::Folder>>,
    handles: Arc<Handles<S::Folder>>,
    source: Arc<S::Folder>,
    items: Vec<Item>,
    _in_flight: Option<InFlight<S::Folder>>,
    /// How often these were read before.
    attempt: u32,
    writing: HashMap<usize, Writing>,
    again: Vec<Item>,
    done: Batched,
}

/// What became of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    ReadAgain,
    Missing,
}

impl<S: Source> Store<S> {
    pub(super) fn new(
        walk: &BuildWalk<S>,
        folder: &Arc<Folder<S::Folder>>,
        handles: &Arc<Handles<S::Folder>>,
        source: &Arc<S::Folder>,
        items: Vec<Item>,
        in_flight: Option<InFlight<S::Folder>>,
    ) -> Self {
        Self {
            walk: Arc::clone(walk),
            folder: Arc::clone(folder),
            handles: Arc::clone(handles),
            source: Arc::clone(source),
            items,
            _in_flight: in_flight,
            attempt: 0,
            writing: HashMap::new(),
            again: Vec::new(),
            done: Batched::default(),
        }
    }

    /// Asks the source for the files.
    pub(super) fn ask(mut self) {
        let (source, folder) = (Arc::clone(&self.walk.source), Arc::clone(&self.source));
        let wanted = (0..self.items.len()).map(|index| self.wanted(index)).collect();
        source.fetch(&folder, wanted, Box::new(self));
    }

    /// A file, or what an interrupted run did not get of it.
    fn wanted(&mut self, index: usize) -> Wanted {
        let entry = self.items[index].entry.clone();
        let again = self.attempt > 0;
        let Some(writing) = self.take_up(index) else { return Wanted { entry, from: 0, again } };
        let from = writing.length();
        let path = crate::bytes::shown(&self.folder.place.source_of(&entry.name));
        self.walk.event(&Event::GoesOn { path, at: from, size: entry.meta.size });
        self.writing.insert(index, writing);
        Wanted { entry, from, again }
    }

    /// What an interrupted run left of a file, if it can be gone on with.
    fn take_up(&self, index: usize) -> Option<Writing> {
        let Item { entry, here: left, .. } = &self.items[index];
        let left = &left.as_ref()?.meta;
        let possible = left.kind == Kind::File
            && left.links == 1
            && left.size >= WORTH_MARKING
            && self.attempt == 0
            && self.walk.set.trust.checkable
            // With --checksum nothing is believed on size and time alone.
            && !self.walk.keep().checksum;
        if !possible {
            return None;
        }
        // Whatever stands in the way, the file can be copied from its start.
        let file = here(&self.handles).ok()?.open_to_write(&entry.name).ok()?;
        Writing::take_up(file, &entry.meta, &|| self.walk.halted()).ok()?
    }

    fn open(&self, index: usize) -> io::Result<Writing> {
        let entry = &self.items[index].entry;
        let mode = self.walk.target.dresser.creation_mode(&entry.meta);
        let here = here(&self.handles)?;
        let create = || here.create_file(&entry.name, mode);
        let file = replacing(self.folder.fresh, here, &entry.name, create)?;
        let marked = self.walk.target.dresser.abilities.xattrs;
        Ok(Writing::new(file, &entry.meta, marked))
    }

    /// Gives `write` the file that is being written; an error of the destination ends what it concerns.
    fn writing(
        &mut self,
        index: usize,
        write: impl FnOnce(&mut Writing) -> io::Result<()>,
    ) -> ControlFlow<()> {
        if self.walk.halted() || self.walk.is_full() {
            return ControlFlow::Break(());
        }
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

    fn refused(&mut self, index: usize, error: io::Error) {
        let name = &self.items[index].entry.name;
        if let Err(error) = self.walk.impossible::<()>(&self.folder, name, error) {
            self.walk.fail(error);
        }
        self.items[index].step.action = Action::Enter;
    }

    /// What was written of a file is of no use.
    fn discard(&mut self, index: usize) -> io::Result<()> {
        match self.writing.remove(&index) {
            Some(_) => here(&self.handles)?.unlink(&self.items[index].entry.name),
            None => Ok(()),
        }
    }

    /// A file was read to its end. Whether it stands in the snapshot now, for others to link to.
    fn file_is_read(&mut self, index: usize, after: &Meta) -> io::Result<Fate> {
        let meta = &self.items[index].entry.meta;
        let length = self.writing.get(&index).map_or(0, Writing::length);
        let same = after.id == meta.id
            && after.size == meta.size
            && after.mtime == meta.mtime
            && length == meta.size;
        let replaced = after.id != meta.id;
        if !same && after.kind != Kind::File {
            self.discard(index)?;
            self.unread(index, SourceError::Replaced);
            return Ok(Fate::Missing);
        }
        if !same && self.attempt < ATTEMPTS {
            self.discard(index)?;
            let mut item = self.items[index].clone();
            // Its attributes are read anew with the next run; size, times and owner are now these.
            item.entry.meta = after.clone();
            item.step.action = Action::Fetch;
            if replaced {
                // Another inode has taken the name: it is none of the group's.
                item.group = None;
            }
            self.again.push(item);
            return Ok(if replaced { Fate::Missing } else { Fate::ReadAgain });
        }
        let writing = match self.writing.remove(&index) {
            Some(writing) => writing,
            None => self.open(index)?,
        };
        self.seal(index, writing)?;
        if !same {
            let path = self.folder.place.source_of(&self.items[index].entry.name);
            self.walk.problem(&path, "it changed each time it was read", Instead::LastRead);
        }
        Ok(if replaced { Fate::Missing } else { Fate::Stored })
    }

    /// Gives a file that was written whole its hash, owner, mode and, last of all, its time.
    fn seal(&mut self, index: usize, writing: Writing) -> io::Result<()> {
        let item = &self.items[index];
        let (here, entry) = (here(&self.handles)?, Listed::from(&item.entry));
        let (length, taken_up) = (writing.length(), writing.taken_up());
        let (file, hash) = writing.finish(self.walk.target.dresser.abilities.xattrs)?;
        self.done.counts.copied += 1;
        self.done.counts.bytes_copied += length - taken_up;
        if item.step.action == Action::FetchAndCompare && self.is_as_in_base(item, &hash)? {
            drop(file);
            here.unlink(entry.name)?;
            let planned = item.planned();
            if self.walk.link(&self.folder, &self.handles, &planned, &mut self.done)? {
                return Ok(());
            }
            return Err(rustix::io::Errno::STALE.into());
        }
        let (dresser, fresh) = (&self.walk.target.dresser, self.folder.fresh);
        let record = self.walk.sealed_file(&file, || match taken_up {
            0 => dresser.new_file(&file, here, entry.name, entry, fresh),
            _ => dresser.existing(&file, here, entry.name, entry),
        })?;
        self.walk.note(&self.folder, entry.name, record);
        add(&self.walk.set.context.progress.copied, 1);
        Ok(())
    }

    /// Whether the base holds the same content with the same metadata.
    fn is_as_in_base(&self, item: &Item, hash: &blake3::Hash) -> io::Result<bool> {
        let (Some(base), crate::plan::Verdict::Same) = (&self.handles.base, item.step.verdict)
        else {
            return Ok(false);
        };
        let Ok(file) = base.open_file(&item.entry.name) else { return Ok(false) };
        Ok(super::copy::content_hash(&file, &|| self.walk.halted())? == *hash)
    }

    fn unread(&mut self, index: usize, error: SourceError) {
        let name = self.items[index].entry.name.clone();
        if let Err(error) = self.walk.unread(&self.folder, &name, error) {
            self.walk.fail(error);
        }
    }
}

impl<S: Source> ContentSink for Store<S> {
    fn data(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        let walk = Arc::clone(&self.walk);
        self.writing(index, |writing| {
            writing.data(bytes)?;
            add(&walk.set.context.progress.bytes_copied, bytes.len() as u64);
            add(&walk.target.written, bytes.len() as u64);
            Ok(())
        })
    }

    fn hole(&mut self, index: usize, length: u64) -> ControlFlow<()> {
        let walk = Arc::clone(&self.walk);
        self.writing(index, |writing| writing.hole(length, &|| walk.halted()))
    }

    fn file_end(&mut self, index: usize, after: Result<Meta, SourceError>) {
        // Stopped, the source lost or the destination full: what is there has not got its time yet.
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
            // The destination has refused it.
            _ if self.items[index].step.action == Action::Enter => Ok(Fate::Missing),
            Ok(after) => self.file_is_read(index, &after),
            Err(error) => self.discard(index).map(|()| {
                self.unread(index, error);
                Fate::Missing
            }),
        };
        let fate = result.unwrap_or_else(|error| {
            self.refused(index, error);
            Fate::Missing
        });
        if fate != Fate::ReadAgain && !self.walk.halted() {
            let (item, stored) = (&self.items[index], fate == Fate::Stored);
            if let Err(error) = self.walk.led(&self.folder, &self.handles, item, stored) {
                self.walk.fail(error);
            }
        }
    }

    fn end(self: Box<Self>) {
        let mut this = *self;
        this.walk.tally.add(&std::mem::take(&mut this.done), None);
        let again = std::mem::take(&mut this.again);
        if !again.is_empty() && !this.walk.halted() {
            let attempt = this.attempt + 1;
            return Self { items: again, attempt, writing: HashMap::new(), ..this }.ask();
        }
        if let Err(error) = this.walk.settle(&this.folder) {
            this.walk.fail(error);
        }
    }
}

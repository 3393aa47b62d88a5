//! Requests files from the source: whole, behind what an interrupted run stored, or only to compare them with the base.

use std::sync::Arc;

use crate::backup::apply::built::base_file;
use crate::backup::apply::comparing::{Comparing, may_be_of_base};
use crate::backup::apply::partial_file::{WORTH_MARKING, Writing};
use crate::backup::apply::snapshot_writer::here;
use crate::backup::apply::store_files::FileReceiver;
use crate::backup::plan::planned::{PendingEntry, Renamed};
use crate::entry::racy::may_have_changed;
use crate::entry::{Entry, Kind};
use crate::fs::mount::point::is_same_mount;
use crate::monitor::event::Event;
use crate::source::{Source, Wanted};

impl<S: Source> FileReceiver<S> {
    /// Requests the files from the source.
    pub(crate) fn ask(mut self) {
        let (source, folder) = (Arc::clone(&self.writer.source), Arc::clone(&self.source));
        let wanted = (0..self.items.len()).map(|index| self.wanted(index)).collect();
        source.fetch(&folder, wanted, Box::new(self));
    }

    /// The request for a file, or for the part of it that an interrupted run did not store.
    fn wanted(&mut self, index: usize) -> Wanted {
        let item = &self.items[index];
        let entry = &item.entry;
        // Its attributes stay here: no source needs them to read the file.
        let entry = Entry { name: entry.name.clone(), meta: entry.meta.clone(), extra: None };
        let again = self.attempt > 0;
        // After a file turned out to be another one, it is read without the base.
        let is_of_base = self.handles.base.is_some() && may_be_of_base(item);
        let is_same = is_of_base && self.walk.keep().of_snapshot;
        let base = if again { None } else { base_file(&self.handles, item, is_same) };
        if !again && (is_of_base || matches!(item.renamed, Some(Renamed::Same(_)))) {
            self.comparing.insert(index, Comparing::new(&entry.meta));
            return Wanted { entry, from: 0, again, base };
        }
        let Some(writing) = self.take_up(index) else {
            return Wanted { entry, from: 0, again, base };
        };
        let from = writing.length();
        if writing.is_unproven() {
            self.built.entry(index).or_default().taken_up = true;
        }
        let path = crate::entry::escape::shown(&self.folder.place.source_of(&entry.name));
        self.walk.event(&Event::GoesOn { path, at: from, size: entry.meta.size });
        self.writing.insert(index, writing);
        Wanted { entry, from, again, base }
    }

    /// The partial file that an interrupted run left, if this run can resume it.
    fn take_up(&self, index: usize) -> Option<Writing> {
        let PendingEntry { entry, here: left, .. } = &self.items[index];
        let left = left.as_ref()?;
        // A file that changed in the same clock tick in which it was read could become a mixture of two versions. In a snapshot
        // nothing changes.
        let keep = self.walk.keep();
        let since = if keep.of_snapshot { None } else { Some(self.walk.read_by(left)?) };
        if since.is_some_and(|since| may_have_changed(&entry.meta, since, keep.ctime)) {
            return None;
        }
        let left = &left.meta;
        let possible = left.kind == Kind::File
            && left.links == 1
            && left.size >= WORTH_MARKING
            && self.attempt == 0
            && self.walk.set.trust.checkable
            // With --checksum, equal size and time do not prove equal content.
            && !keep.checksum;
        if !possible {
            return None;
        }
        // After any error the run copies the file from its start.
        let here = here(&self.handles).ok()?;
        let file = here.open_to_write(&entry.name).ok()?;
        if !is_same_mount(here, &file).ok()? {
            return None;
        }
        let writing = Writing::take_up(file, &entry.meta, &|| self.walk.halted()).ok()??;
        let base = self.writer.base_to_share(&self.handles, &self.items[index]);
        Some(writing.sharing(base, &entry.meta))
    }
}

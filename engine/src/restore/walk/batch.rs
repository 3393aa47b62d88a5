//! Stores several files of one folder together, so that a remote target answers many requests in one wait.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::Arc;

use crate::entry::{Entry, Kind};
use crate::fs::dir::Dir;
use crate::monitor::add;
use crate::repository::content::{Content, StoreError};
use crate::restore::outcome::EntryOutcome;
use crate::restore::plan::{RestoreStep, decide};
use crate::restore::targets::{StoreOutcome, Target, ToStore};
use crate::restore::walk::folder::EntryInProgress;
use crate::restore::walk::{RestoreWalk, SharedFolder, SharedOpenFolder};

/// One file of a batch.
struct BatchedFile<'a, 'w, T: Target> {
    walk: &'a RestoreWalk<'w, T>,
    one: EntryInProgress<T::Folder>,
    source: Option<&'a Dir>,
    replace: bool,
    /// Whether the content was verified by a recorded hash.
    proved: Cell<bool>,
}

impl<T: Target> ToStore for BatchedFile<'_, '_, T> {
    fn entry(&self) -> &Entry {
        &self.one.entry
    }

    fn replace(&self) -> bool {
        self.replace
    }

    fn open(
        &self,
        with: &mut dyn FnMut(&Content<'_>) -> Result<StoreOutcome, StoreError>,
    ) -> Result<StoreOutcome, StoreError> {
        self.walk.with_content(&self.one, self.source, &mut |content| {
            self.proved.set(content.recorded.is_some());
            with(content)
        })
    }
}

impl<T: Target> RestoreWalk<'_, T> {
    /// Whether the entry is a file that the target can store in a batch.
    pub(crate) fn goes_together(&self, one: &EntryInProgress<T::Folder>) -> bool {
        let meta = &one.wanted.meta;
        self.target.facts().together.is_some_and(|most| meta.size <= most)
            && meta.kind == Kind::File
            && one.wanted.on_disk
            && !self.several.has(meta)
    }

    /// Restores a batch of such files.
    pub(crate) fn together(
        &self,
        folder: &SharedFolder<T>,
        opened: &SharedOpenFolder<T>,
        ones: Vec<EntryInProgress<T::Folder>>,
    ) {
        let source = opened.from.as_ref();
        let mut waiting = Vec::new();
        add(&self.context.progress.entries, ones.len() as u64);
        let names: Vec<&CStr> = ones.iter().map(|one| &*one.entry.name).collect();
        let (mut steps, mut each) = (Vec::with_capacity(ones.len()), ones.iter());
        self.target.look_each(&opened.to, &names, &mut |there| {
            let Some(one) = each.next() else { return };
            steps.push(there.map(|there| {
                one.inode.set(there.as_ref().and_then(|there| there.meta.id));
                decide(&one.wanted, there.as_ref(), &self.rules)
            }));
        });
        for (one, step) in ones.into_iter().zip(steps) {
            match step {
                Err(error) => self.trouble(&folder.to.inside_of(&one.entry.name), false, &error),
                Ok(step @ (RestoreStep::Create | RestoreStep::Replace)) => {
                    let replace = step == RestoreStep::Replace;
                    let proved = Cell::new(false);
                    waiting.push(BatchedFile { walk: self, one, source, replace, proved });
                }
                Ok(step) => drop(self.single(&one, opened, source, step)),
            }
        }
        if waiting.is_empty() || self.halted() {
            return;
        }
        let files: Vec<&dyn ToStore> = waiting.iter().map(|one| one as &dyn ToStore).collect();
        let stored = self.target.store_all(&opened.to, &files);
        for (BatchedFile { one, replace, proved, .. }, stored) in waiting.iter().zip(stored) {
            let what = if *replace { EntryOutcome::Replaced } else { EntryOutcome::Created };
            if stored.is_ok() {
                self.count_stored(one, proved.get());
            }
            self.done(one, what, stored);
        }
    }

    /// Queues an entry that would delay the batch as a task of its own.
    pub(crate) fn apart(&self, folder: &SharedFolder<T>, one: &EntryInProgress<T::Folder>) {
        folder.expect();
        let names = vec![one.entry.name.clone()];
        self.queue
            .push(crate::restore::walk::folder::RestoreTask::Restore(Arc::clone(folder), names));
    }
}

//! Carries forward entries that could not be read: the snapshot gets the base's version.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::backup::apply::snapshot_writer::{SnapshotWriter, clear, here};
use crate::backup::plan::planned::Planned;
use crate::backup::plan::{Action, Step, Verdict};
use crate::backup::walk::folder::{FolderHandles, FolderParts, WalkFolder};
use crate::backup::walk::plan_sink::{EnteredFolder, PlanSink};
use crate::backup::walk::state::tally::Batched;
use crate::entry::overlay::SidecarRecords;
use crate::entry::stored::StoredEntry;
use crate::entry::{Kind, ListedEntry};
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::metadata::entry_of;
use crate::monitor::event::Instead;
use crate::source::Source;

type Shared<S> = Arc<WalkFolder<<S as Source>::Folder>>;

impl<S: Source> SnapshotWriter<S> {
    /// Stores the base's version of `name` in the snapshot. With an empty name, stores the base's version of each entry
    /// of `folder` that was not listed.
    ///
    /// # Errors
    /// When the destination fails.
    pub(crate) fn carry(
        self: &Arc<Self>,
        folder: &Shared<S>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        let handles = self.walk.handles(folder)?;
        if self.walk.keep().of_snapshot {
            return self.lack(folder, &handles, name);
        }
        let mut done = Batched::default();
        let instead = if name.is_empty() {
            self.carry_rest(folder, &handles, &mut done)?;
            Ok(if handles.base.is_some() { Instead::CarriedForward } else { Instead::LastRead })
        } else {
            self.carry_one(folder, &handles, name, &mut done)
        };
        self.walk.tally.add(&done, folder.area);
        instead
    }

    /// Leaves out `name`, which could not be read in the snapshot that is copied: the copy must not have something else under
    /// its name.
    fn lack(
        &self,
        folder: &Shared<S>,
        handles: &FolderHandles<S::Folder>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        folder.changes.alter();
        if !name.is_empty() {
            let broken = |error| self.walk.destination("cannot remove", &folder.place, name, error);
            here(handles).and_then(|here| clear(here, name)).map_err(broken)?;
            folder.records().remove(name);
        }
        Ok(Instead::NotCopied)
    }

    fn carry_one(
        self: &Arc<Self>,
        folder: &Shared<S>,
        handles: &Arc<FolderHandles<S::Folder>>,
        name: &CStr,
        done: &mut Batched,
    ) -> Result<Instead, RunError> {
        let broken =
            |error| self.walk.destination("cannot carry forward", &folder.place, name, error);
        let record = folder.base_records.get(name).filter(|record| record.kind.is_some());
        if let Some(record) = record.filter(|_| self.metadata_writer.abilities.changes(name)) {
            // The destination could not have the name in the base either.
            self.note(folder, name, record.clone());
            return Ok(Instead::CarriedForward);
        }
        let look = |dir: &Option<Dir>, records: &SidecarRecords| match dir {
            Some(dir) => self.walk.held(dir, name, records),
            None => Ok(None),
        };
        // A base that cannot be read has nothing to carry forward.
        let base = look(&handles.base, &folder.base_records).unwrap_or(None);
        let base = base.filter(|base| !self.walk.is_damaged(folder, name, base));
        let older = base.is_some();
        let here = look(&handles.here, &folder.here_records).map_err(broken)?;
        if !older {
            folder.changes.alter();
        }
        match base.or(here) {
            None => Ok(Instead::Nothing),
            Some(held) if held.meta.kind == Kind::Folder => {
                self.carry_folder(folder, handles, name, &held, done)?;
                Ok(if older { Instead::CarriedForward } else { Instead::LastRead })
            }
            Some(held) if older => match self.carry_entry(folder, handles, name, held, done) {
                Err(error) => {
                    self.only_this(folder, handles, name, &error).map(|()| Instead::Nothing)
                }
                Ok(instead) => Ok(instead),
            },
            Some(held) => {
                let instead = self.keep_or_clear(handles, name, &held).map_err(broken)?;
                if let (Instead::LastRead, Some(record)) = (instead, folder.here_records.get(name))
                {
                    folder.records().insert(name.to_owned(), record.clone());
                }
                Ok(instead)
            }
        }
    }

    /// Removes the stored part of `name`, which the destination cannot hold completely, and carries the base's version
    /// forward.
    ///
    /// # Errors
    /// When the stored part cannot be removed.
    pub(crate) fn instead_of_refused(
        self: &Arc<Self>,
        folder: &Shared<S>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        let handles = self.walk.handles(folder)?;
        let broken = |error| self.walk.destination("cannot remove", &folder.place, name, error);
        let here = here(&handles).map_err(broken)?;
        // A name that the destination cannot hold does not exist there either.
        let left = here.find(name).unwrap_or(None);
        if left.is_some_and(|left| left.kind != Kind::Folder) {
            clear(here, name).map_err(broken)?;
        }
        folder.records().remove(name);
        let Some(base) = &handles.base else { return Ok(Instead::Nothing) };
        let held = self.walk.held(base, name, &folder.base_records).unwrap_or(None);
        let held = held.filter(|held| {
            held.meta.kind != Kind::Folder && !self.walk.is_damaged(folder, name, held)
        });
        let Some(held) = held else { return Ok(Instead::Nothing) };
        let mut done = Batched::default();
        let carried = self.carry_entry(folder, &handles, name, held, &mut done);
        self.walk.tally.add(&done, folder.area);
        // The destination may refuse the old version too. The caller's report of the new version covers that.
        Ok(carried.unwrap_or(Instead::Nothing))
    }

    /// Handles an entry that the base does not have: keeps the version of an interrupted run if it is complete, otherwise
    /// removes it.
    fn keep_or_clear(
        &self,
        handles: &FolderHandles<S::Folder>,
        name: &CStr,
        held: &StoredEntry,
    ) -> io::Result<Instead> {
        let here = here(handles)?;
        let file = held.meta.kind == Kind::File;
        if !file || (self.walk.set.trust.checkable && self.holds_its_hash(here, name)) {
            return Ok(Instead::LastRead);
        }
        clear(here, name)?;
        Ok(Instead::Nothing)
    }

    fn carry_entry(
        self: &Arc<Self>,
        folder: &Shared<S>,
        handles: &Arc<FolderHandles<S::Folder>>,
        name: &CStr,
        held: StoredEntry,
        done: &mut Batched,
    ) -> io::Result<Instead> {
        clear(here(handles)?, name)?;
        let entry = entry_of(name, &held);
        let step = Step { verdict: Verdict::Same, action: Action::Link };
        let entry = ListedEntry::from(&entry);
        let planned = Planned { entry, base: Some(held), here: None, step, renamed: None };
        let carried = self.link(folder, handles, &planned, done)?;
        Ok(if carried { Instead::CarriedForward } else { Instead::Nothing })
    }

    fn carry_folder(
        self: &Arc<Self>,
        parent: &Shared<S>,
        handles: &Arc<FolderHandles<S::Folder>>,
        name: &CStr,
        held: &StoredEntry,
        done: &mut Batched,
    ) -> Result<(), RunError> {
        let place = parent.place.child(name, None);
        let broken = |error| self.walk.destination("cannot carry forward", &place, c"", error);
        let base_records = self.walk.set.base.kept.load(&place).map_err(broken)?;
        let own = base_records.get(c"").and_then(|own| own.complete(Some(held.clone())));
        let entry = entry_of(name, own.as_ref().unwrap_or(held));
        let EnteredFolder::Opened(dir, _) = self.enter(parent, handles, &entry)? else {
            return Ok(());
        };
        let base = handles.base.as_ref().and_then(|base| base.child_if_here(name).ok());
        let handles = Arc::new(FolderHandles::new(None, base, dir, &self.walk.open));
        let folder = WalkFolder::new(FolderParts {
            rules: parent.rules_below(&place),
            here_records: self.walk.set.here.kept.load(&place).map_err(broken)?,
            place: Arc::clone(&place),
            entry: Some(entry),
            node: None,
            area: parent.area,
            dev: None,
            covered: false,
            whole: false,
            fresh: false,
            partial: true,
            folds_case: self.walk.set.folds_case,
            base_records,
            handles: Arc::clone(&handles),
        });
        self.carry_rest(&folder, &handles, done)?;
        self.settle(&folder)
    }

    /// Carries forward each entry that was not seen in the source: those of the base, and those that an interrupted run
    /// left. Each folder becomes a task of its own, so that deep trees need no deep stack.
    fn carry_rest(
        self: &Arc<Self>,
        folder: &Shared<S>,
        handles: &Arc<FolderHandles<S::Folder>>,
        done: &mut Batched,
    ) -> Result<(), RunError> {
        let broken =
            |error| self.walk.destination("cannot carry forward", &folder.place, c"", error);
        let mut names = BTreeSet::new();
        for dir in [&handles.base, &handles.here].into_iter().flatten() {
            dir.names(|entry| {
                if !folder.saw(entry.name) {
                    names.insert(entry.name.to_owned());
                }
                ControlFlow::Continue(())
            })
            .map_err(broken)?;
        }
        // The disk does not have what the sidecar keeps as a whole.
        for (name, record) in folder.base_records.iter().chain(&folder.here_records) {
            if record.kind.is_some() && !name.is_empty() && !folder.saw(name) {
                names.insert(name.clone());
            }
        }
        for name in names {
            if self.walk.halted() || self.walk.is_full() {
                break;
            }
            let find = |dir: &Dir| dir.find(&name).ok().flatten();
            let found: Vec<_> =
                [&handles.base, &handles.here].into_iter().flatten().filter_map(find).collect();
            let is_folder = found.iter().any(|meta| meta.kind == Kind::Folder);
            if folder.leaves_out(&name, is_folder) {
                folder.changes.alter();
                here(handles).and_then(|here| clear(here, &name)).map_err(broken)?;
            } else if is_folder {
                self.walk.carry_later(folder, name);
            } else {
                // The walk counts entries when they are listed, and these were not listed.
                done.root.now += 1;
                done.root.before += 1;
                let file = found.first().filter(|meta| meta.kind == Kind::File);
                done.root.bytes += file.map_or(0, |meta| meta.size);
                self.carry_one(folder, handles, &name, done)?;
            }
        }
        Ok(())
    }
}

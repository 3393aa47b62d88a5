//! Carries forward what could not be read: the base's version takes its place.

use std::ffi::CStr;
use std::io;
use std::sync::Arc;

use super::metadata::entry_of;
use super::{Build, clear, here, names_missing_in};
use crate::entry::{Kind, Listed};
use crate::error::RunError;
use crate::event::Instead;
use crate::folder::{Folder, Handles, Opened, held};
use crate::plan::{Action, Held, Step, Verdict};
use crate::source::Source;
use crate::tally::Batched;
use crate::walk::{Planned, Target, Walk};

type Shared<S> = Arc<Folder<<S as Source>::Folder>>;

impl<S: Source> Walk<S, Build<S>> {
    /// Gives the snapshot the base's version of `name`; with an empty name that of all entries of
    /// `folder` that were not listed.
    ///
    /// # Errors
    /// When the destination fails.
    pub(super) fn carry_forward(
        self: &Arc<Self>,
        folder: &Shared<S>,
        name: &CStr,
    ) -> Result<Instead, RunError> {
        let handles = self.handles(folder)?;
        let mut done = Batched::default();
        let instead = if name.is_empty() {
            self.carry_rest(folder, &handles, &mut done).map(|()| Instead::CarriedForward)
        } else {
            self.carry(folder, &handles, name, &mut done)
        };
        self.tally.add(&done, folder.root);
        instead
    }

    fn carry(
        self: &Arc<Self>,
        folder: &Shared<S>,
        handles: &Arc<Handles<S::Folder>>,
        name: &CStr,
        done: &mut Batched,
    ) -> Result<Instead, RunError> {
        let held = match &handles.base {
            Some(base) => held(base, name, &folder.base_records, self.asked()),
            None => Ok(None),
        };
        let broken = |error| self.destination("cannot carry forward", &folder.place, name, error);
        match held.map_err(broken)? {
            Some(held) if held.meta.kind == Kind::Folder => {
                self.carry_folder(folder, handles, name, &held, done)?;
                Ok(Instead::CarriedForward)
            }
            held => self.carry_entry(folder, handles, name, held, done).map_err(broken),
        }
    }

    fn carry_entry(
        self: &Arc<Self>,
        folder: &Shared<S>,
        handles: &Arc<Handles<S::Folder>>,
        name: &CStr,
        held: Option<Held>,
        done: &mut Batched,
    ) -> io::Result<Instead> {
        let here = here(handles)?;
        let Some(held) = held else {
            // No older version: what an interrupted run read of it is the best there is.
            if here.find(name)?.is_some() && self.holds_its_hash(here, name) {
                return Ok(Instead::LastRead);
            }
            clear(here, name)?;
            return Ok(Instead::Nothing);
        };
        clear(here, name)?;
        let entry = entry_of(name, &held);
        let step = Step { verdict: Verdict::Same, action: Action::Link };
        let planned = Planned { entry: Listed::from(&entry), base: Some(held), here: None, step };
        let carried = self.link(folder, handles, &planned, done)?;
        Ok(if carried { Instead::CarriedForward } else { Instead::Nothing })
    }

    fn carry_folder(
        self: &Arc<Self>,
        parent: &Shared<S>,
        handles: &Arc<Handles<S::Folder>>,
        name: &CStr,
        held: &Held,
        done: &mut Batched,
    ) -> Result<(), RunError> {
        let place = parent.place.child(name, None);
        let broken = |error| self.destination("cannot carry forward", &place, c"", error);
        let base_records = self.set.base.kept.load(&place).map_err(broken)?;
        let own = base_records.get(c"").and_then(|own| own.complete(Some(held.clone())));
        let entry = entry_of(name, own.as_ref().unwrap_or(held));
        let (dir, _) = Build::enter(self, parent, handles, &entry)?;
        let base =
            handles.base.as_ref().map(|base| base.child(name)).transpose().map_err(broken)?;
        let handles = Arc::new(Handles::new(None, base, dir, &self.open));
        let folder = Folder::new(Opened {
            here_records: self.set.here.kept.load(&place).map_err(broken)?,
            place: Arc::clone(&place),
            entry: Some(entry),
            node: None,
            root: parent.root,
            dev: None,
            fresh: false,
            partial: true,
            folds_case: self.set.folds_case,
            base_records,
            handles: Arc::clone(&handles),
        });
        self.carry_rest(&folder, &handles, done)?;
        self.settle(&folder)
    }

    /// Carries every entry of the base that the incomplete snapshot does not have.
    fn carry_rest(
        self: &Arc<Self>,
        folder: &Shared<S>,
        handles: &Arc<Handles<S::Folder>>,
        done: &mut Batched,
    ) -> Result<(), RunError> {
        let Some(base) = &handles.base else { return Ok(()) };
        let missing = here(handles).and_then(|here| names_missing_in(base, here));
        let broken = |error| self.destination("cannot carry forward", &folder.place, c"", error);
        for name in missing.map_err(broken)? {
            if self.halted() {
                break;
            }
            // Folders count nothing here, their entries do; none of these was listed, so none was counted.
            done.root.now += 1;
            done.root.before += 1;
            self.carry(folder, handles, &name, done)?;
        }
        Ok(())
    }
}

//! The run that takes up a snapshot keeps the files that an interrupted run had renamed, and finds out at its end from where.

use std::sync::Arc;

use crate::backup::plan::Action;
use crate::backup::plan::planned::Planned;
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::renames::gone_files::{GoneIndex, Wanted};
use crate::backup::walk::renames::matching::CANDIDATES;
use crate::backup::walk::renames::taken_up::TakenUp;
use crate::backup::walk::state::WalkState;
use crate::entry::Kind;
use crate::source::Source;
use crate::threads::lock::lock;

impl<S: Source> WalkState<S> {
    /// Remembers a file that the run kept, if it may have been renamed.
    pub(crate) fn took_up(&self, folder: &WalkFolder<S::Folder>, planned: &Planned<'_>) {
        let Planned { entry, base, here: Some(here), step, .. } = planned else { return };
        let is_kept = matches!(step.action, Action::Keep | Action::Check);
        let is_apart = base.as_ref().is_none_or(|base| base.meta.id != here.meta.id);
        let is_file = here.meta.kind == Kind::File && here.meta.size > 0;
        if let Some(id) = here.meta.id.filter(|_| is_kept && is_apart && is_file)
            && here.meta.links > 1
            && self.renames.folders.is_some()
        {
            let (place, name) = (Arc::clone(&folder.place), entry.name.to_owned());
            let (size, mtime) = (entry.meta.size, entry.meta.mtime);
            let file = TakenUp { place, name, size, mtime, id, area: folder.area };
            lock(&self.renames.taken_up).add(file);
        }
    }

    /// Records from where these files were renamed.
    pub(crate) fn match_taken_up(&self) {
        let files = std::mem::take(&mut *lock(&self.renames.taken_up)).files;
        if let Some(index) = self.renames.index() {
            files.iter().for_each(|file| self.match_one(index, file));
        }
    }

    fn match_one(&self, index: &GoneIndex, file: &TakenUp) {
        let TakenUp { place, name, size, mtime, id, area } = file;
        let rules = &self.set.rules;
        let slack = rules.time.slack(rules.keep.window);
        let wanted = Wanted { name, size: *size, mtime: *mtime, slack };
        let same_time = |other| rules.time.same(*mtime, other, true, rules.keep.window);
        let alike = index.alike(&wanted, same_time, None, CANDIDATES);
        let mut origins = alike.into_iter().filter_map(|file| self.origin(index, file));
        if let Some(origin) = origins.find(|origin| origin.held.meta.id == Some(*id)) {
            self.found_renamed((*area, place), name, &origin);
        }
    }
}

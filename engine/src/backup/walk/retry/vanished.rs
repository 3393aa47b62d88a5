//! Names that no longer existed when the walk looked at them. The walk believes this only when a second listing of the
//! folder does not have them. ENOENT alone proves nothing: a file system may list a name and always return ENOENT for it
//! (another charset, a faulty server).

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use crate::backup::walk::Walk;
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::task::Retry;
use crate::entry::Batch;
use crate::entry::tree_path::TreePath;
use crate::error::RunError;
use crate::source::{ListSink, Source, SourceError};

/// The report about a name that is listed and cannot be opened.
const GHOST: &str = "it is listed in its folder, and the system says that it does not exist";

type Names = HashSet<CString>;

impl<S: Source> WalkState<S> {
    /// Whether the incomplete snapshot has the folder; `true` when there is no incomplete snapshot.
    fn is_here(&self, place: &Arc<TreePath>) -> bool {
        let Some(top) = &self.set.here.top else { return true };
        let Ok(top) = top.try_clone() else { return true };
        let below = place.chain();
        below[1..].iter().try_fold(top, |dir, place| dir.child(place.name())).is_ok()
    }

    /// Which of `wanted` the folder at `place` still lists. All of them when it cannot be listed: then none is known to be
    /// gone.
    fn still_listed(&self, place: &Arc<TreePath>, wanted: &Names) -> Result<Names, RunError> {
        let mut source: Option<Arc<S::Folder>> = None;
        for part in &place.chain() {
            if let Some(path) = part.origin() {
                source = Some(self.root(path, false)?.0.folder);
                continue;
            }
            let Some(parent) = source.take() else { continue };
            let opened = self
                .source
                .look(&parent, part.name())
                .and_then(|entry| self.source.folder(&parent, part.name(), &entry.meta));
            match opened {
                Ok(folder) => source = Some(Arc::new(folder)),
                // The name belongs to an entry that is not a folder now, so it has no entries.
                Err(SourceError::Replaced) => return Ok(Names::new()),
                Err(SourceError::Vanished) => {
                    let name = Names::from([part.name().to_owned()]);
                    let listed = self.names_listed(&parent, &name)?;
                    return Ok(if listed.is_empty() { listed } else { wanted.clone() });
                }
                Err(error @ SourceError::Lost(_)) => return Err(RunError::SourceLost(error)),
                Err(_) => return Ok(wanted.clone()),
            }
        }
        match source {
            Some(source) => self.names_listed(&source, wanted),
            None => Ok(wanted.clone()),
        }
    }

    /// Which of `wanted` a folder lists now; all of them when the listing fails.
    fn names_listed(&self, folder: &Arc<S::Folder>, wanted: &Names) -> Result<Names, RunError> {
        let (answer, answered) = channel();
        let sink = ListedNames { wanted: wanted.clone(), found: Names::new(), answer };
        self.source.list(folder, Box::new(sink));
        match answered.recv() {
            Ok((found, Ok(()))) => Ok(found),
            Ok((_, Err(error @ SourceError::Lost(_)))) => Err(RunError::SourceLost(error)),
            Ok((_, Err(_))) | Err(_) => Ok(wanted.clone()),
        }
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Decides about names of one folder that no longer existed when the walk looked at them.
    pub(crate) fn list_again(self: &Arc<Self>, retries: &[Retry]) -> Result<(), RunError> {
        let Some(first) = retries.first() else { return Ok(()) };
        let wanted: Names = retries.iter().map(|retry| retry.name.clone()).collect();
        let listed = self.state.still_listed(&first.place, &wanted)?;
        if !self.state.is_here(&first.place) {
            // The incomplete snapshot no longer has the folder, and so none of its entries.
            self.state.tally.count(|counts| counts.vanished += retries.len() as u64);
            return Ok(());
        }
        let folder = self.state.folder_again(first)?;
        let handles = self.state.handles(&folder)?;
        for Retry { name, .. } in retries {
            folder.see(name);
            if listed.contains(name) {
                let instead = self.sink.carry_forward(&folder, name)?;
                self.state.problem(&folder.place.source_of(name), GHOST, instead);
                continue;
            }
            self.state.tally.count(|counts| counts.vanished += 1);
            if let Some(here) = &handles.here {
                self.sink.superfluous(&folder, here, name)?;
            }
        }
        self.settle(&folder)
    }
}

/// A list sink that records which of the wanted names a listing has.
struct ListedNames {
    wanted: Names,
    found: Names,
    answer: Sender<(Names, Result<(), SourceError>)>,
}

impl ListedNames {
    fn note(&mut self, name: &CStr) {
        if let Some(name) = self.wanted.take(name) {
            self.found.insert(name);
        }
    }
}

impl ListSink for ListedNames {
    fn batch(&mut self, batch: Batch) -> ControlFlow<()> {
        batch.iter().for_each(|entry| self.note(entry.name));
        ControlFlow::Continue(())
    }

    fn unreadable(&mut self, name: &CStr, _: SourceError) {
        self.note(name);
    }

    fn end(self: Box<Self>, result: Result<(), SourceError>) {
        let Self { found, answer, .. } = *self;
        // The receiver is gone if the walk has ended.
        let _ = answer.send((found, result));
    }
}

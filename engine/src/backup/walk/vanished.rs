//! Names that were gone when they were looked for: believed when a second listing of their folder no
//! longer has them. One errno proves nothing: a name that a file system shows and cannot open (another
//! charset, a server with a fault) answers ENOENT each time.

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

/// What is told of a name that is listed and cannot be opened.
const GHOST: &str = "it is listed in its folder, and the system says that it does not exist";

type Names = HashSet<CString>;

impl<S: Source> WalkState<S> {
    /// Whether the incomplete snapshot has the folder; `true` when there is none to look into.
    fn is_here(&self, place: &Arc<TreePath>) -> bool {
        let Some(top) = &self.set.here.top else { return true };
        let Ok(top) = top.try_clone() else { return true };
        let below = place.chain();
        below[1..].iter().try_fold(top, |dir, place| dir.child(place.name())).is_ok()
    }

    /// Which of `wanted` the folder at `place` still lists. What cannot be listed is not known to be gone.
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
                // Something else than a folder has its name: nothing lies in it.
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

    /// Which of `wanted` a folder lists now; all of them when it cannot be listed to its end.
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
    /// Decides about names of one folder that were gone when they were looked for.
    pub(crate) fn list_again(self: &Arc<Self>, retries: &[Retry]) -> Result<(), RunError> {
        let Some(first) = retries.first() else { return Ok(()) };
        let wanted: Names = retries.iter().map(|retry| retry.name.clone()).collect();
        let listed = self.state.still_listed(&first.place, &wanted)?;
        if !self.state.is_here(&first.place) {
            // The folder went with all that was in it.
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

/// Notes which names a listing shows.
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
        // Nobody waits any more when the walk has ended.
        let _ = answer.send((found, result));
    }
}

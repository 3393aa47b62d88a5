//! Takes surplus snapshots out of the history before the new one is completed.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;

use crate::backup::run::attempt::{Attempt, SnapshotNames};
use crate::error::RunError;
use crate::monitor::Phase;
use crate::monitor::event::Stuck;
use crate::repository::lock::read_lock::{claim, holders};
use crate::repository::records::holds::candidates;
use crate::repository::records::report_file::report;
use crate::repository::removal;
use crate::repository::removal::Retired;
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::retention::{Expiring, surplus};
use crate::source::Source;

/// How many runs in a row wait for a snapshot that is in use, before a run reports the processes that use it.
const WAITS: u32 = 5;

impl<S: Source> Attempt<'_, S> {
    /// The surplus snapshots: those that the run retires before it seals the new one, and those that it retires after that.
    pub(crate) fn surplus(
        &self,
        history: &History,
        names: &SnapshotNames,
    ) -> (Vec<Expiring>, Vec<Expiring>) {
        let candidates = candidates(self.repository, history);
        surplus(&candidates, &self.job.retention, names.base.as_ref(), &names.complete)
    }

    /// For each snapshot in `leaving` that is in use: the number of runs in a row, including this one, that found it in use.
    /// After [`WAITS`] runs, the run reports the snapshot with the processes that use it.
    pub(crate) fn waits<'b>(
        &self,
        history: &History,
        leaving: impl Iterator<Item = &'b Expiring>,
        stuck: &mut Vec<Stuck>,
    ) -> BTreeMap<String, u32> {
        let last = history.complete.last().and_then(|name| report(self.repository, name));
        let before = last.map(|last| last.in_use).unwrap_or_default();
        let mut waits = BTreeMap::new();
        for (name, _) in leaving.filter(|(name, _)| claim(self.repository, name).is_none()) {
            let snapshot = name.to_string();
            let runs = before.get(&snapshot).map_or(1, |runs| runs + 1);
            if runs > WAITS {
                let by = holders(self.repository, name).join(", ");
                let by =
                    if by.is_empty() { "a process that is not to be seen here".into() } else { by };
                let why = format!("it is in use in the {runs}. run in a row, by {by}; end that");
                let path = self.repository.path.join(&snapshot);
                stuck.push(Stuck::new(name, &path, &io::Error::other(why), self.context));
            }
            waits.insert(snapshot, runs);
        }
        waits
    }

    /// Renames snapshots so that they are no longer part of the history. A snapshot that stays (because it is in use, held,
    /// or cannot be renamed) does not end the run.
    pub(crate) fn retire(
        &self,
        leaving: &[(SnapshotName, impl Display)],
        stuck: &mut Vec<Stuck>,
    ) -> Vec<Retired> {
        let mut all = Vec::new();
        for (name, why) in leaving {
            match removal::retire(self.repository, name, why, self.context) {
                Ok(retired) => all.extend(retired),
                Err(error) => stuck.push(Stuck::of(name, &error, self.context)),
            }
        }
        all
    }

    /// Removes the oldest removable snapshot of a full history and returns its name; `None` if no snapshot was removed.
    pub(crate) fn make_room(
        &self,
        history: &mut History,
        names: &SnapshotNames,
    ) -> Result<Option<String>, RunError> {
        let (surplus, _) = self.surplus(history, names);
        for (oldest, _) in surplus {
            let why = "the destination is full, and the history too";
            let retired = self.retire(&[(oldest.clone(), why)], &mut Vec::new());
            if retired.is_empty() {
                continue;
            }
            history.complete.retain(|name| *name != oldest);
            self.context.progress.enter(Phase::Removing);
            if removal::remove_retired(self.repository, &retired, self.context)?.is_empty() {
                return Ok(Some(oldest.to_string()));
            }
        }
        Ok(None)
    }
}

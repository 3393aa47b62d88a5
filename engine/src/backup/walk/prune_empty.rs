//! Leaves out folders that contain only folders (`--prune-empty-dirs`). The walk knows them only at its end.

use std::ffi::CString;
use std::io;

use crate::backup::change::Change;
use crate::backup::plan::Verdict;
use crate::backup::plan::planned::Planned;
use crate::backup::walk::Walk;
use crate::backup::walk::folder::WalkFolder;
use crate::backup::walk::plan_sink::PlanSink;
use crate::backup::walk::state::WalkState;
use crate::backup::walk::state::tally::Batched;
use crate::backup::withheld::{Untold, names};
use crate::entry;
use crate::entry::Kind;
use crate::entry::tree_path::TreePath;
use crate::error::RunError;
use crate::fs::dir::Dir;
use crate::fs::metadata::stat;
use crate::source::Source;

/// Whether the entry in `folder` is a folder that is left out if it is empty. Folders of the layout always stay.
fn may_go<F>(folder: &WalkFolder<F>, planned: &Planned<'_>) -> bool {
    let asked =
        |name: &[u8]| folder.node.as_ref().is_some_and(|node| node.below.contains_key(name));
    planned.entry.meta.kind == Kind::Folder && !asked(planned.entry.name.to_bytes())
}

impl<S: Source> WalkState<S> {
    /// Records that `folder` is not empty. Reports the withheld itemized lines of this folder and of the folders above it,
    /// and passes their withheld changes to `report`.
    pub(crate) fn not_empty(&self, folder: &WalkFolder<S::Folder>, mut report: impl FnMut(Change)) {
        let Some(empty) = &self.set.empty else { return };
        for Untold { item, change, .. } in empty.holds_something(&folder.place.inside()) {
            self.report_item(item);
            if let Some(change) = change {
                report(change);
            }
        }
    }

    /// Whether the walk withholds the reports about this entry for now.
    pub(crate) fn is_held_back(
        &self,
        folder: &WalkFolder<S::Folder>,
        planned: &Planned<'_>,
    ) -> bool {
        self.set.empty.is_some() && may_go(folder, planned)
    }

    /// Subtracts the empty folders from the counts. Returns their paths, the deepest first.
    pub(crate) fn count_out_empty(&self) -> Vec<Vec<u8>> {
        let Some(empty) = &self.set.empty else { return Vec::new() };
        let all = empty.take();
        self.tally.count(|counts| {
            for (_, verdict) in &all {
                counts.entries = counts.entries.saturating_sub(1);
                counts.folders = counts.folders.saturating_sub(1);
                let kind = match verdict {
                    Verdict::New => &mut counts.new,
                    Verdict::Changed => &mut counts.changed,
                    Verdict::Metadata => &mut counts.metadata,
                    Verdict::Same => &mut counts.unchanged,
                };
                *kind = kind.saturating_sub(1);
                counts.deleted += u64::from(*verdict != Verdict::New);
            }
        });
        all.into_iter().map(|(path, _)| path).collect()
    }

    /// Removes the empty folders from the incomplete snapshot, and returns the paths of the removed ones. A folder stays if
    /// it contains an entry that was carried forward.
    ///
    /// # Errors
    /// When the destination fails.
    pub(crate) fn remove_empty(&self) -> Result<Vec<Vec<u8>>, RunError> {
        let mut gone = Vec::new();
        for path in self.count_out_empty() {
            let removed = self.remove_one(&path).map_err(|error| {
                let place = TreePath::top(None);
                let name = CString::new(path.clone()).unwrap_or_default();
                self.destination("cannot remove the empty folder", &place, &name, error)
            })?;
            if removed {
                gone.push(path);
            } else {
                let mut back = Batched::default();
                (back.counts.entries, back.counts.folders, back.counts.unchanged) = (1, 1, 1);
                self.tally.add(&back, None);
            }
        }
        Ok(gone)
    }

    fn remove_one(&self, path: &[u8]) -> io::Result<bool> {
        let mut names: Vec<CString> = names(path).map(entry::c_name).collect::<io::Result<_>>()?;
        let Some(last) = names.pop() else { return Ok(false) };
        let Some(top) = &self.set.here.top else { return Ok(false) };
        let parent =
            names.iter().try_fold(top.try_clone()?, |dir: Dir, name| dir.child_here(name))?;
        let mtime = parent.meta()?.mtime;
        match parent.remove_folder(&last) {
            Ok(()) => stat::set_mtime(&parent, mtime).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl<S: Source, T: PlanSink<S>> Walk<S, T> {
    /// Withholds the reports about subfolders that may be empty. Releases those about `folder` if one of `steps` is not a
    /// folder.
    pub(super) fn withhold_empty(&self, folder: &WalkFolder<S::Folder>, steps: &[Planned<'_>]) {
        let Some(empty) = &self.state.set.empty else { return };
        for planned in steps.iter().filter(|planned| may_go(folder, planned)) {
            let item = self.state.item(folder, planned);
            let change = self.sink.change(folder, planned);
            let verdict = planned.step.verdict;
            empty.add(folder.place.inside_of(planned.entry.name), Untold { verdict, item, change });
        }
        if steps.iter().any(|planned| planned.entry.meta.kind != Kind::Folder) {
            self.not_empty(folder);
        }
    }

    /// Records that the source has something in `folder`, even if the snapshot does not hold it.
    pub(super) fn not_empty(&self, folder: &WalkFolder<S::Folder>) {
        self.state.not_empty(folder, |change| self.sink.report(change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::withheld::Empty;

    fn held() -> Untold {
        Untold { verdict: Verdict::New, item: None, change: None }
    }

    #[test]
    fn a_folder_is_empty_until_something_is_found_at_any_depth() {
        let empty = Empty::default();
        for path in ["a", "a/b", "a/b/c", "d", "d/e"] {
            empty.add(path.as_bytes().to_vec(), held());
        }
        assert_eq!(empty.holds_something(b"a/b").len(), 2);
        assert_eq!(empty.holds_something(b"a/b").len(), 0);
        empty.add(b"a/f".to_vec(), held());
        let left: Vec<_> = empty.take().into_iter().map(|(path, _)| path).collect();
        assert_eq!(left[0].len(), 5);
        assert_eq!(left.len(), 4);
        assert!(left.contains(&b"a/b/c".to_vec()) && left.contains(&b"a/f".to_vec()));
    }
}

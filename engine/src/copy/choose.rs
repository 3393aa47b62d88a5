//! Chooses the snapshots that a copy lacks, and refuses folders that are no copy of this history.

use std::path::Path;

use crate::copy::beside::Beside;
use crate::copy::job::{CopyJob, SnapshotStore};
use crate::error::RunError;
use crate::repository::Repository;
use crate::repository::lineage::Sources;
use crate::repository::records::copied::is_copy;
use crate::snapshot::history::History;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::retention::{Candidate, Retention, RetentionDecision, judge};

/// A snapshot to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// The snapshot.
    pub name: SnapshotName,
    /// The newest older snapshot that both sides have when this one is copied.
    pub common: Option<SnapshotName>,
    /// Whether an interrupted copy of it is continued.
    pub resumes: bool,
}

/// The snapshots that a new copy gets, oldest first.
pub(crate) fn of_new(job: &CopyJob, offered: &[SnapshotName]) -> Vec<CopyStep> {
    plan(&History::default(), &[], offered, &job.retention, job.newest.map(|most| most.get()))
}

/// The snapshots that the copy lacks and that its rules do not remove at once, oldest first.
pub(crate) fn steps(
    job: &CopyJob,
    repository: &Repository,
    history: &History,
    offered: &[SnapshotName],
) -> Vec<CopyStep> {
    let candidates = repository.candidates(history);
    plan(history, &candidates, offered, &job.retention, job.newest.map(|most| most.get()))
}

/// Pure. `here` are the complete snapshots of the copy.
fn plan(
    history: &History,
    here: &[Candidate],
    offered: &[SnapshotName],
    retention: &Retention,
    newest: Option<usize>,
) -> Vec<CopyStep> {
    let first = offered.len().saturating_sub(newest.unwrap_or(usize::MAX));
    let is_missing = |name: &&SnapshotName| !history.complete.contains(name);
    let mut all = here.to_vec();
    all.extend(offered[first..].iter().filter(is_missing).map(|name| Candidate {
        name: name.clone(),
        held: false,
        damaged: false,
        frozen: false,
    }));
    all.sort_by_key(|candidate| candidate.name.stamp);
    let fates = judge(&all, retention, None);
    let stays = |name: &SnapshotName| {
        let at = all.iter().position(|one| one.name == *name);
        at.is_some_and(|at| matches!(fates[at], RetentionDecision::Stays(_)))
    };
    let mut common: Option<&SnapshotName> = None;
    let mut steps = Vec::new();
    for (at, name) in offered.iter().enumerate() {
        if is_missing(&name) {
            if at < first || !stays(name) {
                continue;
            }
            let resumes = history.incomplete.iter().any(|begun| begun.stamp == name.stamp);
            steps.push(CopyStep { name: name.clone(), common: common.cloned(), resumes });
        }
        common = Some(name);
    }
    steps
}

/// Refuses a folder whose snapshots of this prefix are not copies of `store`'s.
///
/// # Errors
/// [`RunError::NotForCopies`].
pub(crate) fn check<St: SnapshotStore>(
    job: &CopyJob,
    store: &St,
    repository: &Repository,
    history: &History,
    offered: &[SnapshotName],
) -> Result<(), RunError> {
    let path = || repository.path().to_owned();
    let refused = |why: String| Err(RunError::NotForCopies { path: path(), why });
    let prefix = &job.prefix;
    if let Some(begun) = history.incomplete.iter().find(|name| !is_copy(repository, name)) {
        return refused(format!("a run of {prefix} began {begun} there"));
    }
    let common = history.complete.iter().rfind(|name| offered.contains(name));
    let Some(newest) = history.complete.last() else { return Ok(()) };
    if let Some(common) = common {
        check_common(store, repository, common)?;
    }
    let after = |name: &&SnapshotName| common.is_none_or(|common| name.stamp > common.stamp);
    let mut later = history.complete.iter().filter(after);
    if let Some(own) = later.find(|name| !is_copy(repository, name)) {
        return refused(format!("a run took {own} there; it is not in {}", store.name()));
    }
    if common.is_none() && !offered.is_empty() {
        let report = |beside: Beside| serde_json::from_slice(&beside.report?).ok();
        let theirs = offered.last().map(|newest| store.beside(newest)).transpose()?;
        let theirs = theirs.and_then(report).map(|report| Sources::of(&report));
        let ours = repository.report(newest).map(|report| Sources::of(&report));
        if let (Some(theirs), Some(ours)) = (theirs, ours)
            && !theirs.may_continue(&ours)
        {
            let ours = ours.roots.join(", ");
            return refused(format!("its snapshots of {prefix} hold other sources: {ours}"));
        }
    }
    Ok(())
}

/// Refuses a folder whose snapshot `common` is another one than that of `store`. What the two have in common would be taken for the
/// same.
///
/// # Errors
/// [`RunError::NotForCopies`].
pub(crate) fn check_common<St: SnapshotStore>(
    store: &St,
    repository: &Repository,
    common: &SnapshotName,
) -> Result<(), RunError> {
    if store.identity(common)? == Beside::of(repository, common).identity() {
        return Ok(());
    }
    let why = format!("its {common} is another snapshot than the one of {}", store.name());
    Err(RunError::NotForCopies { path: repository.path().to_owned(), why })
}

/// Refuses the folder at `path` when `store` is the same one, or one of them lies in the other. The snapshots of `store` were listed.
///
/// # Errors
/// [`RunError::NotForCopies`].
pub(crate) fn refuse_overlap<St: SnapshotStore>(path: &Path, store: &St) -> Result<(), RunError> {
    if !store.overlaps(path) {
        return Ok(());
    }
    let why = format!("it and {} are the same folder, or one lies in the other", store.name());
    Err(RunError::NotForCopies { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::snapshot::name::SnapshotState;

    fn name(day: u32) -> SnapshotName {
        SnapshotName::parse_any(format!("p.{day:02}-12-2023_13-32-58").as_bytes()).unwrap()
    }

    fn planned(
        here: &[u32],
        offered: &[u32],
        max: usize,
        newest: Option<usize>,
    ) -> Vec<(u32, u32)> {
        use chrono::Datelike;
        let complete: Vec<_> = here.iter().map(|day| name(*day)).collect();
        let candidates: Vec<_> = complete
            .iter()
            .map(|name| Candidate {
                name: name.clone(),
                held: false,
                damaged: false,
                frozen: false,
            })
            .collect();
        let history = History { complete, ..History::default() };
        let offered: Vec<_> = offered.iter().map(|day| name(*day)).collect();
        let retention = Retention { max: NonZeroUsize::new(max), ..Retention::default() };
        let day = |name: &SnapshotName| name.stamp.time().day();
        plan(&history, &candidates, &offered, &retention, newest)
            .iter()
            .map(|step| (day(&step.name), step.common.as_ref().map_or(0, day)))
            .collect()
    }

    #[test]
    fn what_is_missing_is_copied_oldest_first_beside_the_snapshot_before_it() {
        assert_eq!(planned(&[], &[1, 2, 3], 0, None), [(1, 0), (2, 1), (3, 2)]);
        assert_eq!(planned(&[1, 3], &[1, 2, 3, 4], 0, None), [(2, 1), (4, 3)]);
        assert_eq!(planned(&[1, 2], &[3, 4], 0, None), [(3, 0), (4, 3)]);
        assert_eq!(planned(&[1], &[1], 0, None), []);
    }

    #[test]
    fn what_the_rules_of_the_copy_would_remove_at_once_is_not_copied() {
        assert_eq!(planned(&[], &[1, 2, 3], 2, None), [(2, 0), (3, 2)]);
        assert_eq!(planned(&[3, 4], &[1, 2, 3, 4, 5], 2, None), [(5, 4)]);
        assert_eq!(planned(&[], &[1, 2, 3], 0, Some(1)), [(3, 0)]);
        assert_eq!(planned(&[1], &[1, 2, 3], 0, Some(1)), [(3, 1)]);
    }

    #[test]
    fn an_interrupted_copy_is_continued() {
        let incomplete = vec![name(2).with_state(SnapshotState::Incomplete)];
        let history = History { incomplete, ..History::default() };
        let steps = plan(&history, &[], &[name(1), name(2)], &Retention::default(), None);
        assert_eq!(steps.iter().map(|step| step.resumes).collect::<Vec<_>>(), [false, true]);
    }
}

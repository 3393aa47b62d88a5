//! Checks whether the source roots of a job can be backed up now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::shrink_guard::filtered_away;
use crate::backup::walk::state::WalkState;
use crate::error::RunError;
use crate::fs::mount::missing_mount;
use crate::job::Job;
use crate::monitor::context::Context;
use crate::monitor::event::{Event, Instead};
use crate::source::Source;
use crate::source::check_roots::{OpenedRoots, open_roots};

/// Checks that every source root exists and can be read, before the run creates or removes anything. Returns the roots,
/// and the folders above them that can be opened.
///
/// # Errors
/// The error of the first root that fails the check. The monitor receives the errors of the others as events.
pub(crate) fn find_roots<S: Source>(
    job: &Job,
    source: &Arc<S>,
    context: &Context,
) -> Result<OpenedRoots<S::Folder>, RunError> {
    let (mut failed, mut opened) = (None, Vec::new());
    let paths = job.layout.paths();
    let roots: Vec<_> = job.layout.roots().into_iter().map(|(path, _)| path).collect();
    let is_root = |path: &Path| roots.iter().any(|root| root == path);
    let missing = |path: &PathBuf| is_root(path).then(|| unmounted_root(job, path)).flatten();
    let found = opened_while_mounted(&paths, missing, || open_roots(source, &paths, is_root));
    for (path, (found, missing)) in paths.iter().zip(found) {
        if !is_root(path) {
            // The walk reports a folder above a root that cannot be opened.
            opened.extend(found.ok().map(|root| (path.clone(), root)));
            continue;
        }
        let missing = missing.map_or(Ok(()), Err);
        let found = found.map_err(|error| RunError::Root { path: path.clone(), error });
        let error = match found.and_then(|root| missing.map(|()| root)) {
            Ok(root) => {
                opened.push((path.clone(), root));
                continue;
            }
            Err(error) => error,
        };
        match &failed {
            None => failed = Some(error),
            Some(_) => context.monitor.event(&Event::Aside { what: error.to_string() }),
        }
    }
    failed.map_or(Ok(opened), Err)
}

/// Opens folders by `open`, and adds to each the error of `missing`, which looks before and after: a mount that comes or
/// goes meanwhile must not leave a handle of the folder below it.
fn opened_while_mounted<T, E>(
    paths: &[PathBuf],
    missing: impl Fn(&PathBuf) -> Option<E>,
    open: impl FnOnce() -> Vec<T>,
) -> Vec<(T, Option<E>)> {
    let before: Vec<_> = paths.iter().map(&missing).collect();
    let opened = open().into_iter().zip(paths).zip(before);
    opened.map(|((root, path), before)| (root, before.or_else(|| missing(path)))).collect()
}

/// The error for the source root `path` when fstab(5) of this machine has a mount point at or above it that is
/// not mounted. `None` for a source on another machine.
pub(crate) fn unmounted_root(job: &Job, path: &Path) -> Option<RunError> {
    let here = job.host.name.is_none();
    let mount_point = here.then(|| missing_mount(path)).flatten()?;
    Some(RunError::SourceNotMounted { path: path.to_owned(), mount_point })
}

/// Reports each source root that the base holds and the filters now leave out, as a problem. Only this run can
/// report it: the base of the next run no longer has these files.
pub(crate) fn report_filtered<S: Source>(job: &Job, walk: &WalkState<S>) {
    use std::os::unix::ffi::OsStrExt;
    for (path, files) in filtered_away(walk, job.max_shrink_percent) {
        let files = crate::entry::human::counted(files, "file", "files");
        let what = format!("the filters leave out {files} of it that the snapshot before has");
        walk.problem(path.as_os_str().as_bytes(), what, Instead::Nothing);
    }
}

/// What a run accepts although it refuses it by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accept {
    /// A source root that lost most of its files (`--accept-shrink`).
    pub shrink: bool,
    /// A history whose snapshots have other sources.
    pub sources: bool,
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_root_whose_file_system_is_missing_before_or_after_it_is_opened_is_not_used() {
        let paths = ["/a", "/b"].map(PathBuf::from);
        let found = |missing: &dyn Fn(&PathBuf, bool) -> bool| {
            let is_open = Cell::new(false);
            let missing = |path: &PathBuf| missing(path, is_open.get()).then_some("not mounted");
            opened_while_mounted(&paths, missing, || {
                is_open.set(true);
                vec![1, 2]
            })
        };
        let (good, bad) = (None, Some("not mounted"));
        assert_eq!(found(&|_, _| false), [(1, good), (2, good)]);
        // It was mounted just after the folder below it was opened.
        assert_eq!(found(&|path, open| path == &paths[0] && !open), [(1, bad), (2, good)]);
        // It was unmounted just before.
        assert_eq!(found(&|path, open| path == &paths[1] && open), [(1, good), (2, bad)]);
    }
}

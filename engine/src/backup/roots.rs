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
    // Before and after they are opened: a mount that comes or goes meanwhile must not leave a handle of the folder below it.
    let missing = |path: &PathBuf| is_root(path).then(|| unmounted_root(job, path)).flatten();
    let missing_before: Vec<_> = paths.iter().map(missing).collect();
    let found = open_roots(source, &paths, is_root);
    for ((path, before), found) in paths.iter().zip(missing_before).zip(found) {
        if !is_root(path) {
            // The walk reports a folder above a root that cannot be opened.
            opened.extend(found.ok().map(|root| (path.clone(), root)));
            continue;
        }
        let missing = || before.or_else(|| missing(path)).map_or(Ok(()), Err);
        let found = found.map_err(|error| RunError::Root { path: path.clone(), error });
        let error = match found.and_then(|root| missing().map(|()| root)) {
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

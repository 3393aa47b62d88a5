//! Checks for sources that name a folder of the container's image where the machine's folder is meant.

use std::path::{Path, PathBuf};

use engine::fs::container::MACHINE;

use crate::config::layers::first;
use crate::config::mistake::{Mistake, shown_path};
use crate::config::resolve::draft::Draft;
use crate::config::types::NamedJob;

/// Adds a mistake for each such source of `job`. `meant` returns the folders of the machine that a source means,
/// if these are others.
pub(crate) fn check(
    draft: &Draft<'_>,
    job: &NamedJob,
    meant: impl Fn(&Path) -> Vec<PathBuf>,
    mistakes: &mut Vec<Mistake>,
) {
    // PRE_BACKUP may mount the source later.
    if job.remote.is_some() || job.hooks.pre.is_some() {
        return;
    }
    let Some(given) = first(&draft.layers, |layer| layer.sources.as_ref()) else { return };
    for (source, _) in job.job.layout.roots() {
        let meant = meant(&source);
        // Without -x a run also enters what is mounted below the source.
        if meant.is_empty() || (source.starts_with(MACHINE) && !job.job.keep.one_file_system) {
            continue;
        }
        let paths: Vec<String> = meant.iter().map(|path| shown_path(path)).collect();
        let paths = paths.join(",");
        let folder = if meant.len() == 1 { "folder" } else { "folders" };
        let verb = if meant.len() == 1 { "is" } else { "are" };
        mistakes.push(given.origin.mistake(format!(
            "{} is a path in the container's own image; the {folder} of this machine {verb} {paths}: write {paths}",
            shown_path(&source)
        )));
    }
}

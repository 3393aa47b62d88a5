//! Checks for sources that name a folder of the container's image where the machine's folder is meant.

use std::path::{Path, PathBuf};

use crate::config::layers::first;
use crate::config::mistake::{Mistake, shown_path};
use crate::config::resolve::draft::Draft;
use crate::config::types::NamedJob;

/// Adds a mistake for each such source of `job`. `meant` returns the folder of the machine that a source means,
/// if it is another one.
pub(crate) fn check(
    draft: &Draft<'_>,
    job: &NamedJob,
    meant: impl Fn(&Path) -> Option<PathBuf>,
    mistakes: &mut Vec<Mistake>,
) {
    // PRE_BACKUP may mount the source later.
    if job.remote.is_some() || job.hooks.pre.is_some() {
        return;
    }
    let Some(given) = first(&draft.layers, |layer| layer.sources.as_ref()) else { return };
    for (source, _) in job.job.layout.roots() {
        if let Some(meant) = meant(&source) {
            let (source, meant) = (shown_path(&source), shown_path(&meant));
            mistakes.push(given.origin.mistake(format!(
                "{source} is a path in the container's own image; the folder of this machine is {meant}: write {meant}"
            )));
        }
    }
}

//! The snapshots of a folder and their sizes.

use std::collections::HashMap;

use engine::LookError;
use engine::SnapshotName;
use engine::inspect::{Measured, measure};

use crate::snapshots::open::Series;

/// Groups the series by folder, so that data that they share is measured once.
pub(crate) fn by_folder<'a>(all: impl Iterator<Item = &'a Series>) -> Vec<Vec<&'a Series>> {
    let mut folders: Vec<Vec<&Series>> = Vec::new();
    let mut places: HashMap<&std::path::Path, usize> = HashMap::new();
    for series in all {
        let place = *places.entry(series.catalog.path()).or_insert_with(|| {
            folders.push(Vec::new());
            folders.len() - 1
        });
        folders[place].push(series);
    }
    folders
}

/// The complete and the incomplete snapshots by time, and those that are being removed.
pub(crate) fn names(series: &Series) -> Vec<SnapshotName> {
    let history = &series.history;
    let mut names: Vec<SnapshotName> = [&history.complete, &history.incomplete, &history.deleting]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    names.sort_by_key(|name| name.stamp);
    names
}

/// Measures all snapshots of the series, which lie in one folder.
///
/// # Errors
/// A snapshot cannot be opened.
pub(crate) fn sizes(folder: &[&Series]) -> Result<Measured, LookError> {
    let groups: Vec<Vec<SnapshotName>> =
        folder.iter().flat_map(|series| names(series)).map(|name| vec![name]).collect();
    measure(&folder[0].catalog, &groups)
}

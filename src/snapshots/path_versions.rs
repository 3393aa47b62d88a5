//! The versions of one path of the source, and the commands that restore them.

use engine::LookError;
use engine::SnapshotName;
use engine::inspect::{Span, renamed_from, versions};
use engine::repository::SourceRoots;

use crate::snapshots::open::Series;
use crate::term::shell::word;

/// The versions of a path.
pub(crate) struct PathVersions {
    /// The path on the source.
    pub(crate) path: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    /// The path on the source before it was renamed, if it was.
    pub(crate) from: Option<Vec<u8>>,
}

/// The versions of `path`, a path of the source, in `snapshots`.
///
/// # Errors
/// A snapshot cannot be read.
pub(crate) fn path_versions(
    series: &Series,
    snapshots: &[(SnapshotName, SourceRoots)],
    path: &[u8],
) -> Result<PathVersions, LookError> {
    let inside: Vec<(SnapshotName, Vec<u8>)> =
        snapshots.iter().map(|(name, roots)| (name.clone(), roots.inside(path))).collect();
    let spans = versions(&series.catalog, &inside)?;
    let from = match spans.first() {
        Some(span) if span.first > 0 => {
            let (snapshot, inside) = &inside[span.first];
            renamed_from(&series.catalog, snapshot, inside)?
        }
        _ => None,
    };
    let from = from.map(|(base, inside)| {
        let roots = snapshots.iter().find(|(name, _)| *name == base).map(|(_, roots)| roots);
        roots.map_or(inside.clone(), |roots| roots.source(&inside))
    });
    Ok(PathVersions { path: path.to_vec(), spans, from })
}

/// The first snapshot without the entry, if the entry is missing in the snapshot after a span.
pub(crate) fn vanished<'a>(
    spans: &[Span],
    number: usize,
    snapshots: &'a [(SnapshotName, SourceRoots)],
) -> Option<&'a SnapshotName> {
    let after = spans[number].last + 1;
    let goes_on = spans.get(number + 1).is_some_and(|next| next.first == after);
    snapshots.get(after).filter(|_| !goes_on).map(|(name, _)| name)
}

/// The command that restores `path` from `snapshot` into the folder DIR. `given` are the flags for the location of
/// the snapshots.
pub(crate) fn restore(snapshot: &SnapshotName, path: &[u8], given: &str) -> String {
    format!("backup_manager restore {snapshot} {} --to DIR{given}", word(path))
}

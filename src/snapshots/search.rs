//! What `find` and `history` search for: one meaning of a path or pattern for both.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use engine::LookError;
use engine::SnapshotName;
use engine::entry::escape::shown;
use engine::inspect::{Finds, NamePattern, find};
use engine::repository::SourceRoots;

use crate::snapshots::open::{Series, in_snapshot, on_source};
use crate::term::shell::word;

/// Searches the complete snapshots of `series` for what `text` means. A path inside a snapshot's folder, and one
/// that begins with `./` or `../`, is one path on the source. Any other text is a pattern.
///
/// # Errors
/// A snapshot cannot be opened.
pub(crate) fn search(
    series: &Series,
    snapshots: &[(SnapshotName, SourceRoots)],
    text: &OsStr,
    ignore_case: bool,
) -> Result<Finds, LookError> {
    let bytes = text.as_bytes();
    // Quoted words end with this where a name ends with a line feed.
    let bytes = bytes.strip_suffix(b"/.").filter(|rest| !rest.is_empty()).unwrap_or(bytes);
    let here = [&b"./"[..], b"../"].iter().any(|start| bytes.starts_with(start));
    let pattern = match here || in_snapshot(series, text).is_some() {
        true => NamePattern::exact(&on_source(series, text)),
        false => NamePattern::new(bytes, ignore_case),
    };
    find(&series.catalog, snapshots, &pattern, usize::MAX)
}

/// The message that no complete snapshot has what `text` means, with a search that may find it.
pub(crate) fn nothing(text: &OsStr) -> String {
    let bytes = text.as_bytes();
    let none = format!("no complete snapshot has {}", shown(bytes));
    let mut whole = bytes;
    while let Some(rest) = whole.strip_suffix(b"/") {
        whole = rest;
    }
    let name = whole.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if name.is_empty() || name == b"." || NamePattern::is_glob(name) {
        return format!(
            "{none}; a name is found by a part of it between asterisks, in quotes, in upper or lower case with -i"
        );
    }
    let part = word(&[b"*", name, b"*"].concat());
    format!("{none}; names that contain it: find {part}, in upper or lower case: find -i {part}")
}

//! Paths on the remote host.

use engine::SourceError;

/// Checks that the real path that the server reports for a folder is `real`.
///
/// # Errors
/// [`SourceError::Replaced`] if the folder is elsewhere.
pub(crate) fn is_at(reported: &[u8], real: &[u8]) -> Result<(), SourceError> {
    // Some servers append a slash to folders.
    fn bare(path: &[u8]) -> &[u8] {
        path.strip_suffix(b"/").unwrap_or(path)
    }
    if bare(reported) == bare(real) { Ok(()) } else { Err(SourceError::Replaced) }
}

/// The path of `name` in the folder at `path`.
pub(crate) fn child(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.ends_with(b"/") {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

//! Paths on the remote host.

use engine::source::SourceError;

/// The real path of a folder that the server reports has to be `real`.
///
/// # Errors
/// When it is elsewhere.
pub(crate) fn is_at(told: &[u8], real: &[u8]) -> Result<(), SourceError> {
    // Some end folders with a slash.
    fn bare(path: &[u8]) -> &[u8] {
        path.strip_suffix(b"/").unwrap_or(path)
    }
    if bare(told) == bare(real) { Ok(()) } else { Err(SourceError::Replaced) }
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

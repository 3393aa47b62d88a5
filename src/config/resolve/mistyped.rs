//! Recognizes paths that were typed for a shell or for another program: quotes, separators, a `~`. An entry that
//! really has such a name counts as what it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use engine::entry::escape::shown;

const WITHOUT_QUOTES: &str = "write it without quotes: in an env file and in a list of docker-compose.yml they belong to the value";

/// What is known about a path that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// There is such an entry.
    Exists,
    /// There is no such entry.
    Missing,
    /// It is on another machine.
    Remote,
}

/// What is wrong with one path of a list, as it was given.
pub(crate) fn in_source(path: &[u8], known: Known) -> Option<String> {
    if known == Known::Exists {
        return None;
    }
    let text = shown(path);
    if is_quote(path.first()) || (known == Known::Missing && is_quote(path.last())) {
        return Some(format!("{text}: {WITHOUT_QUOTES}"));
    }
    let separator = separator(path)?;
    let one = named(separator);
    let pieces: Vec<String> = pieces(path, separator).map(shown).collect();
    let several = pieces.join(",");
    Some(match known {
        Known::Remote => format!(
            "{text}: paths are separated by commas, not by {one}; write {several} (or, if one folder has this name, with two slashes after the {one})"
        ),
        _ => format!(
            "{text}: there is no such entry, and paths are separated by commas, not by {one}; write {several}"
        ),
    })
}

/// What is wrong with quotes around the whole path of a file, as it was given.
pub(crate) fn quoted_path(path: &OsStr, current_dir: &Path) -> Option<String> {
    let quoted = unquoted(path.as_bytes()).is_some() && !exists(Path::new(path), current_dir);
    quoted.then(|| format!("{}: {WITHOUT_QUOTES}", shown(path.as_bytes())))
}

/// What is wrong with the path of a folder, as it was given.
pub(crate) fn in_folder(path: &[u8], exists: bool) -> Option<String> {
    if path.starts_with(b"~") {
        return Some(format!(
            "{}: only a shell knows '~'; write the full path (or ./~ for that name)",
            shown(path)
        ));
    }
    if exists {
        return None;
    }
    let text = shown(path);
    if is_quote(path.first()) || is_quote(path.last()) {
        return Some(format!("{text}: {WITHOUT_QUOTES}"));
    }
    if path.trim_ascii() != path {
        return Some(format!(
            "'{text}' has a space at its begin or end; write it without (or make the folder first)"
        ));
    }
    let comma = (path.contains(&b',') && pieces(path, b',').all(is_path)).then_some(b',');
    let separator = separator(path).or(comma)?;
    Some(format!(
        "{text}: it is one folder, and the value names several, separated by {}; write one (or make the folder first)",
        named(separator)
    ))
}

/// The value without the quotes around all of it, if it has such.
pub(crate) fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let inner = value.get(1..value.len().checked_sub(1)?)?;
    let same = value.first() == value.last();
    (same && is_quote(value.first()) && !inner.contains(&value[0])).then_some(inner)
}

fn is_quote(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'"' | b'\''))
}

/// The character other than a comma that separates what look like several paths.
fn separator(path: &[u8]) -> Option<u8> {
    [b';', b':', b'\n', b'\t', b' ']
        .into_iter()
        .find(|separator| path.contains(separator) && pieces(path, *separator).all(is_path))
}

fn pieces(path: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let pieces = path.split(move |byte| *byte == separator);
    pieces.map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

/// Two slashes at the begin say that the piece is the rest of a name.
fn is_path(piece: &[u8]) -> bool {
    !piece.starts_with(b"//")
        && [&b"/"[..], b"./", b"../", b"~"].iter().any(|start| piece.starts_with(start))
}

fn named(separator: u8) -> String {
    match separator {
        b' ' => "spaces".to_owned(),
        b'\n' => "line feeds".to_owned(),
        b'\t' => "tabs".to_owned(),
        other => format!("'{}'", char::from(other)),
    }
}

/// Whether there is an entry of this name, seen from `current_dir`.
pub(crate) fn exists(path: &Path, current_dir: &Path) -> bool {
    current_dir.join(path).symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_was_typed_for_a_shell_is_recognized() {
        for (path, expected) in [
            ("/home;/etc", "separated by commas, not by ';'; write /home,/etc"),
            ("/home /etc", "not by spaces; write /home,/etc"),
            ("/home:/etc", "not by ':'; write /home,/etc"),
            ("/home\n/etc", "not by line feeds; write /home,/etc"),
            ("\"/home\"", "without quotes"),
            ("'/home", "without quotes"),
            ("/home/my files", ""),
            ("/home/a;b", ""),
            ("/home/a: b", ""),
        ] {
            let said = in_source(path.as_bytes(), Known::Missing).unwrap_or_default();
            let right = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
            assert!(right, "{path}: {said:?}");
            assert_eq!(in_source(path.as_bytes(), Known::Exists), None);
        }
        for (path, expected) in [
            ("/home;/etc", "separated by commas, not by ';'; write /home,/etc"),
            ("/home /etc", "not by spaces; write /home,/etc"),
            ("/home; /etc ;/srv", "write /home,/etc,/srv"),
            ("/home;//etc", ""),
            ("/my files", ""),
            ("/a;b", ""),
            ("/it's", ""),
            ("/the \"end\"", ""),
            ("\"/home\"", "without quotes"),
        ] {
            let said = in_source(path.as_bytes(), Known::Remote).unwrap_or_default();
            let right = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
            assert!(right, "{path}: {said:?}");
        }
        for (path, expected) in [
            ("~/backups", "only a shell knows '~'"),
            ("\"/backups\"", "without quotes"),
            (" /backups", "has a space"),
            ("/a;/b", "it is one folder"),
            ("/a,/b", "it is one folder"),
            ("/a,b", ""),
            ("/my backups", ""),
            ("./~", ""),
        ] {
            let said = in_folder(path.as_bytes(), false).unwrap_or_default();
            let right = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
            assert!(right, "{path}: {said:?}");
        }
        assert_eq!(in_folder(b"/a,/b", true), None);
    }

    #[test]
    fn quotes_around_a_whole_value_are_taken_off() {
        for (value, expected) in [
            ("\"nas\"", Some("nas")),
            (" 'nas' ", Some("nas")),
            ("\"\"", Some("")),
            ("\"/a\",\"/b\"", None),
            ("nas\"", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(unquoted(value.as_bytes()), expected.map(str::as_bytes), "{value}");
        }
    }
}

//! Checks the settings for further copies of the snapshots.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use engine::entry::escape::shown;

use crate::config::checks::list;
use crate::config::checks::value::{Checked, Raw, bytes};

/// Reads the folders of `COPY_TO`.
pub(crate) fn folders(raw: &Raw) -> Checked<Vec<PathBuf>> {
    let items = match raw {
        Raw::List(items) => items.iter().map(|item| item.as_bytes().to_vec()).collect(),
        raw => list::split(bytes(raw)?),
    };
    let mistakes: Vec<String> = items.iter().filter_map(|item| mistake(item)).collect();
    match mistakes.is_empty() {
        true => Ok(items.into_iter().map(|item| OsString::from_vec(item).into()).collect()),
        false => Err(mistakes),
    }
}

/// Why `item` is not the path of a folder.
pub(crate) fn mistake(item: &[u8]) -> Option<String> {
    let host = item.split(|byte| *byte == b'/').next().unwrap_or_default();
    Some(match item {
        [] => "one of its paths is empty; remove the extra comma".to_owned(),
        _ if item.contains(&0) => "it contains a NUL byte; write a path".to_owned(),
        [b'~', ..] => format!("{}: only a shell knows '~'; write the full path", shown(item)),
        _ if host.contains(&b':') => format!(
            "{}: a copy on another host is not possible yet; write the path of a folder (./NAME if its name has a colon)",
            shown(item)
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_folders_are_taken() {
        for item in ["/mnt/b", "b", "./a:b", "/a:b"] {
            assert_eq!(mistake(item.as_bytes()), None, "{item}");
        }
        for item in ["", "~/b", "user@host:/b", "host:b"] {
            assert!(mistake(item.as_bytes()).is_some(), "{item}");
        }
    }
}

//! Checks the settings for further copies of the snapshots.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use engine::entry::escape::shown;

use crate::config::checks::list;
use crate::config::checks::value::{Checked, Raw, bytes};
use crate::config::host_dir::HostDir;

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

/// Why `item` is neither the path of a folder nor a folder of a host.
pub(crate) fn mistake(item: &[u8]) -> Option<String> {
    Some(match item {
        [] => "one of its paths is empty; remove the extra comma".to_owned(),
        _ if item.contains(&0) => "it contains a NUL byte; write a path".to_owned(),
        [b'~', ..] => format!("{}: only a shell knows '~'; write the full path", shown(item)),
        _ => return HostDir::read(item)?.err(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_this_machine_or_of_a_host_are_taken() {
        for item in ["/mnt/b", "b", "./a:b", "/a:b", "user@host:/b", "host:2222:b"] {
            assert_eq!(mistake(item.as_bytes()), None, "{item}");
        }
        for item in ["", "~/b", "-host:/b", "a b:/c", "host:~you/b"] {
            assert!(mistake(item.as_bytes()).is_some(), "{item}");
        }
    }
}

//! The folders that the near end names.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The folder as an absolute path. A relative path, and one that begins with `~/`, begins in the user's home.
pub(crate) fn absolute(path: &[u8]) -> PathBuf {
    let home = || std::env::home_dir().filter(|home| home.has_root()).unwrap_or("/".into());
    let below = match path {
        b"~" => Some(&b""[..]),
        _ => path.strip_prefix(b"~/").or_else(|| (!path.starts_with(b"/")).then_some(path)),
    };
    match below {
        Some(b"") => home(),
        Some(below) => home().join(std::ffi::OsStr::from_bytes(below)),
        None => OsString::from_vec(path.to_vec()).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_folder_that_does_not_begin_at_the_root_begins_at_home() {
        let home = std::env::home_dir().unwrap();
        for dir in ["", "~", "~/"] {
            assert_eq!(absolute(dir.as_bytes()), home, "{dir}");
        }
        for dir in ["a/b", "~/a/b"] {
            assert_eq!(absolute(dir.as_bytes()), home.join("a/b"), "{dir}");
        }
        assert_eq!(absolute(b"~other/a"), home.join("~other/a"));
        assert_eq!(absolute(b"/srv/a"), Path::new("/srv/a"));
    }
}

//! Compares folders by device and inode: whether they are the same, or one is inside the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Whether `path` is `folder` or inside it. A missing folder contains nothing. If `path` is missing, its
/// existing part is checked.
pub(crate) fn lies_in(path: &Path, folder: &Path) -> bool {
    let Some(folder) = identity(folder) else { return false };
    // Symlinks in the path are followed, as the system does when it opens the path.
    let existing = path.ancestors().find_map(|ancestor| fs::canonicalize(ancestor).ok());
    existing.is_some_and(|real| real.ancestors().any(|above| identity(above) == Some(folder)))
}

/// Whether two paths name the same folder, or would if the folder existed.
pub(crate) fn same(first: &Path, second: &Path) -> bool {
    match (identity(first), identity(second)) {
        (Some(first), Some(second)) => first == second,
        _ => cleaned(first) == cleaned(second),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()))
}

fn cleaned(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_matter_but_inodes_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("backups/a/b")).unwrap();
        fs::create_dir(at("backups2")).unwrap();
        std::os::unix::fs::symlink(at("backups/a"), at("link")).unwrap();
        for (path, expected) in [
            ("backups", true),
            ("backups/a/b", true),
            ("backups/none/x", true),
            ("link/b", true),
            ("backups2", false),
            ("none", false),
            ("", false),
        ] {
            assert_eq!(lies_in(&at(path), &at("backups")), expected, "{path}");
        }
        assert!(!lies_in(&at("none/x"), &at("none")));
        assert!(same(&at("link"), &at("backups/a")));
        assert!(same(&at("none/."), &at("none")));
        assert!(!same(&at("none"), &at("backups")));
    }
}

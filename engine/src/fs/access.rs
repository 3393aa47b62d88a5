//! Permissions of new files: the caller's umask, and backups folders that other users may enter.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::umask;

/// The mode bits that the system removes from new files of this process.
///
/// The umask stays that of the caller for files outside snapshots and for child processes; files in
/// snapshots get their mode explicitly. Bits of the umask that affect the owner are cleared,
/// because they would keep a run out of its own folders.
#[must_use]
pub fn own_umask() -> u32 {
    static OWN: OnceLock<u32> = OnceLock::new();
    *OWN.get_or_init(|| {
        // umask(2) returns the old value only by setting a new one.
        let others = Mode::RWXG | Mode::RWXO;
        let kept = umask(others).intersection(others);
        umask(kept);
        kept.as_raw_mode()
    })
}

/// Returns the mode of the folder at `path` if users other than its owner and group may enter it,
/// which requires that they may enter all folders above it. Returns `None` otherwise, or if that is
/// unknown.
#[must_use]
pub fn open_to_others(path: &Path) -> Option<u32> {
    let real = path.canonicalize().ok()?;
    let entered = |path: &Path| {
        let mode = path.metadata().ok()?.mode() & 0o7777;
        (mode & 0o001 != 0).then_some(mode)
    };
    let mode = entered(&real)?;
    real.ancestors().skip(1).all(|above| entered(above).is_some()).then_some(mode)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::fs::create_dir_all;
    use std::fs::set_permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_open_when_all_above_it_are() {
        let top = tempfile::tempdir().expect("a folder");
        let folder = top.path().join("a/b");
        create_dir_all(&folder).expect("folders");
        let set = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode));
        for (top_mode, above, own, expected) in [
            (0o755, 0o755, 0o755, Some(0o755)),
            (0o711, 0o711, 0o711, Some(0o711)),
            (0o755, 0o755, 0o750, None),
            (0o755, 0o755, 0o744, None),
            (0o755, 0o700, 0o755, None),
            (0o700, 0o755, 0o755, None),
        ] {
            for (path, mode) in
                [(top.path(), top_mode), (&top.path().join("a"), above), (&folder, own)]
            {
                set(path, mode).expect("own folders");
            }
            assert_eq!(open_to_others(&folder), expected, "{top_mode:o} {above:o} {own:o}");
        }
        assert_eq!(open_to_others(&top.path().join("none")), None);
    }
}

//! The paths of the machine inside a container that has the machine's folders mounted below
//! `/host_fs`, as the compose file does.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fs::mount::{MountTable, real};

/// Where the container has the folders of the machine: each path has this prefix.
pub const MACHINE: &str = "/host_fs";

/// The path in the container of `path` on the machine.
fn in_container(path: &Path) -> PathBuf {
    Path::new(MACHINE).join(path.strip_prefix("/").unwrap_or(path))
}

/// The folders of the machine that a source probably means, if it lies on the root file system of the
/// container, which is that of its image: `/host_fs` + `source`, where that exists on a mount below
/// `/host_fs`; otherwise what is mounted below `/host_fs` + `source`, or below `source` when it lies in
/// `/host_fs`. Empty when it means what it says.
#[must_use]
pub fn meant_sources(source: &Path) -> Vec<PathBuf> {
    // Most machines have no such folder.
    if !Path::new(MACHINE).is_dir() {
        return Vec::new();
    }
    let in_machine = source.starts_with(MACHINE);
    let meant = if in_machine { source.to_owned() } else { in_container(source) };
    if meant.symlink_metadata().is_err() {
        return Vec::new();
    }
    let (Some(table), Some(source), Some(place)) = (MountTable::read(), real(source), real(&meant))
    else {
        return Vec::new();
    };
    if !in_machine && table.is_of_image(&source, &place) {
        return vec![meant];
    }
    table.mounted_below(&source, &place)
}

/// The path on the machine of `path` in the container. `None` outside a container, or if no mount
/// below `/host_fs` shows it.
#[must_use]
pub fn on_machine(path: &Path) -> Option<PathBuf> {
    if !Path::new(MACHINE).is_dir() {
        return None;
    }
    // A file that does not exist yet is in the nearest folder that does.
    path.ancestors().find_map(|part| {
        let (real, rest) = (part.canonicalize().ok()?, path.strip_prefix(part).ok()?);
        let whole = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        Some(MountTable::read()?.on_machine(&whole))
    })?
}

impl MountTable {
    /// Whether `source` is on the root file system, and `meant` on a mount at or below `/host_fs`.
    fn is_of_image(&self, source: &Path, meant: &Path) -> bool {
        let point = |path| self.of(path).map(|mount| mount.point.as_path());
        point(source) == Some(Path::new("/"))
            && point(meant).is_some_and(|point| point.starts_with(MACHINE))
    }

    /// The topmost mount points below `meant`, a folder in `/host_fs`, if it and `source` are on the root file
    /// system.
    fn mounted_below(&self, source: &Path, meant: &Path) -> Vec<PathBuf> {
        let is_root = |path| self.of(path).is_some_and(|mount| mount.point == Path::new("/"));
        if !meant.starts_with(MACHINE) || !is_root(source) || !is_root(meant) {
            return Vec::new();
        }
        let points = self.mounts.iter().map(|mount| &mount.point);
        let mut below: Vec<PathBuf> =
            points.filter(|point| point.starts_with(meant)).cloned().collect();
        below.sort();
        below.dedup_by(|point, above| point.starts_with(above));
        below
    }

    /// The path on the machine of `path`: a mount of the machine's folders shows the same folder of
    /// the same file system.
    fn on_machine(&self, path: &Path) -> Option<PathBuf> {
        let ours = self.of(path)?;
        let in_file_system = ours.root.join(path.strip_prefix(&ours.point).ok()?);
        let shown = self.mounts.iter().filter_map(|theirs| {
            let machine = theirs.point.strip_prefix(MACHINE).ok()?;
            let rest = in_file_system.strip_prefix(&theirs.root).ok()?;
            let found = Path::new("/").join(machine).join(rest);
            let size = |path: &Path| path.as_os_str().len();
            (theirs.device == ours.device).then(|| ((size(&theirs.root), size(&found)), found))
        });
        // The machine may also show it below the folders of its container engine. The mount that
        // shows the most of the file system has the path that a user knows.
        let (_, found) = shown.min_by_key(|(size, _)| *size)?;
        // `join` with an empty path leaves a slash at the end.
        Some(found.components().collect())
    }
}

/// Removes `/host_fs` from the path of a source: the path on the machine.
#[must_use]
pub fn without_prefix(path: &[u8]) -> Option<&[u8]> {
    match path.strip_prefix(MACHINE.as_bytes()) {
        Some(b"") => Some(b"/"),
        Some(rest) if rest.starts_with(b"/") => Some(rest),
        _ => None,
    }
}

/// Puts `/host_fs` before an absolute path of the machine.
#[must_use]
pub fn with_prefix(path: &[u8]) -> Vec<u8> {
    [Path::new(MACHINE).as_os_str().as_bytes(), path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPOSE: &str = "\
        1 0 0:50 / / rw - overlay overlay rw\n\
        2 1 8:1 /home/anna/bm/backups /backups rw - ext4 /dev/sda1 rw\n\
        3 1 8:2 /anna/.ssh /root/.ssh ro - ext4 /dev/sda2 rw\n\
        4 1 8:1 / /host_fs ro - ext4 /dev/sda1 rw\n\
        5 4 8:2 / /host_fs/home ro - ext4 /dev/sda2 rw\n\
        6 4 0:60 / /host_fs/run rw - tmpfs tmpfs rw\n\
        8 4 8:1 /home/anna/bm/backups /host_fs/var/lib/docker/merged/backups rw - ext4 /dev/sda1 rw\n\
        7 1 8:3 /data /config rw - ext4 /dev/sda3 rw\n";

    #[test]
    fn a_source_of_the_image_is_told_from_a_mounted_one() {
        let table = MountTable::of_text(COMPOSE);
        for (source, meant, expected) in [
            ("/etc", "/host_fs/etc", true),
            ("/home", "/host_fs/home", true),
            ("/", "/host_fs", true),
            ("/backups", "/host_fs/backups", false),
            ("/root/.ssh", "/host_fs/root/.ssh", false),
            ("/host_fs/etc", "/host_fs/host_fs/etc", false),
        ] {
            let found = table.is_of_image(Path::new(source), Path::new(meant));
            assert_eq!(found, expected, "{source}");
        }
        // A folder of that name which nothing is mounted at, on a machine without containers.
        let plain = MountTable::of_text("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");
        assert!(!plain.is_of_image(Path::new("/etc"), Path::new("/host_fs/etc")));
    }

    #[test]
    fn of_a_single_folder_of_the_machine_the_mount_point_is_meant() {
        let table = MountTable::of_text(
            "1 0 0:50 / / rw - overlay overlay rw\n\
             2 1 8:1 /home/anna /host_fs/home/anna ro - ext4 /dev/sda1 rw\n\
             3 2 8:2 / /host_fs/home/anna/disk ro - ext4 /dev/sda2 rw\n\
             4 1 8:1 /srv /host_fs/srv ro - ext4 /dev/sda1 rw\n\
             5 1 8:1 /data /data ro - ext4 /dev/sda1 rw\n",
        );
        let image = |source: &str, meant: &str| table.is_of_image(source.as_ref(), meant.as_ref());
        assert!(image("/home/anna", "/host_fs/home/anna"));
        assert!(!image("/home", "/host_fs/home"));
        for (source, meant, expected) in [
            ("/home", "/host_fs/home", &["/host_fs/home/anna"][..]),
            ("/", "/host_fs", &["/host_fs/home/anna", "/host_fs/srv"]),
            ("/host_fs", "/host_fs", &["/host_fs/home/anna", "/host_fs/srv"]),
            ("/host_fs/home", "/host_fs/home", &["/host_fs/home/anna"]),
            ("/host_fs/home/anna", "/host_fs/home/anna", &[]),
            ("/etc", "/host_fs/etc", &[]),
            ("/data", "/host_fs", &[]),
        ] {
            let found = table.mounted_below(source.as_ref(), meant.as_ref());
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{source}");
        }
    }

    #[test]
    fn the_path_on_the_machine_is_that_of_the_same_folder() {
        let table = MountTable::of_text(COMPOSE);
        for (path, expected) in [
            ("/backups/x", Some("/home/anna/bm/backups/x")),
            ("/backups", Some("/home/anna/bm/backups")),
            ("/root/.ssh/known_hosts", Some("/home/anna/.ssh/known_hosts")),
            ("/host_fs/etc/passwd", Some("/etc/passwd")),
            // Nothing below /host_fs shows that disk.
            ("/config/known_hosts", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(table.on_machine(Path::new(path)), expected.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn the_prefix_is_a_whole_name() {
        assert_eq!(without_prefix(b"/host_fs/etc"), Some(&b"/etc"[..]));
        assert_eq!(without_prefix(b"/host_fs"), Some(&b"/"[..]));
        assert_eq!(without_prefix(b"/host_fs2"), None);
        assert_eq!(with_prefix(b"/etc"), b"/host_fs/etc");
    }
}

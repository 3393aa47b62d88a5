//! Mounts: the file system of the backups folder, and mounts that /etc/fstab lists but that are
//! missing.

pub(crate) mod point;

use std::path::{Path, PathBuf};

/// A mount (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The number of the device, `major:minor`.
    pub device: String,
    /// The mount point.
    pub point: PathBuf,
    /// The folder of the file system that is mounted there.
    pub root: PathBuf,
    /// The type of the file system; that of FUSE is often `fuse.` and a name.
    pub kind: String,
    /// What is mounted: a device, a server, or whatever the file system calls itself.
    pub source: PathBuf,
    /// The options of the file system, without those of the mount point.
    pub options: Vec<String>,
}

/// The mounts that this process sees, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct MountTable {
    pub(crate) mounts: Vec<Mount>,
}

impl MountTable {
    /// The mounts now. `None` if `/proc` is not readable.
    pub(crate) fn read() -> Option<Self> {
        Some(Self::of_text(&std::fs::read_to_string("/proc/self/mountinfo").ok()?))
    }

    /// The mounts in the text of proc_pid_mountinfo(5).
    pub(crate) fn of_text(mountinfo: &str) -> Self {
        let mount = |line: &str| {
            let (at, of) = line.split_once(" - ")?;
            let mut fields = at.split(' ').skip(2);
            let device = fields.next()?.to_owned();
            let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
            let mut fields = of.split(' ');
            let kind = fields.next()?.to_owned();
            let source = unescaped(fields.next()?);
            let options = fields.next().unwrap_or_default().split(',');
            let options = options.map(ToOwned::to_owned).collect();
            Some(Mount { device, point, root, kind, source, options })
        };
        Self { mounts: mountinfo.lines().filter_map(mount).collect() }
    }

    /// The mount that contains the real path `path`. With several mounts on one mount point, the
    /// last one covers the others.
    pub(crate) fn of(&self, path: &Path) -> Option<&Mount> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count())
    }
}

/// `path` without symlinks; if it does not exist, its nearest existing parent.
pub(crate) fn real(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|part| part.canonicalize().ok())
}

/// The mount that contains `path`; if the path does not exist, the mount of its nearest existing
/// parent. `None` if `/proc` is not readable.
#[must_use]
pub fn mount_of(path: &Path) -> Option<Mount> {
    MountTable::read()?.of(&real(path)?).cloned()
}

/// A mount point at or above `path` that /etc/fstab lists and that is not mounted. A file at `path`
/// would be written to the disk below.
#[must_use]
pub fn missing_mount(path: &Path) -> Option<PathBuf> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    // If the path does not exist, its nearest existing parent counts.
    let real = path.ancestors().find_map(|part| {
        let rest = path.strip_prefix(part).ok()?;
        Some(part.canonicalize().ok()?.join(rest))
    });
    missing_in(&read("/etc/fstab"), &read("/proc/self/mountinfo"), &real?)
}

/// Mount points below the folder `path` that /etc/fstab mounts at boot and that are not mounted, as
/// paths below `path`.
pub(crate) fn missing_mounts_below(path: &Path) -> Vec<PathBuf> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let Ok(real) = path.canonicalize() else { return Vec::new() };
    let missing = missing_below(&read("/etc/fstab"), &read("/proc/self/mountinfo"), &real);
    missing.iter().filter_map(|point| Some(path.join(point.strip_prefix(&real).ok()?))).collect()
}

/// Like [`missing_mounts_below`], with the text of fstab(5) and of proc_pid_mountinfo(5).
fn missing_below(fstab: &str, mountinfo: &str, path: &Path) -> Vec<PathBuf> {
    let mounted: Vec<PathBuf> =
        mountinfo.lines().filter_map(|line| Some(unescaped(line.split(' ').nth(4)?))).collect();
    let promised = fstab.lines().filter(|line| !line.trim_start().starts_with('#'));
    let point = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (point, options) = (unescaped(fields.next()?), fields.nth(1).unwrap_or("defaults"));
        let at_start = options.split(',').all(|option| option != "noauto");
        (at_start && point.starts_with(path) && point != path).then_some(point)
    };
    promised.filter_map(point).filter(|point| !mounted.contains(point)).collect()
}

/// Like [`missing_mount`], with the text of fstab(5) and of proc_pid_mountinfo(5).
fn missing_in(fstab: &str, mountinfo: &str, path: &Path) -> Option<PathBuf> {
    let mounted: Vec<PathBuf> =
        mountinfo.lines().filter_map(|line| Some(unescaped(line.split(' ').nth(4)?))).collect();
    let promised = fstab.lines().filter(|line| !line.trim_start().starts_with('#'));
    promised
        .filter_map(|line| Some(unescaped(line.split_whitespace().nth(1)?)))
        .filter(|point| point.is_absolute() && path.starts_with(point))
        .find(|point| !mounted.contains(point))
}

/// Both tables escape white space and backslashes as three octal digits, and the kernel's also `#`, as in the sources of MooseFS.
fn unescaped(text: &str) -> PathBuf {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain)).into()
}

/// Mount point and type from a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)), if the line
/// is for this device.
pub(crate) fn of_device<'a>(line: &'a str, numbers: &str) -> Option<(&'a str, &'a str)> {
    let (mount, rest) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(2);
    let (device, _root, point) = (fields.next()?, fields.next()?, fields.next()?);
    (device == numbers).then_some((point, rest.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promised_mount_that_is_not_there_is_found() {
        let fstab = "# /mnt/no none\n/dev/sda1 / ext4 x 0 1\nUUID=1 /mnt/my\\040usb ext4 noauto 0 0\nx none swap";
        let root = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let usb = "2 1 8:2 / /mnt/my\\040usb rw - ext4 /dev/sdb1 rw\n";
        let backups = Path::new("/mnt/my usb/backups");
        assert_eq!(missing_in(fstab, root, backups), Some("/mnt/my usb".into()));
        assert_eq!(missing_in(fstab, &[root, usb].concat(), backups), None);
        assert_eq!(missing_in(fstab, root, Path::new("/mnt/my usb2")), None);
        assert_eq!(missing_in(fstab, root, Path::new("/mnt/no/backups")), None);
    }

    #[test]
    fn promised_mounts_below_a_folder_are_found_but_not_those_on_request() {
        let fstab = "UUID=1 /src/a ext4 defaults 0 2\nUUID=2 /src/b ext4 noauto,user 0 0\nUUID=3 /src ext4\nUUID=4 /src/c\\040d ext4 nofail\nUUID=5 /srca ext4";
        let info = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /src/a rw - ext4 /dev/sdb1 rw\n";
        assert_eq!(missing_below(fstab, info, Path::new("/src")), [PathBuf::from("/src/c d")]);
    }

    #[test]
    fn the_nearest_mount_above_counts_and_of_several_the_last() {
        let text = "1 0 0:1 / / rw - overlay x rw\n2 1 8:2 /data /backups rw - ext4 /dev/sdb1 rw\n3 2 8:3 /x /backups rw - ext4 /dev/sdc1 rw\n";
        let table = MountTable::of_text(text);
        let at =
            |path: &str| table.of(Path::new(path)).map(|it| (it.point.clone(), it.root.clone()));
        assert_eq!(at("/backups/a"), Some(("/backups".into(), "/x".into())));
        assert_eq!(at("/backups2"), Some(("/".into(), "/".into())));
        let nfs =
            "1 0 0:50 / /backups rw,noatime shared:5 - nfs4 nas:/my\\040disk rw,soft,vers=4.2\n";
        let table = MountTable::of_text(nfs);
        let mount = table.of(Path::new("/backups/a")).unwrap();
        assert_eq!((mount.kind.as_str(), &*mount.source), ("nfs4", Path::new("nas:/my disk")));
        assert_eq!(mount.options, ["rw", "soft", "vers=4.2"]);
        let moosefs = "1 0 0:50 / /mnt/\\043backups rw - fuse mfs\\04310.0.0.1:9421 rw\n";
        let table = MountTable::of_text(moosefs);
        let mount = table.of(Path::new("/mnt/#backups/a")).unwrap();
        assert_eq!(mount.source, Path::new("mfs#10.0.0.1:9421"));
    }

    #[test]
    fn a_mount_is_found_by_its_device() {
        let line = "36 35 98:0 / /mnt/usb rw,noatime shared:1 - ext4 /dev/sda1 rw";
        assert_eq!(of_device(line, "98:0"), Some(("/mnt/usb", "ext4")));
        assert_eq!(of_device(line, "98:1"), None);
        assert_eq!(of_device("garbage", "98:1"), None);
    }
}

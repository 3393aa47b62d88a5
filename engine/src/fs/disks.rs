//! The rotating disks below a folder (sysfs, `Documentation/ABI/stable/sysfs-block`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::fs::mount::real;

/// How many devices can lie on top of each other: a partition, RAID, encryption, LVM, and some more.
const DEEPEST: usize = 16;

/// The names of the rotating disks on which the folder `path` lies, or its nearest existing parent. Empty if there is
/// none, and for file systems that are not on disks of this machine.
#[must_use]
pub fn rotating_disks(path: &Path) -> BTreeSet<String> {
    let sys = Path::new("/sys");
    let Some(meta) = real(path).and_then(|path| fs::metadata(path).ok()) else {
        return BTreeSet::new();
    };
    let device = |number: u64| {
        let name = format!("dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        sys.join(name).canonicalize().ok()
    };
    let mut found = BTreeSet::new();
    match device(meta.dev()) {
        Some(device) => add(&device, 0, &mut found),
        // A file system with several devices (btrfs) has a number of its own.
        None => {
            for device in of_btrfs(sys, path) {
                add(&device, 0, &mut found);
            }
        }
    }
    found
}

/// Adds the rotating disks of the block device with the folder `device` in sysfs.
fn add(device: &Path, depth: usize, found: &mut BTreeSet<String>) {
    if depth > DEEPEST {
        return;
    }
    let below: Vec<PathBuf> = fs::read_dir(device.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.path().canonicalize().ok())
        .collect();
    for slave in &below {
        add(slave, depth + 1, found);
    }
    if !below.is_empty() {
        return;
    }
    // The folder of a partition lies in that of its disk.
    let disk = match (device.join("partition").exists(), device.parent()) {
        (true, Some(disk)) => disk,
        _ => device,
    };
    let rotates = fs::read_to_string(disk.join("queue/rotational"));
    if rotates.is_ok_and(|text| text.trim() == "1") {
        found.extend(disk.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
}

/// The folders in sysfs of all devices of the btrfs that is mounted at `path`.
fn of_btrfs(sys: &Path, path: &Path) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(path) = real(path) else { return Vec::new() };
    let Some(name) = source_name(&mountinfo, &path) else { return Vec::new() };
    let all = fs::read_dir(sys.join("fs/btrfs")).into_iter().flatten().flatten();
    let devices = |folder: PathBuf| {
        let entries = fs::read_dir(folder.join("devices")).into_iter().flatten().flatten();
        entries.map(|entry| (entry.file_name(), entry.path())).collect::<Vec<_>>()
    };
    let of_it = all.map(|entry| devices(entry.path()));
    let of_it = of_it.filter(|devices| devices.iter().any(|(other, _)| *other == name));
    of_it.flatten().filter_map(|(_, path)| path.canonicalize().ok()).collect()
}

/// The name of the device from which the file system at `path` is mounted, such as `sda1` or `dm-0`.
fn source_name(mountinfo: &str, path: &Path) -> Option<OsString> {
    let point = |line: &str| -> Option<(PathBuf, String)> {
        let (mount, rest) = line.split_once(" - ")?;
        let point = PathBuf::from(mount.split(' ').nth(4)?.replace("\\040", " "));
        let mut fields = rest.split(' ');
        (fields.next()? == "btrfs").then_some((point, fields.next()?.to_owned()))
    };
    let above = mountinfo.lines().filter_map(point).filter(|(point, _)| path.starts_with(point));
    let (_, device) = above.max_by_key(|(point, _)| point.components().count())?;
    let device = Path::new(&device);
    // /dev/mapper/NAME is a symlink to the device.
    let device = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    device.file_name().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a disk with a partition in a sysfs below `sys`; returns the folder of the partition.
    fn disk(sys: &Path, name: &str, rotational: &str) -> PathBuf {
        let part = sys.join(format!("{name}/{name}1"));
        fs::create_dir_all(&part).unwrap();
        fs::create_dir_all(sys.join(name).join("queue")).unwrap();
        fs::write(part.join("partition"), "1\n").unwrap();
        fs::write(sys.join(name).join("queue/rotational"), rotational).unwrap();
        part
    }

    /// A device on others, as LVM, RAID and encryption make it.
    fn on(sys: &Path, name: &str, below: &[&Path]) -> PathBuf {
        let device = sys.join(name);
        fs::create_dir_all(device.join("slaves")).unwrap();
        fs::create_dir_all(device.join("queue")).unwrap();
        fs::write(device.join("queue/rotational"), "1\n").unwrap();
        for slave in below {
            std::os::unix::fs::symlink(
                slave,
                device.join("slaves").join(slave.file_name().unwrap()),
            )
            .unwrap();
        }
        device
    }

    fn found(device: &Path) -> Vec<String> {
        let mut found = BTreeSet::new();
        add(device, 0, &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn the_disks_below_partitions_and_mappings_are_found_if_they_rotate() {
        let sys = tempfile::tempdir().unwrap();
        let sys = sys.path();
        let (sda, sdb, nvme) =
            (disk(sys, "sda", "1\n"), disk(sys, "sdb", "1\n"), disk(sys, "nvme0n", "0\n"));
        assert_eq!(found(&sda), ["sda"]);
        assert_eq!(found(&nvme), Vec::<String>::new());
        let raid = on(sys, "md0", &[&sda, &sdb]);
        let crypt = on(sys, "dm-0", &[&raid]);
        assert_eq!(found(&crypt), ["sda", "sdb"]);
        let fast = on(sys, "dm-1", &[&nvme]);
        assert_eq!(
            found(&fast),
            Vec::<String>::new(),
            "what the mapping itself says is not looked at"
        );
        assert_eq!(found(&sys.join("missing")), Vec::<String>::new());
    }

    #[test]
    fn devices_that_lie_on_each_other_in_a_circle_end() {
        let sys = tempfile::tempdir().unwrap();
        let one = on(sys.path(), "dm-0", &[]);
        let other = on(sys.path(), "dm-1", &[&one]);
        std::os::unix::fs::symlink(&other, one.join("slaves/dm-1")).unwrap();
        assert_eq!(found(&one), Vec::<String>::new());
    }

    #[test]
    fn the_device_of_a_btrfs_is_that_of_the_nearest_mount() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:40 / /my\\040disk rw - btrfs /dev/sdb1 rw\n3 2 0:41 / /my\\040disk/x rw - btrfs /dev/sdc rw\n";
        let name = |path: &str| source_name(text, Path::new(path));
        assert_eq!(name("/my disk/backups"), Some("sdb1".into()));
        assert_eq!(name("/my disk/x/y"), Some("sdc".into()));
        assert_eq!(name("/home"), None);
    }
}

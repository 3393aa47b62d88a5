//! Describes the file system that the backups folder lies on, for people.

use crate::backups::Backups;
use crate::event::shown_path;

/// One line: type, mount point, free space.
pub(crate) fn describe(backups: &Backups) -> String {
    let dev = backups.id.dev;
    let numbers = format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mounts.lines().rev().find_map(|line| of_device(line, &numbers));
    let on = match mount {
        Some((point, kind)) => format!("{kind} mounted at {point}"),
        None => "an unknown file system".to_owned(),
    };
    let free = match backups.dir.space() {
        Ok(space) => format!(", {} MiB free", (space.f_bavail * space.f_frsize) >> 20),
        Err(_) => String::new(),
    };
    format!("{} on {on}{free}", shown_path(&backups.path))
}

/// Mount point and type of a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)), if it is of that device.
fn of_device<'a>(line: &'a str, numbers: &str) -> Option<(&'a str, &'a str)> {
    let (mount, rest) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(2);
    let (device, _root, point) = (fields.next()?, fields.next()?, fields.next()?);
    (device == numbers).then_some((point, rest.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_device() {
        let line = "36 35 98:0 / /mnt/usb rw,noatime shared:1 - ext4 /dev/sda1 rw";
        assert_eq!(of_device(line, "98:0"), Some(("/mnt/usb", "ext4")));
        assert_eq!(of_device(line, "98:1"), None);
        assert_eq!(of_device("garbage", "98:1"), None);
    }
}
